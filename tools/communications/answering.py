"""That a communication was answered: by hand, outside of this service, or by the mail that answers it."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Invalid
from memory.rows import In, Row
from tools.communications.notes import record_note
from tools.communications.rows import get_subject


class AnsweredInFuture(Invalid):
    """responded_at may not lie in the future."""


class NobodyToAnswer(Invalid):
    """The communication has no outside address to answer to."""


class RespondIn(In):
    """With a `body`, the answer to send from your mailbox; without one, only that it was answered elsewhere."""

    responded_at: AwareDatetime | None = None
    notes: str | None = Field(default=None, max_length=4000)
    body: str | None = Field(default=None, min_length=1, max_length=200_000)
    subject: str | None = Field(default=None, min_length=1, max_length=998)
    cc: list[Annotated[str, Field(max_length=320)]] = Field(default=[], max_length=100)


class RespondedOut(Row):
    """When it was answered, and whether this sent a mail."""

    success: bool = True
    responded_at: datetime
    sent: bool | None = None
    message_id: str | None = None
    is_draft: bool | None = None


class ReplyAddress(Row):
    """To whom and under which subject an answer goes."""

    to: str
    subject: str


async def mark_answered(tx: Tx, caller: Caller, communication_id: UUID, body: RespondIn) -> RespondedOut:
    """
    Take a communication and what came before it in the thread out of the queue; the flag that asked for a reply is resolved.

    Raises `CommunicationNotFound`, `AnsweredInFuture`.
    """
    subject = await get_subject(tx, caller, communication_id, lock=True)
    at = body.responded_at or tx.now
    if at > tx.now:
        raise AnsweredInFuture
    await tx.run(
        """
        UPDATE communications
           SET awaiting_our_response = false, responded_at = coalesce(responded_at, %(at)s),
               tags = CASE WHEN 'answered' = ANY(tags) THEN tags ELSE tags || 'answered'::text END
         WHERE user_id = %(owner_id)s AND thread_id = %(thread_id)s AND direction = 'inbound' AND occurred_at <= %(occurred_at)s
           AND (id = %(communication_id)s OR awaiting_our_response)
        """,
        at=at,
        owner_id=subject.user_id,
        thread_id=subject.thread_id,
        occurred_at=subject.occurred_at,
        communication_id=communication_id,
    )
    await tx.run(
        """
        UPDATE attention_flags SET status = 'resolved', resolved_at = %(now)s, resolved_by = %(user_id)s, resolution_notes = 'Answered'
         WHERE source_type = 'communication' AND source_id = %(communication_id)s::text AND flag_type = 'NEEDS_REPLY'
           AND status <> 'resolved'
        """,
        user_id=caller.user_id,
        communication_id=communication_id,
    )
    await tx.run(
        """
        UPDATE email_conversations SET status = 'processed', response_due_at = NULL, sla_status = 'ok', updated_at = %(now)s
         WHERE user_id = %(owner_id)s AND conversation_id = %(thread_id)s AND status = 'pending'
        """,
        owner_id=subject.user_id,
        thread_id=subject.thread_id,
    )
    await record_note(
        tx, caller, communication_id, content=body.notes or "Marked as answered.", action_type="marked_done"
    )
    return RespondedOut(responded_at=at)


async def get_reply_address(tx: Tx, caller: Caller, communication_id: UUID) -> ReplyAddress:
    """
    Return to whom an answer to this communication goes, and its subject.

    Raises `CommunicationNotFound`, `NobodyToAnswer`.
    """
    subject = await get_subject(tx, caller, communication_id)
    if subject.sender_email is None:
        raise NobodyToAnswer
    title = (subject.subject or "").strip() or "Your message"
    return ReplyAddress(to=subject.sender_email, subject=title if title.lower().startswith("re:") else f"Re: {title}")
