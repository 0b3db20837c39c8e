"""Columns and rows of the demo's messages, in the order in which they are written."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, LiteralString
from uuid import UUID

import orjson

from memory.db import Json
from tools.demo.cast import Person, id_of
from tools.demo.mailroom import SLA_MINUTES, Filed, due_at
from tools.ingest import store

Columns = tuple[LiteralString, ...]
Table = tuple[LiteralString, Columns, list[tuple[Any, ...]]]

COMMUNICATION: Columns = (
    *store.COMMUNICATION,
    "deal_id",
    "company_product_id",
    "duration_seconds",
    "is_starred",
    "is_archived",
)
MESSAGE: Columns = store.MESSAGE
PARTICIPANT: Columns = store.PARTICIPANT
CONVERSATION: Columns = (
    "id", "user_id", "conversation_id", "status", "company_id", "contact_id", "deal_id", "company_product_id", "link_confidence", "link_method", "subject",
    "participant_emails", "participant_names", "message_count", "has_attachments", "first_message_at", "last_message_at", "last_inbound_at",
    "last_outbound_at", "response_due_at", "snoozed_until", "snooze_reason",
)  # fmt: skip
THREAD_ID: Columns = ("user_id", "message_id", "thread_id")
TRANSCRIPTION: Columns = (
    "id", "user_id", "deal_id", "company_product_id", "company_id", "contact_id", "activity_id", "title", "meeting_date", "duration_minutes", "attendees",
    "transcription_text", "transcription_format", "word_count", "source", "external_id", "match_confidence", "status", "process_type",
)  # fmt: skip
WITH_DEAL, WITHOUT_DEAL = 80, 35
STARRED_VALUE = 20_000
ARCHIVED_AFTER = timedelta(days=14)
SNOOZED = {"qual-not-now": "Racking work, call again when it is done", "lost-timing": "Budget round"}


def tables_of(filed: Sequence[Filed], products: dict[str, UUID], now: datetime) -> list[Table]:
    """Return the message tables; `products` names the product row of each customer."""
    mails = [row for row in filed if row.mail is not None]
    return [
        ("meeting_transcriptions", TRANSCRIPTION, [_transcription(row, products) for row in filed if row.transcript]),
        ("email_conversations", CONVERSATION, _conversations(mails, products, now)),
        ("communications", COMMUNICATION, [_communication(row, products, now) for row in filed]),
        ("email_messages", MESSAGE, [_message(row) for row in mails]),
        ("communication_participants", PARTICIPANT, [line for row in filed for line in _participants(row)]),
        ("email_thread_ids", THREAD_ID, sorted({(row.message.mailbox.user_id, key, row.thread_id) for row in mails for key in [row.message.message_id]})),
    ]  # fmt: skip


def product_of(row: Filed, products: dict[str, UUID]) -> UUID | None:
    """Return the customer's product that the message is about."""
    return products.get(row.message.company or "") if row.is_desk and row.company_id else None


def _communication(row: Filed, products: dict[str, UUID], now: datetime) -> tuple[Any, ...]:
    message, mail, contact, noise = row.message, row.mail, row.contact, row.noise
    external = _external(row)
    due = due_at(row)
    preview = mail.preview if mail else " ".join(row.text.split())[:500]
    method = _method(row)
    return (
        row.id, message.mailbox.user_id, row.company_id, contact.contact_id if contact else None, message.channel, row.direction, message.at,
        message.subject or None, preview, row.text, mail.attachments if mail else "[]", *_sides(row),
        external.email or None if external else None, external.name if external else None, external.email.rpartition("@")[2] or None if external else None,
        *_source(row), mail.key if mail else None, row.thread_id, (mail.mail.in_reply_to or None) if mail else None, message.references,
        row.awaits_us, row.awaits_them, due, SLA_MINUTES if due else None, row.answer.at if row.answer else None,
        id_of("communication", row.answer.key) if row.answer else None, noise, "skipped" if noise else "pending",
        "auto" if method else "unmatched", {"contact_email": "0.95", "company_domain": "0.90"}.get(method or ""), method, sha256(row.text.encode()).hexdigest(),
        row.deal_id, product_of(row, products), message.minutes * 60 or None,
        bool(row.awaits_us and message.deal and message.deal.value >= STARRED_VALUE), noise is not None and now - message.at > ARCHIVED_AFTER,
    )  # fmt: skip


def _source(row: Filed) -> tuple[str, str | None, str, str]:
    if row.mail is not None:
        return "email_messages", str(id_of("message", row.message.key)), "mail", row.mail.key
    if row.transcript is not None:
        return (
            "meeting_transcriptions",
            str(id_of("transcript", row.message.key)),
            row.transcript.source,
            row.message.key,
        )
    return "manual", None, "manual", row.message.key


def _method(row: Filed) -> str | None:
    if row.company_id is None:
        return None
    return "contact_email" if row.contact else "company_domain"


def _external(row: Filed) -> Person | None:
    message = row.message
    if row.direction != "outbound":
        return message.sender
    return next((person for person in (message.to, *message.cc, *message.attendees) if not person.is_ours), None)


def _people(row: Filed) -> list[tuple[str, str, Person]]:
    """Return side, role and person of everybody in it."""
    message = row.message
    if message.channel == "meeting":
        together = [("attendee", person) for person in message.attendees]
    elif message.channel == "note":
        together = [("from", message.sender)]
    else:
        together = [("from", message.sender), ("to", message.to), *(("cc", person) for person in message.cc)]
    ours = {person.email for _, person in together if person.is_ours} | {
        "noreply@stocklane.example",
        "mailer-daemon@mx.stocklane.example",
    }
    return [("our" if person.email in ours else "their", role, person) for role, person in together]


def _sides(row: Filed) -> tuple[str, str]:
    sides: dict[str, list[dict[str, Any]]] = {"our": [], "their": []}
    for side, role, person in _people(row):
        known = person.contact_id if row.message.linked else None
        sides[side].append(
            {"name": person.name, "email": person.email, "role": role, "user_id": person.user_id, "contact_id": known}
        )
    return orjson.dumps(sides["our"]).decode(), orjson.dumps(sides["their"]).decode()


def _participants(row: Filed) -> Iterable[tuple[Any, ...]]:
    for side, role, person in _people(row):
        if person.email:
            yield (
                row.id,
                side,
                role,
                person.email,
                person.email.rpartition("@")[2],
                person.name,
                person.contact_id if row.message.linked else None,
                person.user_id,
            )


def _message(row: Filed) -> tuple[Any, ...]:
    message, mail = row.message, row.mail
    assert mail is not None
    own = message.sender.email == message.mailbox.email
    return (
        id_of("message", message.key), row.id, _conversation_id(row), message.mailbox.user_id, mail.key, mail.key, None, message.sender.email, message.sender.name,
        [person.email for person in mail.mail.to], [person.name for person in mail.mail.to], [person.email for person in mail.mail.cc],
        [person.name for person in mail.mail.cc], mail.preview, mail.body_text, message.html or None, mail.mail.is_read, own, False, bool(message.file), "normal",
        message.at, message.at,
    )  # fmt: skip


def _conversation_id(row: Filed) -> UUID:
    return id_of("conversation", row.message.mailbox.key, row.thread_id)


def _conversations(mails: Sequence[Filed], products: dict[str, UUID], now: datetime) -> list[tuple[Any, ...]]:
    groups: dict[UUID, list[Filed]] = defaultdict(list)
    for row in mails:
        groups[_conversation_id(row)].append(row)
    return [_conversation(key, rows, products, now) for key, rows in groups.items()]


def _conversation(key: UUID, rows: list[Filed], products: dict[str, UUID], now: datetime) -> tuple[Any, ...]:
    first, last = rows[0], rows[-1]
    linked = next((row for row in rows if row.contact), first)
    contact = linked.contact
    people = {person.email: person.name for row in rows for _, _, person in _people(row)}
    waiting = [due for row in rows if row.awaits_us and (due := due_at(row))]
    story = first.thread.story.id
    snoozed = now + timedelta(days=12) if story in SNOOZED and now - last.message.at < timedelta(days=30) else None
    method = "none" if linked.company_id is None else "auto_high" if linked.deal_id else "auto_suggested"
    return (
        key, first.message.mailbox.user_id, first.thread_id, "snoozed" if snoozed else _status(rows), linked.company_id, contact.contact_id if contact else None,
        linked.deal_id, product_of(linked, products), {"none": None, "auto_high": WITH_DEAL}.get(method, WITHOUT_DEAL), method, first.message.subject,
        list(people), [name for name in people.values() if name], len(rows), any(row.message.file for row in rows), first.message.at, last.message.at,
        _latest(rows, "inbound"), _latest(rows, "outbound"), min(waiting) if waiting else None, snoozed, SNOOZED[story] if snoozed else None,
    )  # fmt: skip


def _status(rows: list[Filed]) -> str:
    if any(row.awaits_us for row in rows):
        return "pending"
    return "awaiting_response" if any(row.awaits_them for row in rows) else "processed"


def _latest(rows: list[Filed], direction: str) -> datetime | None:
    return max((row.message.at for row in rows if row.direction == direction), default=None)


def _transcription(row: Filed, products: dict[str, UUID]) -> tuple[Any, ...]:
    message, transcript = row.message, row.transcript
    assert transcript is not None
    attendees = [{"name": person.name, "email": person.email} for person in transcript.attendees]
    process = "onboarding" if message.script == "kickoff" else "engagement" if row.is_desk else "sales"
    return (
        id_of("transcript", message.key), message.mailbox.user_id, row.deal_id, product_of(row, products), row.company_id, row.contact.contact_id if row.contact else None,
        id_of("activity", message.key), message.subject, message.at, message.minutes, Json(attendees), transcript.text, transcript.format, transcript.words,
        transcript.source, message.key, 1, "pending", process,
    )  # fmt: skip
