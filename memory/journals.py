"""
The events of a run, written only by whoever holds the run.

`FENCED` is the beginning of every statement that such a holder makes: it asks whether the lease is still theirs, writes
what has happened, and lets the rest of the statement do something only in that case. So a step's events and its
checkpoint are one statement, one round trip and one commit, and a worker that lost its run changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import orjson

from memory.db import Tx
from memory.rows import Row

# FOR SHARE against the UPDATE of whoever takes the run over: they see these events, or these see them.
FENCED: LiteralString = """
    mine AS (
        SELECT id, cancel_requested FROM agent_runs
         WHERE id = %(run_id)s AND worker = %(worker)s AND status = 'running' FOR SHARE
    ), written AS (
        INSERT INTO agent_run_events (run_id, seq, kind, step, data, created_at)
        SELECT mine.id, %(after)s + e.at, e.kind, e.step, e.data, e.created_at
          FROM mine, unnest(%(kinds)s::text[], %(steps)s::text[], %(datas)s::jsonb[], %(moments)s::timestamptz[])
                     WITH ORDINALITY AS e (kind, step, data, created_at, at)
    )"""


class LeaseLost(Exception):
    """Somebody else works on this run now, or it is over."""


class NewEvent(Row):
    """An event to be written."""

    kind: str
    step: str | None = None
    data: dict[str, Any] = {}
    at: datetime


@dataclass
class Batch:
    """Events to be written behind number `after`; `cancelled` is what the statement learned on the way."""

    run_id: UUID
    worker: str
    after: int
    events: Sequence[NewEvent] = field(default_factory=list[NewEvent])
    cancelled: bool = False

    def columns(self) -> dict[str, Any]:
        """Return the parameters of a fenced statement."""
        return {
            "run_id": self.run_id,
            "worker": self.worker,
            "after": self.after,
            "kinds": [event.kind for event in self.events],
            "steps": [event.step for event in self.events],
            "datas": [orjson.dumps(event.data, default=str).decode() for event in self.events],
            "moments": [event.at for event in self.events],
        }


async def append(tx: Tx, batch: Batch) -> None:
    """
    Write the batch, and learn whether somebody wants the run cancelled.

    Raises `LeaseLost`, in which case nothing was written.
    """
    cancelled = await tx.maybe(bool, f"WITH {FENCED} SELECT cancel_requested FROM mine", **batch.columns())
    if cancelled is None:
        raise LeaseLost
    batch.cancelled = cancelled
