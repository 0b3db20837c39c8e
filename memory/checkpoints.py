"""
LangGraph's checkpoints, in our Postgres and on our pool.

What a checkpoint may bring back to life is closed: plain values, the library's own messages, and the types that a
graph's state declares. A checkpoint says where a graph stopped, never whether a run is over: `agent_runs` says that.
"""

import asyncio
import os
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

# LangGraph reads it when first imported.
os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from memory.db import Database

LOCK = 7_245_110_397


def open_saver(db: Database) -> AsyncPostgresSaver:
    """Return the checkpointer of this process; it belongs to the running event loop."""
    return AsyncPostgresSaver(cast("Any", db.pool), serde=JsonPlusSerializer(allowed_msgpack_modules=None))


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
