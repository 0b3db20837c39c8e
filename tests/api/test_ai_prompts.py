"""Prompts over HTTP: drafts, releases on evidence or an admin's word, one step back, previews and trials."""

from typing import Any

import pytest

from memory.db import Tx
from prompts import registry
from tests.given import Given
from tests.tools.shelf_of_prompts import Library
from tools import ai_prompts

ANALYSIS = "communication_hub_analysis"
AT = f"/api/ai-prompts/{ANALYSIS}"
NO_PROMISES = "Say what this is about.\n{{ subject }}\n{{ content }}"


@pytest.fixture(autouse=True)
async def shipped(tx: Tx) -> None:
    await ai_prompts.sync_shipped(tx, registry.shelf())


async def edit(client: Any, template: str = NO_PROMISES, **fields: Any) -> dict[str, Any]:
    """Edit the prompt of the analysis as a client does, and return what is answered."""
    listed = (await client.get("/api/ai-prompts", params={"search": ANALYSIS})).json()["prompts"]
    body = {"prompt_template": template, "lock_version": listed[0]["lock_version"], **fields}
    answer = await client.put(f"/api/ai-prompts/{listed[0]['id']}", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["prompt"]


class TestRelease:
    async def test_a_bad_prompt_is_refused_until_an_admin_overrides_and_one_step_brings_the_old_one_back(
        self, admin: Any, tx: Tx
    ):
        edited = await edit(admin, change_reason="Shorter")
        assert (edited["version"], edited["active_version"]) == (2, 1)
        await Library(tx, admin.caller).evaluate(2, analysis="regressed")
        ready = (await admin.get(f"{AT}/versions/2/readiness")).json()
        assert (ready["may_release"], ready["may_override"], ready["evidence"]["regressed"]) == (
            False,
            True,
            ["analysis"],
        )
        refused = await admin.post(f"{AT}/release", json={"version": 2})
        assert refused.status_code == 409
        assert "It is worse than what answers now: analysis." in refused.json()["error"]
        assert refused.json()["details"][0] == "analysis: regressed. Missed promises: 1 before, 19 now."
        body = {"version": 2, "override_reason": "Promises are read elsewhere"}
        released = (await admin.post(f"{AT}/release", json=body)).json()
        assert (released["release"]["kind"], released["prompt"]["active_version"]) == ("override", 2)
        back = (await admin.post(f"{AT}/rollback", json={"reason": "They are not"})).json()
        assert (back["release"]["kind"], back["release"]["version"], back["prompt"]["active_version"]) == (
            "rollback",
            1,
            1,
        )
        listed = (await admin.get(f"{AT}/releases")).json()["releases"]
        assert [(row["version"], row["kind"], row["reason"]) for row in listed[:2]] == [
            (1, "rollback", "They are not"),
            (2, "override", "Promises are read elsewhere"),
        ]

    async def test_a_good_one_goes_out_on_its_verdicts(self, admin: Any, tx: Tx):
        await edit(admin, registry.shelf().get(ANALYSIS).user + "\nRead it twice.")
        await Library(tx, admin.caller).evaluate(2, analysis="improved")
        released = await admin.post(f"{AT}/release", json={"version": 2})
        assert (released.status_code, released.json()["release"]["kind"]) == (200, "verdict")

    async def test_no_override_helps_words_that_the_agent_cannot_fill(self, admin: Any):
        await edit(admin, "Read {{ everything }}")
        refused = await admin.post(f"{AT}/release", json={"version": 2, "override_reason": "It will be fine"})
        assert refused.status_code == 409
        assert "The agent has nothing for everything" in refused.json()["error"]
        at_once = await admin.put(
            f"/api/ai-prompts/{(await admin.get('/api/ai-prompts', params={'search': ANALYSIS})).json()['prompts'][0]['id']}",
            json={"prompt_template": "Read {{ all }}", "override_reason": "It will be fine"},
        )
        assert at_once.status_code == 409

    @pytest.mark.parametrize("act", ["release", "rollback", "restore", "revert", "dry-run"])
    async def test_is_for_those_whom_the_settings_name(self, manager: Any, rep: Any, act: str):
        body = {"rollback": {"reason": "Because"}, "restore": {}}.get(act, {"version": 1})
        for client in (manager, rep):
            assert (await client.post(f"{AT}/{act}", json=body)).status_code == 403

    async def test_the_shipped_default_comes_back(self, admin: Any):
        await edit(admin, override_reason="For a test")
        restored = (await admin.post(f"{AT}/restore", json={"reason": "Enough"})).json()
        assert (restored["release"]["kind"], restored["prompt"]["active_version"]) == ("restore", 1)
        again = (await admin.post(f"{AT}/revert", json={"version": 2})).json()["prompt"]
        assert (again["version"], again["active_version"], again["prompt_template"]) == (3, 1, NO_PROMISES)


class TestReading:
    async def test_compares_versions_and_says_which_answers(self, rep: Any, admin: Any):
        await edit(admin, max_tokens=50)
        diff = (await rep.get(f"{AT}/diff", params={"base": 1, "version": 2})).json()
        assert [part["name"] for part in diff["parts"]] == ["prompt_template"]
        assert "max_tokens" in [setting["name"] for setting in diff["settings"]]
        found = (await rep.get(f"{AT}/lookup", params={"suffix": ["support", "sales"]})).json()
        assert found["answers"] == {"key": ANALYSIS, "version": 1, "source": "database"}
        assert [step["key"] for step in found["steps"]] == [f"{ANALYSIS}__support", f"{ANALYSIS}__sales", ANALYSIS]
        listed = (await rep.get(f"{AT}/versions")).json()["history"]
        assert [(row["version"], row["state"]) for row in listed] == [(2, "draft"), (1, "active")]
        assert (await rep.get(f"{AT}/versions/2/readiness")).status_code == 403
        detail = (await rep.get(f"{AT}/versions/2")).json()
        assert (detail["state"], detail["prompt_template"], detail["max_tokens"]) == ("draft", NO_PROMISES, 50)

    @pytest.mark.parametrize(
        "path", ["versions/9", "versions/9/readiness", "diff?base=1&version=9"]
    )  # fmt: skip
    async def test_says_what_does_not_exist(self, admin: Any, path: str):
        assert (await admin.get(f"{AT}/{path}")).status_code == 404
        assert (await admin.get(f"/api/ai-prompts/nothing/{path}")).status_code == 404


class TestPreview:
    async def test_puts_a_real_record_in(self, rep: Any, given: Given):
        mail = await given.communication(user=rep.caller, full_content="We will send the list by Friday.")
        body = {"subject_type": "communication", "subject_id": str(mail.id)}
        shown = (await rep.post(f"{AT}/preview", json=body)).json()
        assert (shown["source"], shown["version"], shown["problems"]) == ("record", 1, [])
        assert "We will send the list by Friday." in shown["user"]

    async def test_keeps_to_what_the_caller_may_read(self, rep: Any, given: Given):
        mail = await given.communication(user=await given.user())
        body = {"subject_type": "communication", "subject_id": str(mail.id)}
        assert (await rep.post(f"{AT}/preview", json=body)).status_code == 404


class TestDryRun:
    async def test_is_answered_by_the_engine_there_is_and_books_a_trial(self, admin: Any, tx: Tx):
        done = (await admin.post(f"{AT}/dry-run", json={"version": 1})).json()
        assert (done["engine"], done["reads_prompt"]) == ("rules", False)
        assert [call["prompt_key"] for call in done["calls"]] == [ANALYSIS]
        assert await tx.one(bool, "SELECT bool_and(trial) FROM ai_calls") is True
