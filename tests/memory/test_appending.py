"""Commands sent together: each a transaction of its own, none in the way of another, and none of them half."""

import asyncio
import shutil
import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import psycopg
import pytest

from memory import appending, embedded, events, migrate
from memory.callers import SYSTEM
from memory.db import Database, RaisedByServer, Tx
from memory.events import Command, CommandRepeated, Event, Stream, StreamMoved
from memory.ids import uuid7
from tests.databases import open_folder
from tests.memory.crashes import dying_at

STREAM = Stream("user_preference")


async def append(db: Database, aggregate_id: UUID, expected: int, *kinds: str, command: Command | None = None) -> None:
    async with db.transaction() as tx:
        await events.append(
            tx, SYSTEM, STREAM, aggregate_id, expected, [Event(kind, {}) for kind in kinds], command=command
        )


async def open_streams(db: Database, count: int) -> list[UUID]:
    ids = [uuid.uuid4() for _ in range(count)]
    async with db.transaction() as tx:
        for aggregate_id in ids:
            await events.load(tx, STREAM, aggregate_id)
    return ids


async def stored(db: Database, *streams: UUID) -> list[list[str]]:
    async with db.reading() as tx:
        return [[event.type for event in await events.read(tx, STREAM, each)] for each in streams]


@pytest.fixture
async def sent(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How many commands went out together, and how often."""
    sizes = Counter[int]()
    call = appending._call

    async def counted(connection: psycopg.AsyncConnection[Any], commands: Sequence[str]) -> list[appending.Outcome]:
        sizes[len(commands)] += 1
        return await call(connection, commands)

    monkeypatch.setattr(appending, "_call", counted)
    return sizes


class TestTogether:
    async def test_each_is_a_transaction_of_its_own(self, db: Database, sent: Counter[int]) -> None:
        streams = await open_streams(db, 9)
        await asyncio.gather(*(append(db, each, 0, "A", "B", command=Command("note")) for each in streams))
        assert sent == {9: 1}
        assert await stored(db, *streams) == [["A", "B"]] * 9
        async with db.reading() as tx:
            writers = await tx.many(str, "SELECT xmin::text FROM event_store ORDER BY global_sequence")
            logged = await tx.one(int, "SELECT count(DISTINCT xmin::text) FROM command_log")
        assert Counter(Counter(writers).values()) == {2: 9}
        assert logged == 9

    async def test_what_comes_meanwhile_goes_out_next(self, db: Database, sent: Counter[int]) -> None:
        streams = await open_streams(db, 4)

        async def write(stream: UUID) -> None:
            for version in range(5):
                await append(db, stream, version, "A")

        await asyncio.gather(*map(write, streams))
        assert sent.total() <= 10
        assert await stored(db, *streams) == [["A"] * 5] * 4

    async def test_a_refused_one_leaves_the_others_alone(self, db: Database) -> None:
        streams = await open_streams(db, 4)
        await append(db, streams[0], 0, "A", command=Command("note", "key"))
        done = await asyncio.gather(
            append(db, streams[1], 0, "A"),
            append(db, streams[0], 0, "A"),
            append(db, streams[2], 0, "A", command=Command("note", "key")),
            append(db, streams[3], 0, "A"),
            return_exceptions=True,
        )
        assert [type(each) for each in done] == [type(None), StreamMoved, CommandRepeated, type(None)]
        assert isinstance(done[1], StreamMoved)
        assert done[1].body["currentVersion"] == 1
        assert await stored(db, *streams) == [["A"], ["A"], [], ["A"]]

    async def test_one_that_cannot_be_stored_leaves_the_others_alone(self, db: Database) -> None:
        streams = await open_streams(db, 3)
        done = await asyncio.gather(
            append(db, streams[0], 0, "A"),
            append(db, streams[1], 0, "nul \x00"),
            append(db, streams[2], 0, "A"),
            return_exceptions=True,
        )
        assert [isinstance(each, RaisedByServer) for each in done] == [False, True, False]
        assert await stored(db, *streams) == [["A"], [], ["A"]]

    @pytest.mark.parametrize(("code", "kind"), [("23514", "CheckViolation"), ("XX999", "DatabaseError")])
    async def test_what_the_server_refuses_is_raised_as_it_would_be_alone(
        self, db: Database, code: str, kind: str
    ) -> None:
        [stream] = await open_streams(db, 1)
        async with db.transaction() as tx:
            await tx.run(f"""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    RAISE EXCEPTION 'not this one' USING ERRCODE = '{code}';
                END $$""")  # pyright: ignore[reportArgumentType]
            await tx.run("CREATE TRIGGER refuse BEFORE INSERT ON event_store FOR EACH ROW EXECUTE FUNCTION refuse()")
        with pytest.raises(RaisedByServer, match="not this one") as raised:
            await append(db, stream, 0, "A")
        assert type(raised.value).__name__ == kind
        assert await stored(db, stream) == [[]]

    async def test_one_that_has_to_wait_keeps_nobody_waiting(self, db: Database, other: Database) -> None:
        [held, free] = await open_streams(db, 2)
        async with other.transaction() as tx:
            await events.load(tx, STREAM, held)
            waits = asyncio.create_task(append(db, held, 0, "Late"))
            await asyncio.gather(append(db, free, 0, "A"))
            await append(db, free, 1, "B")
            assert not waits.done()
        await waits
        assert await stored(db, held, free) == [["Late"], ["A", "B"]]

    async def test_a_rebuild_keeps_them_out_until_it_ends(self, db: Database, other: Database) -> None:
        [stream] = await open_streams(db, 1)
        async with other.transaction() as tx:
            await events.alone(tx)
            waits = asyncio.create_task(append(db, stream, 0, "A"))
            assert await stored(db, stream) == [[]]
            assert not waits.done()
        await waits
        assert await stored(db, stream) == [["A"]]

    async def test_who_is_cancelled_leaves_the_others_alone(self, db: Database) -> None:
        streams = await open_streams(db, 3)
        tasks = [asyncio.create_task(append(db, each, 0, "A")) for each in streams]
        await asyncio.sleep(0)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in done] == [type(None), asyncio.CancelledError, type(None)]
        first, _, last = await stored(db, *streams)
        assert first == last == ["A"]


class TestCrash:
    async def test_of_the_server_between_two_commands_leaves_whole_ones(self, db: Database) -> None:
        streams = await open_streams(db, 3)
        async with db.transaction() as tx:
            await tx.run("""
                CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    PERFORM pg_terminate_backend(pg_backend_pid());
                    RETURN NEW;
                END $$""")
            await tx.run("""
                CREATE TRIGGER die AFTER INSERT ON event_store FOR EACH ROW
                WHEN (NEW.event_type = 'Fatal') EXECUTE FUNCTION die()""")
        done = await asyncio.gather(
            append(db, streams[0], 0, "A", "B", command=Command("note")),
            append(db, streams[1], 0, "A", "Fatal", command=Command("note")),
            append(db, streams[2], 0, "A", command=Command("note")),
            return_exceptions=True,
        )
        assert all(isinstance(each, RaisedByServer) for each in done)
        assert await stored(db, *streams) == [["A", "B"], [], []]
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM command_log") == 1
            assert await tx.many(int, "SELECT version FROM event_streams ORDER BY version") == [0, 0, 2]
        await append(db, streams[2], 0, "A")
        assert await stored(db, streams[2]) == [["A"]]

    async def test_before_they_are_sent_leaves_nothing(
        self, db: Database, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        streams = await open_streams(db, 2)
        async with dying_at(1, fresh_url, monkeypatch) as died:
            done = await asyncio.gather(*(append(db, each, 0, "A") for each in streams), return_exceptions=True)
        assert died()
        assert all(isinstance(each, RaisedByServer) for each in done)
        assert await stored(db, *streams) == [[], []]
        await append(db, streams[0], 0, "A")
        assert await stored(db, *streams) == [["A"], []]

    async def test_of_the_whole_server_loses_nothing_that_was_answered(self) -> None:
        folder = open_folder()
        server = embedded.start(folder)
        try:
            await migrate.migrate(server.url)
            first, second = [await Database.open(server.url, size=2) for _ in range(2)]
            streams = await open_streams(first, 6)
            answered: list[tuple[UUID, int]] = []

            async def write(nth: int) -> None:
                for version in range(10_000):
                    await append((first, second)[nth % 2], streams[nth], version, "A", command=Command("note"))
                    answered.append((streams[nth], version + 1))
                    if len(answered) == 500:
                        server.process.kill()

            ends = await asyncio.gather(*map(write, range(6)), return_exceptions=True)
            assert all(isinstance(each, RaisedByServer) for each in ends)
            for db in (first, second):
                await db.close()
            server.process.wait()
            server = embedded.start(folder)
            db = await Database.open(server.url, size=1)
            async with db.reading() as tx:
                rows = await tx.tuples("SELECT aggregate_id, sequence_number FROM event_store")
                versions = await tx.tuples("SELECT aggregate_id, version FROM event_streams")
                logged = await tx.one(int, "SELECT count(*) FROM command_log")
            assert set(answered) <= set(rows)
            assert Counter(stream for stream, _ in rows) == Counter(dict(versions))
            assert logged == len(rows)
            await db.close()
        finally:
            server.stop(at_once=True)
            shutil.rmtree((folder / "postgres").resolve())
            shutil.rmtree(folder)


class TestTransaction:
    async def test_takes_no_connection_before_it_needs_one(self, fresh_url: str) -> None:
        db = await Database.open(fresh_url, size=1)
        async with db.transaction(), db.transaction() as second:
            assert await second.one(int, "SELECT 1") == 1
        await db.close()

    async def test_has_no_connection_to_give_before_it_begins(self, db: Database) -> None:
        async with db.transaction() as tx:
            with pytest.raises(RuntimeError):
                _ = tx.connection
            await tx.begin()
            assert tx.connection.info.transaction_status.name == "INTRANS"

    async def test_is_undone_as_a_whole(self, db: Database) -> None:
        [stream] = await open_streams(db, 1)

        async def fail(tx: Tx) -> None:
            await events.append(tx, SYSTEM, STREAM, stream, 0, [Event("A", {})])
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await db.decide(fail)
        assert await stored(db, stream) == [[]]


def test_ids_grow_with_time_and_are_of_version_7() -> None:
    ids = [uuid7() for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(each.version == 7 and each.variant == uuid.RFC_4122 for each in ids)
    assert all(one.int >> 80 <= next_.int >> 80 for one, next_ in pairwise(ids))
