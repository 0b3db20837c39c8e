"""What a reader of a communication may know: the message, its thread, its company, and the promises still open."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Row
from tools.communications.rows import VISIBLE, Channel, CommunicationNotFound

TAIL = 3
OFFERED = 10
NOTES = 5


class Earlier(Row):
    """An earlier message of the thread."""

    direction: Literal["inbound", "outbound", "internal"]
    occurred_at: datetime
    said: str


class Known(Row):
    """Something that is known of the company or the contact."""

    kind: str
    text: str


class OfferedPromise(Row):
    """A promise that is still open."""

    id: UUID
    direction: Literal["we_promised", "they_promised"]
    promise_text: str
    promised_at: datetime
    in_thread: bool


class MessageContext(Row):
    """A communication with all that is read beside it. `timezone` is that of its mailbox's owner."""

    id: UUID
    user_id: UUID
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    company_product_id: UUID | None
    channel: Channel
    direction: Literal["inbound", "outbound", "internal"]
    occurred_at: datetime
    subject: str | None
    full_content: str | None
    content_preview: str | None
    our_participants: list[dict[str, Any]]
    their_participants: list[dict[str, Any]]
    sender_name: str | None
    thread_id: str
    in_reply_to_id: str | None
    owner_name: str
    timezone: str
    company_name: str | None
    company_status: str | None
    contact_name: str | None
    contact_title: str | None
    stage: str | None
    products: list[str]
    earlier: list[Earlier]
    known: list[Known]
    notes: list[str]
    open_promises: list[OfferedPromise]


async def get_message_context(tx: Tx, caller: Caller, communication_id: UUID) -> MessageContext:
    """
    Return the communication with its thread before it, what is known of its company, and its mailbox's open promises.

    Raises `CommunicationNotFound`.
    """
    return await tx.one(
        MessageContext,
        f"""
        SELECT m.id, m.user_id, m.company_id, m.contact_id, m.deal_id, m.company_product_id, m.channel, m.direction, m.occurred_at,
               m.subject, left(m.full_content, 200000) AS full_content, m.content_preview, m.our_participants, m.their_participants,
               m.sender_name, m.thread_id, m.in_reply_to_id, u.name AS owner_name, u.timezone, c.name AS company_name,
               c.status AS company_status, t.name AS contact_name, t.title AS contact_title, d.stage,
               coalesce((SELECT array_agg(p.name ORDER BY p.display_order, p.name) FROM products p WHERE p.is_active), '{{}}') AS products,
               coalesce((SELECT json_agg(e ORDER BY e.occurred_at) FROM (
                   SELECT o.direction, o.occurred_at, left(coalesce(a.summary, o.content_preview, ''), 300) AS said
                     FROM communications o LEFT JOIN communication_analysis a ON a.id = o.current_analysis_id
                    WHERE o.user_id = m.user_id AND o.thread_id = m.thread_id AND o.occurred_at < m.occurred_at AND o.excluded_at IS NULL
                    ORDER BY o.occurred_at DESC LIMIT %(tail)s) e), '[]') AS earlier,
               coalesce((SELECT json_agg(k) FROM (
                   SELECT i.kind, left(i.text, 200) AS text FROM relationship_items i
                    WHERE m.company_id IS NOT NULL AND i.company_id = m.company_id AND i.status = 'active' AND i.confidence >= 0.70
                      AND (i.contact_id IS NULL OR i.contact_id = m.contact_id)
                    ORDER BY i.occurred_at DESC LIMIT 8) k), '[]') AS known,
               coalesce((SELECT array_agg(left(n.note, 300) ORDER BY n.added_at DESC) FROM (
                   SELECT note, added_at FROM relationship_notes
                    WHERE m.company_id IS NOT NULL AND company_id = m.company_id AND deleted_at IS NULL
                    ORDER BY added_at DESC LIMIT %(notes)s) n), '{{}}') AS notes,
               coalesce((SELECT json_agg(p ORDER BY p.promised_at) FROM (
                   SELECT q.id, q.direction, q.promise_text, q.promised_at, coalesce(s.thread_id = m.thread_id, false) AS in_thread
                     FROM promises q LEFT JOIN communications s ON s.id = q.source_communication_id
                    WHERE m.company_id IS NOT NULL AND q.company_id = m.company_id AND q.owner_user_id = m.user_id
                      AND q.status IN ('pending', 'overdue') AND NOT q.is_hidden AND q.promised_at < m.occurred_at
                    ORDER BY coalesce(s.thread_id = m.thread_id, false) DESC, q.promised_at DESC LIMIT %(offered)s) p), '[]') AS open_promises
          FROM communications m
          JOIN users u ON u.id = m.user_id
          LEFT JOIN companies c ON c.id = m.company_id
          LEFT JOIN contacts t ON t.id = m.contact_id
          LEFT JOIN deals d ON d.id = m.deal_id
         WHERE m.id = %(communication_id)s AND {VISIBLE}
        """,
        missing=CommunicationNotFound(communication_id=communication_id),
        communication_id=communication_id,
        scope=caller.scope,
        tail=TAIL,
        notes=NOTES,
        offered=OFFERED,
    )
