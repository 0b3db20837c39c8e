"""Placing a communication from end to end."""

import json
from typing import Any
from uuid import UUID

import pytest

from agents import runs
from agents.matching.outputs import MatchedOut
from agents.runs import Engine
from memory.callers import SYSTEM
from memory.db import Database
from tests.given import Given


async def match(engine: Engine, communication_id: UUID) -> MatchedOut:
    return await runs.perform(engine, SYSTEM, "matching", {"communication_id": communication_id}, output=MatchedOut)


async def fetch(db: Database, sql: str) -> list[dict[str, Any]]:
    async with db.reading() as tx:
        return [json.loads(row) for row in await tx.many(str, f"SELECT row_to_json(x)::text FROM ({sql}) x")]  # pyright: ignore[reportArgumentType]


class TestMatching:
    async def test_links_a_known_address_with_its_company_and_only_deal(self, engine: Engine, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            dana = await given.contact("Dana", email="dana@lee.example")
            deal = await given.deal(company=await given.fetch("companies", dana.company_id))
            row = await given.communication(user=await given.user(), sender_email="dana@lee.example")

        out = await match(engine, row.id)

        assert (out.outcome, out.company_id, out.contact_id, out.deal_id, out.method) == (
            "linked", dana.company_id, dana.id, deal.id, "sender_email",
        )  # fmt: skip
        [kept] = await fetch(db, "SELECT company_id, match_status FROM communications")
        assert kept == {"company_id": str(dana.company_id), "match_status": "auto"}
        assert (await match(engine, row.id)).outcome == "unchanged"

    async def test_links_a_colleague_by_domain(self, engine: Engine, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            acme = await given.company("Acme", domain="acme.example")
            row = await given.communication(user=await given.user(), sender_email="new@mail.acme.example")

        out = await match(engine, row.id)

        assert (out.outcome, out.company_id, out.contact_id) == ("linked", acme.id, None)

    async def test_asks_when_the_address_is_at_two_companies(self, engine: Engine, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            await given.contact("Dana", email="dana@lee.example")
            await given.contact("Dana L.", email="dana@lee.example")
            row = await given.communication(user=await given.user(), sender_email="dana@lee.example")

        assert (await match(engine, row.id)).outcome == "review"
        [review] = await fetch(db, "SELECT status, jsonb_array_length(candidates) AS offered FROM entity_match_reviews")
        assert review == {"status": "pending", "offered": 2}
        assert await fetch(db, "SELECT company_id FROM communications") == [{"company_id": None}]

    async def test_proposes_and_creates_nobody(self, engine: Engine, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            row = await given.communication(user=await given.user(), sender_email="kim@new-shop.example", sender_name="Kim Roe",
                                            full_content="Could we see a demo next week?")  # fmt: skip

        out = await match(engine, row.id)

        assert (out.outcome, out.triage) == ("review", "BOOK")
        [review] = await fetch(db, "SELECT create_company, create_contact FROM entity_match_reviews")
        assert review == {"create_company": {"name": "New Shop", "domain": "new-shop.example"},
                          "create_contact": {"name": "Kim Roe", "email": "kim@new-shop.example", "title": None}}  # fmt: skip
        assert await fetch(db, "SELECT id FROM companies UNION ALL SELECT id FROM contacts") == []

    async def test_makes_no_company_of_a_public_domain(self, engine: Engine, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            await given.company("Gmail Friends", domain="gmail.com")
            row = await given.communication(
                user=await given.user(), sender_email="kim@gmail.com", full_content="What does it cost?"
            )

        out = await match(engine, row.id)

        assert out.company_id is None
        assert [
            review["create_company"] for review in await fetch(db, "SELECT create_company FROM entity_match_reviews")
        ] in ([], [None])

    async def test_follows_the_thread(self, engine: Engine, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            rep, acme = await given.user(), await given.company("Acme")
            await given.communication(user=rep, company=acme, thread_id="t", sender_email="kim@gmail.com")
            row = await given.communication(user=rep, thread_id="t", sender_email="kim@gmail.com")

        out = await match(engine, row.id)

        assert (out.outcome, out.company_id, out.method) == ("linked", acme.id, "thread")

    @pytest.mark.parametrize("values", [{"noise_type": "calendar"}, {"direction": "internal"}])
    async def test_skips_noise_and_talk_among_ourselves(self, engine: Engine, db: Database, values: dict[str, str]):
        async with db.transaction() as tx:
            given = Given(tx)
            row = await given.communication(user=await given.user(), **values)

        assert (await match(engine, row.id)).outcome == "skipped"
