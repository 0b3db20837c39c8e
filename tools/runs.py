"""
Runs of agents: what was asked, by whom, how far it came, and what it did on the way.

    queued ──▶ running ──▶ succeeded | failed | cancelled
       ▲          │
       └──────────┘   its worker let it go, or died and its lease ran out

`tools.leases` is how workers hold them.
"""

import hashlib
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import Field

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, NotFound
from memory.rows import Doc, In, Row
from tools.ai_calls import CallRow

Status = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]
OVER = ("succeeded", "failed", "cancelled")

RUN = """
    id, agent, status, input, output, error, engine, tainted, user_id, company_id, contact_id, deal_id, communication_id,
    cancel_requested, attempts, input_tokens, output_tokens, cost_usd::float8 AS cost_usd, started_at, finished_at, created_at
"""


class RunNotFound(NotFound):
    """Run {run_id} does not exist."""


class RunOver(Conflict):
    """Run {run_id} has {status} already."""


class OtherRequest(Conflict):
    """This Idempotency-Key was used for another request."""


class RunRow(Row):
    """A run. Times in UTC, cost in USD; `tainted` when it has read what outsiders wrote."""

    id: UUID
    agent: str
    status: Status
    input: dict[str, Any]
    output: dict[str, Any] | None
    error: str | None
    engine: str | None
    tainted: bool
    user_id: UUID | None
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    communication_id: UUID | None
    cancel_requested: bool
    attempts: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    started_at: datetime | None
    finished_at: datetime | None
    created_at: datetime


class EventRow(Row):
    """One thing that happened in a run; `seq` counts from 1 without a gap."""

    seq: int
    kind: str
    step: str | None
    data: dict[str, Any]
    created_at: datetime


class RunFilter(In):
    """Which runs, newest first."""

    agent: Annotated[str | None, Field(max_length=80, description="Only runs of this agent.")] = None
    status: Annotated[Status | None, Field(description="Only runs in this state.")] = None
    limit: Annotated[int, Field(ge=1, le=200, description="How many at most.")] = 50
    offset: Annotated[int, Field(ge=0, le=100_000, description="How many to skip.")] = 0


class RunsOut(Row):
    """A page of runs, and how many there are."""

    runs: list[RunRow]
    total: int


class Source(Row):
    """A record that a run has read."""

    record: str
    id: str
    title: str
    third_party: bool


class StepRow(Row):
    """One step; milliseconds are missing while it runs, and when its worker ended in it."""

    step: str
    started_at: datetime
    ms: int | None
    status: Literal["running", "finished", "failed", "interrupted"]


class RunOut(Row):
    """A run with its steps, the model's answers it paid for, and what it has read."""

    run: RunRow
    steps: list[StepRow]
    calls: list[CallRow]
    sources: list[Source]


class NewRun(Row):
    """A run to be; the subjects are the records it is about."""

    agent: str
    input: dict[str, Any]
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    communication_id: UUID | None = None


# Asking -----------------------------------------------------------------------------------------------------------


async def create_run(tx: Tx, caller: Caller, new: NewRun, *, key: str | None = None) -> tuple[RunRow, bool]:
    """
    Write the run down and return it, with True; with the same `key` as before, the former run and False.

    Raises `OtherRequest` when the key was used for something else.
    """
    row = await tx.maybe(
        RunRow,
        f"""
        INSERT INTO agent_runs (agent, input, user_id, caller, company_id, contact_id, deal_id, communication_id,
                                idempotency_key, request_hash, created_at)
        VALUES (%(agent)s, %(input)s, %(user_id)s, %(caller)s, %(company_id)s, %(contact_id)s, %(deal_id)s,
                %(communication_id)s, %(key)s, %(request_hash)s, %(now)s)
        ON CONFLICT (user_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
        RETURNING {RUN}
        """,
        **new.model_dump(exclude={"input"}),
        input=Json(new.input),
        user_id=caller.user_id,
        caller=Json(describe(caller)),
        key=key,
        request_hash=_hash(new),
    )
    if row is not None:
        return row, True
    found = await tx.maybe(
        RunRow,
        f"""
        SELECT {RUN} FROM agent_runs
         WHERE user_id IS NOT DISTINCT FROM %(user_id)s AND idempotency_key = %(key)s AND request_hash = %(request_hash)s
        """,
        user_id=caller.user_id,
        key=key,
        request_hash=_hash(new),
    )
    if found is None:
        raise OtherRequest
    return found, False


def describe(caller: Caller) -> dict[str, str]:
    """Return what a run remembers of whoever asked for it; their rights are looked up whenever it is taken up."""
    return {"kind": caller.kind, "role": caller.role, "name": caller.name}


def _hash(new: NewRun) -> str:
    asked = orjson.dumps([new.agent, new.input], option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(asked).hexdigest()


async def promise_execution(tx: Tx, run_id: UUID, *, at: datetime | None = None) -> None:
    """Ask a worker to take the run up."""
    await tx.enqueue("runs.execute", at=at, key=str(run_id), run_id=run_id)


async def cancel_run(tx: Tx, caller: Caller, run_id: UUID) -> RunRow:
    """
    Stop the run: at once when nobody works on it, else after the step it is in.

    Raises `RunNotFound`, `RunOver`.
    """
    run = await tx.maybe(
        RunRow,
        f"""
        UPDATE agent_runs
           SET cancel_requested = true, updated_at = %(now)s,
               status = CASE WHEN status = 'running' THEN status ELSE 'cancelled' END,
               finished_at = CASE WHEN status = 'running' THEN NULL ELSE %(now)s END
         WHERE id = %(run_id)s AND status IN ('queued', 'running', 'waiting')
           AND (%(scope)s::uuid IS NULL OR user_id = %(scope)s)
        RETURNING {RUN}
        """,
        run_id=run_id,
        scope=caller.scope,
    )
    if run is None:
        raise RunOver(run_id=run_id, status=(await get_run(tx, caller, run_id)).status)
    if run.status == "cancelled":
        await _append_cancelled(tx, run_id, caller.name)
    return run


async def _append_cancelled(tx: Tx, run_id: UUID, by: str) -> None:
    await tx.run(
        """
        INSERT INTO agent_run_events (run_id, seq, kind, data, created_at)
        SELECT %(run_id)s, coalesce(max(seq), 0) + 1, 'run.cancelled', jsonb_build_object('by', %(by)s::text), %(now)s
          FROM agent_run_events WHERE run_id = %(run_id)s
        """,
        run_id=run_id,
        by=by,
    )


# Looking ----------------------------------------------------------------------------------------------------------


async def get_run(tx: Tx, caller: Caller, run_id: UUID) -> RunRow:
    """
    Return one run: a rep's own, a manager's any.

    Raises `RunNotFound`.
    """
    run = await tx.maybe(
        RunRow,
        f"SELECT {RUN} FROM agent_runs WHERE id = %(run_id)s AND (%(scope)s::uuid IS NULL OR user_id = %(scope)s)",
        run_id=run_id,
        scope=caller.scope,
    )
    if run is None:
        raise RunNotFound(run_id=run_id)
    return run


async def show_run(tx: Tx, caller: Caller, run_id: UUID) -> Doc[RunOut]:
    """
    Return one run with its steps, model calls and sources.

    Raises `RunNotFound`.
    """
    doc = await tx.maybe(
        str,
        f"""
        WITH mine AS (
            SELECT {RUN} FROM agent_runs WHERE id = %(run_id)s AND (%(scope)s::uuid IS NULL OR user_id = %(scope)s)
        ), began AS (
            SELECT e.seq, e.step, e.created_at AS started_at,
                   lead(e.seq, 1, 2147483647) OVER (PARTITION BY e.step ORDER BY e.seq) AS until
              FROM agent_run_events e JOIN mine ON mine.id = e.run_id WHERE e.kind = 'step.started'
        ), steps AS (
            SELECT b.seq, b.step, b.started_at, (f.data ->> 'ms')::int AS ms,
                   CASE WHEN f.kind = 'step.finished' THEN 'finished' WHEN f.kind = 'step.failed' THEN 'failed'
                        WHEN b.until < 2147483647 OR mine.status <> 'running' THEN 'interrupted' ELSE 'running' END AS status
              FROM began b CROSS JOIN mine
              LEFT JOIN LATERAL (
                  SELECT e.kind, e.data FROM agent_run_events e
                   WHERE e.run_id = %(run_id)s AND e.seq > b.seq AND e.seq < b.until AND e.step = b.step
                     AND e.kind IN ('step.finished', 'step.failed')
                   ORDER BY e.seq LIMIT 1
              ) f ON true
        ), calls AS (
            SELECT c.id, c.capability, c.prompt_key, c.prompt_version, c.prompt_source, c.engine, c.provider, c.model,
                   c.used_fallback, c.status, c.attempt, c.input_tokens, c.output_tokens, c.cached_tokens,
                   c.cost_usd::float8 AS cost_usd, c.latency_ms, c.error, c.created_at
              FROM ai_calls c JOIN mine ON mine.id = c.run_id ORDER BY c.created_at, c.id LIMIT 500
        ), sources AS (
            SELECT DISTINCT ON (e.data ->> 'record', e.data ->> 'id') e.seq, e.data ->> 'record' AS record,
                   e.data ->> 'id' AS id, e.data ->> 'title' AS title, (e.data ->> 'third_party')::boolean AS third_party
              FROM agent_run_events e JOIN mine ON mine.id = e.run_id WHERE e.kind = 'source.read'
             ORDER BY e.data ->> 'record', e.data ->> 'id', e.seq
        )
        SELECT json_build_object(
                   'run', row_to_json(mine),
                   'steps', coalesce((SELECT json_agg(json_build_object('step', step, 'started_at', started_at, 'ms', ms,
                                                                        'status', status) ORDER BY seq) FROM steps), '[]'),
                   'calls', coalesce((SELECT json_agg(calls) FROM calls), '[]'),
                   'sources', coalesce((SELECT json_agg(json_build_object('record', record, 'id', id, 'title', title,
                                                        'third_party', third_party) ORDER BY seq) FROM sources), '[]')
               )::text
          FROM mine
        """,
        run_id=run_id,
        scope=caller.scope,
    )
    if doc is None:
        raise RunNotFound(run_id=run_id)
    return Doc(RunOut, doc.encode())


async def list_runs(tx: Tx, caller: Caller, filter: RunFilter) -> Doc[RunsOut]:
    """Return the newest runs that fit, with the total."""
    return await tx.doc(
        RunsOut,
        f"""
        WITH page AS (
            SELECT {RUN} FROM agent_runs
             WHERE (%(scope)s::uuid IS NULL OR user_id = %(scope)s)
               AND (%(agent)s::text IS NULL OR agent = %(agent)s) AND (%(status)s::text IS NULL OR status = %(status)s)
             ORDER BY created_at DESC, id LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT json_build_object(
                   'runs', coalesce((SELECT json_agg(page ORDER BY created_at DESC, id) FROM page), '[]'),
                   'total', (SELECT count(*) FROM agent_runs
                              WHERE (%(scope)s::uuid IS NULL OR user_id = %(scope)s)
                                AND (%(agent)s::text IS NULL OR agent = %(agent)s)
                                AND (%(status)s::text IS NULL OR status = %(status)s))
               )::text
        """,
        **filter.model_dump(),
        scope=caller.scope,
    )


async def list_events(tx: Tx, run_id: UUID, *, after: int = 0, limit: int = 500) -> list[EventRow]:
    """Return the events after that one, in their order; whether the run may be seen is asked before."""
    return await tx.many(
        EventRow,
        """
        SELECT seq, kind, step, data, created_at FROM agent_run_events
         WHERE run_id = %(run_id)s AND seq > %(after)s ORDER BY seq LIMIT %(limit)s
        """,
        run_id=run_id,
        after=after,
        limit=limit,
    )
