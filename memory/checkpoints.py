"""
LangGraph's checkpoints, in our Postgres and on our pool.

What a checkpoint may bring back to life is closed: plain values, the library's own messages, and the types that a
graph's state declares. A checkpoint says where a graph stopped, never whether a run is over: `agent_runs` says that.

The checkpoint of a run is written with the run's events, fenced by its lease, in one statement. A step's writes go into
the checkpoint that follows it; they are written apart only when that is long in coming, because other tasks of the step
still work, or does not come at all. The input alone is no checkpoint: it stands in the run's row. Threads that nobody
accompanies are written as LangGraph does it.
"""

import asyncio
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, cast
from uuid import UUID

# LangGraph reads it when first imported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from memory.db import Database
from memory.journals import FENCED, Batch, LeaseLost

LOCK = 7_245_110_397
PATIENCE_S = 0.05
"""How long a finished task's writes wait for the checkpoint that makes them superfluous."""


class Companion(Protocol):
    """Whoever holds a run: has events to be written with its checkpoints, and learns whether it shall stop."""

    def writing(self, *, step_over: bool) -> AbstractAsyncContextManager[Batch]:
        """Give the events that are due, alone until they are written; take them back when that fails."""
        ...


class Saver(AsyncPostgresSaver):
    """The checkpointer of one process and one event loop."""

    def __init__(self, db: Database) -> None:
        """Connections are borrowed from the pool, statement by statement."""
        self._pool = db.pool
        super().__init__(cast("Any", db.pool), serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._companions: dict[str, Companion] = {}
        self._awaited: dict[tuple[str, str, str], asyncio.Event] = {}

    def accompany(self, run_id: UUID, companion: Companion) -> None:
        """Write this run's checkpoints together with its events."""
        self._companions[str(run_id)] = companion

    def leave(self, run_id: UUID) -> None:
        """Stop doing so."""
        self._companions.pop(str(run_id), None)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """
        Save a checkpoint.

        Raises `LeaseLost`, in which case nothing was saved.
        """
        place: dict[str, Any] = config.get("configurable", {})
        companion = self._companions.get(place["thread_id"])
        if companion is None or place.get("checkpoint_ns"):
            return await super().aput(config, checkpoint, metadata, new_versions)
        if metadata.get("source") == "input" and metadata.get("step") == -1:
            # Nothing has happened yet but the input, and that stands in the run's row.
            return {"configurable": {**place, "checkpoint_ns": "", "checkpoint_id": checkpoint["id"]}}
        values = {
            **place,
            "checkpoint_ns": "",
            "parent_id": place.get("checkpoint_id"),
            "checkpoint_id": checkpoint["id"],
        }
        values |= self._contents(values, checkpoint, new_versions)
        values["metadata"] = Jsonb(get_serializable_checkpoint_metadata(config, metadata))
        async with companion.writing(step_over=metadata.get("source") == "loop") as batch:
            await self._save(values, batch)
        self._announce(values)
        return {"configurable": {name: values[name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id")}}

    def _contents(self, place: dict[str, Any], checkpoint: Checkpoint, versions: ChannelVersions) -> dict[str, Any]:
        """Return the columns of the checkpoint: small values stand in it, the others in blobs of their own."""
        small: dict[str, Any] = {}
        large: dict[str, Any] = {}
        for channel, value in checkpoint["channel_values"].items():
            (small if value is None or isinstance(value, str | int | float | bool) else large)[channel] = value
        changed = {channel: version for channel, version in versions.items() if channel in large}
        rows = self._dump_blobs(place["thread_id"], "", large, changed) if changed else []
        return {
            "checkpoint": Jsonb({**checkpoint, "channel_values": small}),
            "channels": [row[2] for row in rows],
            "versions": [row[3] for row in rows],
            "types": [row[4] for row in rows],
            "blobs": [row[5] for row in rows],
        }

    async def _save(self, values: dict[str, Any], batch: Batch) -> None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                f"""
                WITH {FENCED}, blobs AS (
                    INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
                    SELECT %(thread_id)s, %(checkpoint_ns)s, b.*
                      FROM mine, unnest(%(channels)s::text[], %(versions)s::text[], %(types)s::text[], %(blobs)s::bytea[]) AS b
                    ON CONFLICT DO NOTHING
                ), saved AS (
                    INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint,
                                             metadata)
                    SELECT %(thread_id)s, %(checkpoint_ns)s, %(checkpoint_id)s, %(parent_id)s, %(checkpoint)s, %(metadata)s
                      FROM mine
                    ON CONFLICT (thread_id, checkpoint_ns, checkpoint_id)
                    DO UPDATE SET checkpoint = EXCLUDED.checkpoint, metadata = EXCLUDED.metadata
                )
                SELECT cancel_requested FROM mine
                """,
                values | batch.columns(),
            )
            row = await cursor.fetchone()
        if row is None:
            raise LeaseLost
        batch.cancelled = bool(row[0])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save what a task has written, unless the checkpoint that contains it follows at once."""
        place: dict[str, Any] = config.get("configurable", {})
        if place["thread_id"] in self._companions and not any(channel in WRITES_IDX_MAP for channel, _ in writes):
            key = (place["thread_id"], place.get("checkpoint_ns", ""), place.get("checkpoint_id", ""))
            followed = self._awaited.setdefault(key, asyncio.Event())
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await followed.wait()
            except TimeoutError:
                pass
            else:
                return
            finally:
                self._awaited.pop(key, None)
        await super().aput_writes(config, writes, task_id, task_path)

    def _announce(self, values: dict[str, Any]) -> None:
        followed = self._awaited.get((values["thread_id"], values["checkpoint_ns"], values["parent_id"] or ""))
        if followed is not None:
            followed.set()


def open_saver(db: Database) -> Saver:
    """Return the checkpointer of this process; it belongs to the running event loop."""
    return Saver(db)


async def setup(url: str) -> None:
    """Make LangGraph's tables, or bring them up to date; a step of the migration, one process at a time."""
    opened = await AsyncConnection.connect(url, autocommit=True)
    connection = cast("AsyncConnection[DictRow]", opened)
    connection.row_factory = dict_row
    async with connection:
        # Asked for again and again: waiting would hold a snapshot, and CREATE INDEX CONCURRENTLY waits for all of those.
        while not await _locked(connection):  # noqa: ASYNC110 - the other side is another process
            await asyncio.sleep(0.1)
        await AsyncPostgresSaver(connection).setup()


async def _locked(connection: AsyncConnection[DictRow]) -> bool:
    """Released with the connection."""
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s) AS mine", (LOCK,))
    row = await cursor.fetchone()
    return bool(row and row["mine"])


async def prune(db: Database, run_ids: Sequence[UUID]) -> None:
    """Delete every checkpoint of these runs."""
    if run_ids:
        await open_saver(db).aprune([str(run_id) for run_id in run_ids], strategy="delete")
