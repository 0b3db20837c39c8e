"""The relay hands over what is due, once it is due, whoever else relays and however often the broker is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from api.jobs import kit
from api.jobs.kit import Run, job
from api.jobs.relay import Relay
from memory import outbox
from memory.db import Database, clock
from memory.outbox import HandedRow


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two jobs in two queues."""
    kit.load()
    monkeypatch.setattr(kit, "_jobs", {})

    @job("flags.wake", queue="clock")
    async def wake(run: Run, **_: object) -> None: ...

    @job("mail.send", queue="mail")
    async def send(run: Run, **_: object) -> None: ...


class Broker:
    """What a broker would have got, and when; away for the first `away` messages."""

    def __init__(self, away: int = 0) -> None:
        self.got: list[int] = []
        self.times: dict[int, datetime] = {}
        self._away = away
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()

    def publish(self, rows: Sequence[HandedRow]) -> None:
        if self._away:
            self._away -= 1
            raise ConnectionError("no route to broker")
        for row in rows:
            self.got.append(row.id)
            self.times[row.id] = clock()
        self._loop.call_soon_threadsafe(self._news.set)

    async def has(self, count: int) -> list[int]:
        async with asyncio.timeout(60):
            while len(self.got) < count:
                self._news.clear()
                await self._news.wait()
        return self.got


@asynccontextmanager
async def relaying(db: Database, broker: Broker, *, relays: int = 1, window: int = 200) -> AsyncIterator[list[Relay]]:
    running = [Relay(db, broker.publish, window=window) for _ in range(relays)]
    tasks = [asyncio.create_task(relay.run()) for relay in running]
    try:
        yield running
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def promise(db: Database, name: str = "flags.wake", count: int = 1, **how) -> list[int]:
    async with db.transaction() as tx:
        for _ in range(count):
            await tx.enqueue(name, **how)
        return (await tx.many(int, "SELECT id FROM outbox ORDER BY id"))[-count:]


class TestRelay:
    async def test_hands_over_what_was_there_and_what_comes(self, db: Database):
        broker = Broker()
        there = await promise(db)
        async with relaying(db, broker):
            assert await broker.has(1) == there
            come = await promise(db, "mail.send", 2)
            assert await broker.has(3) == [*there, *come]

    async def test_is_woken_by_the_commit(self, db: Database, monkeypatch: pytest.MonkeyPatch):
        # Without the notification this would take a minute.
        monkeypatch.setattr("api.jobs.relay.POLL_S", 60.0)
        broker = Broker()
        async with relaying(db, broker):
            await promise(db)
            await broker.has(1)
            await promise(db)
            await broker.has(2)

    async def test_waits_for_the_moment_and_no_longer(self, db: Database, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("api.jobs.relay.POLL_S", 60.0)
        broker, due_at = Broker(), clock() + timedelta(seconds=0.5)
        async with relaying(db, broker):
            (outbox_id,) = await promise(db, at=due_at)
            await broker.has(1)
        assert broker.times[outbox_id] >= due_at

    async def test_several_relays_publish_once(self, db: Database):
        broker = Broker()
        async with relaying(db, broker, relays=4):
            for _ in range(10):
                await promise(db, count=10)
            got = await broker.has(100)
        assert len(got) == len(set(got)) == 100

    async def test_keeps_trying_while_the_broker_is_away(self, db: Database):
        broker = Broker(away=2)
        ids = await promise(db, count=3)
        async with relaying(db, broker) as (relay,):
            assert await broker.has(3) == ids
            await promise(db)
            await broker.has(4)
            assert relay.broker_away is False

    async def test_keeps_back_what_exceeds_the_window_of_a_queue(self, db: Database):
        broker = Broker()
        flags = await promise(db, count=3)
        mails = await promise(db, "mail.send", 3)
        async with relaying(db, broker, window=2):
            assert sorted(await broker.has(4)) == [*flags[:2], *mails[:2]]
            async with db.transaction() as tx:
                begun = await outbox.claim(tx, flags[0], worker="w", lease=timedelta(minutes=1), attempts=5)
            assert begun is not None
            assert (await broker.has(5))[-1] == flags[2]


class TestStep:
    async def test_publishes_again_what_the_broker_lost(self, db: Database):
        broker = Broker()
        ids = await promise(db)
        await Relay(db, broker.publish).step()
        async with db.transaction() as tx:
            await tx.run("UPDATE outbox SET handed_at = handed_at - interval '3 minutes'")
        await Relay(db, broker.publish).step()
        assert broker.got == ids * 2

    async def test_publishes_again_what_a_worker_left_behind(self, db: Database):
        broker = Broker()
        ids = await promise(db)
        async with db.transaction(clock() - timedelta(minutes=2)) as tx:
            await tx.run("UPDATE outbox SET run_at = run_at - interval '3 minutes'")
            assert await outbox.claim(tx, ids[0], worker="w", lease=timedelta(minutes=1), attempts=5) is not None
        await Relay(db, broker.publish).step()
        assert broker.got == ids

    async def test_sets_aside_what_nobody_knows(self, db: Database):
        broker = Broker()
        (outbox_id,) = await promise(db, "reports.print")
        await Relay(db, broker.publish).step()
        async with db.reading() as tx:
            row = await outbox.get_promise(tx, outbox_id)
        assert broker.got == []
        assert (row.status, row.error) == ("waiting", "There is no job of this name.")

    async def test_has_committed_before_it_publishes(self, db: Database):
        seen: list[str] = []

        def publish(rows: Sequence[HandedRow]) -> None:
            async def look() -> None:
                other = await Database.open(db.url, size=2)
                async with other.reading() as tx:
                    seen.append((await outbox.get_promise(tx, rows[0].id)).status)
                await other.close()

            asyncio.run(look())

        await promise(db)
        await Relay(db, publish).step()
        assert seen == ["handed"]

    async def test_says_how_long_there_is_nothing_to_do(self, db: Database, monkeypatch: pytest.MonkeyPatch):
        broker = Broker()
        assert await Relay(db, broker.publish).step() == 1.0
        monkeypatch.setattr("api.jobs.relay.POLL_S", 300.0)
        await promise(db, at=clock() + timedelta(seconds=120))
        assert 60 < await Relay(db, broker.publish).step() <= 120
