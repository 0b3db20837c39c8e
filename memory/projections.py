"""
Projections: read models that events fill, alone and again and again with the same result.

A projector is one SQL function `project_<name>(batch event_store[])`. The same function brings a read model along inside
the command (one event), behind it (`catch_up`, 500 at a time) and in a rebuild (a thousand histories at a time). A
projector that only marks what it touched has two more: `settle_<name>()` works the marks off once no more events are
waiting, and `mark_<name>()` marks everything, for a rebuild.

A rebuild empties the tables and replays everything in one transaction: readers keep the old rows until it commits, and
writers wait. `verify` replays twice, history by history and in the order of what happened, into temporary tables that hide
the real ones.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncCursor, sql

from memory import events
from memory.db import Database, RaisedByServer, Tx
from memory.errors import Conflict, Invalid
from memory.rows import Row

BATCH = 500
STREAMS = 1_000
PORTION = 7_000
BEFORE_ALL = UUID(int=0)
WORK_MEMORY = "64MB"
FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(minutes=10)


class UnknownProjector(Invalid):
    """There is no such projector: {unknown}."""

    shows = ("validProjectors",)


class RebuildRunning(Conflict):
    """A rebuild is running already."""


@dataclass(frozen=True)
class Table:
    """A table that a projector owns. `volatile` columns tell when or by whom a row was written, not what is true."""

    name: str
    volatile: tuple[str, ...] = ("projected_at",)
    internal: bool = False


@dataclass(frozen=True)
class Projector:
    """
    One read model, or several tables that are filled together.

    Those of lower `order` run first, because a later one may count their rows. `inline` ones run inside the command and
    are never behind. `settles` says that there is a `settle_<name>()`; `counts`, that all it does is to mark what is to be
    counted from other read models, and that there is a `mark_<name>()`.
    """

    name: str
    aggregate_type: str
    tables: tuple[Table, ...]
    order: int = 1
    inline: bool = True
    settles: bool = False
    counts: bool = False


class TableSnapshot(Row):
    """What a table held: how many rows, and a hash of all that is true in them, whatever their order."""

    table: str
    rows: int
    content_hash: str


class Checkpoint(Row):
    """How far a projector has come, and what went wrong on the way."""

    projector_name: str
    status: str
    last_processed_global_sequence: int
    last_processed_at: datetime | None
    events_processed_count: int
    errors_count: int
    last_error: str | None
    last_error_at: datetime | None


_projectors: dict[str, Projector] = {}


def register(*projectors: Projector) -> None:
    """Make the projectors known to catch-up, rebuilds and metrics."""
    _projectors.update({projector.name: projector for projector in projectors})


def known(names: Iterable[str] | None = None) -> list[Projector]:
    """
    Return these projectors, or all, in the order in which they run.

    Raises `UnknownProjector`.
    """
    wanted = list(_projectors) if names is None else list(names)
    if unknown := [name for name in wanted if name not in _projectors]:
        raise UnknownProjector(unknown=", ".join(unknown), validProjectors=sorted(_projectors))
    return sorted((_projectors[name] for name in set(wanted)), key=lambda each: (each.order, each.name))


# Running behind -----------------------------------------------------------------------------------------------------


async def catch_up(db: Database, projector: Projector, *, size: int = BATCH) -> int:
    """
    Bring one asynchronous projector to the present and return how many events it saw.

    Each portion is one transaction with its checkpoint. A portion that fails leaves the checkpoint where it was, marks
    the projector, and is tried again after a growing pause.
    """
    total = 0
    async with db.transaction() as tx:
        await tx.run(
            "INSERT INTO projector_checkpoints (projector_name) VALUES (%(name)s) ON CONFLICT DO NOTHING",
            name=projector.name,
        )
    while True:
        try:
            seen = await _step(db, projector, size)
        except RaisedByServer as failure:
            await _mark_failed(db, projector, failure)
            raise
        total += seen or 0
        if not seen or seen < size:
            return total


async def _step(db: Database, projector: Projector, size: int) -> int | None:
    async with db.transaction() as tx:
        seen = await tx.maybe(
            int,
            "SELECT catch_up_events(%(name)s, %(aggregate_type)s, %(size)s, %(now)s)",
            name=projector.name,
            aggregate_type=projector.aggregate_type,
            size=size,
        )
        if projector.settles and seen is not None and seen < size:
            await _call(tx, f"settle_{projector.name}")
        return seen


async def _call(tx: Tx, function: str) -> None:
    await _run(tx, sql.SQL("SELECT {}()").format(sql.Identifier(function)))


async def _run(tx: Tx, statement: sql.Composed, *params: object) -> AsyncCursor[Any]:
    await tx.begin()
    return await tx.connection.execute(statement, params)


async def _mark_failed(db: Database, projector: Projector, failure: RaisedByServer) -> None:
    async with db.transaction() as tx:
        await tx.run(
            """
            UPDATE projector_checkpoints
               SET status = 'error', errors_count = errors_count + 1, last_error = %(error)s, last_error_at = %(now)s,
                   retry_at = %(now)s + least(%(longest)s, %(first)s * power(2, least(errors_count, 20)))
             WHERE projector_name = %(name)s
            """,
            name=projector.name,
            error=(failure.diag.message_primary or type(failure).__name__)[:500],
            first=FIRST_WAIT,
            longest=LONGEST_WAIT,
        )


# Rebuilding ---------------------------------------------------------------------------------------------------------


async def rebuild(tx: Tx, projectors: Sequence[Projector]) -> list[TableSnapshot]:
    """Refill the tables of these projectors from the events, and return what they hold then."""
    await refill(tx, projectors)
    return await snapshot(tx, projectors)


async def refill(tx: Tx, projectors: Sequence[Projector]) -> None:
    """
    Empty the tables of these projectors and replay every event into them.

    The transaction keeps every writer out until it ends; readers see the old rows until it commits.
    """
    await events.alone(tx)
    await tx.finish()
    for table in _tables(projectors):
        await _run(tx, sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
    latest = await latest_sequence(tx)
    await replay(tx, projectors, latest)
    await tx.run(
        """
        INSERT INTO projector_checkpoints (projector_name, last_processed_global_sequence, last_processed_at,
                                           events_processed_count)
        SELECT name, %(latest)s, %(now)s, %(latest)s FROM unnest(%(names)s::text[]) AS name
        ON CONFLICT (projector_name) DO UPDATE
           SET last_processed_global_sequence = excluded.last_processed_global_sequence, status = 'active',
               last_processed_at = excluded.last_processed_at, last_error = NULL, retry_at = NULL
        """,
        names=[projector.name for projector in projectors],
        latest=latest,
    )


async def verify(tx: Tx, projectors: Sequence[Projector]) -> tuple[list[TableSnapshot], list[TableSnapshot]]:
    """
    Replay every event twice into temporary tables and return what they held after each time.

    Whatever this transaction does is to be undone by its caller: the temporary tables have the names of the real ones.
    """
    for table in _tables(projectors):
        await _run(
            tx,
            sql.SQL("CREATE TEMPORARY TABLE {0} (LIKE public.{0} INCLUDING ALL) ON COMMIT DROP").format(
                sql.Identifier(table.name)
            ),
        )
    # Plans that functions have kept point to the real tables.
    await tx.run("DISCARD PLANS")
    latest = await latest_sequence(tx)
    await replay(tx, projectors, latest)
    first = await snapshot(tx, projectors)
    for table in _tables(projectors):
        await _run(tx, sql.SQL("TRUNCATE pg_temp.{}").format(sql.Identifier(table.name)))
    await replay_in_order(tx, projectors, latest)
    return first, await snapshot(tx, projectors)


async def replay(tx: Tx, projectors: Sequence[Projector], upto: int, *, streams: int = STREAMS) -> None:
    """
    Run the projectors over every history up to this global sequence, so many at a time.

    Those that count other read models begin once these are done.
    """
    await tx.run("SELECT set_config('work_mem', %(memory)s, true)", memory=WORK_MEMORY)
    for kind, names in _by_kind([each for each in projectors if not each.counts]):
        after: UUID | None = BEFORE_ALL
        while after is not None:
            after = await tx.maybe(
                UUID,
                "SELECT replay_streams(%(names)s, %(kind)s, %(after)s, %(streams)s, %(upto)s)",
                names=names,
                kind=kind,
                after=after,
                streams=streams,
                upto=upto,
            )
    for projector in projectors:
        if projector.counts:
            await _call(tx, f"mark_{projector.name}")
        if projector.settles:
            await _call(tx, f"settle_{projector.name}")


async def replay_in_order(tx: Tx, projectors: Sequence[Projector], upto: int, *, portion: int = PORTION) -> None:
    """Run the projectors over every event in the order in which it was committed, then settle what they marked."""
    for kind, names in _by_kind(projectors):
        for after in range(0, upto, portion):
            await tx.run(
                "SELECT replay_events(%(names)s, %(kind)s, %(after)s, %(upto)s)",
                names=names,
                kind=kind,
                after=after,
                upto=min(after + portion, upto),
            )
    for projector in projectors:
        if projector.settles:
            await _call(tx, f"settle_{projector.name}")


def _by_kind(projectors: Sequence[Projector]) -> list[tuple[str, list[str]]]:
    kinds = dict.fromkeys(projector.aggregate_type for projector in projectors)
    return [(kind, [each.name for each in projectors if each.aggregate_type == kind]) for kind in kinds]


async def snapshot(tx: Tx, projectors: Sequence[Projector]) -> list[TableSnapshot]:
    """Return row count and content hash of every table that these projectors fill."""
    found: list[TableSnapshot] = []
    for table in _tables(projectors):
        if table.internal:
            continue
        statement = sql.SQL(
            "SELECT count(*), coalesce(sum(hashtextextended((to_jsonb(t) - %s::text[])::text, 0)::numeric), 0)::text FROM {} t"
        ).format(sql.Identifier(table.name))
        cursor = await _run(tx, statement, list(table.volatile))
        row: Any = await cursor.fetchone()
        found.append(TableSnapshot(table=table.name, rows=row[0], content_hash=row[1]))
    return found


async def count_rows(tx: Tx, projectors: Sequence[Projector]) -> dict[str, int]:
    """Return how many rows each table of these projectors has."""
    counts: dict[str, int] = {}
    for table in _tables(projectors):
        if not table.internal:
            cursor = await _run(tx, sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name)))
            row: Any = await cursor.fetchone()
            counts[table.name] = row[0]
    return counts


def _tables(projectors: Sequence[Projector]) -> list[Table]:
    return list({table.name: table for projector in projectors for table in projector.tables}.values())


# How far they are ---------------------------------------------------------------------------------------------------


async def latest_sequence(tx: Tx) -> int:
    """Return the global sequence of the last event, 0 when there is none."""
    return await tx.one(int, "SELECT coalesce(max(global_sequence), 0) FROM event_store")


async def list_checkpoints(tx: Tx) -> list[Checkpoint]:
    """Return the checkpoint of every projector that has one."""
    return await tx.many(
        Checkpoint,
        """
        SELECT projector_name, status, last_processed_global_sequence, last_processed_at, events_processed_count,
               errors_count, last_error, last_error_at
          FROM projector_checkpoints ORDER BY projector_name
        """,
    )
