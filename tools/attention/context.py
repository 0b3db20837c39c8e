"""
What a draft that answers a flag is written from.

To whom it goes is decided here, from records alone: whoever wrote the message that the flag asks to answer, else the
company's primary contact. Whatever later messages say, they change nothing about that.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Invalid
from memory.rows import Row
from tools import drafts
from tools.attention.rows import FlagRow, check_open, check_writable, hold_flag
from tools.communications.rows import VISIBLE

LOOKED_AT = 5
SHOWN = 300
ANSWERED = 1500


class ProductNeeded(Invalid):
    """Attention flag {flag_id} belongs to no product of the company, so there is nothing to write about."""


class NobodyToWrite(Invalid):
    """{company} has no contact with an e-mail address to write to."""


class FlagContext(Row):
    """The flag, whom it is about, how the sale stands, and what was said last, as far as the caller may read it."""

    flag: FlagRow
    user_name: str
    user_timezone: str
    contact_id: UUID | None
    contact_name: str | None
    contact_title: str | None
    contact_email: str
    product_name: str | None
    product_slug: str | None
    stage_name: str | None
    days_in_stage: int | None
    subject: str
    last_inbound: str
    last_inbound_id: UUID | None
    last_inbound_at: datetime | None
    last_outbound: str
    last_outbound_id: UUID | None
    open_promises: list[str]
    questions: list[str]
    style: dict[str, Any]
    avoided: list[Any]
    busy: list[list[datetime]]


class FlagDraft(Row):
    """A draft to keep beside its flag."""

    to_email: str
    subject: str
    body: str
    confidence: int
    needs_human_review: list[str]
    placeholders: list[str]
    engine: str
    prompt_key: str
    prompt_version: int
    run_id: UUID
    sources: list[str]


async def load_flag_context(tx: Tx, caller: Caller, flag_id: UUID) -> FlagContext:
    """
    Return what a draft that answers this flag is written from.

    Raises `FlagNotFound`, `NotYourFlag`, `FlagNotOpen`, `NotForMail`, `ProductNeeded`, `NobodyToWrite`.
    """
    flag = await hold_flag(tx, caller, flag_id)
    check_open(flag)
    check_writable(flag)
    answered = await find_answered(tx, caller, flag)
    if flag.company_product is None and answered is None:
        raise ProductNeeded(flag_id=flag_id)
    found = await tx.one(
        dict[str, Any],
        _CONTEXT,
        flag_id=flag_id,
        answered=answered,
        scope=caller.scope,
        user_id=caller.user_id,
        looked_at=LOOKED_AT,
        shown=ANSWERED if answered else SHOWN,
        until=tx.now + timedelta(days=drafts.SLOT_DAYS * 2),
        slot=drafts.SLOT_MINUTES,
    )
    if found["contact_email"] is None:
        raise NobodyToWrite(company=flag.company.name)
    return FlagContext.model_validate({"flag": flag, **found})


async def find_answered(tx: Tx, caller: Caller, flag: FlagRow) -> UUID | None:
    """Return the message that a flag asks to answer, when the caller may read it and it came from outside."""
    if flag.flag_type != "NEEDS_REPLY" or flag.communication_id is None:
        return None
    return await tx.maybe(
        UUID,
        f"""
        SELECT m.id FROM communications m
         WHERE m.id = %(communication_id)s AND m.company_id = %(company_id)s AND m.direction = 'inbound'
           AND m.sender_email IS NOT NULL AND m.excluded_at IS NULL AND {VISIBLE}
        """,
        communication_id=flag.communication_id,
        company_id=flag.company_id,
        scope=caller.scope,
    )


_CONTEXT = f"""
    WITH flag AS (
        SELECT f.*, q.product_id, r.current_stage_name, r.stage_entered_at
          FROM attention_flags f
          LEFT JOIN company_products q ON q.id = f.company_product_id
          LEFT JOIN company_product_read_model r ON r.company_product_id = f.company_product_id
         WHERE f.id = %(flag_id)s
    ), answered AS (
        SELECT m.* FROM communications m WHERE m.id = %(answered)s::uuid
    ), said AS (
        -- Answering, only what that person wrote and what we wrote in that thread; else the last that was said with them.
        SELECT m.id, m.direction, m.occurred_at, m.subject, left(coalesce(m.full_content, m.content_preview, ''), %(shown)s) AS words,
               m.current_analysis_id
          FROM communications m, answered a
         WHERE m.user_id = a.user_id AND m.thread_id = a.thread_id AND m.noise_type IS NULL AND m.excluded_at IS NULL
           AND (m.direction = 'outbound' OR m.sender_email = a.sender_email)
        UNION ALL
        (SELECT m.id, m.direction, m.occurred_at, m.subject, left(coalesce(m.full_content, m.content_preview, ''), %(shown)s),
                m.current_analysis_id
           FROM communications m, flag
          WHERE m.company_id = flag.company_id AND %(answered)s::uuid IS NULL AND {VISIBLE}
            AND (m.company_product_id IS NULL OR m.company_product_id = flag.company_product_id)
            AND m.direction IN ('inbound', 'outbound') AND m.noise_type IS NULL AND m.excluded_at IS NULL
          ORDER BY m.occurred_at DESC, m.id LIMIT %(looked_at)s)
    ), heard AS (
        SELECT * FROM said WHERE direction = 'inbound' ORDER BY occurred_at DESC, id LIMIT 1
    ), told AS (
        SELECT * FROM said WHERE direction = 'outbound' ORDER BY occurred_at DESC, id LIMIT 1
    ), person AS (
        SELECT t.id, t.name, t.title, t.email FROM contacts t, flag
         WHERE t.company_id = flag.company_id AND t.deleted_at IS NULL AND t.email IS NOT NULL AND %(answered)s::uuid IS NULL
         ORDER BY t.is_primary DESC, coalesce(t.role = 'decision_maker', false) DESC, t.created_at, t.id LIMIT 1
    )
    SELECT json_build_object(
               'user_name', u.name, 'user_timezone', u.timezone,
               'contact_id', coalesce(person.id, writer.id), 'contact_name', coalesce(person.name, writer.name, answered.sender_name),
               'contact_title', coalesce(person.title, writer.title), 'contact_email', coalesce(person.email, answered.sender_email),
               'product_name', p.name, 'product_slug', p.slug, 'stage_name', flag.current_stage_name,
               'days_in_stage', floor(extract(epoch FROM %(now)s - flag.stage_entered_at) / 86400)::int,
               'subject', coalesce(answered.subject, heard.subject, told.subject, ''),
               'last_inbound', coalesce(heard.words, ''), 'last_inbound_id', heard.id, 'last_inbound_at', heard.occurred_at,
               'last_outbound', coalesce(told.words, ''), 'last_outbound_id', told.id,
               'open_promises', coalesce((SELECT json_agg(x.promise_text ORDER BY x.due_by NULLS LAST) FROM promises x
                    WHERE x.company_id = flag.company_id AND x.direction = 'we_promised' AND x.status IN ('pending', 'overdue')
                      AND NOT x.is_hidden AND x.owner_user_id = u.id), '[]'),
               'questions', coalesce((SELECT json_agg(x ->> 'question') FROM jsonb_array_elements(n.key_questions) x
                    WHERE (x ->> 'confidence')::numeric >= 0.70), '[]'),
               'style', json_build_object('channel', k.preferred_channel, 'formality', k.formality_level, 'angles', k.effective_angles),
               'avoided', coalesce(k.avoided, '[]'),
               'busy', coalesce((SELECT json_agg(json_build_array(e.occurred_at, e.occurred_at + make_interval(mins =>
                                    CASE WHEN jsonb_typeof(e.metadata -> 'duration_minutes') = 'number'
                                         THEN (e.metadata ->> 'duration_minutes')::numeric::int ELSE %(slot)s END)))
                                   FROM activities e WHERE e.user_id = u.id AND e.type = 'calendar_event'
                                    AND e.occurred_at BETWEEN %(now)s - interval '1 day' AND %(until)s), '[]'))
      FROM flag
      JOIN users u ON u.id = %(user_id)s
      LEFT JOIN answered ON true
      LEFT JOIN contacts writer ON writer.id = answered.contact_id AND writer.email = answered.sender_email AND writer.deleted_at IS NULL
      LEFT JOIN person ON true
      LEFT JOIN heard ON true
      LEFT JOIN told ON true
      LEFT JOIN products p ON p.id = flag.product_id
      LEFT JOIN communication_analysis n ON n.id = heard.current_analysis_id
      LEFT JOIN account_memory k ON k.company_id = flag.company_id
"""


async def save_flag_draft(tx: Tx, caller: Caller, flag: FlagRow, draft: FlagDraft) -> UUID:
    """Keep a draft beside its flag and return its id; an older one that nobody has touched is discarded."""
    await tx.run(
        """
        UPDATE email_drafts SET status = 'discarded', updated_at = %(now)s
         WHERE origin = 'flag' AND origin_id = %(flag_id)s AND user_id = %(user_id)s AND status = 'pending_review'
        """,
        flag_id=flag.id,
        user_id=caller.user_id,
    )
    return await tx.one(
        UUID,
        """
        INSERT INTO email_drafts (user_id, origin, origin_id, communication_id, to_emails, subject, body_text, confidence,
                                  generation_trigger, generation_context, needs_human_review, placeholders, engine, prompt_key,
                                  prompt_version, run_id, created_at, updated_at)
        VALUES (%(user_id)s, 'flag', %(flag_id)s, %(communication_id)s, ARRAY[%(to_email)s], %(subject)s, %(body)s, %(confidence)s,
                'requested', %(context)s, %(needs_human_review)s, %(placeholders)s, %(engine)s, %(prompt_key)s, %(prompt_version)s,
                %(run_id)s, %(now)s, %(now)s)
        RETURNING id
        """,
        **draft.model_dump(exclude={"needs_human_review", "placeholders", "sources"}),
        user_id=caller.user_id,
        flag_id=flag.id,
        communication_id=await _known_communication(tx, flag),
        context=Json({"sources": draft.sources, "flag_type": flag.flag_type}),
        needs_human_review=Json(draft.needs_human_review),
        placeholders=Json(draft.placeholders),
    )


async def _known_communication(tx: Tx, flag: FlagRow) -> UUID | None:
    return await tx.maybe(UUID, "SELECT id FROM communications WHERE id = %(id)s", id=flag.communication_id)
