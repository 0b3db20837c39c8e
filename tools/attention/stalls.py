"""
Stalled sales: flags that the pipeline raises and takes back by itself, in one statement over all open sales.

    STALE_IN_STAGE              longer in its stage than sales usually are (by words in the stage's name)
    NO_NEXT_STEP_AFTER_MEETING  a meeting in the last week, and no next step that lies ahead
    GHOSTING_AFTER_PROPOSAL     at the proposal, and nothing heard from them

A flag that is there already is brought up to date (a snoozed one stays snoozed), one whose reason has gone is resolved.
What a person has resolved is not raised anew for a day, nor before the next step that they have set is due.
Source: CRM specification, stall flags.
"""

from typing import Any, LiteralString

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict
from memory.rows import Row
from tools import workspace

LOCK = "attention.raise_stalls"
QUIET_HOURS = 24
MEETING_DAYS = 7
SILENT_DAYS = 5
HEARD_DAYS = 2
"""Whole days since they were last heard, up to which a flag for their silence is taken back."""


class StallsUnderway(Conflict):
    """Stalled sales are being looked for already."""


class StallFigures(Row):
    """How many products companies have, how many of them stand in a stage, and how many in an open sale short of its end."""

    total_company_products: int
    with_current_stage_id: int
    eligible_after_terminal_exclusion: int


class StallsOut(Row):
    """What was raised, brought up to date and taken back."""

    success: bool = True
    created: int
    updated: int
    resolved: int
    processed: int
    debug: StallFigures
    message: str


class _Done(Row):
    created: int
    updated: int
    resolved: int
    processed: int
    total_company_products: int
    with_current_stage_id: int
    eligible_after_terminal_exclusion: int


# `sale` is every row in an open sale outside of final stages; `holds` is null where a flag neither begins nor ends.
_JUDGED: LiteralString = """
    standing AS (
        SELECT r.company_product_id, r.company_id, r.current_stage_name AS stage, r.stage_entered_at, r.next_step, r.next_step_due_at,
               q.snoozed_until, coalesce(s.is_terminal, false) AS is_terminal,
               r.phase = 'in_sales' AND r.current_process_type = 'sales' AND r.process_completed_at IS NULL AS is_open
          FROM company_product_read_model r
          JOIN company_products q ON q.id = r.company_product_id
          LEFT JOIN product_process_stages s ON s.id = r.current_stage_id
         WHERE r.current_stage_id IS NOT NULL AND q.merged_into_id IS NULL
    ), sale AS (
        SELECT x.*, coalesce(x.snoozed_until > %(now)s, false) AS sleeps,
               floor(extract(epoch FROM %(now)s - x.stage_entered_at) / 86400)::int AS days,
               coalesce((SELECT w.days FROM unnest(%(words)s::text[], %(days)s::int[]) WITH ORDINALITY AS w (word, days, nth)
                          WHERE strpos(lower(x.stage), w.word) > 0 ORDER BY w.nth LIMIT 1), %(otherwise)s::int) AS usual,
               EXISTS (SELECT FROM unnest(%(proposals)s::text[]) AS w (word) WHERE strpos(lower(x.stage), w.word) > 0) AS at_proposal
          FROM standing x
         WHERE x.is_open AND NOT x.is_terminal
    ), met AS (
        SELECT DISTINCT company_id FROM (
            SELECT a.company_id FROM activities a
             WHERE a.type IN ('meeting_held', 'calendar_event') AND a.match_status <> 'excluded'
               AND a.occurred_at BETWEEN %(now)s - make_interval(days => %(meeting_days)s) AND %(now)s
            UNION ALL
            SELECT m.company_id FROM communications m
             WHERE m.channel = 'meeting' AND m.excluded_at IS NULL
               AND m.occurred_at BETWEEN %(now)s - make_interval(days => %(meeting_days)s) AND %(now)s) x
         WHERE company_id IS NOT NULL
    ), heard AS (
        SELECT x.company_product_id, l.occurred_at AS at
          FROM sale x
          LEFT JOIN LATERAL (
               SELECT m.occurred_at FROM communications m
                WHERE m.company_id = x.company_id AND m.direction = 'inbound' AND m.noise_type IS NULL AND m.excluded_at IS NULL
                  AND (m.company_product_id IS NULL OR m.company_product_id = x.company_product_id) AND m.occurred_at <= %(now)s
                ORDER BY m.occurred_at DESC LIMIT 1) l ON true
         WHERE x.at_proposal
    ), judged AS (
        SELECT x.company_product_id, x.company_id, x.stage_entered_at, x.next_step_due_at, x.sleeps, 'STALE_IN_STAGE' AS flag_type,
               x.days > x.usual AS holds,
               CASE WHEN x.days >= 2 * x.usual THEN 'high' ELSE 'medium' END AS severity,
               format('%%s days in %%s, where %%s are usual.', x.days, x.stage, x.usual) AS reason,
               'Find out what holds it up, and move it on or let it go.' AS recommended_action
          FROM sale x
        UNION ALL
        SELECT x.company_product_id, x.company_id, x.stage_entered_at, x.next_step_due_at, x.sleeps, 'NO_NEXT_STEP_AFTER_MEETING',
               CASE WHEN x.next_step_due_at > %(now)s THEN false
                    WHEN met.company_id IS NOT NULL THEN true END,
               'medium',
               CASE WHEN x.next_step_due_at IS NULL THEN 'There was a meeting in the last week, and no next step is set.'
                    ELSE format('There was a meeting in the last week, and the next step was due on %%s.', to_char(x.next_step_due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')) END,
               'Agree on the next step, and write down when.'
          FROM sale x LEFT JOIN met USING (company_id)
        UNION ALL
        SELECT x.company_product_id, x.company_id, x.stage_entered_at, x.next_step_due_at, x.sleeps, 'GHOSTING_AFTER_PROPOSAL',
               CASE WHEN NOT x.at_proposal THEN false
                    WHEN %(now)s - coalesce(heard.at, x.stage_entered_at) >= make_interval(days => %(silent_days)s) THEN true
                    WHEN %(now)s - heard.at < make_interval(days => %(heard_days)s + 1) THEN false END,
               'high',
               CASE WHEN heard.at IS NULL THEN format('In %%s, and nothing was ever heard from them.', x.stage)
                    ELSE format('In %%s, and nothing heard from them since %%s.', x.stage, to_char(heard.at AT TIME ZONE 'UTC', 'YYYY-MM-DD')) END,
               'Write once more, or ask by another way.'
          FROM sale x LEFT JOIN heard USING (company_product_id)
    )
"""


async def raise_stalls(tx: Tx, caller: Caller) -> StallsOut:
    """
    Bring the flags of all open sales up to date.

    Raises `StallsUnderway` while another run is at it.
    """
    if not await tx.one(bool, "SELECT pg_try_advisory_xact_lock(hashtextextended(%(lock)s, 0))", lock=LOCK):
        raise StallsUnderway
    limits = await _limits(tx)
    resolved = await _take_back(tx, limits)
    done = await tx.one(
        _Done,
        f"""
        WITH {_JUDGED},
        raised AS (
            INSERT INTO attention_flags AS f (company_id, company_product_id, source_type, flag_type, severity, reason,
                                              recommended_action, owner, status, created_at)
            SELECT j.company_id, j.company_product_id, 'pipeline', j.flag_type, j.severity, j.reason, j.recommended_action, 'human',
                   'open', %(now)s
              FROM judged j
             WHERE j.holds AND NOT j.sleeps
               AND NOT EXISTS (SELECT FROM attention_flags h
                                WHERE h.company_product_id = j.company_product_id AND h.flag_type = j.flag_type AND h.resolved_by IS NOT NULL
                                  AND (h.resolved_at > %(now)s - make_interval(hours => %(quiet_hours)s)
                                       OR h.resolved_at >= j.stage_entered_at AND j.next_step_due_at > %(now)s))
             ORDER BY j.company_product_id, j.flag_type
            ON CONFLICT (company_product_id, flag_type) WHERE status <> 'resolved' AND source_type = 'pipeline'
            DO UPDATE SET severity = excluded.severity, reason = excluded.reason, recommended_action = excluded.recommended_action
             WHERE (f.severity, f.reason, f.recommended_action) IS DISTINCT FROM (excluded.severity, excluded.reason, excluded.recommended_action)
            RETURNING (xmax = 0) AS is_new
        )
        SELECT (SELECT count(*) FROM raised WHERE is_new) AS created,
               (SELECT count(*) FROM raised WHERE NOT is_new) AS updated,
               %(resolved)s::int AS resolved,
               (SELECT count(*) FROM sale WHERE NOT sleeps) AS processed,
               (SELECT count(*) FROM company_products) AS total_company_products,
               (SELECT count(*) FROM standing) AS with_current_stage_id,
               (SELECT count(*) FROM sale) AS eligible_after_terminal_exclusion
        """,
        **limits,
        resolved=resolved,
    )
    return StallsOut(
        **done.model_dump(include={"created", "updated", "resolved", "processed"}),
        debug=StallFigures(**done.model_dump(include=set(StallFigures.model_fields))),
        message=f"{done.processed} open sales: {done.created} flags raised, {done.updated} brought up to date, "
        f"{done.resolved} resolved.",
    )


async def _limits(tx: Tx) -> dict[str, Any]:
    own = await workspace.get_workspace(tx)
    return {
        "words": [word.lower() for word in own.stall_days],
        "days": list(own.stall_days.values()),
        "otherwise": own.stall_days_otherwise,
        "proposals": [word.lower() for word in own.proposal_stages],
        "meeting_days": MEETING_DAYS,
        "silent_days": SILENT_DAYS,
        "heard_days": HEARD_DAYS,
        "quiet_hours": QUIET_HOURS,
    }


async def _take_back(tx: Tx, limits: dict[str, Any]) -> int:
    """Resolve the flags whose reason has gone: the sale moved on or is over, a step is set, they were heard."""
    return await tx.run(
        f"""
        WITH {_JUDGED}
        UPDATE attention_flags f
           SET status = 'resolved', snoozed_until = NULL, resolved_at = %(now)s, resolution_notes = 'The reason has gone.'
          FROM (SELECT o.id FROM attention_flags o
                  LEFT JOIN judged j ON j.company_product_id = o.company_product_id AND j.flag_type = o.flag_type
                 WHERE o.source_type = 'pipeline' AND o.status <> 'resolved' AND o.flag_type = ANY(%(types)s)
                   AND (j.company_product_id IS NULL OR NOT j.holds)
                 ORDER BY o.id FOR UPDATE OF o) gone
         WHERE f.id = gone.id
        """,
        **limits,
        types=["STALE_IN_STAGE", "NO_NEXT_STEP_AFTER_MEETING", "GHOSTING_AFTER_PROPOSAL"],
    )
