"""Claims on communications, and what is kept of a reading."""

import asyncio
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest

from memory.callers import SYSTEM
from memory.db import Database, Tx
from tests.given import Given
from tools.analysis import claims, context, saving
from tools.analysis.claims import AnalysisRunning, ClaimLost
from tools.analysis.saving import NewAnalysis, NewItem, SavedRow
from tools.communications.rows import CommunicationNotFound
from tools.promises import NewPromise


def reading(**values: Any) -> NewAnalysis:
    """An uneventful reading, but for what is named."""
    known: dict[str, Any] = {
        "engine": "rules", "model_used": "rules", "prompt_key": "communication_hub_analysis", "prompt_version": 1, "ai_call_id": None,
        "run_id": None, "summary": "They ask about the date.", "communication_type": "sales", "playbook_trigger": "direct_question",
        "request_type": "general_question", "products_discussed": [], "sentiment": "neutral", "sentiment_score": 0.0,
        "sentiment_confidence": 0.7, "urgency": "medium", "key_questions": [], "extracted_facts": [], "extracted_signals": [],
        "extracted_objections": [], "extracted_commitments_us": [], "extracted_commitments_them": [], "extracted_competitors": [],
        "extracted_next_steps": [], "potential_triggers": ["none"], "flags": {"requires_response": True}, "overall_confidence": 0.8,
        "promises": [], "items": [], "fulfilled_promise_ids": [],
        "thread": {"ai_priority": "medium", "ai_category": "general", "ai_sentiment": "neutral", "ai_thread_summary": "They ask about the date.",
                   "ai_suggested_action": "Answer the question"},
    }  # fmt: skip
    return NewAnalysis(**(known | values))


def promise(text: str = "Send the quote", **values: Any) -> NewPromise:
    known: dict[str, Any] = {"direction": "they_promised", "promise_text": text, "confidence": 0.9, "quote": text}
    return NewPromise(**(known | values))


async def save(tx: Tx, communication: Any, **values: Any) -> SavedRow:
    """Claim the communication and save a reading of it."""
    standing = await claims.claim_communication(tx, SYSTEM, communication.id, force=True)
    assert standing.claimed_at is not None
    return await saving.save_analysis(tx, communication.id, standing.claimed_at, reading(**values))


class TestClaimPending:
    async def test_takes_the_oldest_and_counts_the_attempt(self, tx: Tx, given: Given):
        rep = await given.user()
        newer = await given.communication(user=rep, occurred_at=given.ago(hours=1))
        older = await given.communication(user=rep, occurred_at=given.ago(hours=2))

        [claim] = await claims.claim_pending(tx, limit=1)

        assert claim.id == older.id
        assert (await given.fetch("communications", older.id)).analysis_attempts == 1
        assert [again.id for again in await claims.claim_pending(tx, limit=9)] == [newer.id]

    async def test_skips_noise_and_leaves_the_excluded_alone(self, tx: Tx, given: Given):
        rep = await given.user()
        noise = await given.communication(user=rep, noise_type="calendar")
        await given.communication(user=rep, excluded_at=given.ago(hours=1))

        assert await claims.claim_pending(tx, limit=9) == []
        assert (await given.fetch("communications", noise.id)).analysis_status == "skipped"
        assert not await claims.has_pending(tx)

    async def test_takes_back_what_a_dead_reader_held_and_gives_up_after_three(self, tx: Tx, given: Given):
        rep = await given.user()
        long_ago = given.ago(minutes=16)
        lost = await given.communication(
            user=rep, analysis_status="processing", analysis_claimed_at=long_ago, analysis_attempts=1
        )
        hopeless = await given.communication(
            user=rep, analysis_status="processing", analysis_claimed_at=long_ago, analysis_attempts=3
        )
        held = await given.communication(
            user=rep, analysis_status="processing", analysis_claimed_at=given.ago(minutes=1)
        )

        assert [claim.id for claim in await claims.claim_pending(tx, limit=9)] == [lost.id]
        given_up = await given.fetch("communications", hopeless.id)
        assert (given_up.analysis_status, given_up.analysis_error) == ("failed", "the reader died")
        assert (await given.fetch("communications", held.id)).analysis_status == "processing"

    async def test_never_gives_one_to_two_workers(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep = await given.user()
            for _ in range(40):
                await given.communication(user=rep)

        async def work() -> list[UUID]:
            taken: list[UUID] = []
            while True:
                async with db.transaction() as tx:
                    batch = await claims.claim_pending(tx, limit=3)
                if not batch:
                    return taken
                taken += [claim.id for claim in batch]

        taken = [id for batch in await asyncio.gather(*(work() for _ in range(6))) for id in batch]

        assert len(taken) == len(set(taken)) == 40


class TestClaimCommunication:
    async def test_refuses_one_that_is_being_read(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        await claims.claim_communication(tx, SYSTEM, mail.id, force=False)

        with pytest.raises(AnalysisRunning):
            await claims.claim_communication(tx, SYSTEM, mail.id, force=True)

    async def test_leaves_what_was_read_unless_forced(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        analysis = await given.analysis(mail)

        standing = await claims.claim_communication(tx, SYSTEM, mail.id, force=False)

        assert (standing.status, standing.analysis_id) == ("unchanged", analysis.id)
        assert (await claims.claim_communication(tx, SYSTEM, mail.id, force=True)).status == "claimed"

    async def test_skips_noise(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user(), noise_type="marketing")

        assert (await claims.claim_communication(tx, SYSTEM, mail.id, force=True)).status == "skipped"

    async def test_hides_the_mail_of_others(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        with pytest.raises(CommunicationNotFound):
            await claims.claim_communication(tx, await given.user(), mail.id, force=False)


class TestReleaseFailed:
    async def test_gives_it_back_twice_and_up_the_third_time_with_the_reason(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        seen: list[tuple[str, str]] = []
        for attempt in range(3):
            [claim] = await claims.claim_pending(tx, limit=1)
            await claims.release_failed(tx, mail.id, claim.claimed_at, f"failure {attempt}")
            row = await given.fetch("communications", mail.id)
            seen.append((row.analysis_status, row.analysis_error))

        assert seen == [("pending", "failure 0"), ("pending", "failure 1"), ("failed", "failure 2")]
        assert await claims.claim_pending(tx, limit=1) == []

    async def test_does_nothing_to_a_claim_of_somebody_else(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        [claim] = await claims.claim_pending(tx, limit=1)

        assert not await claims.release_failed(tx, mail.id, claim.claimed_at - timedelta(seconds=1), "late")
        assert (await given.fetch("communications", mail.id)).analysis_status == "processing"


class TestGetMessageContext:
    async def test_reads_thread_company_and_open_promises_of_the_same_mailbox(self, tx: Tx, given: Given):
        rep, other = await given.user(timezone="Europe/Berlin"), await given.user()
        acme = await given.company("Acme", status="customer")
        await given.product("Voice Desk")
        first = await given.communication(
            user=rep, company=acme, thread_id="t", full_content="Earlier words.", occurred_at=given.ago(days=2)
        )
        ours = await given.promise(
            owner=rep, company=acme, communication=first, promise_text="Send it", promised_at=given.ago(days=2)
        )
        await given.promise(owner=other, company=acme)
        await given.promise(owner=rep, company=acme, is_hidden=True)
        await given.row("relationship_items", company_id=acme.id, kind="fact", text="40 vans", confidence=0.9, source_type="email",
                        occurred_at=given.ago(days=9), text_hash="a")  # fmt: skip
        await given.row("relationship_items", company_id=acme.id, kind="fact", text="a guess", confidence=0.6, source_type="email",
                        occurred_at=given.ago(days=9), text_hash="b")  # fmt: skip
        mail = await given.communication(user=rep, company=acme, thread_id="t")

        found = await context.get_message_context(tx, rep, mail.id)

        assert (found.timezone, found.company_name, found.company_status) == ("Europe/Berlin", "Acme", "customer")
        assert [earlier.said for earlier in found.earlier] == ["Earlier words."]
        assert [known.text for known in found.known] == ["40 vans"]
        assert [(offered.id, offered.in_thread) for offered in found.open_promises] == [(ours.id, True)]
        assert found.products == ["Voice Desk"]

    async def test_hides_the_mail_of_others(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        with pytest.raises(CommunicationNotFound):
            await context.get_message_context(tx, await given.user(), mail.id)


class TestSaveAnalysis:
    async def test_makes_the_next_version_current(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        first = await save(tx, mail, summary="One.")
        second = await save(tx, mail, summary="Two.")

        assert (first.version, second.version) == (1, 2)
        current = await tx.many(
            UUID, "SELECT id FROM communication_analysis WHERE communication_id = %(id)s AND is_current", id=mail.id
        )
        assert current == [second.analysis_id]
        row = await given.fetch("communications", mail.id)
        assert (row.analysis_status, row.current_analysis_id, row.analysis_claimed_at) == (
            "complete",
            second.analysis_id,
            None,
        )

    async def test_keeps_nothing_once_the_claim_is_lost(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        [claim] = await claims.claim_pending(tx, limit=1)

        with pytest.raises(ClaimLost):
            await saving.save_analysis(
                tx, mail.id, claim.claimed_at - timedelta(seconds=1), reading(promises=[promise()])
            )
        assert await tx.one(int, "SELECT count(*) FROM communication_analysis") == 0
        assert await tx.one(int, "SELECT count(*) FROM promises") == 0

    async def test_lets_the_playbook_say_when_the_answer_is_due(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        await save(tx, mail, playbook_trigger="pricing_request")

        row = await given.fetch("communications", mail.id)
        assert row.awaiting_our_response
        assert (row.response_sla_minutes, row.response_due_by) == (120, mail.occurred_at + timedelta(minutes=120))

    async def test_waits_for_nothing_when_no_answer_is_wanted(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        await save(tx, mail, flags={"requires_response": False})

        row = await given.fetch("communications", mail.id)
        assert (row.awaiting_our_response, row.response_due_by) == (False, None)

    async def test_does_not_wait_again_for_what_was_answered(self, tx: Tx, given: Given):
        rep = await given.user()
        mail = await given.communication(user=rep, thread_id="t", occurred_at=given.ago(hours=5))
        await given.communication(user=rep, thread_id="t", direction="outbound", occurred_at=given.ago(hours=2))

        await save(tx, mail)

        assert not (await given.fetch("communications", mail.id)).awaiting_our_response

    async def test_waits_for_them_when_we_asked(self, tx: Tx, given: Given):
        rep = await given.user()
        asked = await given.communication(user=rep, direction="outbound")
        told = await given.communication(user=rep, direction="outbound")

        await save(tx, asked, key_questions=[{"question": "When?", "quote": "When?", "confidence": 0.9}])
        await save(tx, told)

        assert (await given.fetch("communications", asked.id)).awaiting_their_response
        assert not (await given.fetch("communications", told.id)).awaiting_their_response

    async def test_keeps_what_was_learned_once(self, tx: Tx, given: Given):
        acme = await given.company("Acme")
        mail = await given.communication(user=await given.user(), company=acme)
        item = NewItem(kind="objection", text="The price is too high.", quote="price is too high", confidence=0.9)

        await save(tx, mail, items=[item])
        await save(tx, mail, items=[item.model_copy(update={"text": "the PRICE is too high.", "confidence": 0.95})])

        rows = await tx.many(float, "SELECT confidence FROM relationship_items WHERE company_id = %(id)s", id=acme.id)
        assert rows == [0.95]

    async def test_does_not_bring_back_what_a_person_retracted(self, tx: Tx, given: Given):
        acme = await given.company("Acme")
        mail = await given.communication(user=await given.user(), company=acme)
        item = NewItem(kind="fact", fact_type="business", text="40 vans", quote="40 vans", confidence=0.9)
        await save(tx, mail, items=[item])
        await tx.run("UPDATE relationship_items SET status = 'retracted'")

        again = await save(tx, mail, items=[item])

        assert again.items == 0
        assert await tx.one(int, "SELECT count(*) FROM relationship_items WHERE status = 'active'") == 0

    async def test_learns_nothing_about_nobody(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        saved = await save(tx, mail, items=[NewItem(kind="fact", text="x", quote="x", confidence=0.9)])

        assert saved.items == 0

    async def test_shows_the_newest_message_in_the_conversation(self, tx: Tx, given: Given):
        rep = await given.user()
        talk = await given.row("email_conversations", user_id=rep.user_id, conversation_id="t")
        older = await given.communication(user=rep, thread_id="t", direction="outbound", occurred_at=given.ago(days=2))
        newer = await given.communication(user=rep, thread_id="t", occurred_at=given.ago(days=1))

        await save(tx, newer, thread=reading().thread.model_copy(update={"ai_priority": "high"}))
        await save(tx, older)

        row = await given.fetch("email_conversations", talk.id)
        assert (row.ai_priority, row.analyzed_through_at) == ("high", newer.occurred_at)
        assert row.response_due_at == newer.occurred_at + timedelta(minutes=240)

    async def test_waits_until_they_are_back(self, tx: Tx, given: Given):
        rep = await given.user(timezone="Europe/Berlin")
        talk = await given.row("email_conversations", user_id=rep.user_id, conversation_id="t")
        mail = await given.communication(user=rep, thread_id="t")

        await save(tx, mail, flags={"requires_response": False}, away_until=date(2030, 3, 10))

        row = await given.fetch("email_conversations", talk.id)
        assert (row.response_due_at.isoformat(), row.sla_status) == ("2030-03-10T23:00:00+00:00", "ok")

    async def test_outdates_summaries_and_asks_memory_to_look(self, tx: Tx, given: Given):
        acme = await given.company("Acme")
        deal = await given.deal(company=acme)
        for column, id in (("company_id", acme.id), ("deal_id", deal.id)):
            await given.row("ai_summaries", **{column: id}, summary_type="deal_overview", summary_text="s", context_hash="h",
                            generated_at=given.ago(days=1), **_empty_summary())  # fmt: skip
        mail = await given.communication(user=await given.user(), company=acme)

        await save(tx, mail)

        assert await tx.one(int, "SELECT count(*) FROM ai_summaries WHERE stale") == 2
        assert await tx.one(int, "SELECT count(*) FROM outbox WHERE job = 'knowledge.collect'") == 1

    async def test_is_one_entry_in_the_activity_log(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())

        await save(tx, mail)

        logged = await tx.many(
            str, "SELECT action_type || ' ' || status FROM ai_action_log WHERE communication_id = %(id)s", id=mail.id
        )
        assert logged == ["ANALYSIS_COMPLETED success"]


def _empty_summary() -> dict[str, Any]:
    from memory.db import Json

    return {"summary": Json({})}
