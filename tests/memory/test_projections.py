"""Projectors: behind and never wrong, rebuilt while others read, the same each time."""

import asyncio
import uuid
from collections.abc import Iterator
from datetime import timedelta
from uuid import UUID

import pytest

from memory import events, projections
from memory.callers import SYSTEM
from memory.db import Database, RaisedByServer, clock
from memory.events import Event, Stream
from memory.projections import Projector, Table, UnknownProjector

NOTES, OTHERS = Stream("user_preference"), Stream("product_process")
WORDS = Projector(
    "words", "user_preference", (Table("words"), Table("words_touched", internal=True)), inline=False, settles=True
)
SCHEMA = (
    "CREATE TABLE words (id uuid PRIMARY KEY, said text NOT NULL, length integer, last_event_sequence integer, projected_at timestamptz DEFAULT clock_timestamp())",
    "CREATE TABLE words_touched (id uuid PRIMARY KEY)",
    """
    CREATE FUNCTION project_words(batch event_store[]) RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        IF EXISTS (SELECT FROM unnest(batch) e WHERE e.event_data ->> 'text' = 'poison') THEN
            RAISE EXCEPTION 'poison';
        END IF;
        INSERT INTO words AS w (id, said, last_event_sequence)
        SELECT e.aggregate_id, string_agg(e.event_data ->> 'text', ' ' ORDER BY e.sequence_number), max(e.sequence_number)
          FROM unnest(batch) e LEFT JOIN words r ON r.id = e.aggregate_id
         WHERE e.sequence_number > coalesce(r.last_event_sequence, 0)
         GROUP BY e.aggregate_id
        ON CONFLICT (id) DO UPDATE SET said = w.said || ' ' || excluded.said, last_event_sequence = excluded.last_event_sequence;
        INSERT INTO words_touched SELECT DISTINCT e.aggregate_id FROM unnest(batch) e ON CONFLICT DO NOTHING;
    END $$
    """,
    """
    CREATE FUNCTION settle_words() RETURNS void LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE words w SET length = length(said) FROM words_touched t WHERE t.id = w.id;
        DELETE FROM words_touched;
    END $$
    """,
)


@pytest.fixture
async def words(db: Database) -> Database:
    async with db.transaction() as tx:
        await tx.begin()
        for statement in SCHEMA:
            await tx.connection.execute(statement)
    return db


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as alone:
        alone.setattr(projections, "_projectors", {})
        projections.register(WORDS)
        yield


async def say(db: Database, aggregate_id: UUID, *texts: str, stream: Stream = NOTES) -> None:
    async with db.transaction() as tx:
        version = (await events.load(tx, stream, aggregate_id)).version
        await events.append(
            tx, SYSTEM, stream, aggregate_id, version, [Event("Said", {"text": text}) for text in texts]
        )


async def said(db: Database) -> dict[UUID, tuple[str, int | None]]:
    async with db.reading() as tx:
        return {row[0]: (row[1], row[2]) for row in await tx.tuples("SELECT id, said, length FROM words")}


async def checkpoint(db: Database) -> projections.Checkpoint:
    async with db.reading() as tx:
        [only] = await projections.list_checkpoints(tx)
        return only


class TestCatchUp:
    async def test_sees_every_event_once_in_portions_and_settles_at_the_end(self, words: Database) -> None:
        first, second = uuid.uuid4(), uuid.uuid4()
        for nth in range(4):
            await say(words, first, f"a{nth}")
            await say(words, second, f"b{nth}", f"c{nth}")
            await say(words, uuid.uuid4(), "elsewhere", stream=OTHERS)
        assert await projections.catch_up(words, WORDS, size=3) == 16
        assert await said(words) == {first: ("a0 a1 a2 a3", 11), second: ("b0 c0 b1 c1 b2 c2 b3 c3", 23)}
        reached = await checkpoint(words)
        assert (reached.last_processed_global_sequence, reached.events_processed_count, reached.status) == (
            16,
            16,
            "active",
        )
        assert await projections.catch_up(words, WORDS, size=3) == 0
        await say(words, first, "more")
        assert await projections.catch_up(words, WORDS) == 1
        assert (await said(words))[first] == ("a0 a1 a2 a3 more", 16)

    async def test_never_goes_past_a_failure_and_waits_before_it_tries_again(self, words: Database) -> None:
        aggregate_id = uuid.uuid4()
        await say(words, aggregate_id, "one")
        await say(words, aggregate_id, "poison")
        with pytest.raises(RaisedByServer, match="poison"):
            await projections.catch_up(words, WORDS, size=1)
        failed = await checkpoint(words)
        assert (failed.status, failed.errors_count, failed.last_error, failed.last_processed_global_sequence) == (
            "error",
            1,
            "poison",
            1,
        )
        assert await projections.catch_up(words, WORDS, size=1) == 0, "it waits"
        async with words.transaction(clock() + timedelta(minutes=1)) as tx:
            assert await tx.run("ALTER TABLE words ADD forgiving text") == -1
            mended = (
                SCHEMA[2].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace("= 'poison'", "= 'none'")
            )
            await tx.connection.execute(mended)  # pyright: ignore[reportArgumentType]
            await tx.run("UPDATE projector_checkpoints SET retry_at = %(now)s - interval '1 hour'")
        assert await projections.catch_up(words, WORDS) == 1
        assert await said(words) == {aggregate_id: ("one poison", 10)}
        assert (await checkpoint(words)).status == "active"

    async def test_leaves_a_paused_one_alone(self, words: Database) -> None:
        await say(words, uuid.uuid4(), "one")
        async with words.transaction() as tx:
            await tx.run("INSERT INTO projector_checkpoints (projector_name, status) VALUES ('words', 'paused')")
        assert await projections.catch_up(words, WORDS) == 0
        assert await said(words) == {}

    async def test_several_at_once_and_writers_beside_them_count_every_event_once(self, words: Database) -> None:
        streams = [uuid.uuid4() for _ in range(5)]
        writing = True

        async def write(each: UUID) -> None:
            for nth in range(20):
                await say(words, each, str(nth))

        async def project() -> None:
            while writing:
                await projections.catch_up(words, WORDS, size=7)

        projecting = [asyncio.create_task(project()) for _ in range(3)]
        await asyncio.gather(*map(write, streams))
        writing = False
        await asyncio.gather(*projecting)
        await projections.catch_up(words, WORDS)
        everything = " ".join(map(str, range(20)))
        assert {each: text for each, (text, _) in (await said(words)).items()} == dict.fromkeys(streams, everything)


class TestRebuild:
    async def test_readers_keep_the_old_rows_until_it_commits_and_writers_wait(self, words: Database) -> None:
        aggregate_id = uuid.uuid4()
        await say(words, aggregate_id, "one", "two")
        await projections.catch_up(words, WORDS)
        async with words.transaction() as tx:
            await tx.run("UPDATE words SET said = 'drifted'")
        async with words.transaction() as tx:
            await projections.rebuild(tx, [WORDS])
            assert await said(words) == {aggregate_id: ("drifted", 7)}
            writer = asyncio.create_task(say(words, aggregate_id, "three"))
            async with words.reading() as other:
                while not await other.maybe(int, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                    pass
            assert not writer.done()
        await writer
        assert await said(words) == {aggregate_id: ("one two", 7)}
        await projections.catch_up(words, WORDS)
        assert await said(words) == {aggregate_id: ("one two three", 13)}

    async def test_gives_what_catching_up_gave(self, words: Database) -> None:
        for nth in range(5):
            await say(words, uuid.uuid4(), *map(str, range(nth + 1)))
        await projections.catch_up(words, WORDS, size=2)
        async with words.transaction() as tx:
            before = await projections.snapshot(tx, [WORDS])
            after = await projections.rebuild(tx, [WORDS])
        assert before == after
        assert [each.rows for each in after] == [5]

    async def test_verifying_compares_two_replays_and_touches_nothing(self, words: Database) -> None:
        aggregate_id = uuid.uuid4()
        await say(words, aggregate_id, "one", "two")
        await projections.catch_up(words, WORDS)
        async with words.transaction() as tx:
            await tx.run("UPDATE words SET said = 'drifted'")
        async with words.transaction() as tx:
            first, second = await projections.verify(tx, [WORDS])
            assert first == second
            assert [each.rows for each in first] == [1]
        assert await said(words) == {aggregate_id: ("drifted", 7)}
        await say(words, aggregate_id, "three")
        await projections.catch_up(words, WORDS)
        assert await said(words) == {aggregate_id: ("drifted three", 13)}

    async def test_a_name_nobody_knows_is_refused_with_those_that_are(self) -> None:
        with pytest.raises(UnknownProjector) as refused:
            projections.known(["words", "worlds"])
        assert refused.value.body == {"error": "There is no such projector: worlds.", "validProjectors": ["words"]}
