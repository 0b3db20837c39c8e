"""Drafts: gaps instead of inventions, the thread's own sender and nobody else."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from agents import runs
from agents.drafting import words
from agents.runs import Engine
from memory.callers import Caller
from memory.db import Database
from tests.given import Given
from tools import drafts, knowledge
from tools.communications.rows import CommunicationNotFound
from tools.drafts import NotLinked

ASKED = "Could you send me the price for 40 seats?"


class Scene:
    """A message of a known contact that waits for an answer."""

    rep: Caller
    other: Caller
    mail: Any
    unlinked: Any


@pytest.fixture
async def scene(db: Database) -> Scene:
    made = Scene()
    async with db.transaction() as tx:
        given = Given(tx)
        made.rep, made.other = await given.user(name="Rita Rep"), await given.user()
        bo = await given.contact("Bo Li", email="bo@acme.example")
        made.mail = await given.communication(
            user=made.rep,
            contact=bo,
            subject="Scanners",
            full_content=f"Hi Rita,\n\n{ASKED}\n\nBo",
            occurred_at=given.ago(days=3),
        )
        made.unlinked = await given.communication(user=made.rep)
    return made


async def draft(engine: Engine, scene: Scene, **asked: Any) -> dict[str, Any]:
    _, done = await runs.perform_run(engine, scene.rep, "drafting", {"communication_id": scene.mail.id, **asked})
    return done


class TestByTheRules:
    async def test_repeats_the_question_and_leaves_a_gap(self, db: Database, engine: Engine, scene: Scene) -> None:
        done = await draft(engine, scene)
        assert done["body"].startswith("Hi Bo,")
        assert ASKED in done["body"]
        assert (done["placeholders"], done["engine"], done["subject"]) == (["[[your answer]]"], "rules", "Re: Scanners")
        assert done["quality_checks"]["used_contact_name"] is True
        async with db.reading() as tx:
            kept = await drafts.get_draft(tx, scene.rep, done["draft_id"])
        assert (kept.to_emails, kept.status) == (["bo@acme.example"], "pending_review")

    async def test_a_new_draft_takes_the_place_of_an_untouched_one(
        self, db: Database, engine: Engine, scene: Scene
    ) -> None:
        await draft(engine, scene)
        await draft(engine, scene)
        async with db.reading() as tx:
            assert await tx.many(str, "SELECT status FROM email_drafts ORDER BY status") == [
                "discarded",
                "pending_review",
            ]
            assert await tx.one(int, "SELECT count(*) FROM ai_action_log WHERE action_type = 'EMAIL_DRAFTED'") == 2

    async def test_refuses_what_is_not_linked_or_not_yours(self, engine: Engine, scene: Scene) -> None:
        with pytest.raises(NotLinked):
            await runs.perform_run(engine, scene.rep, "drafting", {"communication_id": scene.unlinked.id})
        with pytest.raises(CommunicationNotFound):
            await runs.perform_run(engine, scene.other, "drafting", {"communication_id": scene.mail.id})


class TestByAModel:
    async def test_an_obedient_model_cannot_choose_the_recipient(
        self, db: Database, engine_with_model: Engine, scene: Scene, wire: Any
    ) -> None:
        wire.says(
            {
                "subject": "Wire the money",
                "body": "Hi Bo, as asked I copy boss@evil.example, see https://evil.example/pay and 40 % off.",
                "confidence": 99,
                "needs_human_review": [],
            }
        )
        done = await draft(engine_with_model, scene)
        async with db.reading() as tx:
            kept = await drafts.get_draft(tx, scene.rep, done["draft_id"])
        assert (kept.to_emails, kept.cc_emails, kept.subject) == (["bo@acme.example"], [], "Re: Scanners")
        assert done["confidence"] == 40
        assert [line.split(" that")[0] for line in done["needs_human_review"]] == ["A link", "An address", "An amount"]

    async def test_gaps_cap_the_confidence(self, engine_with_model: Engine, scene: Scene, wire: Any) -> None:
        wire.says({"subject": "x", "body": "Hi Bo, the price is [[price for 40 seats]].", "confidence": 95})
        done = await draft(engine_with_model, scene)
        assert (done["placeholders"], done["confidence"]) == (["[[price for 40 seats]]"], 60)

    async def test_says_what_the_person_wants_said(self, engine_with_model: Engine, scene: Scene, wire: Any) -> None:
        wire.says({"subject": "x", "body": "Hi Bo, the price is 99 EUR.", "confidence": 95})
        done = await draft(engine_with_model, scene, instructions="The price is 99 EUR.", tone="brief")
        assert done["needs_human_review"] == []
        assert "The price is 99 EUR." in wire.words()


class TestRecall:
    async def test_shows_what_else_was_said_and_nothing_of_a_colleagues(
        self, db: Database, engine_with_model: Engine, scene: Scene, wire: Any
    ) -> None:
        async with db.transaction() as tx:
            await Given(tx).row("knowledge_models", model="m", dimensions=3, state="answering")
            for owner, text in (
                (scene.rep, "The price for seats is agreed in March."),
                (scene.other, "A secret price for seats."),
            ):
                await knowledge.index_source(
                    tx, "note", uuid4(), text, company_id=scene.mail.company_id, owner_user_id=owner.user_id
                )
        wire.says({"subject": "x", "body": "Hi Bo, soon.", "confidence": 90})
        await draft(engine_with_model, scene)
        assert ("agreed in March" in wire.words(), "A secret price" in wire.words()) == (True, False)


class TestFreeSlots:
    def test_skips_weekends_and_what_is_taken(self) -> None:
        friday = datetime(2026, 11, 20, 12, tzinfo=UTC)
        zone = ZoneInfo("Europe/Berlin")
        monday_nine = datetime(2026, 11, 23, 9, tzinfo=zone)
        slots = words.free_slots([[monday_nine, monday_nine + timedelta(minutes=45)]], friday, zone)
        assert [slot.strftime("%a %H:%M") for slot in slots] == ["Mon 10:00", "Tue 13:00", "Wed 09:00", "Thu 13:00"]

    def test_a_full_calendar_offers_nothing(self) -> None:
        now = datetime(2026, 11, 20, 12, tzinfo=UTC)
        assert words.free_slots([[now, now + timedelta(days=60)]], now, ZoneInfo("UTC")) == []
