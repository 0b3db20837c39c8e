"""
How workers hold runs: one at a time, for as long as they live, and nothing written by one that lost its hold.

Leases are measured by the database's clock, because several machines share them. Every write names its worker; the
events of a run are numbered by whoever holds it.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from memory.callers import Caller, Role
from memory.db import Json, Tx
from memory.journals import Batch, LeaseLost
from memory.rows import Row
from tools.runs import NewRun, Status, describe, promise_execution

ATTEMPTS = 5
"""How often a run is taken up before it counts as failed."""


class Lease(Row):
    """
    What a worker gets with a run: what is asked, for whom, and after which event it goes on.

    `role` is what the person may do now, None when they may do nothing any more.
    """

    id: UUID
    agent: str
    input: dict[str, Any]
    caller_kind: str
    user_id: UUID | None
    role: Role | None
    name: str | None
    email: str | None
    auth_id: str | None
    attempts: int
    cancel_requested: bool
    last_seq: int
    tainted: bool = False


class Ending(Row):
    """How a run ended, or that it waits for another worker (`queued`; with `refund` the attempt does not count)."""

    status: Status
    output: dict[str, Any] | None = None
    error: str | None = None
    tainted: bool = False
    refund: bool = False


async def open_run(tx: Tx, caller: Caller, new: NewRun, worker: str, lease: timedelta) -> Lease:
    """Write a run down that this worker carries out at once."""
    run_id = await tx.one(
        UUID,
        """
        WITH made AS (
            INSERT INTO agent_runs (agent, input, user_id, caller, company_id, contact_id, deal_id, communication_id,
                                    status, worker, lease_until, attempts, started_at, created_at)
            VALUES (%(agent)s, %(input)s, %(user_id)s, %(caller)s, %(company_id)s, %(contact_id)s, %(deal_id)s,
                    %(communication_id)s, 'running', %(worker)s, clock_timestamp() + %(lease)s, 1, %(now)s, %(now)s)
            RETURNING id
        ), opened AS (
            INSERT INTO ai_spend (scope, scope_id, period, period_start)
            SELECT 'run', id::text, 'day', date '1970-01-01' FROM made
        )
        SELECT id FROM made
        """,
        **new.model_dump(exclude={"input"}),
        input=Json(new.input),
        user_id=caller.user_id,
        caller=Json(describe(caller)),
        worker=worker,
        lease=lease,
    )
    return Lease(
        id=run_id,
        agent=new.agent,
        input=new.input,
        caller_kind=caller.kind,
        user_id=caller.user_id,
        role=caller.role,
        name=caller.name,
        email=caller.email,
        auth_id=caller.auth_id,
        attempts=1,
        cancel_requested=False,
        last_seq=0,
    )


async def claim_run(tx: Tx, run_id: UUID, worker: str, lease: timedelta) -> Lease | None:
    """
    Take the run up, or return None when it is over, or somebody holds it.

    The run's row of the books is opened on the way. This does not wait for the disk: the first checkpoint does.
    """
    return await tx.maybe(
        Lease,
        """
        WITH taken AS (
            UPDATE agent_runs
               SET status = 'running', worker = %(worker)s, lease_until = clock_timestamp() + %(lease)s,
                   attempts = attempts + 1, started_at = coalesce(started_at, %(now)s), updated_at = %(now)s
             WHERE id = %(run_id)s AND attempts < %(most)s
               AND (status = 'queued' OR (status = 'running' AND lease_until < clock_timestamp()))
            RETURNING id, agent, input, caller, user_id, attempts, cancel_requested
        ), opened AS (
            INSERT INTO ai_spend (scope, scope_id, period, period_start)
            SELECT 'run', id::text, 'day', date '1970-01-01' FROM taken ON CONFLICT DO NOTHING
        )
        SELECT t.id, t.agent, t.input, t.caller ->> 'kind' AS caller_kind, t.user_id, t.attempts, t.cancel_requested,
               u.role, u.name, u.email, u.auth_id, set_config('synchronous_commit', 'off', true) AS unflushed,
               coalesce(e.last_seq, 0) AS last_seq, coalesce(e.tainted, false) AS tainted
          FROM taken t
          LEFT JOIN users u ON u.id = t.user_id AND u.is_active
         CROSS JOIN LATERAL (
             SELECT max(seq) AS last_seq, bool_or(kind = 'source.read' AND (data ->> 'third_party')::boolean) AS tainted
               FROM agent_run_events WHERE run_id = t.id
         ) e
        """,
        run_id=run_id,
        worker=worker,
        lease=lease,
        most=ATTEMPTS,
    )


async def renew_lease(tx: Tx, run_id: UUID, worker: str, lease: timedelta) -> bool:
    """
    Hold the run for longer, and return whether somebody wants it cancelled.

    Raises `LeaseLost`.
    """
    cancelled = await tx.maybe(
        bool,
        """
        UPDATE agent_runs SET lease_until = clock_timestamp() + %(lease)s
         WHERE id = %(run_id)s AND worker = %(worker)s AND status = 'running'
        RETURNING cancel_requested
        """,
        run_id=run_id,
        worker=worker,
        lease=lease,
    )
    if cancelled is None:
        raise LeaseLost
    return cancelled


async def end_run(tx: Tx, batch: Batch, ending: Ending) -> None:
    """
    Write the last events and let the run go, in one statement. Tokens and cost come from the books.

    Raises `LeaseLost`, in which case nothing was written.
    """
    done = await tx.maybe(
        UUID,
        """
        WITH spent AS (
            SELECT min(engine) FILTER (WHERE status = 'ok') AS engine, coalesce(sum(input_tokens), 0)::int AS input_tokens,
                   coalesce(sum(output_tokens), 0)::int AS output_tokens, coalesce(sum(cost_usd), 0) AS cost_usd
              FROM ai_calls WHERE run_id = %(run_id)s
        ), mine AS (
            UPDATE agent_runs
               SET status = %(status)s, output = %(output)s, error = %(error)s, tainted = tainted OR %(tainted)s,
                   attempts = attempts - %(refund)s::int,
                   engine = spent.engine, input_tokens = spent.input_tokens, output_tokens = spent.output_tokens,
                   cost_usd = spent.cost_usd, lease_until = NULL, worker = NULL, updated_at = %(now)s,
                   finished_at = CASE WHEN %(status)s IN ('succeeded', 'failed', 'cancelled') THEN %(now)s::timestamptz END
              FROM spent
             WHERE id = %(run_id)s AND worker = %(worker)s AND status = 'running'
            RETURNING id
        ), written AS (
            INSERT INTO agent_run_events (run_id, seq, kind, step, data, created_at)
            SELECT mine.id, %(after)s + e.at, e.kind, e.step, e.data, e.created_at
              FROM mine, unnest(%(kinds)s::text[], %(steps)s::text[], %(datas)s::jsonb[], %(moments)s::timestamptz[])
                         WITH ORDINALITY AS e (kind, step, data, created_at, at)
        )
        SELECT id FROM mine
        """,
        **batch.columns(),
        **ending.model_dump(exclude={"output"}),
        output=None if ending.output is None else Json(ending.output),
    )
    if done is None:
        raise LeaseLost


# Sweeping ---------------------------------------------------------------------------------------------------------


async def sweep_runs(tx: Tx, *, forgotten_after: timedelta = timedelta(minutes=2)) -> int:
    """
    Look after runs whose worker died or never came; return how many there were.

    Those with attempts left are promised again, unless a promise is open; the others fail, or are cancelled when that
    was wanted. `queued` ones count as forgotten after that time: their job was lost.
    """
    ended = await tx.many(
        UUID,
        """
        WITH stale AS (
            SELECT id, cancel_requested, attempts FROM agent_runs
             WHERE status = 'running' AND lease_until < clock_timestamp() AND (attempts >= %(most)s OR cancel_requested)
             ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED
        ), ended AS (
            UPDATE agent_runs r
               SET status = CASE WHEN s.cancel_requested THEN 'cancelled' ELSE 'failed' END,
                   error = CASE WHEN s.cancel_requested THEN NULL
                                ELSE 'Its worker ended ' || s.attempts || ' times before it was done.' END,
                   lease_until = NULL, worker = NULL, finished_at = %(now)s, updated_at = %(now)s
              FROM stale s WHERE r.id = s.id
            RETURNING r.id, r.status, r.error
        ), told AS (
            INSERT INTO agent_run_events (run_id, seq, kind, data, created_at)
            SELECT e.id, coalesce((SELECT max(seq) FROM agent_run_events WHERE run_id = e.id), 0) + 1, 'run.' || e.status,
                   jsonb_strip_nulls(jsonb_build_object('error', e.error)), %(now)s
              FROM ended e
        )
        SELECT id FROM ended
        """,
        most=ATTEMPTS,
    )
    waiting = await tx.many(
        UUID,
        """
        WITH promised AS (
            SELECT key FROM outbox WHERE status = 'waiting' AND job = 'runs.execute'
            UNION ALL SELECT key FROM outbox WHERE status = 'handed' AND job = 'runs.execute'
            UNION ALL SELECT key FROM outbox WHERE status = 'running' AND job = 'runs.execute'
        )
        SELECT id FROM agent_runs
         WHERE ((status = 'running' AND lease_until < clock_timestamp())
                OR (status = 'queued' AND updated_at < %(now)s - %(forgotten_after)s::interval))
           AND NOT EXISTS (SELECT 1 FROM promised WHERE key = agent_runs.id::text)
         ORDER BY created_at LIMIT 500
        """,
        forgotten_after=forgotten_after,
    )
    for run_id in waiting:
        await promise_execution(tx, run_id)
    return len(ended) + len(waiting)


async def list_prunable(tx: Tx, *, older_than: timedelta, limit: int = 200) -> list[UUID]:
    """Return runs whose checkpoints nobody needs any more."""
    return await tx.many(
        UUID,
        """
        SELECT id FROM agent_runs
         WHERE pruned_at IS NULL AND finished_at < %(now)s - %(older_than)s::interval
         ORDER BY finished_at LIMIT %(limit)s
        """,
        older_than=older_than,
        limit=limit,
    )


async def mark_pruned(tx: Tx, run_ids: Sequence[UUID]) -> None:
    """Remember that the checkpoints of these runs are gone, and close their row of the books."""
    await tx.run("UPDATE agent_runs SET pruned_at = %(now)s WHERE id = ANY(%(run_ids)s)", run_ids=list(run_ids))
    await tx.run(
        "DELETE FROM ai_spend WHERE scope = 'run' AND scope_id = ANY(%(names)s)",
        names=[str(run_id) for run_id in run_ids],
    )
