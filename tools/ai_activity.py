"""AI activity: the log of what agents did or would not do, with why and by which call."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, field_validator

from memory.callers import Caller
from memory.db import Json, Tx
from memory.rows import Doc, In, Named, Row

Source = Literal["scheduler", "communications", "transcript", "pipeline", "system"]
Status = Literal["pending", "success", "skipped", "failed"]
ActionType = Literal[
    "EMAIL_SENT", "EMAIL_DRAFTED", "MEETING_BOOKED", "MEETING_PROPOSED", "MEETING_RESCHEDULED", "FOLLOWUP_CREATED",
    "NEXT_STEP_SET", "FLAG_CREATED", "FLAG_RESOLVED", "ESCALATED_TO_HUMAN", "ENTITY_LINKED", "ANALYSIS_COMPLETED",
    "SUMMARY_GENERATED", "ERROR",
]  # fmt: skip
SOURCES = ("scheduler", "communications", "transcript", "pipeline", "system")
STATUSES = ("pending", "success", "skipped", "failed")
ACTION = """
    l.id, l.source, l.action_type, l.status, l.user_id, l.company_id, l.contact_id, l.deal_id, l.company_product_id,
    l.communication_id, l.transcription_id, l.attention_flag_id, l.ai_call_id, l.prompt_key, l.prompt_version, l.run_id, l.inputs, l.outputs, l.ai_reasoning,
    l.error_message, l.retry_count, l.completed_at, l.created_at
"""
FILTERED = """
    (%(sources)s::text[] IS NULL OR l.source = ANY(%(sources)s))
    AND (%(statuses)s::text[] IS NULL OR l.status = ANY(%(statuses)s))
    AND (%(actions)s::text[] IS NULL OR l.action_type = ANY(%(actions)s))
    AND (%(companyId)s::uuid IS NULL OR l.company_id = %(companyId)s)
    AND (%(since)s::timestamptz IS NULL OR l.created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR l.created_at < %(until)s)
    AND (%(scope)s::uuid IS NULL OR l.user_id = %(scope)s)
"""


class ActivityFilter(In):
    """Which actions to list, the newest first; source, status and actionType take several, separated by commas."""

    source: str | None = None
    status: str | None = None
    actionType: str | None = Field(default=None, max_length=500)
    companyId: UUID | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0)

    @field_validator("source")
    @classmethod
    def _known_source(cls, value: str | None) -> str | None:
        return _known(value, SOURCES)

    @field_validator("status")
    @classmethod
    def _known_status(cls, value: str | None) -> str | None:
        return _known(value, STATUSES)

    @field_validator("actionType")
    @classmethod
    def _known_action(cls, value: str | None) -> str | None:
        return _known(value, ActionType.__args__)


class CommunicationBeside(Row):
    """The communication that an action was about."""

    id: UUID
    subject: str | None


class ActionRow(Row):
    """One action of an agent."""

    id: UUID
    source: Source
    action_type: ActionType
    status: Status
    user_id: UUID | None
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    company_product_id: UUID | None
    communication_id: UUID | None
    transcription_id: UUID | None
    attention_flag_id: UUID | None
    ai_call_id: UUID | None
    prompt_key: str | None
    prompt_version: int | None
    run_id: UUID | None
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    ai_reasoning: str | None
    error_message: str | None
    retry_count: int
    completed_at: datetime | None
    created_at: datetime
    company: Named | None
    contact: Named | None
    communication: CommunicationBeside | None


class ActivityStats(Row):
    """How many actions match, by status and source."""

    success: int
    skipped: int
    failed: int
    pending: int
    bySource: dict[str, int]


class ActivityOut(Row):
    """A page of actions with the figures of everything that matches."""

    actions: list[ActionRow]
    total: int
    limit: int
    offset: int
    stats: ActivityStats


def _known(value: str | None, offered: tuple[str, ...]) -> str | None:
    for part in _parts(value) or []:
        if part not in offered:
            raise ValueError(f"{part!r} is none of {', '.join(offered)}")
    return value


def _parts(value: str | None) -> list[str] | None:
    parts = [part.strip() for part in (value or "").split(",") if part.strip()]
    return parts or None


async def list_actions(tx: Tx, caller: Caller, filter: ActivityFilter) -> Doc[ActivityOut]:
    """Return a page of the actions that the caller may see: a rep's own, for managers everybody's."""
    return await tx.doc(
        ActivityOut,
        f"""
        WITH counted AS (SELECT l.status, l.source, count(*) AS n FROM ai_action_log l WHERE {FILTERED} GROUP BY 1, 2)
        SELECT json_build_object(
                   'actions', (SELECT coalesce(json_agg(x), '[]') FROM (
                       SELECT {ACTION},
                              CASE WHEN c.id IS NOT NULL THEN json_build_object('id', c.id, 'name', c.name) END AS company,
                              CASE WHEN t.id IS NOT NULL THEN json_build_object('id', t.id, 'name', t.name) END AS contact,
                              CASE WHEN m.id IS NOT NULL THEN json_build_object('id', m.id, 'subject', m.subject) END AS communication
                         FROM (SELECT * FROM ai_action_log l WHERE {FILTERED}
                                ORDER BY l.created_at DESC, l.id LIMIT %(limit)s OFFSET %(offset)s) l
                         LEFT JOIN companies c ON c.id = l.company_id
                         LEFT JOIN contacts t ON t.id = l.contact_id
                         LEFT JOIN communications m ON m.id = l.communication_id
                        ORDER BY l.created_at DESC, l.id) x),
                   'total', (SELECT coalesce(sum(n), 0) FROM counted), 'limit', %(limit)s::int, 'offset', %(offset)s::int,
                   'stats', json_build_object(
                       'success', (SELECT coalesce(sum(n), 0) FROM counted WHERE status = 'success'),
                       'skipped', (SELECT coalesce(sum(n), 0) FROM counted WHERE status = 'skipped'),
                       'failed', (SELECT coalesce(sum(n), 0) FROM counted WHERE status = 'failed'),
                       'pending', (SELECT coalesce(sum(n), 0) FROM counted WHERE status = 'pending'),
                       'bySource', (SELECT coalesce(json_object_agg(source, n), '{{}}')
                                      FROM (SELECT source, sum(n) AS n FROM counted GROUP BY source) s)))::text
        """,
        companyId=filter.companyId,
        since=filter.since,
        until=filter.until,
        sources=_parts(filter.source),
        statuses=_parts(filter.status),
        actions=_parts(filter.actionType),
        scope=caller.scope,
        limit=filter.limit,
        offset=filter.offset,
    )


async def record_action(
    tx: Tx,
    caller: Caller,
    *,
    source: Source,
    action_type: ActionType,
    status: Status = "success",
    company_id: UUID | None = None,
    contact_id: UUID | None = None,
    deal_id: UUID | None = None,
    company_product_id: UUID | None = None,
    communication_id: UUID | None = None,
    transcription_id: UUID | None = None,
    attention_flag_id: UUID | None = None,
    ai_call_id: UUID | None = None,
    run_id: UUID | None = None,
    user_id: UUID | None = None,
    inputs: dict[str, Any] | None = None,
    outputs: dict[str, Any] | None = None,
    reasoning: str | None = None,
    error: str | None = None,
    key: str | None = None,
) -> UUID | None:
    """
    Append what an agent did; with a `key` only once. Returns the row's id, or None when the key was there.

    The call that is named says by which prompt it came; both stay with the action.
    """
    return await tx.maybe(
        UUID,
        """
        INSERT INTO ai_action_log (source, action_type, status, user_id, company_id, contact_id, deal_id, company_product_id, communication_id,
                                   transcription_id, attention_flag_id, ai_call_id, run_id, inputs, outputs, ai_reasoning,
                                   error_message, idempotency_key, completed_at, created_at)
        VALUES (%(source)s, %(action_type)s, %(status)s, %(user_id)s, %(company_id)s, %(contact_id)s, %(deal_id)s, %(company_product_id)s,
                %(communication_id)s, %(transcription_id)s, %(attention_flag_id)s, %(ai_call_id)s, %(run_id)s, %(inputs)s, %(outputs)s, %(reasoning)s,
                %(error)s, %(key)s, CASE WHEN %(status)s = 'pending' THEN NULL ELSE %(now)s::timestamptz END, %(now)s)
        ON CONFLICT (idempotency_key) DO NOTHING
        RETURNING id
        """,
        source=source,
        action_type=action_type,
        status=status,
        user_id=user_id or caller.user_id,
        company_id=company_id,
        contact_id=contact_id,
        deal_id=deal_id,
        company_product_id=company_product_id,
        communication_id=communication_id,
        transcription_id=transcription_id,
        attention_flag_id=attention_flag_id,
        ai_call_id=ai_call_id,
        run_id=run_id or caller.run_id,
        inputs=Json(inputs or {}),
        outputs=Json(outputs or {}),
        reasoning=reasoning,
        error=error,
        key=key,
    )
