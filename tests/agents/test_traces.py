"""Every result of an agent leads back to the words it was asked with, to its call, its run and its sources."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from agents import runs
from agents.runs import Engine
from memory.callers import Caller
from memory.db import Database, Tx
from prompts import registry
from tests.agents import test_advising
from tests.given import Given
from tools import ai_prompts, ai_traces
from tools.ai_traces import ResultNotFound, TraceOut

from .conftest import hire

TEXT = (
    "Hello Rita, we will send you the list of seats by Friday. Our budget of 20,000 is approved. "
    "Could you send the security questionnaire?"
)


@pytest.fixture
async def mail(db: Database, rep: Caller) -> Any:
    """A customer's mail, and the prompts as the service ships them."""
    async with db.transaction() as tx:
        await ai_prompts.sync_shipped(tx, registry.shelf())
        given = Given(tx)
        company = await given.company("Acme", domain="acme.example")
        contact = await given.contact("Ann Acme", company=company, email="ann@acme.example")
        deal = await given.deal(company=company, owner=rep, name="Pilot")
        return await given.communication(
            user=rep, company=company, contact=contact, deal=deal, subject="Seats", full_content=TEXT
        )


@pytest.fixture
async def stranger_mail(db: Database, rep: Caller) -> Any:
    """A mail of somebody whom nobody knows."""
    async with db.transaction() as tx:
        await ai_prompts.sync_shipped(tx, registry.shelf())
        return await Given(tx).communication(
            user=rep, sender_email="zoe@unknown.example", sender_name="Zoe", subject="Demo",
            full_content="Could you show us a demo next week? We run forty trucks.",
        )  # fmt: skip


async def ids(db: Database, sql: Any) -> list[UUID]:
    async with db.reading() as tx:
        return await tx.many(UUID, sql)


async def trace(db: Database, caller: Caller, result_id: UUID) -> TraceOut:
    async with db.reading() as tx:
        return await ai_traces.get_trace(tx, caller, result_id)


def behind(found: TraceOut) -> tuple[str, int, str, bool, str, str]:
    """What stands behind a result: its prompt, how that was asked, and which agent did."""
    assert found.prompt is not None
    assert found.call is not None
    assert found.run is not None
    assert found.call.prompt_key == found.prompt.key
    return (
        found.prompt.key, found.prompt.version, found.prompt.source, found.prompt.is_active, found.call.engine, found.run.agent,
    )  # fmt: skip


async def test_every_table_that_keeps_an_answer_names_its_prompt(db: Database):
    async with db.reading() as tx:
        tables = await tx.many(
            str,
            """
            SELECT table_name FROM information_schema.columns
             WHERE table_schema = 'public' AND column_name IN ('engine', 'prompt_key', 'prompt_version') AND table_name <> 'agent_runs'
             GROUP BY 1 HAVING count(*) FILTER (WHERE left(column_name, 6) = 'prompt') < 2
            """,
        )
    assert tables == []


class TestGetTrace:
    async def test_leads_from_all_that_a_reading_leaves(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        await runs.perform_run(engine, rep, "analysis", {"communication_id": str(mail.id)})
        for kind, sql in (
            ("analysis", "SELECT id FROM communication_analysis"),
            ("promise", "SELECT id FROM promises"),
            ("relationship_item", "SELECT id FROM relationship_items"),
            ("action", "SELECT id FROM ai_action_log WHERE action_type = 'ANALYSIS_COMPLETED'"),
            ("call", "SELECT id FROM ai_calls"),
        ):
            results = await ids(db, sql)
            assert results, kind
            for result_id in results:
                found = await trace(db, rep, result_id)
                assert found.result.kind == kind
                assert behind(found) == ("communication_hub_analysis", 1, "database", True, "rules", "analysis")
                assert {source.id for source in found.sources} == {mail.id}
        (promise_id,) = await ids(db, "SELECT id FROM promises WHERE direction = 'they_promised'")
        (source,) = (await trace(db, rep, promise_id)).sources
        assert source.quote is not None
        assert source.quote in TEXT

    async def test_leads_from_a_draft(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        await runs.perform_run(engine, rep, "drafting", {"communication_id": str(mail.id)})
        (draft_id,) = await ids(db, "SELECT id FROM email_drafts")
        found = await trace(db, rep, draft_id)
        assert behind(found) == ("email_followup_needs_reply", 1, "database", True, "rules", "drafting")
        assert [(source.type, source.id) for source in found.sources] == [("communication", mail.id)]

    async def test_leads_from_a_summary_with_its_quotes(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        await runs.perform_run(engine, rep, "summaries", {"type": "deal", "id": str(mail.deal_id)})
        (summary_id,) = await ids(db, "SELECT id FROM ai_summaries")
        found = await trace(db, rep, summary_id)
        assert behind(found) == ("deal_summary", 1, "database", True, "rules", "summaries")
        assert all(source.quote for source in found.sources)
        assert found.sources
        (action_id,) = await ids(db, "SELECT id FROM ai_action_log WHERE action_type = 'SUMMARY_GENERATED'")
        assert behind(await trace(db, rep, action_id)) == behind(found)

    async def test_leads_from_triage(self, db: Database, engine: Engine, rep: Caller, stranger_mail: Any):
        await runs.perform_run(engine, rep, "matching", {"communication_id": str(stranger_mail.id)})
        results = await ids(
            db,
            "SELECT id FROM triage_decisions UNION SELECT id FROM entity_match_reviews UNION SELECT id FROM ai_action_log",
        )
        assert results
        for result_id in results:
            found = await trace(db, rep, result_id)
            assert behind(found) == ("entity_matching", 1, "database", True, "rules", "matching")

    async def test_leads_from_a_link(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        async with db.transaction() as tx:
            loose = await Given(tx).communication(user=rep, sender_email="ann@acme.example", sender_name="Ann Acme")
        await runs.perform_run(engine, rep, "matching", {"communication_id": str(loose.id)})
        (action_id,) = await ids(db, "SELECT id FROM ai_action_log WHERE action_type = 'ENTITY_LINKED'")
        assert behind(await trace(db, rep, action_id))[0] == "entity_matching"

    async def test_knows_the_version_that_answered_after_another_was_released(
        self, db: Database, engine: Engine, rep: Caller, mail: Any
    ):
        await runs.perform_run(engine, rep, "analysis", {"communication_id": str(mail.id)})
        admin = await hire(db, "Ada Admin", "admin")
        async with db.transaction() as tx:
            prompt = await ai_prompts.get_prompt_by_key(tx, admin, "communication_hub_analysis")
            body = ai_prompts.UpdatePromptIn(prompt_template="New {{ content }}", override_reason="For a test")
            await ai_prompts.update_prompt(tx, admin, prompt.id, body, ("admin",))
        (analysis_id,) = await ids(db, "SELECT id FROM communication_analysis")
        found = (await trace(db, rep, analysis_id)).prompt
        assert found is not None
        assert (found.version, found.is_active, found.active_version) == (1, False, 2)

    async def test_says_when_words_came_from_a_file(self, db: Database, engine: Engine, rep: Caller, mail: Any):
        async with db.transaction() as tx:
            await tx.run("UPDATE ai_prompts SET is_active = false")
        await runs.perform_run(engine, rep, "analysis", {"communication_id": str(mail.id)})
        (analysis_id,) = await ids(db, "SELECT id FROM communication_analysis")
        found = (await trace(db, rep, analysis_id)).prompt
        assert found is not None
        assert (found.source, found.prompt_id) == ("file", None)

    async def test_shows_nothing_to_those_who_may_not_see_it(
        self, db: Database, engine: Engine, rep: Caller, mail: Any
    ):
        await runs.perform_run(engine, rep, "analysis", {"communication_id": str(mail.id)})
        await runs.perform_run(engine, rep, "summaries", {"type": "deal", "id": str(mail.deal_id)})
        await runs.perform_run(engine, rep, "drafting", {"communication_id": str(mail.id)})
        stranger, manager = await hire(db, "Sam Stranger"), await hire(db, "Mona Manager", "manager")
        results = await ids(
            db,
            """
            SELECT id FROM communication_analysis UNION SELECT id FROM promises UNION SELECT id FROM relationship_items
            UNION SELECT id FROM ai_action_log UNION SELECT id FROM ai_calls UNION SELECT id FROM ai_summaries
            UNION SELECT id FROM email_drafts
            """,
        )
        for result_id in results:
            with pytest.raises(ResultNotFound):
                await trace(db, stranger, result_id)
            assert (await trace(db, manager, result_id)).result.id == result_id

    async def test_refuses_what_does_not_exist(self, db: Database, rep: Caller):
        with pytest.raises(ResultNotFound):
            await trace(db, rep, uuid4())


class TestSuggestion:
    async def test_leads_back_to_prompt_run_and_the_words_it_rests_on(self, db: Database, engine: Engine):
        scene = await test_advising.stage(db)
        done = await test_advising.advise(engine, scene)
        async with db.reading() as tx:
            trace = await ai_traces.get_trace(tx, scene.rep, done.suggestion_ids[0])
            assert trace.prompt is not None
            assert trace.run is not None
            assert (trace.result.kind, trace.prompt.key, trace.run.agent) == (
                "suggestion",
                "lifecycle_advice",
                "advising",
            )
            assert [(source.id, source.quote) for source in trace.sources] == [(scene.mail.id, test_advising.QUOTE)]
            other = await caller_of(tx, "Otto Other")
            assert await ai_traces.find_trace(tx, other, done.suggestion_ids[0]) is None


async def caller_of(tx: Tx, name: str) -> Caller:
    user_id = await tx.one(UUID, "SELECT id FROM users WHERE name = %(name)s", name=name)
    return Caller(user_id, "rep", name)
