"""Commands on what is remembered of a product: one round trip when it is right, and never a wrong decision when it is not."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest

from memory import events, projections
from memory.callers import SYSTEM, Caller
from memory.db import Database, Tx
from memory.events import Command, CommandRepeated, StreamMoved
from memory.recall import Recall
from tests.given import Given
from tests.tools.shop import Shop
from tools import company_products, lifecycle
from tools.lifecycle import EventOut, state

Work = Callable[[Tx], Awaitable[list[EventOut]]]


@pytest.fixture
async def shop(db: Database) -> Shop:
    async with db.transaction() as tx:
        shop = await Shop(Given(tx)).open()
        await lifecycle.execute(tx, SYSTEM, shop.row.id, shop.start)
    return shop


def asking(shop: Shop, *asks: lifecycle.Ask, by: Caller = SYSTEM, **options: Any) -> Work:
    async def work(tx: Tx) -> list[EventOut]:
        return await lifecycle.execute(tx, by, shop.row.id, *asks, **options)

    return work


def tier(number: int) -> lifecycle.SetTierIn:
    return lifecycle.SetTierIn(tier=number)


async def tiers(db: Database, shop: Shop) -> list[tuple[int | None, int]]:
    """Return from what to what the tier went."""
    async with db.reading() as tx:
        history = await events.read(tx, lifecycle.STREAM, shop.row.id)
    return [(each.data["from_tier"], each.data["to_tier"]) for each in history if each.type == state.TIER_SET]


class Statements:
    """How many statements were sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        execute = psycopg.AsyncCursor.execute

        async def counted(cursor: psycopg.AsyncCursor[Any], *args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return await execute(cursor, *args, **kwargs)

        monkeypatch.setattr(psycopg.AsyncCursor, "execute", counted)

    async def of(self, work: Awaitable[object]) -> int:
        before = self.count
        await work
        return self.count - before


class TestRemembered:
    async def test_the_next_command_is_one_statement(
        self, db: Database, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        statements = Statements(monkeypatch)
        await db.decide(asking(shop, tier(1)))
        assert await statements.of(db.decide(asking(shop, tier(2), lifecycle.SetSeatsIn(seats=5)))) == 1
        assert await tiers(db, shop) == [(None, 1), (1, 2)]

    async def test_a_change_by_another_process_is_never_overlooked(
        self, db: Database, other: Database, shop: Shop
    ) -> None:
        await db.decide(asking(shop, tier(1)))
        await other.decide(asking(shop, tier(2)))
        await db.decide(asking(shop, tier(3)))
        await other.decide(asking(shop, tier(4)))
        assert await tiers(db, shop) == [(None, 1), (1, 2), (2, 3), (3, 4)]

    async def test_nothing_to_change_is_only_believed_of_the_present(
        self, db: Database, other: Database, shop: Shop
    ) -> None:
        await db.decide(asking(shop, tier(1)))
        await other.decide(asking(shop, tier(2)))
        assert len(await db.decide(asking(shop, tier(1)))) == 1
        assert await db.decide(asking(shop, tier(1))) == []
        assert await tiers(db, shop) == [(None, 1), (1, 2), (2, 1)]

    async def test_a_refusal_is_only_believed_of_the_present(self, db: Database, other: Database, shop: Shop) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            first, second = [await given.user(auth_id=name, email=f"{name}@ours.example") for name in ("ann", "bo")]
        assert first.user_id is not None
        assert second.user_id is not None
        await db.decide(asking(shop, lifecycle.SetOwnerIn(ownerId=first.user_id)))
        await db.decide(asking(shop, tier(1), by=first))
        with pytest.raises(lifecycle.NotYours):
            await db.decide(asking(shop, tier(2), by=second))
        await other.decide(asking(shop, lifecycle.SetOwnerIn(ownerId=second.user_id)))
        await db.decide(asking(shop, tier(2), by=second))
        with pytest.raises(lifecycle.NotYours):
            await db.decide(asking(shop, tier(3), by=first))

    async def test_the_version_it_was_decided_on_is_compared_with_the_present_one(
        self, db: Database, other: Database, shop: Shop
    ) -> None:
        [event] = await db.decide(asking(shop, tier(1)))
        assert await db.decide(asking(shop, tier(2), expected_version=event.sequenceNumber)) != []
        await other.decide(asking(shop, tier(3)))
        with pytest.raises(StreamMoved) as refused:
            await db.decide(asking(shop, tier(4), expected_version=event.sequenceNumber + 1))
        assert refused.value.body["currentVersion"] == event.sequenceNumber + 2
        assert await db.decide(asking(shop, tier(4), expected_version=event.sequenceNumber + 2)) != []

    async def test_a_repeated_command_is_answered_as_before(self, db: Database, shop: Shop) -> None:
        await db.decide(asking(shop, tier(1)))
        command = Command("set-tier", "me:key", "hash")
        first = await db.decide(asking(shop, tier(2), command=command))
        assert await db.decide(asking(shop, tier(2), command=command)) == first
        await db.decide(asking(shop, tier(3)))
        assert await db.decide(asking(shop, tier(2), command=command)) == first
        with pytest.raises(CommandRepeated):
            await db.decide(asking(shop, tier(5), command=Command("set-tier", "me:key", "other")))
        assert await tiers(db, shop) == [(None, 1), (1, 2), (2, 3)]

    async def test_a_product_that_was_merged_takes_no_more(self, db: Database, other: Database, shop: Shop) -> None:
        await db.decide(asking(shop, tier(1)))
        async with other.transaction() as tx:
            heir = await Given(tx).held(shop.product)
            merge = "UPDATE company_products SET merged_into_id = %(heir)s WHERE id = %(id)s"
            await tx.run(merge, heir=heir.id, id=shop.row.id)
        with pytest.raises(company_products.CompanyProductMerged):
            await db.decide(asking(shop, tier(2)))
        async with other.transaction() as tx:
            await tx.run(merge, heir=None, id=shop.row.id)
        assert await db.decide(asking(shop, tier(2))) != []

    async def test_what_was_undone_is_not_remembered(self, db: Database, shop: Shop) -> None:
        async def undone(tx: Tx) -> None:
            await asking(shop, tier(5))(tx)
            await tx.run("SELECT 1 / 0")

        with pytest.raises(psycopg.errors.DivisionByZero):
            await db.decide(undone)
        async with db.transaction() as tx:
            await tx.begin()
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with tx.savepoint():
                    await undone(tx)
        await db.decide(asking(shop, tier(1)))
        assert await tiers(db, shop) == [(None, 1)]

    async def test_a_new_connection_may_lead_to_a_server_that_lost_what_we_saw(
        self, fresh_url: str, db: Database, shop: Shop
    ) -> None:
        await db.decide(asking(shop, tier(1)))
        assert db.recall.find((lifecycle.AGGREGATE, shop.row.id)) is not None
        async with db.reading(), db.reading(), db.reading() as tx:
            await tx.one(int, "SELECT 1")
        assert db.recall.find((lifecycle.AGGREGATE, shop.row.id)) is None

    async def test_only_so_many_are_remembered(self) -> None:
        recall = Recall(size=2)
        for number in (1, 2):
            recall.keep(number, str(number))
        assert recall.find(1) == "1"
        recall.keep(3, "3")
        assert [recall.find(number) for number in (1, 2, 3)] == ["1", None, "3"]


class TestManyProcesses:
    async def test_at_once_lose_nothing_and_decide_nothing_wrong(
        self, db: Database, other: Database, shop: Shop
    ) -> None:
        chance = random.Random(7)
        asks: list[lifecycle.Ask] = [
            chance.choice((tier(chance.randint(1, 5)), lifecycle.SetSeatsIn(seats=chance.randint(1, 9))))
            for _ in range(120)
        ]

        async def work(nth: int) -> int:
            database = (db, other)[nth % 2]
            return sum([len(await database.decide(asking(shop, ask))) for ask in asks[nth::6]])

        appended = sum(await asyncio.gather(*map(work, range(6))))
        went = await tiers(db, shop)
        assert all(before == after for (_, before), (after, _) in pairwise(went))
        assert all(before != after for before, after in went)
        async with db.transaction() as tx:
            history = await events.load(tx, lifecycle.STREAM, shop.row.id)
            assert history.version == len(history.events) == 2 + appended
            known = [each for each in projections.known() if each.aggregate_type == lifecycle.AGGREGATE and each.inline]
            before = await projections.snapshot(tx, known)
            assert await projections.rebuild(tx, known) == before

    async def test_answer_with_the_events_that_are_stored(self, db: Database, shop: Shop) -> None:
        done = [await db.decide(asking(shop, tier(number))) for number in (1, 2, 3)]
        async with db.reading() as tx:
            history = await events.read(tx, lifecycle.STREAM, shop.row.id)
        ids: dict[int, UUID] = {each.sequence: each.id for each in history}
        assert all(ids[event.sequenceNumber] == event.eventId for events_ in done for event in events_)
