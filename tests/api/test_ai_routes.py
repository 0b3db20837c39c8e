"""AI over HTTP: summaries, drafts, analysis, prompts and the activity log, each by the rules."""

from typing import Any

import pytest

from api.services import AgentsAsleep
from memory.db import Database
from tests.given import Given


@pytest.fixture
async def scene(db: Database, live: Any) -> Any:
    """A message of a known contact in the mailbox of whoever `live` is."""
    async with db.transaction() as tx:
        given = Given(tx)
        bo = await given.contact("Bo Li", email="bo@acme.example")
        deal = await given.deal(company=await given.fetch("companies", bo.company_id), owner=live.caller)
        mail = await given.communication(
            user=live.caller,
            contact=bo,
            deal=deal,
            subject="Scanners",
            full_content="Hi Lena,\n\nCould you send me the price for 40 seats by Friday? Our budget is approved.\n\nBo",
        )
        other = await given.communication(user=await given.user(), contact=bo)
    return {"bo": bo, "deal": deal, "mail": mail, "other": other}


class TestAnalyze:
    async def test_reads_one_message_now(self, live: Any, scene: Any) -> None:
        answer = await live.post("/api/communications/analyze", json={"communication_id": str(scene["mail"].id)})
        assert answer.status_code == 200
        analysis = answer.json()["analysis"]
        assert (analysis["engine"], analysis["prompt_key"]) == ("rules", "communication_hub_analysis")
        assert any("price for 40 seats" in question["quote"] for question in analysis["key_questions"])

    async def test_of_somebody_elses_mail_is_not_found(self, live: Any, scene: Any) -> None:
        answer = await live.post("/api/communications/analyze", json={"communication_id": str(scene["other"].id)})
        assert answer.status_code == 404

    async def test_of_an_excluded_message_shows_nothing(self, live: Any, scene: Any) -> None:
        await live.post(f"/api/communications/{scene['mail'].id}/exclude", json={})
        answer = await live.post("/api/communications/analyze", json={"communication_id": str(scene["mail"].id)})
        assert (answer.status_code, answer.json()["analysis"]) == (200, None)

    async def test_a_failure_gives_the_claim_back(
        self, live: Any, scene: Any, live_app: Any, monkeypatch: Any, db: Database
    ) -> None:
        async def fail(*_: Any) -> None:
            raise AgentsAsleep

        monkeypatch.setattr(live_app.state.services, "perform", fail)
        answer = await live.post("/api/communications/analyze", json={"communication_id": str(scene["mail"].id)})
        assert answer.status_code == 503
        async with db.transaction() as tx:
            assert (await Given(tx).fetch("communications", scene["mail"].id)).analysis_status == "pending"

    async def test_everything_is_for_managers(self, live: Any) -> None:
        assert (await live.post("/api/communications/analyze", json={"batch": True})).status_code == 403

    @pytest.mark.parametrize("body", [{}, {"batch": True, "communication_id": "x"}, {"batch": True, "limit": 999}])
    async def test_refuses_half_a_question(self, live: Any, body: dict[str, Any]) -> None:
        assert (await live.post("/api/communications/analyze", json=body)).status_code == 400


class TestDraftReply:
    async def test_answers_the_sender_with_a_gap_for_what_is_not_known(self, live: Any, scene: Any) -> None:
        answer = await live.post(f"/api/communications/{scene['mail'].id}/draft-reply", json={})
        body = answer.json()
        assert (answer.status_code, body["draft"]["to"], body["draft"]["channel"]) == (
            200,
            ["bo@acme.example"],
            "email",
        )
        assert "[[your answer]]" in body["draft"]["placeholders"]
        assert (body["context"]["contact_email"], body["context"]["original_subject"]) == (
            "bo@acme.example",
            "Scanners",
        )


class TestSummaries:
    async def test_is_made_when_it_is_asked_for_and_then_kept(self, live: Any, scene: Any) -> None:
        address = f"/api/ai/summaries/deal/{scene['deal'].id}"
        assert (
            await live.get("/api/ai/summaries", params={"type": "deal", "id": str(scene["deal"].id)})
        ).status_code == 404
        first, second = await live.get(address), await live.get(address)
        assert (first.status_code, first.json()["summary"]["id"]) == (200, second.json()["summary"]["id"])
        assert (await live.get("/api/ai/summaries", params={"stats": "true"})).json()["byType"] == {
            "deal": 1,
            "company": 0,
            "contact": 0,
        }
        again = await live.post("/api/ai/summaries", json={"type": "deal", "id": str(scene["deal"].id), "force": True})
        assert (again.json()["isNew"], again.json()["wasStale"]) == (True, True)

    async def test_refreshes_the_stale_ones(self, live: Any, scene: Any, db: Database) -> None:
        await live.get(f"/api/ai/summaries/deal/{scene['deal'].id}")
        async with db.transaction() as tx:
            await tx.run("UPDATE ai_summaries SET stale = true")
        done = await live.post("/api/ai/summaries", json={"action": "refresh_stale"})
        assert done.json()["result"] == {"successful": 1, "failed": 0, "skipped": 0, "errors": []}

    async def test_an_old_one_stands_in_while_no_agent_answers_but_not_for_who_lost_the_deal(
        self, live: Any, scene: Any, live_app: Any, monkeypatch: Any, db: Database
    ) -> None:
        async def fail(*_: Any) -> None:
            raise AgentsAsleep

        address = f"/api/ai/summaries/deal/{scene['deal'].id}"
        await live.get(address)
        monkeypatch.setattr(live_app.state.services, "perform", fail)
        assert (await live.get(address)).json()["wasStale"] is True
        async with db.transaction() as tx:
            await tx.run("UPDATE deals SET owner_id = NULL")
        assert (await live.get(address)).status_code == 404
        assert (await live.get("/api/ai/summaries")).json()["total"] == 0

    @pytest.mark.parametrize(
        "address", ["/api/ai/summaries?id=7b0e4b5e-7d2f-4f5e-9d7f-1f8f5f2b3c4d", "/api/ai/summaries/planet/x"]
    )
    async def test_refuses_half_a_pair_and_other_things(self, live: Any, address: str) -> None:
        assert (await live.get(address)).status_code == 400

    async def test_leaves_a_trace_in_the_activity_log(self, live: Any, scene: Any) -> None:
        await live.get(f"/api/ai/summaries/deal/{scene['deal'].id}")
        log = (await live.get("/api/ai-activity", params={"source": "system", "status": "success,failed"})).json()
        assert [(action["action_type"], action["deal_id"]) for action in log["actions"]] == [
            ("SUMMARY_GENERATED", str(scene["deal"].id))
        ]
        assert (log["total"], log["stats"]["success"], log["stats"]["bySource"]) == (1, 1, {"system": 1})
        assert (await live.get("/api/ai-activity", params={"status": "excellent"})).status_code == 400


class TestSuggestEmail:
    async def test_names_the_task_and_leaves_gaps(self, live: Any, scene: Any) -> None:
        task = await live.post("/api/tasks", json={"title": "Send the price list", "deal_id": str(scene["deal"].id)})
        answer = await live.post("/api/tasks/suggest-email", json={"taskId": task.json()["task"]["id"]})
        suggestion = answer.json()["suggestion"]
        assert (answer.status_code, suggestion["subject"]) == (200, "Send the price list")
        assert suggestion["body"].startswith("Hi Bo,")
        assert answer.json()["context"]["contacts"][0]["email"] == "bo@acme.example"


WORDS = "Answer {{ question }}"


class TestPrompts:
    async def test_versions_are_added_and_never_overwritten(self, admin: Any) -> None:
        made = await admin.post(
            "/api/ai-prompts",
            json={"key": "test_prompt", "name": "Test", "prompt_template": WORDS, "variables": ["question"]},
        )
        prompt = made.json()["prompt"]
        assert (made.status_code, prompt["version"], prompt["variables"]) == (201, 1, ["question"])
        address = f"/api/ai-prompts/{prompt['id']}"
        body = {"prompt_template": WORDS + " now", "change_reason": "Sooner", "lock_version": prompt["lock_version"]}
        edited = (await admin.put(address, json=body)).json()["prompt"]
        assert (edited["version"], edited["default_prompt_template"], edited["max_tokens"]) == (2, WORDS, 4096)
        assert edited["active_version"] is None
        assert (await admin.put(address, json=body)).status_code == 409
        history = (await admin.get(f"{address}/history")).json()["history"]
        assert [(row["version"], row["change_reason"], row["is_active"]) for row in history] == [
            (2, "Sooner", False),
            (1, "Created", False),
        ]
        assert (await admin.delete(address)).status_code == 200
        assert (await admin.get(address)).json()["prompt"]["is_active"] is False

    async def test_are_written_by_whom_the_settings_name(self, manager: Any) -> None:
        refused = await manager.post(
            "/api/ai-prompts", json={"key": "test_prompt", "name": "Test", "prompt_template": WORDS}
        )
        assert refused.status_code == 403

    @pytest.mark.parametrize(
        "change",
        [
            {"prompt_template": "{% for x in y %}"},
            {"prompt_template": "{{ question.__class__ }}"},
            {"variables": ["other"]},
            {"schema_template": "not json"},
            {"key": "Not A Key"},
        ],
    )
    async def test_refuses_what_could_not_be_rendered(self, admin: Any, change: dict[str, Any]) -> None:
        body = {"key": "test_prompt", "name": "Test", "prompt_template": WORDS} | change
        assert (await admin.post("/api/ai-prompts", json=body)).status_code == 400

    async def test_refuses_a_second_prompt_of_a_key(self, admin: Any) -> None:
        body = {"key": "test_prompt", "name": "Test", "prompt_template": WORDS}
        assert [(await admin.post("/api/ai-prompts", json=body)).status_code for _ in range(2)] == [201, 409]
