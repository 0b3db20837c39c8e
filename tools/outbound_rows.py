"""
What sent mail leaves behind: the communication in its thread, the answered message, a note, the used draft, the flag that
it dealt with.

The message is written by the same hands that write mail read from a mailbox, so that it looks the same, and so that
the copy which later comes back from the Sent Items folder is recognised as this one.
"""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Invalid
from memory.rows import Row
from tools import knowledge
from tools.attention import settling
from tools.attention.settling import FollowedFlag
from tools.communications.notes import record_note
from tools.communications.rows import Channel
from tools.ingest import runs, store
from tools.ingest.rows import House, Prepared, prepare
from tools.mail.messages import Address, Mail
from tools.mail.sources import Item, Place

SENDABLE = ("pending_review", "edited", "approved")
NOWHERE = Place("", 0)


class DraftUnusable(Conflict):
    """Draft {draft_id} is {status}; it cannot be sent."""


class DraftUnknown(Invalid):
    """Draft {draft_id} does not exist."""


class MessageIds(Row):
    """The names of a message: its immutable id in this person's mailbox, and its Message-ID; either may be unknown."""

    message_id: str | None
    internet_message_id: str | None


class Correspondence(Row):
    """A letter that has left, with what the mailbox says of it."""

    user_id: UUID
    to: list[str]
    cc: list[str]
    subject: str
    body: str
    answers: UUID | None
    draft_id: UUID | None
    ai_action_type: str | None
    message_id: str
    internet_message_id: str | None
    conversation_id: str | None
    sent_at: datetime | None
    flag: FollowedFlag | None = None


class WrittenByHand(Row):
    """What a person has written, or said, by their own means; `to` is an address, a number or a name, `email` the address."""

    user_id: UUID
    channel: Channel
    to: str
    email: str | None
    subject: str
    body: str
    answers: UUID | None
    flag: FollowedFlag
    ai_action_type: str


class _Answered(Row):
    id: UUID
    user_id: UUID
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    company_product_id: UUID | None
    thread_id: str
    occurred_at: datetime
    internet_message_id: str | None


class _Sender(Row):
    name: str
    email: str


# Before it leaves ---------------------------------------------------------------------------------------------------


async def check_draft(tx: Tx, caller: Caller, draft_id: UUID) -> None:
    """
    Hold the caller's draft until the commit.

    Raises `DraftUnknown`, also when it is somebody else's, and `DraftUnusable` when it was sent or thrown away.
    """
    status = await tx.one(
        str,
        "SELECT status FROM email_drafts WHERE id = %(draft_id)s AND user_id = %(user_id)s FOR UPDATE",
        missing=DraftUnknown(draft_id=draft_id),
        draft_id=draft_id,
        user_id=caller.user_id,
    )
    if status not in SENDABLE:
        raise DraftUnusable(draft_id=draft_id, status=status)


async def find_ids(tx: Tx, user_id: UUID, communication_id: UUID) -> MessageIds:
    """Return by which ids a message may be found in the mailbox of this user; another's mailbox has ids of its own."""
    return await tx.one(
        MessageIds,
        """
        SELECT CASE WHEN m.provider = 'microsoft' AND m.user_id = %(user_id)s THEN m.external_id END AS message_id,
               m.internet_message_id
          FROM communications m WHERE m.id = %(communication_id)s
        """,
        user_id=user_id,
        communication_id=communication_id,
    )


# After it has left --------------------------------------------------------------------------------------------------


async def record_drafted(tx: Tx, draft_id: UUID, message_id: str) -> None:
    """Remember which draft of the mailbox our draft has become; it is sent from there."""
    await tx.run(
        """
        UPDATE email_drafts SET status = 'approved', provider_draft_id = %(message_id)s, approved_by = user_id,
               approved_at = %(now)s, updated_at = %(now)s
         WHERE id = %(draft_id)s
        """,
        draft_id=draft_id,
        message_id=message_id,
    )


async def record_sent(tx: Tx, sent: Correspondence) -> UUID:
    """Write the communication of a mail that has left, and settle what it answers; return its id."""
    house = await runs.get_house(tx, None, sent.user_id)
    answered = await _get_answered(tx, sent.answers) if sent.answers else None
    mail = await _as_mail(tx, sent, house, answered)
    prepared = _prepare(mail, sent, house)
    if answered is not None:
        prepared = await _join_thread(tx, prepared, sent.user_id, answered)
    stored = await store.store_batch(tx, house, [prepared], undated_at=tx.now)
    communication_id = await tx.one(
        UUID,
        "SELECT id FROM communications WHERE user_id = %(user_id)s AND internet_message_id = %(key)s",
        user_id=sent.user_id,
        key=prepared.key,
    )
    await _describe(tx, communication_id, sent, answered)
    if sent.flag is not None:
        await settling.settle_flag(tx, sent.user_id, sent.flag, subject=sent.subject, message_id=sent.message_id)
    if answered is not None:
        await _settle_answered(tx, communication_id, answered, at=prepared.occurred_at or tx.now)
    await _note(tx, sent, answered.id if answered else communication_id, is_reply=answered is not None)
    if sent.draft_id is not None:
        await _use_draft(tx, sent.draft_id, sent)
    if stored.to_analyse:
        await tx.enqueue("communications.analyze_pending", key="outbound")
        await knowledge.promise_collecting(tx)
    return communication_id


async def record_by_hand(tx: Tx, said: WrittenByHand) -> UUID:
    """Write the communication that a person had without this service, and settle what it answers; return its id."""
    answered = await _get_answered(tx, said.answers) if said.answers else None
    communication_id = await tx.one(
        UUID,
        _BY_HAND,
        user_id=said.user_id,
        company_id=said.flag.company_id,
        company_product_id=said.flag.company_product_id,
        flag_id=said.flag.id,
        channel=said.channel,
        subject=said.subject,
        body=said.body,
        preview=" ".join(said.body.split())[:500],
        email=said.email,
        name=said.to[:300],
        thread_id=answered.thread_id if answered and answered.user_id == said.user_id else None,
        in_reply_to=answered.internet_message_id if answered else None,
        ai_action_type=said.ai_action_type,
    )
    await settling.settle_flag(tx, said.user_id, said.flag, subject=said.subject, message_id=None)
    if answered is not None:
        await _settle_answered(tx, communication_id, answered, at=tx.now)
    await record_note(
        tx,
        Caller(user_id=said.user_id, role="rep"),
        answered.id if answered else communication_id,
        content=f"Written to {said.to}, by {said.channel}: {said.subject}"[:5000],
        action_type="sent_reply" if answered else "sent_email",
        attention_flag_id=said.flag.id,
    )
    await tx.enqueue("communications.analyze_pending", key="outbound")
    await knowledge.promise_collecting(tx)
    return communication_id


_BY_HAND = """
    WITH person AS (
        SELECT t.id, t.name FROM contacts t
         WHERE t.company_id = %(company_id)s AND t.email = %(email)s::text AND t.deleted_at IS NULL
         ORDER BY t.created_at, t.id LIMIT 1
    ), told AS (
        INSERT INTO communications (user_id, company_id, company_product_id, contact_id, channel, direction, occurred_at, subject,
                                    content_preview, full_content, our_participants, their_participants, sender_email, sender_name,
                                    sender_domain, source_table, provider, external_id, thread_id, in_reply_to_id,
                                    awaiting_their_response, is_ai_generated, ai_action_type, ai_approved_by, match_status, match_method,
                                    created_at)
        SELECT u.id, %(company_id)s, %(company_product_id)s, person.id, %(channel)s, 'outbound', %(now)s, %(subject)s, %(preview)s,
               %(body)s, jsonb_build_array(jsonb_build_object('name', u.name, 'email', u.email, 'role', 'from', 'user_id', u.id)),
               jsonb_build_array(jsonb_build_object('name', coalesce(person.name, %(name)s), 'email', %(email)s::text, 'role', 'to',
                                                    'contact_id', person.id)),
               %(email)s, coalesce(person.name, %(name)s), split_part(%(email)s, '@', 2), 'manual', 'manual', fresh.id::text,
               coalesce(%(thread_id)s, 'manual:' || fresh.id), %(in_reply_to)s, true,
               EXISTS (SELECT FROM email_drafts d WHERE d.origin = 'flag' AND d.origin_id = %(flag_id)s AND d.user_id = u.id
                          AND d.status IN ('pending_review', 'edited', 'approved')),
               %(ai_action_type)s, u.id, 'manual', 'flag', %(now)s
          FROM users u CROSS JOIN (SELECT gen_random_uuid() AS id) fresh LEFT JOIN person ON true
         WHERE u.id = %(user_id)s
        RETURNING id, contact_id, user_id, sender_email, sender_domain, sender_name
    ), beside AS (
        INSERT INTO communication_participants (communication_id, side, role, email, domain, name, contact_id)
        SELECT id, 'their', 'to', sender_email, sender_domain, sender_name, contact_id FROM told WHERE sender_email IS NOT NULL
    ), contacted AS (
        UPDATE contacts t SET last_contacted_at = greatest(t.last_contacted_at, %(now)s) FROM told WHERE t.id = told.contact_id
    )
    SELECT id FROM told
"""


async def _get_answered(tx: Tx, communication_id: UUID) -> _Answered | None:
    return await tx.maybe(
        _Answered,
        """
        SELECT id, user_id, company_id, contact_id, deal_id, company_product_id, thread_id, occurred_at, internet_message_id
          FROM communications WHERE id = %(communication_id)s FOR UPDATE
        """,
        communication_id=communication_id,
    )


async def _as_mail(tx: Tx, sent: Correspondence, house: House, answered: _Answered | None) -> Mail:
    sender = await tx.one(_Sender, "SELECT name, email FROM users WHERE id = %(user_id)s", user_id=sent.user_id)
    names = await _names_of(tx, [*sent.to, *sent.cc])
    at = sent.sent_at or tx.now
    return Mail(
        form="graph",
        # Without a Message-ID of its own a mail is known by its provider's id.
        message_id=(sent.internet_message_id or "").strip("<>") or sent.message_id,
        provider_id=sent.message_id,
        conversation_id=sent.conversation_id or "",
        in_reply_to=(answered.internet_message_id or "") if answered else "",
        subject=sent.subject,
        sender=Address(house.email, sender.name),
        to=[Address(email, names.get(email, "")) for email in sent.to],
        cc=[Address(email, names.get(email, "")) for email in sent.cc],
        sent_at=at,
        received_at=at,
        text=sent.body,
    )


async def _names_of(tx: Tx, emails: Sequence[str]) -> dict[str, str]:
    rows = await tx.many(
        _Sender,
        """
        SELECT DISTINCT ON (email) name, email FROM contacts
         WHERE email = ANY(%(emails)s) AND deleted_at IS NULL
         ORDER BY email, created_at
        """,
        emails=list(emails),
    )
    return {row.email: row.name for row in rows}


def _prepare(mail: Mail, sent: Correspondence, house: House) -> Prepared:
    """Prepare it as mail that was read, but keep every word: what we wrote holds no quote, no boilerplate and no noise."""
    prepared = prepare(Item(NOWHERE, NOWHERE, mail), house)
    return dataclasses.replace(prepared, full_content=sent.body, body_text=sent.body, noise_type=None)


async def _join_thread(tx: Tx, prepared: Prepared, user_id: UUID, answered: _Answered) -> Prepared:
    """Lead the mail to the thread it answers, also when that thread's messages have no ids that mail programs know."""
    if answered.user_id != user_id:
        return prepared
    name = f"communication:{answered.id}"
    await tx.run(
        """
        INSERT INTO email_thread_ids (user_id, message_id, thread_id) VALUES (%(user_id)s, %(name)s, %(thread_id)s)
        ON CONFLICT (user_id, message_id) DO UPDATE SET thread_id = excluded.thread_id
        """,
        user_id=user_id,
        name=name,
        thread_id=answered.thread_id,
    )
    return dataclasses.replace(prepared, keys=[prepared.keys[0], name, *prepared.keys[1:]])


async def _describe(tx: Tx, communication_id: UUID, sent: Correspondence, answered: _Answered | None) -> None:
    """Add what only we know: that a model wrote it, who approved it, and what it belongs to through what it answers."""
    by_model = sent.ai_action_type is not None or sent.draft_id is not None
    await tx.run(
        """
        UPDATE communications m
           SET is_ai_generated = %(by_model)s,
               ai_action_type = %(ai_action_type)s,
               ai_approved_by = CASE WHEN %(by_model)s THEN %(user_id)s::uuid END,
               company_id = coalesce(%(company_id)s, m.company_id),
               contact_id = coalesce(m.contact_id, %(contact_id)s),
               deal_id = coalesce(m.deal_id, %(deal_id)s),
               company_product_id = coalesce(m.company_product_id, %(company_product_id)s),
               match_status = CASE WHEN m.match_status = 'unmatched' AND %(company_id)s::uuid IS NOT NULL THEN 'auto'
                                   ELSE m.match_status END,
               match_method = CASE WHEN m.match_method IS NULL AND %(company_id)s::uuid IS NOT NULL THEN %(method)s
                                   ELSE m.match_method END
         WHERE m.id = %(communication_id)s
        """,
        communication_id=communication_id,
        method="flag" if sent.flag else "thread",
        by_model=by_model,
        ai_action_type=(sent.ai_action_type or "reply") if by_model else None,
        user_id=sent.user_id,
        company_id=sent.flag.company_id if sent.flag else answered.company_id if answered else None,
        contact_id=answered.contact_id if answered else None,
        deal_id=answered.deal_id if answered else None,
        company_product_id=(sent.flag and sent.flag.company_product_id) or (answered and answered.company_product_id),
    )


async def _settle_answered(tx: Tx, communication_id: UUID, answered: _Answered, *, at: datetime) -> None:
    """The message and what came before it in the thread is answered, whosever mailbox it came to; nobody need be reminded."""
    await tx.run(
        """
        UPDATE communications
           SET awaiting_our_response = false, responded_at = coalesce(responded_at, %(at)s),
               response_communication_id = coalesce(response_communication_id, %(communication_id)s),
               tags = CASE WHEN 'answered' = ANY(tags) THEN tags ELSE tags || 'answered'::text END
         WHERE user_id = %(user_id)s AND thread_id = %(thread_id)s AND direction = 'inbound' AND occurred_at <= %(occurred_at)s
           AND (id = %(answered_id)s OR awaiting_our_response)
        """,
        answered_id=answered.id,
        communication_id=communication_id,
        at=at,
        user_id=answered.user_id,
        thread_id=answered.thread_id,
        occurred_at=answered.occurred_at,
    )
    await tx.run(
        """
        UPDATE attention_flags
           SET status = 'resolved', resolved_at = %(now)s, resolved_by = %(user_id)s, resolution_notes = 'Answered'
         WHERE source_type = 'communication' AND source_id = %(answered_id)s::text AND flag_type = 'NEEDS_REPLY'
           AND status <> 'resolved'
        """,
        user_id=answered.user_id,
        answered_id=answered.id,
    )
    await tx.run(
        """
        UPDATE email_conversations
           SET status = 'awaiting_response', response_due_at = NULL, sla_status = NULL, snoozed_until = NULL, updated_at = %(now)s
         WHERE user_id = %(user_id)s AND conversation_id = %(thread_id)s AND status <> 'ignored'
        """,
        user_id=answered.user_id,
        thread_id=answered.thread_id,
    )


async def _note(tx: Tx, sent: Correspondence, communication_id: UUID, *, is_reply: bool) -> None:
    author = Caller(user_id=sent.user_id, role="rep")
    await record_note(
        tx,
        author,
        communication_id,
        content=f"Sent to {', '.join(sent.to)}: {sent.subject}"[:5000],
        action_type="sent_reply" if is_reply else "sent_email",
        attention_flag_id=sent.flag.id if sent.flag else None,
    )


async def _use_draft(tx: Tx, draft_id: UUID, sent: Correspondence) -> None:
    await tx.run(
        """
        WITH used AS (
            UPDATE email_drafts
               SET status = 'sent', sent_at = %(at)s, sent_message_id = %(message_id)s, provider_draft_id = %(message_id)s,
                   approved_by = coalesce(approved_by, %(user_id)s), approved_at = coalesce(approved_at, %(at)s), updated_at = %(at)s
             WHERE id = %(draft_id)s
            RETURNING conversation_id
        )
        UPDATE email_conversations SET has_pending_draft = false WHERE id IN (SELECT conversation_id FROM used)
        """,
        draft_id=draft_id,
        at=sent.sent_at or tx.now,
        message_id=sent.message_id,
        user_id=sent.user_id,
    )
