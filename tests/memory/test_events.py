"""Streams: one winner per version, nothing half, nothing rewritten, and an order that readers can rely on."""

import asyncio
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory import events
from memory.callers import SYSTEM, Caller
from memory.db import Database, RaisedByServer, Tx
from memory.events import Command, CommandRepeated, Event, Recorded, Stream, StreamBroken, StreamMoved
from tests.memory.crashes import dying_at

STREAM = Stream("user_preference")


def noted(text: str) -> Event:
    return Event("Noted", {"text": text})


async def append(db: Database, aggregate_id: UUID, *texts: str, stream: Stream = STREAM) -> list[Recorded]:
    async with db.transaction() as tx:
        history = await events.load(tx, stream, aggregate_id)
        return await events.append(tx, SYSTEM, stream, aggregate_id, history.version, [*map(noted, texts)])


async def append_stale_and_go_on(db: Database, aggregate_id: UUID) -> None:
    async with db.transaction() as tx:
        await events.append(tx, SYSTEM, STREAM, aggregate_id, 1, [noted("c")])
        await tx.one(int, "SELECT 1")


async def texts(db: Database, aggregate_id: UUID) -> list[str]:
    async with db.reading() as tx:
        return [event.data["text"] for event in await events.read(tx, STREAM, aggregate_id)]


class TestAppend:
    async def test_records_who_did_what_when_and_for_which_command(self, db: Database) -> None:
        aggregate_id, run_id = uuid.uuid4(), uuid.uuid4()
        person = Caller(uuid.uuid4(), "rep", kind="ai", run_id=run_id)
        command = Command("note", id="one")
        async with db.transaction() as tx:
            history = await events.load(tx, STREAM, aggregate_id)
            recorded = await events.append(
                tx, person, STREAM, aggregate_id, 0, [noted("a")], command=command, metadata={"source": "test"}
            )
            moment = tx.now
        async with db.reading() as tx:
            assert history == events.History(0, [])
            assert await events.read(tx, STREAM, aggregate_id) == recorded
        assert recorded == [
            Recorded(
                recorded[0].id,
                aggregate_id,
                1,
                "Noted",
                1,
                {"text": "a"},
                moment,
                "ai",
                str(person.user_id),
                {"source": "test", "command_id": "one", "run_id": str(run_id)},
            )
        ]

    async def test_is_seen_by_its_own_transaction(self, tx: Tx) -> None:
        aggregate_id = uuid.uuid4()
        for nth, text in enumerate("abc"):
            history = await events.load(tx, STREAM, aggregate_id)
            assert history.version == nth
            await events.append(tx, SYSTEM, STREAM, aggregate_id, history.version, [noted(text)])
        assert [event.data["text"] for event in await events.read(tx, STREAM, aggregate_id)] == ["a", "b", "c"]

    async def test_a_rolled_back_savepoint_takes_its_events_along(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        async with db.transaction() as tx:
            await events.load(tx, STREAM, aggregate_id)
            await events.append(tx, SYSTEM, STREAM, aggregate_id, 0, [noted("kept")])
            with suppress(ZeroDivisionError):
                async with tx.savepoint():
                    await events.append(tx, SYSTEM, STREAM, aggregate_id, 1, [noted("dropped")])
                    _ = 1 / 0
            await events.append(tx, SYSTEM, STREAM, aggregate_id, 1, [noted("later")])
        assert await texts(db, aggregate_id) == ["kept", "later"]

    async def test_refuses_a_version_that_is_not_the_present_one(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        await append(db, aggregate_id, "a", "b")
        with pytest.raises(StreamMoved) as refused:
            async with db.transaction() as tx:
                await events.append(tx, SYSTEM, STREAM, aggregate_id, 1, [noted("c")])
        assert refused.value.body == {
            "error": "Somebody else changed this meanwhile; it is at version 2 now.",
            "currentVersion": 2,
        }
        with pytest.raises(StreamMoved):
            await append_stale_and_go_on(db, aggregate_id)
        assert await texts(db, aggregate_id) == ["a", "b"]

    async def test_the_connection_serves_on_after_a_refusal(self, fresh_url: str) -> None:
        db = await Database.open(fresh_url, size=1)
        aggregate_id = uuid.uuid4()
        for _ in range(3):
            with pytest.raises(StreamMoved):
                async with db.transaction() as tx:
                    await events.append(tx, SYSTEM, STREAM, aggregate_id, 7, [noted("x")])
        await append(db, aggregate_id, "a")
        assert await texts(db, aggregate_id) == ["a"]
        await db.close()


class TestCommands:
    async def test_a_repeated_one_is_answered_as_before_and_another_one_is_refused(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        command = Command("note", id="key", request_hash="h")
        async with db.transaction() as tx:
            assert await events.find_result(tx, command) is None
            recorded = await events.append(
                tx,
                SYSTEM,
                STREAM,
                aggregate_id,
                (await events.load(tx, STREAM, aggregate_id)).version,
                [noted("a")],
                command=command,
            )
        async with db.reading() as tx:
            assert await events.find_result(tx, command) == events.Kept(aggregate_id, events.results(recorded))
            with pytest.raises(CommandRepeated):
                await events.find_result(tx, Command("note", id="key", request_hash="other"))


class TestConcurrentWriters:
    async def test_exactly_one_wins_each_version_and_nothing_is_lost(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        await append(db, aggregate_id, "begin")
        won: list[int] = []
        lost = 0

        async def write(nth: int) -> None:
            nonlocal lost
            async with db.reading() as tx:
                version = len(await events.read(tx, STREAM, aggregate_id))
            try:
                async with db.transaction() as tx:
                    await events.append(tx, SYSTEM, STREAM, aggregate_id, version, [noted(str(nth))])
            except StreamMoved:
                lost += 1
            else:
                won.append(version + 1)

        for _ in range(10):
            await asyncio.gather(*map(write, range(8)))
        assert sorted(won) == list(range(2, len(won) + 2))
        assert (len(won) + lost, len(await texts(db, aggregate_id))) == (80, len(won) + 1)
        assert lost > 0

    async def test_transactions_that_write_several_streams_do_not_wait_for_each_other_in_a_circle(
        self, db: Database
    ) -> None:
        """The lock of the order is the last one taken, so whoever holds it needs nothing more."""
        shared = uuid.uuid4()
        await append(db, shared, "0")

        async def write(nth: int) -> None:
            async with db.transaction() as tx:
                own = uuid.uuid4()
                await events.load(tx, STREAM, own)
                await events.append(tx, SYSTEM, STREAM, own, 0, [noted(str(nth))])
                history = await events.load(tx, STREAM, shared)
                await events.append(tx, SYSTEM, STREAM, shared, history.version, [noted(str(nth))])
                await tx.one(int, "SELECT 1")

        await asyncio.gather(*map(write, range(1, 30)))
        assert sorted(map(int, await texts(db, shared))) == list(range(30))

    async def test_one_alone_keeps_the_others_out_and_meets_no_deadlock(self, db: Database) -> None:
        streams = [uuid.uuid4() for _ in range(3)]
        for each in streams:
            await append(db, each, "0")

        async def together() -> None:
            async with db.transaction() as tx:
                await events.alone(tx)
                for each in streams:
                    history = await events.load(tx, STREAM, each)
                    await events.append(tx, SYSTEM, STREAM, each, history.version, [noted("all")])

        await asyncio.gather(*(together() for _ in range(5)), *(append(db, each, "one") for each in streams * 5))
        for each in streams:
            assert sorted(await texts(db, each)) == ["0", *["all"] * 5, *["one"] * 5]

    async def test_those_that_load_first_wait_for_each_other(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        await asyncio.gather(*(append(db, aggregate_id, f"{nth}") for nth in range(30)))
        assert sorted(await texts(db, aggregate_id), key=int) == [str(nth) for nth in range(30)]


class TestOrder:
    async def test_a_late_commit_is_never_behind_what_a_reader_has_seen(self, db: Database) -> None:
        """Readers that look all the time see the sequence grow without a gap that is filled later."""
        seen: list[int] = []
        done = asyncio.Event()

        async def watch() -> None:
            while not done.is_set():
                async with db.reading() as tx:
                    after = seen[-1] if seen else 0
                    seen.extend(
                        await tx.many(
                            int,
                            "SELECT global_sequence FROM event_store WHERE global_sequence > %(after)s ORDER BY 1",
                            after=after,
                        )
                    )

        async def write(nth: int) -> None:
            for turn in range(25):
                aggregate_id = uuid.uuid4()
                async with db.transaction() as tx:
                    await events.load(tx, STREAM, aggregate_id)
                    await events.append(tx, SYSTEM, STREAM, aggregate_id, 0, [noted(f"{nth} {turn}")])
                    if turn % 3 == 0:
                        await tx.one(int, "SELECT 1")
                        await asyncio.sleep(0.001 * nth)

        watcher = asyncio.create_task(watch())
        await asyncio.gather(*map(write, range(6)))
        done.set()
        await watcher
        async with db.reading() as tx:
            everything = await tx.many(int, "SELECT global_sequence FROM event_store ORDER BY 1")
            seen.extend(sequence for sequence in everything if sequence > seen[-1])
        assert seen == everything
        assert len(everything) == 150


class TestStore:
    @pytest.mark.parametrize(
        "statement", ["UPDATE event_store SET event_type = 'x'", "DELETE FROM event_store", "TRUNCATE event_store"]
    )
    async def test_is_append_only(self, db: Database, statement: Any) -> None:
        await append(db, uuid.uuid4(), "a")
        with pytest.raises(RaisedByServer, match="append-only"):
            async with db.transaction() as tx:
                await tx.run(statement)

    async def test_a_gap_is_no_history(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        await append(db, aggregate_id, "a", "b", "c")
        async with db.transaction() as tx:
            await tx.run("ALTER TABLE event_store DISABLE TRIGGER event_store_append_only")
            await tx.run("GRANT DELETE ON event_store TO CURRENT_USER")
            await tx.run("DELETE FROM event_store WHERE sequence_number = 2")
            await tx.run("ALTER TABLE event_store ENABLE TRIGGER event_store_append_only")
        async with db.transaction() as tx:
            with pytest.raises(StreamBroken):
                await events.load(tx, STREAM, aggregate_id)
            with pytest.raises(StreamBroken):
                await events.read(tx, STREAM, aggregate_id)


class TestOldVersions:
    async def test_are_read_in_todays_shape(self, db: Database) -> None:
        aggregate_id = uuid.uuid4()
        await append(db, aggregate_id, "a")
        upcasters: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
            ("Noted", 1): lambda data: {"words": data["text"]},
            ("Noted", 2): lambda data: {"words": [data["words"]]},
        }
        async with db.reading() as tx:
            [event] = await events.read(tx, Stream("user_preference", upcasters), aggregate_id)
        assert (event.version, event.data) == (3, {"words": ["a"]})


class TestCrash:
    async def test_between_any_two_statements_leaves_no_half(
        self, fresh_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        db = await Database.open(fresh_url, size=2)
        nth = 0
        while True:
            nth += 1
            aggregate_id = uuid.uuid4()
            failed = False
            async with dying_at(nth, fresh_url, monkeypatch) as died:
                try:
                    async with db.transaction() as tx:
                        await events.load(tx, STREAM, aggregate_id)
                        await events.append(
                            tx, SYSTEM, STREAM, aggregate_id, 0, [noted("a"), noted("b")], command=Command("note")
                        )
                        await tx.enqueue("events.noted")
                        await events.append(tx, SYSTEM, STREAM, aggregate_id, 2, [noted("c")], command=Command("note"))
                except RaisedByServer:
                    failed = True
            async with db.transaction() as tx:
                stored = await tx.one(
                    int, "SELECT count(*) FROM event_store WHERE aggregate_id = %(id)s", id=aggregate_id
                )
                version = await tx.maybe(
                    int, "SELECT version FROM event_streams WHERE aggregate_id = %(id)s", id=aggregate_id
                )
                logged = await tx.one(
                    int, "SELECT count(*) FROM command_log WHERE aggregate_id = %(id)s", id=aggregate_id
                )
                promised = await tx.one(
                    int, "SELECT count(*) FROM outbox WHERE created_at >= %(now)s - interval '1 hour'"
                )
                await tx.run("DELETE FROM outbox")
            assert (stored, version or 0, logged, promised) in ((0, 0, 0, 0), (3, 3, 2, 1)), nth
            if not died():
                assert not failed
                assert stored == 3
                break
        assert nth > 6
        await db.close()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\x00")),
            min_size=1,
            max_size=4,
        ),
        max_size=6,
    )
)
def test_what_was_appended_is_what_is_read(url_of_worker: str, batches: list[list[str]]) -> None:
    async def check() -> None:
        db = await Database.open(url_of_worker, size=1)
        aggregate_id = uuid.uuid4()
        for batch in batches:
            await append(db, aggregate_id, *batch)
        assert await texts(db, aggregate_id) == [text for batch in batches for text in batch]
        await db.close()

    asyncio.run(check())


@pytest.fixture(scope="module")
def url_of_worker(postgres: Any) -> Any:
    name = f"property_{uuid.uuid4().hex[:8]}"
    yield postgres.clone(name)
    postgres.drop(name)
