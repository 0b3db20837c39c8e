"""Projections as an administrator sees them: how far they are, and rebuilding them from the events."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from memory import events, projections
from memory.callers import Caller
from memory.db import Database, Json, RaisedByServer, Tx, UniqueViolation
from memory.errors import NotFound
from memory.projections import Projector, RebuildRunning, TableSnapshot
from memory.rows import In, Row
from tools.cases import projectors as _cases  # noqa: F401  # pyright: ignore[reportUnusedImport] - registers
from tools.lifecycle import projectors as _lifecycle  # noqa: F401  # pyright: ignore[reportUnusedImport] - registers

Mode = Literal["rebuild", "verify_determinism"]


class RebuildNotFound(NotFound):
    """Rebuild {rebuild_id} does not exist."""


class RebuildIn(In):
    """Which projectors (all when none is named), and whether to count only or to compare two replays."""

    projectors: list[Annotated[str, Field(max_length=100)]] = Field(default=[], max_length=50)
    dryRun: bool = False
    verifyDeterminism: bool = False


class TableCount(Row):
    """A read model and its rows."""

    tableName: str
    rowCount: int


class Snapshot(Row):
    """What the read models hold at one moment."""

    takenAt: datetime
    tables: list[TableCount]


class DryRunOut(Row):
    """What a rebuild would replay; nothing is changed."""

    action: Literal["dry_run"] = "dry_run"
    success: bool = True
    projectors: list[str]
    totalEvents: int
    totalDurationMs: float
    snapshotBefore: Snapshot
    snapshotAfter: Snapshot | None = None


class RebuildAcceptedOut(Row):
    """A worker rebuilds; see `GET /api/admin/projections/rebuild/{rebuildId}`."""

    action: Mode
    rebuildId: UUID
    status: str


class RebuildRow(Row):
    """One rebuild: what was asked, and what came of it."""

    id: UUID
    mode: Mode
    projectors: list[str]
    status: Literal["waiting", "running", "succeeded", "failed"]
    actor_id: UUID | None
    result: dict[str, Any] | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


_REBUILD = "id, mode, projectors, status, actor_id, result, error, created_at, started_at, finished_at"


async def count_rebuild(tx: Tx, body: RebuildIn) -> DryRunOut:
    """
    Count what a rebuild would replay and what stands now.

    Raises `UnknownProjector`.
    """
    wanted = projections.known(body.projectors or None)
    counts = await projections.count_rows(tx, wanted)
    totals = await tx.one(
        Totals,
        """
        SELECT count(*) AS events, extract(epoch FROM clock_timestamp() - statement_timestamp()) * 1000 AS ms
          FROM event_store WHERE aggregate_type = ANY(%(kinds)s)
        """,
        kinds=list({projector.aggregate_type for projector in wanted}),
    )
    tables = [TableCount(tableName=name, rowCount=rows) for name, rows in counts.items()]
    return DryRunOut(
        projectors=[projector.name for projector in wanted],
        totalEvents=totals.events,
        totalDurationMs=round(totals.ms, 3),
        snapshotBefore=Snapshot(takenAt=tx.now, tables=tables),
    )


class Totals(Row):
    """How many events there are, and what counting them took."""

    events: int
    ms: float


async def request_rebuild(tx: Tx, caller: Caller, body: RebuildIn) -> RebuildAcceptedOut:
    """
    Promise a rebuild, or the comparison of two replays, to a worker.

    Raises `UnknownProjector`, `RebuildRunning`.
    """
    mode: Mode = "verify_determinism" if body.verifyDeterminism else "rebuild"
    wanted = projections.known(body.projectors or None)
    try:
        async with tx.savepoint():
            rebuild_id = await tx.one(
                UUID,
                """
                INSERT INTO projection_rebuilds (mode, projectors, actor_id)
                VALUES (%(mode)s, %(projectors)s, %(actor_id)s) RETURNING id
                """,
                mode=mode,
                projectors=[projector.name for projector in wanted],
                actor_id=caller.user_id,
            )
    except UniqueViolation as taken:
        raise RebuildRunning from taken
    await tx.enqueue("projections.rebuild", rebuild_id=rebuild_id)
    return RebuildAcceptedOut(action=mode, rebuildId=rebuild_id, status="waiting")


async def get_rebuild(tx: Tx, rebuild_id: UUID) -> RebuildRow:
    """
    Return one rebuild.

    Raises `RebuildNotFound`.
    """
    return await tx.one(
        RebuildRow,
        f"SELECT {_REBUILD} FROM projection_rebuilds WHERE id = %(rebuild_id)s",
        RebuildNotFound(rebuild_id=rebuild_id),
        rebuild_id=rebuild_id,
    )


async def run_rebuild(db: Database, rebuild_id: UUID) -> RebuildRow:
    """
    Carry the rebuild out and keep what came of it in its row; one that failed has changed nothing.

    One that is finished is left alone; one whose worker died is carried out from the start.
    """
    async with db.transaction() as tx:
        rebuild = await get_rebuild(tx, rebuild_id)
        if rebuild.status in ("succeeded", "failed"):
            return rebuild
        await tx.run(
            "UPDATE projection_rebuilds SET status = 'running', started_at = %(now)s WHERE id = %(rebuild_id)s",
            rebuild_id=rebuild_id,
        )
    wanted = projections.known(rebuild.projectors)
    try:
        if rebuild.mode == "rebuild":
            await _rebuild(db, rebuild_id, wanted)
        else:
            await _verify(db, rebuild_id, wanted)
    except RaisedByServer as failure:
        async with db.transaction() as tx:
            await _finish(tx, rebuild_id, None, (failure.diag.message_primary or type(failure).__name__)[:500])
    async with db.reading() as tx:
        return await get_rebuild(tx, rebuild_id)


async def _rebuild(db: Database, rebuild_id: UUID, wanted: list[Projector]) -> None:
    async with db.transaction() as tx:
        # Nobody writes between the two snapshots, so that a difference is a drift.
        await events.alone(tx)
        before = await projections.snapshot(tx, wanted)
        after = await projections.rebuild(tx, wanted)
        result = {
            "snapshotBefore": _shown(before),
            "snapshotAfter": _shown(after),
            "comparison": _compared(before, after),
        }
        await _finish(tx, rebuild_id, result, None)


class _Undo(Exception):
    """Ends a transaction that must leave nothing behind."""


async def _verify(db: Database, rebuild_id: UUID, wanted: list[Projector]) -> None:
    first: list[TableSnapshot] = []
    second: list[TableSnapshot] = []
    try:
        async with db.transaction() as tx:
            first, second = await projections.verify(tx, wanted)
            raise _Undo
    except _Undo:
        pass
    comparison = _compared(first, second)
    result = {
        "deterministic": comparison["equal"],
        "rebuild1": _shown(first),
        "rebuild2": _shown(second),
        "comparison": comparison,
    }
    async with db.transaction() as tx:
        await _finish(tx, rebuild_id, result, None)


def _shown(tables: list[TableSnapshot]) -> list[dict[str, Any]]:
    return [{"tableName": each.table, "rowCount": each.rows, "contentHash": each.content_hash} for each in tables]


def _compared(first: list[TableSnapshot], second: list[TableSnapshot]) -> dict[str, Any]:
    differences = [one.table for one, other in zip(first, second, strict=True) if one != other]
    return {"equal": not differences, "differences": differences}


async def _finish(tx: Tx, rebuild_id: UUID, result: dict[str, Any] | None, error: str | None) -> None:
    await tx.run(
        """
        UPDATE projection_rebuilds
           SET status = CASE WHEN %(error)s::text IS NULL THEN 'succeeded' ELSE 'failed' END, result = %(result)s,
               error = %(error)s, finished_at = clock_timestamp()
         WHERE id = %(rebuild_id)s
        """,
        rebuild_id=rebuild_id,
        result=None if result is None else Json(result),
        error=error,
    )
