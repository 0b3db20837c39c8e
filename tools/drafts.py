"""Drafts: answers that are written and wait for a person. A draft never sends itself."""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Invalid
from memory.rows import Row
from tools.communications.notes import record_note
from tools.communications.rows import VISIBLE, CommunicationNotFound

SLOT_MINUTES = 30
SLOT_DAYS = 15
MOST_SLOTS = 4


class NotLinked(Invalid):
    """Assign the communication to a company first."""


class NobodyToAnswer(Invalid):
    """The communication has no outside address to answer to."""


class ReplyContext(Row):
    """
    What an answer is written from: the message, the thread, the deal, and what is known of the person.

    `product_slug` is the product that it is about, if there is no doubt: the message's, or the only one of the company.
    """

    communication_id: UUID
    user_id: UUID
    user_name: str
    user_timezone: str
    conversation_id: UUID | None
    company_id: UUID
    company_name: str
    contact_id: UUID | None
    contact_name: str | None
    contact_title: str | None
    to_email: str
    subject: str
    occurred_at: datetime
    last_inbound: str
    last_inbound_id: UUID
    last_outbound: str | None
    last_outbound_id: UUID | None
    product_names: list[str]
    product_slug: str | None = None
    deal_id: UUID | None
    stage: str | None
    open_promises: list[str]
    questions: list[str]
    objections: list[str]
    style: dict[str, Any]
    avoided: list[Any]
    busy: list[list[datetime]]


class NewDraft(Row):
    """A draft to keep."""

    to_emails: list[str]
    subject: str
    body_text: str
    body_html: str
    confidence: int
    needs_human_review: list[str]
    placeholders: list[str]
    context: dict[str, Any]
    engine: str
    prompt_key: str
    prompt_version: int
    ai_call_id: UUID | None
    run_id: UUID
    trigger: str


class DraftRow(Row):
    """One draft."""

    id: UUID
    user_id: UUID
    communication_id: UUID | None
    to_emails: list[str]
    cc_emails: list[str]
    subject: str
    body_text: str
    body_html: str | None
    confidence: int | None
    needs_human_review: list[Any]
    placeholders: list[Any]
    engine: str | None
    prompt_key: str | None
    prompt_version: int | None
    ai_call_id: UUID | None
    run_id: UUID | None
    status: Literal["pending_review", "edited", "approved", "sent", "discarded", "expired"]
    created_at: datetime


DRAFT = """
    f.id, f.user_id, f.communication_id, f.to_emails, f.cc_emails, f.subject, f.body_text, f.body_html, f.confidence,
    f.needs_human_review, f.placeholders, f.engine, f.prompt_key, f.prompt_version, f.ai_call_id, f.run_id, f.status, f.created_at
"""


async def load_reply_context(tx: Tx, caller: Caller, communication_id: UUID) -> ReplyContext:
    """
    Return what an answer to this communication is written from; the recipient comes from the thread alone.

    Raises `CommunicationNotFound`, `NotLinked`, `NobodyToAnswer`.
    """
    found = await tx.one(
        dict[str, Any],
        f"""
        SELECT json_build_object(
                   'communication_id', m.id, 'user_id', m.user_id, 'user_name', u.name, 'user_timezone', u.timezone,
                   'conversation_id', v.id, 'company_id', m.company_id, 'company_name', c.name, 'contact_id', t.id, 'contact_name', t.name,
                   'contact_title', t.title,
                   'to_email', coalesce(i.sender_email, m.sender_email), 'subject', coalesce(m.subject, ''), 'occurred_at', m.occurred_at,
                   'last_inbound', left(coalesce(i.full_content, m.full_content, ''), 6000), 'last_inbound_id', coalesce(i.id, m.id),
                   'last_outbound', left(o.full_content, 2000), 'last_outbound_id', o.id,
                   'product_names', coalesce((SELECT json_agg(p.name ORDER BY p.name) FROM products p WHERE p.is_active), '[]'),
                   'product_slug', coalesce(
                        (SELECT p.slug FROM company_products x JOIN products p ON p.id = x.product_id WHERE x.id = m.company_product_id),
                        (SELECT min(p.slug) FROM company_products x JOIN products p ON p.id = x.product_id
                          WHERE x.company_id = m.company_id HAVING count(*) = 1)),
                   'deal_id', d.id, 'stage', d.stage,
                   'open_promises', coalesce((SELECT json_agg(p.promise_text ORDER BY p.due_by NULLS LAST) FROM promises p
                        WHERE p.company_id = m.company_id AND p.direction = 'we_promised' AND p.status IN ('pending', 'overdue')
                          AND NOT p.is_hidden AND p.owner_user_id = m.user_id), '[]'),
                   'questions', coalesce((SELECT json_agg(q ->> 'question') FROM jsonb_array_elements(a.key_questions) q
                        WHERE (q ->> 'confidence')::numeric >= 0.70), '[]'),
                   'objections', coalesce((SELECT json_agg(q ->> 'objection') FROM jsonb_array_elements(a.extracted_objections) q
                        WHERE (q ->> 'confidence')::numeric >= 0.70), '[]'),
                   'style', json_build_object('channel', n.preferred_channel, 'formality', n.formality_level, 'angles', n.effective_angles),
                   'avoided', coalesce(n.avoided, '[]'),
                   'busy', coalesce((SELECT json_agg(json_build_array(e.occurred_at, e.occurred_at + make_interval(mins =>
                                        CASE WHEN jsonb_typeof(e.metadata -> 'duration_minutes') = 'number'
                                             THEN (e.metadata ->> 'duration_minutes')::numeric::int ELSE %(slot)s END)))
                                       FROM activities e WHERE e.user_id = m.user_id AND e.type = 'calendar_event'
                                        AND e.occurred_at BETWEEN %(now)s - interval '1 day' AND %(until)s), '[]'))
          FROM communications m
          JOIN users u ON u.id = m.user_id
          LEFT JOIN companies c ON c.id = m.company_id
          LEFT JOIN contacts t ON t.id = m.contact_id AND t.deleted_at IS NULL
          LEFT JOIN deals d ON d.id = m.deal_id
          LEFT JOIN account_memory n ON n.company_id = m.company_id
          LEFT JOIN email_conversations v ON v.user_id = m.user_id AND v.conversation_id = m.thread_id
          LEFT JOIN LATERAL (SELECT * FROM communications x WHERE x.user_id = m.user_id AND x.thread_id = m.thread_id
                                AND x.direction = 'inbound' AND x.noise_type IS NULL AND x.excluded_at IS NULL
                              ORDER BY x.occurred_at DESC LIMIT 1) i ON true
          LEFT JOIN LATERAL (SELECT * FROM communications x WHERE x.user_id = m.user_id AND x.thread_id = m.thread_id
                                AND x.direction = 'outbound' ORDER BY x.occurred_at DESC LIMIT 1) o ON true
          LEFT JOIN communication_analysis a ON a.id = coalesce(i.current_analysis_id, m.current_analysis_id)
         WHERE m.id = %(communication_id)s AND {VISIBLE}
        """,
        missing=CommunicationNotFound(communication_id=communication_id),
        communication_id=communication_id,
        scope=caller.scope,
        until=tx.now + timedelta(days=SLOT_DAYS * 2),
        slot=SLOT_MINUTES,
    )
    if found["company_id"] is None:
        raise NotLinked
    if found["to_email"] is None:
        raise NobodyToAnswer
    return ReplyContext.model_validate(found)


async def save_draft(tx: Tx, caller: Caller, context: ReplyContext, draft: NewDraft) -> DraftRow:
    """Keep a draft; an older one for the same conversation that nobody has touched is discarded."""
    await tx.run(
        """
        UPDATE email_drafts SET status = 'discarded', updated_at = %(now)s
         WHERE status = 'pending_review' AND user_id = %(user_id)s
           AND (communication_id = %(communication_id)s OR conversation_id = %(conversation_id)s)
        """,
        user_id=context.user_id,
        communication_id=context.communication_id,
        conversation_id=context.conversation_id,
    )
    saved = await tx.one(
        DraftRow,
        f"""
        INSERT INTO email_drafts AS f (user_id, origin, origin_id, conversation_id, communication_id, to_emails, subject, body_html,
                                       body_text, confidence, generation_trigger, generation_context, needs_human_review, placeholders,
                                       engine, prompt_key, prompt_version, ai_call_id, run_id, created_at, updated_at)
        VALUES (%(user_id)s, 'communication', %(communication_id)s, %(conversation_id)s, %(communication_id)s, %(to_emails)s, %(subject)s,
                %(body_html)s, %(body_text)s, %(confidence)s, %(trigger)s, %(context)s, %(needs_human_review)s, %(placeholders)s,
                %(engine)s, %(prompt_key)s, %(prompt_version)s, %(ai_call_id)s, %(run_id)s, %(now)s, %(now)s)
        RETURNING {DRAFT}
        """,
        **draft.model_dump(exclude={"context", "needs_human_review", "placeholders"}),
        context=Json(draft.context),
        needs_human_review=Json(draft.needs_human_review),
        placeholders=Json(draft.placeholders),
        user_id=context.user_id,
        communication_id=context.communication_id,
        conversation_id=context.conversation_id,
    )
    await tx.run(
        """
        UPDATE email_conversations SET has_pending_draft = true, draft_confidence = %(confidence)s, updated_at = %(now)s
         WHERE id = %(conversation_id)s
        """,
        conversation_id=context.conversation_id,
        confidence=draft.confidence,
    )
    await record_note(
        tx,
        caller,
        context.communication_id,
        content="An answer was drafted.",
        note_type="system",
        action_type="draft_generated",
    )
    return saved


async def get_draft(tx: Tx, caller: Caller, draft_id: UUID) -> DraftRow:
    """
    Return one draft of the caller's, or for managers anybody's.

    Raises `NoSuchRow`.
    """
    return await tx.one(
        DraftRow,
        f"SELECT {DRAFT} FROM email_drafts f WHERE f.id = %(draft_id)s AND (%(scope)s::uuid IS NULL OR f.user_id = %(scope)s)",
        draft_id=draft_id,
        scope=caller.scope,
    )
