"""The response queue: what waits for our answer, by when it is due."""

from datetime import datetime
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Row
from tools.communications.rows import VISIBLE, CompanyBeside, ContactBeside

QUEUED_AT_MOST = 500
DUE_SOON_HOURS = 2


class Waiting(Row):
    """A message that waits for our answer; hours are negative while there is time left."""

    id: UUID
    channel: str
    subject: str | None
    content_preview: str | None
    occurred_at: datetime
    sender_email: str | None
    sender_name: str | None
    response_due_by: datetime
    thread_id: str
    company: CompanyBeside | None
    contact: ContactBeside | None
    urgency: str | None
    summary: str | None
    hours: float


class Overdue(Waiting):
    """Its time is over, by so many hours."""

    hours_overdue: float


class DueSoon(Waiting):
    """Its time is nearly over: so many hours remain."""

    hours_remaining: float


class ResponseQueue(Row):
    """Overdue, due within two hours, and later."""

    overdue: list[Overdue]
    due_soon: list[DueSoon]
    upcoming: list[Waiting]


class ResponseQueueOut(Row):
    """The queue; at most 500, the earliest due first."""

    response_queue: ResponseQueue
    total: int


async def list_response_queue(tx: Tx, caller: Caller) -> ResponseQueueOut:
    """Return what waits for an answer of ours, earliest due first, in three groups."""
    waiting = await tx.many(
        Waiting,
        f"""
        SELECT m.id, m.channel, m.subject, m.content_preview, m.occurred_at, m.sender_email, m.sender_name, m.response_due_by,
               m.thread_id, a.urgency, a.summary,
               CASE WHEN c.id IS NOT NULL THEN json_build_object('id', c.id, 'name', c.name, 'domain', c.domain) END AS company,
               CASE WHEN t.id IS NOT NULL THEN json_build_object('id', t.id, 'name', t.name, 'email', t.email) END AS contact,
               round(extract(epoch FROM %(now)s - m.response_due_by) / 3600, 1)::float AS hours
          FROM (SELECT * FROM communications m
                 WHERE m.awaiting_our_response AND m.excluded_at IS NULL AND m.response_due_by IS NOT NULL AND {VISIBLE}
                 ORDER BY m.response_due_by, m.id
                 LIMIT %(most)s) m
          LEFT JOIN companies c ON c.id = m.company_id
          LEFT JOIN contacts t ON t.id = m.contact_id
          LEFT JOIN communication_analysis a ON a.id = m.current_analysis_id
         ORDER BY m.response_due_by, m.id
        """,
        scope=caller.scope,
        most=QUEUED_AT_MOST,
    )
    overdue = [Overdue(**row.model_dump(), hours_overdue=row.hours) for row in waiting if row.hours > 0]
    soon = [
        DueSoon(**row.model_dump(), hours_remaining=-row.hours) for row in waiting if -DUE_SOON_HOURS <= row.hours <= 0
    ]
    later = [row for row in waiting if row.hours < -DUE_SOON_HOURS]
    return ResponseQueueOut(
        response_queue=ResponseQueue(overdue=overdue, due_soon=soon, upcoming=later), total=len(waiting)
    )
