"""Reading a communication from end to end: by rules, by a model at the wire, once, again, and never twice."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from agents import runs
from agents.analysis import checks
from agents.analysis.outputs import AnalyzedOut, Commitment, Competitor, Flags, Message, OpenPromise, Question, Reading
from agents.models import Door
from agents.runs import Engine
from memory.callers import SYSTEM, Caller
from memory.db import Database
from memory.settings import Settings
from tests.given import Given
from tools.analysis import claims
from tools.analysis.claims import AnalysisRunning, ClaimLost

from .conftest import Pauses, Wire, refusal

TEXT = "Hi Jo,\n\nThe price is above our budget. Could you send a revised quote by Friday?\nI'll check with our CFO and get back to you next week.\n\nDana"


@pytest.fixture
async def model_engine(
    settings_with_model: Settings, db: Database, wire: Wire, pauses: Pauses
) -> AsyncIterator[Engine]:
    """An engine whose model is scripted at the wire."""
    opened = Engine(settings_with_model, db, Door(settings_with_model, db, sleep=pauses))
    yield opened
    await opened.close()


async def mail(db: Database, **values: Any) -> Any:
    """A mail of a known contact, in a conversation."""
    async with db.transaction() as tx:
        given = Given(tx)
        rep = await given.user(
            name="Jo Park", timezone="America/New_York", email=f"jo-{uuid4().hex[:6]}@ours.example", auth_id=uuid4().hex
        )
        dana = await given.contact("Dana Lee", email="dana@lee.example")
        await given.row("email_conversations", user_id=rep.user_id, conversation_id="t")
        known = {"full_content": TEXT, "thread_id": "t", "occurred_at": datetime(2026, 3, 4, 15, tzinfo=UTC)}
        return await given.communication(user=rep, contact=dana, **(known | values))


async def fetch(db: Database, sql: str, **params: Any) -> list[dict[str, Any]]:
    async with db.reading() as tx:
        return [json.loads(row) for row in await tx.many(str, f"SELECT row_to_json(x)::text FROM ({sql}) x", **params)]  # pyright: ignore[reportArgumentType]


async def analyze(engine: Engine, communication_id: UUID, caller: Caller = SYSTEM, **input: Any) -> AnalyzedOut:
    return await runs.perform(
        engine, caller, "analysis", {"communication_id": communication_id} | input, output=AnalyzedOut
    )


def reading(**values: Any) -> dict[str, Any]:
    """What a model might answer to TEXT."""
    known = {
        "summary": "Dana finds the price too high and asks for a revised quote.", "communication_type": "sales",
        "playbook_trigger": "pricing_request", "request_type": "pricing_question", "products_discussed": [], "sentiment": "concerned",
        "sentiment_score": -0.3, "sentiment_confidence": 0.8, "urgency": "medium",
        "key_questions": [{"question": "Send a revised quote", "quote": "Could you send a revised quote by Friday?", "confidence": 0.95}],
        "commitments_them": [{"commitment": "Ask the CFO and answer", "quote": "I'll check with our CFO and get back to you next week",
                              "confidence": 0.9, "due_text": "next week", "due_by": "", "who": ""}],
        "flags": {"requires_response": True, "contains_pricing": True, "contains_objection": True, "is_simple_logistics": False,
                  "injection_suspected": False},
        "overall_confidence": 0.9,
    }  # fmt: skip
    return known | values


class TestAnalysis:
    async def test_reads_a_mail_and_keeps_everything_it_says(self, engine: Engine, db: Database):
        row = await mail(db)

        out = await analyze(engine, row.id)

        assert (out.status, out.version, out.engine, out.promises) == ("complete", 1, "rules", 1)
        [analysis] = await fetch(db, "SELECT * FROM communication_analysis")
        assert (analysis["playbook_trigger"], analysis["is_current"], analysis["engine"]) == (
            "pricing_request",
            True,
            "rules",
        )
        assert [item["objection"] for item in analysis["extracted_objections"]] == ["price"]
        [promise] = await fetch(db, "SELECT * FROM promises")
        assert (promise["direction"], promise["promise_text"]) == (
            "they_promised",
            "Check with our CFO and get back to you next week",
        )
        assert promise["quote"] in TEXT
        assert promise["due_by"].startswith("2026-03-12T03:59:00")
        assert [item["kind"] for item in await fetch(db, "SELECT kind FROM relationship_items")] == ["objection"]
        [kept] = await fetch(
            db, "SELECT analysis_status, awaiting_our_response, response_sla_minutes FROM communications"
        )
        assert kept == {"analysis_status": "complete", "awaiting_our_response": True, "response_sla_minutes": 120}
        [talk] = await fetch(db, "SELECT ai_category, ai_priority FROM email_conversations")
        assert talk == {"ai_category": "pricing", "ai_priority": "high"}

    async def test_keeps_what_a_model_answers(self, model_engine: Engine, db: Database, wire: Wire):
        row = await mail(db)
        wire.says(reading())

        out = await analyze(model_engine, row.id)

        assert (out.engine, out.degraded, out.promises, out.hidden) == ("openai", None, 1, 0)
        [promise] = await fetch(db, "SELECT promise_text, due_by, due_text FROM promises")
        assert (promise["promise_text"], promise["due_text"]) == ("Ask the CFO and answer", "next week")
        assert promise["due_by"].startswith("2026-03-12T03:59:00")
        [analysis] = await fetch(db, "SELECT model_used, prompt_key, ai_call_id FROM communication_analysis")
        assert (analysis["model_used"], analysis["prompt_key"]) == ("strong", "communication_hub_analysis")
        assert analysis["ai_call_id"] == (await fetch(db, "SELECT id FROM ai_calls"))[0]["id"]

    async def test_is_read_by_rules_when_the_provider_is_down(self, model_engine: Engine, db: Database, wire: Wire):
        row = await mail(db)
        wire.says(refusal(500))

        out = await analyze(model_engine, row.id)

        assert (out.status, out.engine) == ("complete", "rules")
        assert out.degraded is not None

    async def test_reads_again_only_by_force_and_doubles_no_promise(self, engine: Engine, db: Database):
        row = await mail(db)
        first = await analyze(engine, row.id)

        unchanged = await analyze(engine, row.id)
        again = await analyze(engine, row.id, force=True)

        assert (unchanged.status, unchanged.analysis_id) == ("unchanged", first.analysis_id)
        assert (again.status, again.version) == ("complete", 2)
        assert len(await fetch(db, "SELECT id FROM promises")) == 1
        assert await fetch(db, "SELECT version FROM communication_analysis WHERE is_current") == [{"version": 2}]

    async def test_skips_noise_without_asking_anybody(self, model_engine: Engine, db: Database, wire: Wire):
        row = await mail(db, noise_type="marketing")

        assert (await analyze(model_engine, row.id)).status == "skipped"
        assert wire.asked == []

    async def test_refuses_one_that_somebody_else_reads(self, engine: Engine, db: Database):
        row = await mail(db)
        async with db.transaction() as tx:
            await claims.claim_pending(tx, limit=1)

        with pytest.raises(AnalysisRunning):
            await analyze(engine, row.id)

    async def test_two_at_once_read_it_once(self, engine: Engine, db: Database):
        row = await mail(db)

        results = await asyncio.gather(*(analyze(engine, row.id) for _ in range(4)), return_exceptions=True)

        read = [result for result in results if isinstance(result, AnalyzedOut) and result.status == "complete"]
        assert len(read) == 1
        assert all(isinstance(result, AnalysisRunning | AnalyzedOut) for result in results)
        assert len(await fetch(db, "SELECT id FROM communication_analysis")) == 1

    async def test_keeps_nothing_when_the_claim_went_to_another_reader(self, engine: Engine, db: Database):
        row = await mail(db)
        async with db.transaction() as tx:
            [claim] = await claims.claim_pending(tx, limit=1)
        async with db.transaction() as tx:
            await tx.run("UPDATE communications SET analysis_claimed_at = now()")

        with pytest.raises(ClaimLost):
            await analyze(engine, row.id, claimed_at=claim.claimed_at)
        assert await fetch(db, "SELECT id FROM communication_analysis") == []
        assert await fetch(db, "SELECT id FROM promises") == []

    async def test_marks_a_promise_as_kept_by_the_message_that_keeps_it(self, engine: Engine, db: Database):
        row = await mail(db, direction="outbound", full_content="Attached is the revised quote.")
        async with db.transaction() as tx:
            given = Given(tx)
            owner = Caller(user_id=row.user_id, role="rep")
            company = type("Company", (), {"id": row.company_id})
            await given.promise(
                owner=owner,
                company=company,
                promise_text="Send you the revised quote",
                promised_at=datetime(2026, 3, 1, tzinfo=UTC),
            )

        assert (await analyze(engine, row.id)).fulfilled == 1
        [promise] = await fetch(db, "SELECT status, completed_communication_id FROM promises")
        assert promise == {"status": "completed", "completed_communication_id": str(row.id)}


def message(content: str = TEXT, **values: Any) -> Message:
    known: dict[str, Any] = {
        "channel": "email", "direction": "inbound", "sentAt": datetime(2026, 3, 4, 15, tzinfo=UTC), "timezone": "America/New_York",
        "subject": "Proposal", "content": content, "ourParticipants": [], "theirParticipants": [], "threadTail": "", "relationshipContext": "",
        "openPromises": [], "products": ["Voice Desk"], "competitors": [], "priceWords": [], "playbookTriggers": [],
    }  # fmt: skip
    return Message(**(known | values))


def check(
    message: Message, offered: list[UUID] | None = None, *, suspected: bool = False, **values: Any
) -> checks.Checked:
    return checks.check(Reading.model_validate(reading(**values)), message, offered or [], suspected=suspected)


class TestCheck:
    def test_drops_what_the_message_does_not_say(self):
        invented = Question(question="Pay now", quote="Please wire the money today", confidence=0.99)
        checked = check(message(), key_questions=[invented])

        assert (checked.kept["key_questions"], checked.hidden) == ([], 1)

    def test_marks_what_is_only_possible(self):
        unsure = Question(question="Quote", quote="Could you send a revised quote by Friday?", confidence=0.75)
        [kept] = check(message(), key_questions=[unsure]).kept["key_questions"]

        assert kept["certainty"] == "possible"

    def test_lets_nobody_promise_for_the_other_side_in_a_mail(self):
        quote = "Could you send a revised quote by Friday?"
        forced = [Commitment(commitment="Send a quote", quote=quote, confidence=0.99)]

        assert check(message(), commitments_us=forced, commitments_them=[]).kept["promises"] == []
        assert len(check(message(channel="meeting"), commitments_us=forced, commitments_them=[]).kept["promises"]) == 1

    def test_resolves_the_words_itself_and_believes_no_date_far_away(self):
        def due(**values: Any) -> Any:
            item = Commitment(
                commitment="Answer", quote="I'll check with our CFO and get back to you", confidence=0.9, **values
            )
            return check(message(), commitments_them=[item]).kept["promises"][0]["due_by"]

        assert due(due_text="next week", due_by="2031-01-01").isoformat() == "2026-03-12T03:59:00+00:00"
        assert due(due_text="never said", due_by="2026-03-06").isoformat() == "2026-03-07T04:59:00+00:00"
        assert due(due_by="2099-01-01") is None
        assert due(due_by="soon") is None

    def test_knows_promises_only_by_the_numbers_it_offered(self):
        ids = [uuid4(), uuid4()]
        offered = [
            OpenPromise(number=1, who="us", promise="p", promised_on="2026-01-01"),
            OpenPromise(number=2, who="them", promise="p", promised_on="2026-01-01"),
        ]
        inbound = check(message(openPromises=offered), ids, fulfilled_promises=[2, 1, 7, 0, -1, 2])
        outbound = check(message(openPromises=offered, direction="outbound"), ids, fulfilled_promises=[1, 2])

        assert inbound.kept["fulfilled_promise_ids"] == [ids[1]]
        assert outbound.kept["fulfilled_promise_ids"] == ids

    def test_keeps_offered_products_and_named_competitors_only(self):
        ghost = Competitor(competitor="Ghost", quote="The price is above our budget", confidence=0.9)
        checked = check(message(), products_discussed=["voice desk", "Other"], competitors=[ghost])

        assert checked.kept["products_discussed"] == ["Voice Desk"]
        assert checked.kept["extracted_competitors"] == []

    def test_takes_an_unknown_trigger_for_one_to_be_classified(self):
        assert (
            check(message(), playbook_trigger="launch_missiles").kept["playbook_trigger"] == "needs_ai_classification"
        )

    def test_learns_nothing_from_a_message_that_talks_to_machines_and_is_sure_of_nothing_in_it(self):
        objection = {
            "objection": "price",
            "detail": "",
            "addressed": False,
            "quote": "The price is above our budget",
            "confidence": 0.99,
        }
        trusted, suspected = (
            check(message(), objections=[objection]),
            check(message(), objections=[objection], suspected=True),
        )

        assert len(trusted.kept["items"]) == 1
        assert suspected.kept["items"] == []
        assert suspected.kept["flags"]["injection_suspected"]
        assert {item["certainty"] for item in suspected.kept["extracted_objections"]} == {"possible"}
        assert suspected.kept["overall_confidence"] < 0.85

    def test_wants_an_answer_to_inbound_messages_only(self):
        flags = Flags(requires_response=True)

        assert not check(message(direction="outbound"), flags=flags).kept["flags"]["requires_response"]
