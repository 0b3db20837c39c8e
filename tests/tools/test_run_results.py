"""What a run has come to, and what its reader may see of it."""

from typing import Any
from uuid import uuid4

import pytest

from memory.db import Tx
from tools import prompt_material, run_results
from tools.runs import RunNotFound


@pytest.fixture
async def office(given: Any) -> Any:
    """Two reps with a run each: one was about a mail of theirs, and all that it wrote is there."""

    class Office:
        pass

    made: Any = Office()
    made.mine, made.other, made.manager = await given.user(), await given.user(), await given.user("manager")
    made.company = await given.company("Northwind Traders")
    made.mail = await given.communication(
        user=made.mine, company=made.company, subject="The offer", full_content="Please send it by Friday."
    )
    made.run = await given.row("agent_runs", agent="analysis", status="succeeded", user_id=made.mine.user_id)
    return made


class TestListResults:
    async def test_returns_what_was_written_with_its_quotes(self, tx: Tx, given: Any, office: Any) -> None:
        quote = {"step": "Send it", "quote": "send it by Friday"}
        analysis = await given.analysis(
            office.mail, run_id=office.run.id, engine="rules", prompt_key="communication_hub_analysis", prompt_version=1,
            extracted_next_steps=[quote], key_questions=[{"question": "When?", "quote": ""}],
        )  # fmt: skip
        action = await given.row(
            "ai_action_log", source="communications", action_type="ANALYSIS_COMPLETED", status="success",
            user_id=office.mine.user_id, run_id=office.run.id, prompt_key="communication_hub_analysis", prompt_version=1,
            created_at=given.ahead(seconds=1),
        )  # fmt: skip
        found = await run_results.list_results(tx, office.mine, office.run.id)
        assert [(row.kind, row.id, row.prompt_version) for row in found] == [
            ("analysis", analysis.id, 1),
            ("action", action.id, 1),
        ]
        assert [quote.model_dump() for quote in found[0].quotes] == [
            {"record": "communication", "id": office.mail.id, "quote": "send it by Friday", "about": "next step"}
        ]

    async def test_returns_summaries_drafts_and_decisions(self, tx: Tx, given: Any, office: Any) -> None:
        source = {"number": 1, "type": "communication", "id": str(office.mail.id), "quote": "by Friday"}
        await given.row(
            "ai_summaries", company_id=office.company.id, audience_id=office.mine.user_id, summary_type="company_overview",
            summary=given.json({}), summary_text="", sources=given.json([source, {"number": 2, "quote": ""}]),
            generated_at=given.ago(seconds=3), context_hash="h", run_id=office.run.id,
        )  # fmt: skip
        await given.row(
            "email_drafts", user_id=office.mine.user_id, origin="communication", subject="Re: The offer", body_text="Yes.",
            run_id=office.run.id, created_at=given.ago(seconds=2),
        )  # fmt: skip
        await given.row(
            "triage_decisions", communication_id=office.mail.id, decision="NURTURE", decided_by_kind="ai",
            run_id=office.run.id, created_at=given.ago(seconds=1),
        )  # fmt: skip
        await given.row(
            "entity_match_reviews", subject_type="communication", subject_id=office.mail.id, run_id=office.run.id
        )
        found = await run_results.list_results(tx, office.mine, office.run.id)
        assert [(row.kind, row.title, len(row.quotes)) for row in found] == [
            ("summary", "company overview", 1),
            ("draft", "Re: The offer", 0),
            ("triage", "nurture: The offer", 0),
            ("match_review", "put to a person: The offer", 0),
        ]

    async def test_is_only_for_those_who_see_the_run(self, tx: Tx, office: Any) -> None:
        assert await run_results.list_results(tx, office.manager, office.run.id) == []
        for run_id, caller in ((office.run.id, office.other), (uuid4(), office.manager)):
            with pytest.raises(RunNotFound):
                await run_results.list_results(tx, caller, run_id)


class TestReadSources:
    async def test_returns_the_words_that_the_reader_may_see(self, tx: Tx, given: Any, office: Any) -> None:
        note = await given.row("relationship_notes", company_id=office.company.id, note="They decide in spring.")
        task = await given.task(user=office.mine, title="Call back", description="About the fee.")
        activity = await given.activity(user=office.mine, company=office.company, subject="Call", body="Spoke to Ann.")
        ids = [office.mail.id, note.id, task.id, activity.id, uuid4()]
        mine = await run_results.read_sources(tx, office.mine, ids)
        assert {source.record: source.text for source in mine} == {
            "communication": "Please send it by Friday.",
            "note": "They decide in spring.",
            "task": "Call back\nAbout the fee.",
            "activity": "Spoke to Ann.",
        }
        others = await run_results.read_sources(tx, office.other, ids)
        assert [source.record for source in others] == ["note"]
        assert len(await run_results.read_sources(tx, office.manager, ids)) == 4
        assert await run_results.read_sources(tx, office.manager, []) == []

    async def test_leaves_out_what_was_put_away(self, tx: Tx, given: Any, office: Any) -> None:
        away = await given.communication(user=office.mine, excluded_at=given.ago(hours=1))
        assert await run_results.read_sources(tx, office.manager, [away.id]) == []


class TestNameSubjects:
    async def test_names_what_the_reader_may_see(self, tx: Tx, given: Any, office: Any) -> None:
        deal = await given.deal(company=office.company, owner=office.mine, name="Forty seats")
        ids = [office.company.id, office.mail.id, deal.id]
        mine = await run_results.name_subjects(tx, office.mine, ids)
        assert {found.name for found in mine.values()} == {"Northwind Traders", "The offer", "Forty seats"}
        others = await run_results.name_subjects(tx, office.other, ids)
        assert [found.name for found in others.values()] == ["Northwind Traders"]
        assert await run_results.name_subjects(tx, office.mine, []) == {}


class TestListMaterial:
    async def test_offers_the_newest_of_the_kinds_asked_for(self, tx: Tx, given: Any, office: Any) -> None:
        for number in range(15):
            await given.communication(
                user=office.mine, subject=f"Mail {number}", occurred_at=given.ago(days=number + 1)
            )
        noise = await given.communication(user=office.mine, noise_type="marketing")
        deal = await given.deal(owner=office.other)
        found = await prompt_material.list_material(tx, office.mine, ["communication", "deal"])
        assert [row.kind for row in found] == ["communication"] * prompt_material.EACH
        assert found[0].name.endswith(": The offer")
        assert noise.id not in {row.id for row in found}
        seen = await prompt_material.list_material(tx, office.manager, ["deal"])
        assert [row.id for row in seen] == [deal.id]
        assert await prompt_material.list_material(tx, office.manager, []) == []
