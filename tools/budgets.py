"""
Money for models: what may be spent, what is promised to calls under way, and what is gone.

A call reserves the most it can cost in every budget it counts against, all of them or none, and settles when it is
over. Rows of `ai_spend` are always locked in the same order, and never longer than one statement.

Neither waits for the disk: the next checkpoint or commit does, and a server that fails in between has lost a call under
way, whose answer nobody has kept either.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from memory.db import Json, Tx
from memory.rows import Row
from tools.ai_calls import NewCall, Outcome

Scope = Literal["org", "user", "company", "capability", "run"]
Period = Literal["day", "month"]
RUN_START = date(1970, 1, 1)
"""A run's budget is for the whole run, whatever days it touches."""


class BudgetRow(Row):
    """A limit; `scope_id` is empty for the whole workspace. A budget that is not hard only warns."""

    scope: Scope
    scope_id: str
    period: Period
    limit_usd: Decimal | None
    limit_tokens: int | None
    hard: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """One budget that a call counts against, for the period that starts on this day."""

    scope: Scope
    scope_id: str
    period: Period
    period_start: date
    limit_usd: Decimal | None
    limit_tokens: int | None = None
    hard: bool = True


class Reservation(Row):
    """
    What became of the wish to spend. `share` is how much of the fullest budget is taken, this call included.

    `refused_by` names the budget that is spent; the call is on record then, as blocked.
    """

    call_id: UUID | None
    fits: bool
    complete: bool
    share: float
    refused_by: Scope | None


async def list_budgets(tx: Tx) -> list[BudgetRow]:
    """Return every budget that somebody has set."""
    return await tx.many(BudgetRow, "SELECT scope, scope_id, period, limit_usd, limit_tokens, hard FROM ai_budgets")


async def reserve_call(
    tx: Tx, call: NewCall, claims: Sequence[Claim], *, usd: Decimal, tokens: int, ceiling: float = 1.0
) -> Reservation:
    """
    Record the call and reserve its greatest cost in all budgets, or record it as blocked when one has no room.

    `ceiling` is the share of each limit in USD that this call may fill. Takes part in no transaction of its own:
    hand it a reading connection, so that the locks end with the statement.
    """
    wishes = sorted(claims, key=lambda claim: (claim.scope, claim.scope_id, claim.period, claim.period_start))
    reservation = await _reserve(tx, call, wishes, usd, tokens, ceiling)
    if reservation.complete:
        return reservation
    await open_rows(tx, wishes)
    return await _reserve(tx, call, wishes, usd, tokens, ceiling)


async def open_rows(tx: Tx, claims: Sequence[Claim]) -> None:
    """Make the rows of these budgets where they are missing."""
    await tx.run(
        """
        INSERT INTO ai_spend (scope, scope_id, period, period_start)
        SELECT * FROM unnest(%(scopes)s::text[], %(ids)s::text[], %(periods)s::text[], %(starts)s::date[])
        ON CONFLICT DO NOTHING
        """,
        **_columns(claims),
    )


def _columns(claims: Sequence[Claim]) -> dict[str, Any]:
    return {
        "scopes": [claim.scope for claim in claims],
        "ids": [claim.scope_id for claim in claims],
        "periods": [claim.period for claim in claims],
        "starts": [claim.period_start for claim in claims],
    }


async def _reserve(
    tx: Tx, call: NewCall, claims: Sequence[Claim], usd: Decimal, tokens: int, ceiling: float
) -> Reservation:
    # FOR UPDATE reads the newest version of each row, so the verdict is about what is there now, not at the snapshot.
    return await tx.one(
        Reservation,
        """
        WITH wanted AS (
            SELECT * FROM unnest(%(scopes)s::text[], %(ids)s::text[], %(periods)s::text[], %(starts)s::date[],
                                 %(limits)s::numeric[], %(token_limits)s::bigint[], %(hards)s::boolean[])
                     AS w (scope, scope_id, period, period_start, limit_usd, limit_tokens, hard)
        ), locked AS (
            SELECT s.*, w.limit_usd, w.limit_tokens, w.hard
              FROM ai_spend s JOIN wanted w USING (scope, scope_id, period, period_start)
             ORDER BY scope, scope_id, period, period_start
               FOR UPDATE OF s
        ), judged AS (
            SELECT *,
                   NOT hard OR (
                       (limit_usd IS NULL OR spent_usd + reserved_usd + %(usd)s <= limit_usd * %(ceiling)s::numeric)
                       AND (limit_tokens IS NULL OR spent_tokens + reserved_tokens + %(tokens)s <= limit_tokens)
                   ) AS has_room
              FROM locked
        ), verdict AS (
            SELECT count(*) = %(wishes)s AS complete,
                   coalesce(bool_and(has_room), true) AS fits,
                   min(scope) FILTER (WHERE NOT has_room) AS refused_by,
                   coalesce(max(greatest((spent_usd + reserved_usd + %(usd)s) / nullif(limit_usd, 0),
                                         (spent_tokens + reserved_tokens + %(tokens)s)::numeric
                                             / nullif(limit_tokens, 0))), 0) AS share
              FROM judged
        ), taken AS (
            UPDATE ai_spend s
               SET reserved_usd = s.reserved_usd + %(usd)s, reserved_tokens = s.reserved_tokens + %(tokens)s
              FROM wanted w, verdict v
             WHERE v.complete AND v.fits
               AND (s.scope, s.scope_id, s.period, s.period_start) = (w.scope, w.scope_id, w.period, w.period_start)
        ), noted AS (
            INSERT INTO ai_calls (capability, prompt_key, prompt_version, prompt_source, engine, provider, model,
                                  used_fallback, attempt, run_id, user_id, company_id, contact_id, deal_id,
                                  communication_id, transcription_id, created_at, status, error, input_tokens,
                                  reserved_usd, reserved_tokens, reserved_in, trial)
            SELECT %(capability)s, %(prompt_key)s, %(prompt_version)s, %(prompt_source)s, %(engine)s, %(provider)s,
                   %(model)s, %(used_fallback)s, %(attempt)s, %(run_id)s, %(user_id)s, %(company_id)s, %(contact_id)s,
                   %(deal_id)s, %(communication_id)s, %(transcription_id)s, %(now)s,
                   CASE WHEN v.fits THEN 'reserved' ELSE 'blocked_budget' END,
                   CASE WHEN NOT v.fits THEN 'the budget of the ' || v.refused_by || ' is spent' END,
                   CASE WHEN v.fits THEN %(input_tokens)s ELSE 0 END,
                   CASE WHEN v.fits THEN %(usd)s ELSE 0 END, CASE WHEN v.fits THEN %(tokens)s ELSE 0 END,
                   CASE WHEN v.fits THEN %(reserved_in)s ELSE '[]'::jsonb END, %(trial)s
              FROM verdict v
             WHERE v.complete
            RETURNING id
        )
        SELECT (SELECT id FROM noted) AS call_id, complete, fits, refused_by, share::float8 AS share,
               set_config('synchronous_commit', 'off', true) AS unflushed
          FROM verdict
        """,
        **call.columns(),
        **_columns(claims),
        limits=[claim.limit_usd for claim in claims],
        token_limits=[claim.limit_tokens for claim in claims],
        hards=[claim.hard for claim in claims],
        wishes=len(claims),
        usd=usd,
        tokens=tokens,
        ceiling=ceiling,
        reserved_in=Json([_name(claim) for claim in claims]),
    )


def _name(claim: Claim) -> dict[str, str]:
    return {
        "scope": claim.scope,
        "scope_id": claim.scope_id,
        "period": claim.period,
        "period_start": claim.period_start.isoformat(),
    }


async def settle_call(tx: Tx, call_id: UUID, outcome: Outcome) -> None:
    """
    Record how the call ended, give back what it had reserved and book what it cost.

    A call settles once; a reservation that was given up in the meantime is booked all the same.
    """
    await tx.run(
        """
        WITH call AS (
            UPDATE ai_calls
               SET status = %(status)s, input_tokens = %(input_tokens)s, output_tokens = %(output_tokens)s,
                   cached_tokens = %(cached_tokens)s, cost_usd = %(cost_usd)s, latency_ms = %(latency_ms)s,
                   error = %(error)s
             WHERE id = %(call_id)s AND latency_ms IS NULL
            RETURNING reserved_usd, reserved_tokens, reserved_in
        ), locked AS (
            SELECT s.scope, s.scope_id, s.period, s.period_start, call.reserved_usd AS usd, call.reserved_tokens AS tokens
              FROM call
              CROSS JOIN LATERAL jsonb_to_recordset(call.reserved_in)
                    AS r (scope text, scope_id text, period text, period_start date)
              JOIN ai_spend s USING (scope, scope_id, period, period_start)
             ORDER BY s.scope, s.scope_id, s.period, s.period_start
               FOR UPDATE OF s
        )
        UPDATE ai_spend s
           SET reserved_usd = greatest(0, s.reserved_usd - l.usd),
               reserved_tokens = greatest(0, s.reserved_tokens - l.tokens),
               spent_usd = s.spent_usd + %(cost_usd)s,
               spent_tokens = s.spent_tokens + %(input_tokens)s + %(output_tokens)s
          FROM locked l
         WHERE (s.scope, s.scope_id, s.period, s.period_start) = (l.scope, l.scope_id, l.period, l.period_start)
        RETURNING set_config('synchronous_commit', 'off', true)
        """,
        call_id=call_id,
        **outcome.columns(),
    )


async def release_abandoned(tx: Tx, *, older_than: timedelta) -> int:
    """Give back what calls reserved whose process did not live to settle them; return how many there were."""
    return len(
        await tx.many(
            UUID,
            """
            WITH stale AS (
                SELECT id, reserved_usd AS usd, reserved_tokens AS tokens, reserved_in FROM ai_calls
                 WHERE status = 'reserved' AND created_at < %(now)s - %(older_than)s::interval
                 ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED
            ), closed AS (
                UPDATE ai_calls c
                   SET status = 'error', error = 'abandoned: the process that made the call ended',
                       reserved_usd = 0, reserved_tokens = 0
                  FROM stale WHERE c.id = stale.id
                RETURNING c.id
            ), freed AS (
                SELECT r.scope, r.scope_id, r.period, r.period_start, sum(stale.usd) AS usd, sum(stale.tokens) AS tokens
                  FROM stale
                  CROSS JOIN LATERAL jsonb_to_recordset(stale.reserved_in)
                        AS r (scope text, scope_id text, period text, period_start date)
                 GROUP BY 1, 2, 3, 4
            ), locked AS (
                SELECT s.scope, s.scope_id, s.period, s.period_start, freed.usd, freed.tokens
                  FROM freed JOIN ai_spend s USING (scope, scope_id, period, period_start)
                 ORDER BY s.scope, s.scope_id, s.period, s.period_start
                   FOR UPDATE OF s
            ), released AS (
                UPDATE ai_spend s
                   SET reserved_usd = greatest(0, s.reserved_usd - l.usd),
                       reserved_tokens = greatest(0, s.reserved_tokens - l.tokens)
                  FROM locked l
                 WHERE (s.scope, s.scope_id, s.period, s.period_start) = (l.scope, l.scope_id, l.period, l.period_start)
            )
            SELECT id FROM closed
            """,
            older_than=older_than,
        )
    )
