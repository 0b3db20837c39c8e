"""Who is alive: every process writes its row, so that health can be asked of the database alone."""

from datetime import datetime, timedelta
from typing import Any

from memory.db import Json, Tx
from memory.rows import Row


class HeartbeatRow(Row):
    """A process that said it is alive."""

    name: str
    beat_at: datetime
    detail: dict[str, Any]


async def record(tx: Tx, name: str, **detail: Any) -> None:
    """Say that the process of this name (`worker:host:1234`, `beat:...`) is alive."""
    await tx.run(
        """
        INSERT INTO heartbeats (name, beat_at, detail) VALUES (%(name)s, %(now)s, %(detail)s)
        ON CONFLICT (name) DO UPDATE SET beat_at = excluded.beat_at, detail = excluded.detail
        """,
        name=name,
        detail=Json(detail),
    )


async def forget(tx: Tx, name: str) -> None:
    """Say that the process of this name has ended in order."""
    await tx.run("DELETE FROM heartbeats WHERE name = %(name)s", name=name)


async def list_alive(tx: Tx, kind: str, *, within: timedelta = timedelta(seconds=30)) -> list[HeartbeatRow]:
    """Return the processes of one kind (`worker`, `beat`, `relay`) that were alive lately."""
    return await tx.many(
        HeartbeatRow,
        """
        SELECT name, beat_at, detail FROM heartbeats
         WHERE split_part(name, ':', 1) = %(kind)s AND beat_at > %(now)s - %(within)s
         ORDER BY name
        """,
        kind=kind,
        within=within,
    )


async def prune(tx: Tx, *, before: datetime) -> int:
    """Forget processes that have been silent since before that moment."""
    return await tx.run("DELETE FROM heartbeats WHERE beat_at < %(before)s", before=before)
