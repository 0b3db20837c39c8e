"""How the service itself is doing: who is alive, what waits, what runs, what models cost."""

from decimal import Decimal

from memory.db import Tx
from memory.rows import Row


class PartRow(Row):
    """One kind of process (`worker`, `beat`, `relay` ...): how many are alive and how long ago one was heard."""

    kind: str
    alive: int
    age_s: float


class RunsRow(Row):
    """Agent runs of one agent in one state."""

    agent: str
    status: str
    count: int


class CallsRow(Row):
    """Model calls of one model with one outcome, and what they cost in USD."""

    provider: str
    model: str
    status: str
    count: int
    cost_usd: Decimal


async def list_parts(tx: Tx) -> list[PartRow]:
    """Return the kinds of processes heard of today; alive are those heard within 30 seconds."""
    return await tx.many(
        PartRow,
        """
        SELECT split_part(name, ':', 1) AS kind,
               count(*) FILTER (WHERE beat_at > %(now)s - interval '30 seconds') AS alive,
               greatest(0, extract(epoch FROM %(now)s - max(beat_at)))::float8 AS age_s
          FROM heartbeats
         WHERE beat_at > %(now)s - interval '1 day'
         GROUP BY 1
         ORDER BY 1
        """,
    )


async def count_runs(tx: Tx) -> list[RunsRow]:
    """Return the runs of the last 24 hours by agent and state."""
    return await tx.many(
        RunsRow,
        """
        SELECT agent, status, count(*) AS count FROM agent_runs
         WHERE created_at > %(now)s - interval '1 day'
         GROUP BY agent, status
         ORDER BY agent, status
        """,
    )


async def count_calls(tx: Tx) -> list[CallsRow]:
    """Return the model calls of the last 24 hours by provider, model and outcome."""
    return await tx.many(
        CallsRow,
        """
        SELECT provider, model, status, count(*) AS count, sum(cost_usd) AS cost_usd FROM ai_calls
         WHERE created_at > %(now)s - interval '1 day'
         GROUP BY provider, model, status
         ORDER BY provider, model, status
        """,
    )
