"""
A batch of mails into rows, in one transaction and a fixed number of statements, however many mails there are.

The order: lock the mailbox, leave out what is stored, find threads and people, write conversations, then the messages
with COPY, then settle who answered whom in threads that existed before.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from memory.db import NULL, Tx
from memory.rows import Row
from tools.ingest.conversations import upsert_conversations
from tools.ingest.rows import House, Placed, Prepared, domains_of
from tools.mail.messages import Address
from tools.mail.threads import Threads

COMMUNICATION = (
    "id", "user_id", "company_id", "contact_id", "channel", "direction", "occurred_at", "subject", "content_preview", "full_content",
    "attachments", "our_participants", "their_participants", "sender_email", "sender_name", "sender_domain", "source_table", "source_id",
    "provider", "external_id", "internet_message_id", "thread_id", "in_reply_to_id", "reference_ids", "awaiting_our_response",
    "awaiting_their_response", "response_due_by", "response_sla_minutes", "responded_at", "response_communication_id", "noise_type",
    "analysis_status", "match_status", "match_confidence", "match_method", "content_hash",
)  # fmt: skip
MESSAGE = (
    "id", "communication_id", "conversation_ref_id", "user_id", "message_id", "internet_message_id", "outlook_folder_id", "from_email", "from_name",
    "to_emails", "to_names", "cc_emails", "cc_names", "body_preview", "body_text", "body_html", "is_read", "is_sent_by_user", "is_flagged",
    "has_attachments", "importance", "received_at", "sent_at",
)  # fmt: skip
THREAD_ID = ("user_id", "message_id", "thread_id")
PARTICIPANT = ("communication_id", "side", "role", "email", "domain", "name", "contact_id", "user_id")

_SLASH, _QUOTE = "\\", '"'
_BOOLEAN = {False: "f", True: "t"}
CONTACT_CONFIDENCE = "0.95"
DOMAIN_CONFIDENCE = "0.90"
_CONFIDENCE = {"contact_email": CONTACT_CONFIDENCE, "company_domain": DOMAIN_CONFIDENCE}


@dataclass(slots=True)
class Stored:
    """What became of a batch."""

    written: int = 0
    duplicates: int = 0
    to_analyse: int = 0


@dataclass(slots=True)
class People:
    """The contacts and companies that a batch may be with, and everybody's part in it: the same few people write most of it."""

    house: House
    contacts: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    companies: dict[str, str] = field(default_factory=dict[str, str])
    told: dict[tuple[str, Address], str] = field(default_factory=dict[tuple[str, Address], str])
    rows: dict[tuple[str, str, Address], tuple[str, ...]] = field(
        default_factory=dict[tuple[str, str, Address], tuple[str, ...]]
    )

    def told_of(self, role: str, person: Address) -> str:
        """Return the person as the JSON object that a communication shows."""
        told = self.told.get((role, person))
        if told is None:
            user_id, (contact_id, _) = self.house.users.get(person.email), self.contacts.get(person.email, (None, None))
            shown = {
                "name": person.name,
                "email": person.email,
                "role": role,
                "user_id": user_id,
                "contact_id": contact_id,
            }
            told = self.told[role, person] = orjson.dumps(shown).decode()
        return told

    def row_of(self, side: str, role: str, person: Address) -> tuple[str, ...]:
        """Return the person's row among the participants, but for the communication."""
        row = self.rows.get((side, role, person))
        if row is None:
            contact_id, _ = self.contacts.get(person.email, (NULL, None))
            user_id = self.house.users.get(person.email, NULL)
            row = (side, role, person.email, person.domain, person.name or NULL, contact_id, user_id)
            self.rows[side, role, person] = row
        return row


async def store_batch(tx: Tx, house: House, batch: Sequence[Prepared], *, undated_at: datetime) -> Stored:
    """
    Write the mails that are not stored yet; `undated_at` is when a mail without a readable date counts from.

    The mailbox is locked until the transaction ends, so that two readers of one mailbox write every mail once.
    """
    await tx.lock("mailbox", house.user_id)
    fresh = await _leave_out_stored(tx, house.user_id, batch)
    stored = Stored(written=len(fresh), duplicates=len(batch) - len(fresh))
    if not fresh:
        return stored
    threads = await _find_threads(tx, house.user_id, fresh)
    older = set(threads.of.values())
    people = await _find_people(tx, fresh, house)
    placed = _place(fresh, threads, people, house, undated_at, tx.now)
    await _merge_threads(tx, house.user_id, threads)
    conversations = await upsert_conversations(tx, house, placed)
    await _write(tx, house, placed, people, conversations)
    await _keep_thread_ids(tx, house.user_id, threads)
    await _note_contacted(tx, placed, people)
    await _settle_answers(
        tx,
        house.user_id,
        {item.thread for item in placed if item.thread in older or item.thread in threads.merged.values()},
    )
    stored.to_analyse = sum(item.mail.noise_type is None for item in placed)
    return stored


async def _leave_out_stored(tx: Tx, user_id: UUID, batch: Sequence[Prepared]) -> list[Prepared]:
    """Return the mails that are not in the mailbox yet, each once, whichever form they came in before."""
    stored = set(
        await tx.many(
            str,
            """
            SELECT internet_message_id FROM communications WHERE user_id = %(user_id)s AND internet_message_id = ANY(%(keys)s::text[])
            UNION ALL
            SELECT message_id FROM email_messages WHERE user_id = %(user_id)s AND message_id = ANY(%(names)s::text[])
            """,
            user_id=user_id,
            keys=_array([mail.key for mail in batch]),
            names=_array(list({name for mail in batch for name in (mail.key, mail.mail.provider_id) if name})),
        )
    )
    fresh: list[Prepared] = []
    for mail in batch:
        names = {mail.key, mail.mail.provider_id} - {""}
        if names.isdisjoint(stored):
            fresh.append(mail)
            stored |= names
    return fresh


class _ThreadId(Row):
    message_id: str
    thread_id: str


async def _find_threads(tx: Tx, user_id: UUID, mails: Iterable[Prepared]) -> Threads:
    rows = await tx.many(
        _ThreadId,
        # One look into the index for each id: with `= ANY` a young table without statistics is read whole for every batch.
        """
        SELECT known.message_id, known.thread_id
          FROM unnest(%(keys)s::text[]) AS asked (message_id)
         CROSS JOIN LATERAL (SELECT t.message_id, t.thread_id FROM email_thread_ids t
                              WHERE t.user_id = %(user_id)s AND t.message_id = asked.message_id LIMIT 1) AS known
        """,
        user_id=user_id,
        keys=_array(list({key for mail in mails for key in mail.keys})),
    )
    return Threads({row.message_id: row.thread_id for row in rows})


async def _merge_threads(tx: Tx, user_id: UUID, threads: Threads) -> None:
    """Make one of threads that turned out to be one: rows, ids, and the conversations with their counts."""
    gone = list(threads.merged)
    if not gone:
        return
    kept = [threads.root(thread) for thread in gone]
    for statement in (
        """
        UPDATE communications m SET thread_id = merged.kept
          FROM unnest(%(gone)s::text[], %(kept)s::text[]) AS merged (gone, kept)
         WHERE m.user_id = %(user_id)s AND m.thread_id = merged.gone
        """,
        """
        UPDATE email_thread_ids t SET thread_id = merged.kept
          FROM unnest(%(gone)s::text[], %(kept)s::text[]) AS merged (gone, kept)
         WHERE t.user_id = %(user_id)s AND t.thread_id = merged.gone
        """,
        """
        INSERT INTO email_conversations AS c (user_id, conversation_id, status, subject, participant_emails, participant_names, message_count,
            has_attachments, first_message_at, last_message_at, last_inbound_at, last_outbound_at, response_due_at, company_id, contact_id)
        SELECT DISTINCT ON (merged.kept) old.user_id, merged.kept, old.status, old.subject, old.participant_emails, old.participant_names, 0,
               false, old.first_message_at, old.last_message_at, NULL, NULL, old.response_due_at, old.company_id, old.contact_id
          FROM unnest(%(gone)s::text[], %(kept)s::text[]) AS merged (gone, kept)
          JOIN email_conversations old ON old.user_id = %(user_id)s AND old.conversation_id = merged.gone
         ORDER BY merged.kept, old.first_message_at
        ON CONFLICT (user_id, conversation_id) DO NOTHING
        """,
        """
        UPDATE email_messages e SET conversation_ref_id = c.id
          FROM unnest(%(gone)s::text[], %(kept)s::text[]) AS merged (gone, kept)
          JOIN email_conversations old ON old.user_id = %(user_id)s AND old.conversation_id = merged.gone
          JOIN email_conversations c ON c.user_id = %(user_id)s AND c.conversation_id = merged.kept
         WHERE e.conversation_ref_id = old.id
        """,
        """
        WITH sums AS (
            SELECT merged.kept, sum(old.message_count) AS messages, bool_or(old.has_attachments) AS attached, min(old.first_message_at) AS first_at,
                   max(old.last_message_at) AS last_at, max(old.last_inbound_at) AS in_at, max(old.last_outbound_at) AS out_at
              FROM unnest(%(gone)s::text[], %(kept)s::text[]) AS merged (gone, kept)
              JOIN email_conversations old ON old.user_id = %(user_id)s AND old.conversation_id = merged.gone
             GROUP BY merged.kept)
        UPDATE email_conversations c
           SET message_count = c.message_count + sums.messages, has_attachments = c.has_attachments OR sums.attached,
               first_message_at = least(c.first_message_at, sums.first_at), last_message_at = greatest(c.last_message_at, sums.last_at),
               last_inbound_at = greatest(c.last_inbound_at, sums.in_at), last_outbound_at = greatest(c.last_outbound_at, sums.out_at)
          FROM sums
         WHERE c.user_id = %(user_id)s AND c.conversation_id = sums.kept
        """,
        "UPDATE email_drafts d SET conversation_id = NULL FROM email_conversations old WHERE d.conversation_id = old.id AND old.user_id = %(user_id)s AND old.conversation_id = ANY(%(gone)s)",
        "DELETE FROM email_conversations WHERE user_id = %(user_id)s AND conversation_id = ANY(%(gone)s)",
    ):
        await tx.run(statement, user_id=user_id, gone=gone, kept=kept)


class _Contact(Row):
    id: str
    email: str
    company_id: str


class _Company(Row):
    id: str
    domain: str


async def _find_people(tx: Tx, mails: Sequence[Prepared], house: House) -> People:
    addresses = {person.email: person for mail in mails for _, person in mail.theirs}
    contacts = await tx.many(
        _Contact,
        """
        SELECT DISTINCT ON (email) id::text, email, company_id::text FROM contacts
         WHERE email = ANY(%(emails)s) AND deleted_at IS NULL AND merged_into_id IS NULL
         ORDER BY email, created_at, id
        """,
        emails=list(addresses),
    )
    companies = await tx.many(
        _Company,
        """
        SELECT DISTINCT ON (domain) id::text, domain FROM companies
         WHERE domain = ANY(%(domains)s) AND deleted_at IS NULL AND merged_into_id IS NULL
         ORDER BY domain, created_at, id
        """,
        domains=domains_of(addresses.values(), house),
    )
    return People(
        house, {row.email: (row.id, row.company_id) for row in contacts}, {row.domain: row.id for row in companies}
    )


def _place(
    mails: Sequence[Prepared], threads: Threads, people: People, house: House, undated_at: datetime, now: datetime
) -> list[Placed]:
    """Give every mail its id, thread and company, and settle within the batch who answered whom."""
    ids = _new_ids(len(mails), now)
    placed: list[Placed] = []
    for own_id, mail in zip(ids, mails, strict=True):
        item = Placed(own_id, threads.join(mail.keys), mail, mail.occurred_at or undated_at, mail.preview)
        _link(item, people, house)
        placed.append(item)
    grouped: dict[str, list[Placed]] = defaultdict(list)
    for item in placed:
        item.thread = threads.root(item.thread)
        grouped[item.thread].append(item)
    for group in grouped.values():
        _settle(group)
    return placed


def _new_ids(count: int, now: datetime) -> list[str]:
    """Return UUIDs of version 7 in order: rows of one batch lie together in every index."""
    moment = f"{int(now.timestamp() * 1000):012x}"
    noise = os.urandom(10 * count).hex()
    return sorted(f"{moment}7{noise[at : at + 3]}a{noise[at + 4 : at + 19]}" for at in range(0, 20 * count, 20))


def _link(item: Placed, people: People, house: House) -> None:
    """Link the mail to the contact, else to the company, of the first outside party that is known exactly."""
    for _, person in item.mail.theirs:
        contact = people.contacts.get(person.email)
        if contact is not None:
            item.contact_id, item.company_id = contact
            item.match_method = "contact_email"
            return
    for _, person in item.mail.theirs:
        for domain in domains_of((person,), house):
            company = people.companies.get(domain)
            if company is not None:
                item.company_id, item.match_method = company, "company_domain"
                return


def _settle(group: list[Placed]) -> None:
    """Within one thread: the first mail of ours after an inbound one answers it, and the other way round; machines do not."""
    if len(group) > 1:
        group.sort(key=lambda item: item.occurred_at)
    next_out: Placed | None = None
    answered = False
    for item in reversed(group):
        if item.mail.direction == "inbound":
            item.awaits_us = item.mail.expects_answer and (next_out is None or next_out.occurred_at <= item.occurred_at)
            item.answered_by = next_out if item.mail.expects_answer and not item.awaits_us else None
            answered = answered or item.mail.noise_type != "system"
        elif item.mail.direction == "outbound":
            item.awaits_them = not answered and item.mail.noise_type is None
            next_out = item if item.mail.noise_type is None else next_out


async def _write(tx: Tx, house: House, placed: Sequence[Placed], people: People, conversations: dict[str, str]) -> None:
    user_id = str(house.user_id)
    message_ids = _new_ids(len(placed), tx.now)
    together = list(zip(placed, message_ids, strict=True))
    await tx.copy_text(
        "communications", COMMUNICATION, [_communication(item, row, user_id, people, house) for item, row in together]
    )
    await tx.copy_text(
        "email_messages", MESSAGE, [_message(item, row, user_id, conversations, house) for item, row in together]
    )
    participants = [row for item in placed for row in _participants(item, people)]
    if participants:
        await tx.copy_text("communication_participants", PARTICIPANT, participants)


def _communication(item: Placed, message_id: str, user_id: str, people: People, house: House) -> tuple[str, ...]:
    mail = item.mail
    source = mail.mail
    external = mail.external
    answer = item.answered_by
    awaited = mail.expects_answer
    return (
        item.id, user_id, item.company_id or NULL, item.contact_id or NULL, "email", mail.direction, item.occurred_at.isoformat(), source.subject, item.preview, mail.full_content,
        mail.attachments, _people_json(mail.ours, people), _people_json(mail.theirs, people),
        external.email if external else NULL, external.name or NULL if external else NULL, external.domain if external else NULL,
        "email_messages", message_id, "microsoft" if source.provider_id else "mail", source.provider_id or mail.key, mail.key, item.thread,
        source.in_reply_to or NULL, _array(source.references), _BOOLEAN[item.awaits_us], _BOOLEAN[item.awaits_them],
        (item.occurred_at + timedelta(minutes=house.sla_minutes)).isoformat() if awaited else NULL, str(house.sla_minutes) if awaited else NULL,
        answer.occurred_at.isoformat() if answer else NULL, answer.id if answer else NULL, mail.noise_type or NULL,
        "skipped" if mail.noise_type else "pending", "auto" if item.match_method else "unmatched",
        _CONFIDENCE.get(item.match_method or "", NULL), item.match_method or NULL, mail.content_hash,
    )  # fmt: skip


def _people_json(people_of: Sequence[tuple[str, Address]], people: People) -> str:
    return f"[{','.join([people.told_of(role, person) for role, person in people_of])}]"


def _message(
    item: Placed, message_id: str, user_id: str, conversations: dict[str, str], house: House
) -> tuple[str, ...]:
    mail = item.mail.mail
    sender = mail.sender
    return (
        message_id, item.id, conversations.get(item.thread, NULL), user_id, mail.provider_id or item.mail.key, item.mail.key, mail.folder_id or NULL,
        sender.email if sender else NULL, sender.name or NULL if sender else NULL,
        _array([person.email for person in mail.to]), _array([person.name for person in mail.to]),
        _array([person.email for person in mail.cc]), _array([person.name for person in mail.cc]),
        item.preview, item.mail.body_text, mail.html or NULL, _BOOLEAN[mail.is_read], _BOOLEAN[sender is not None and sender.email == house.email],
        _BOOLEAN[mail.is_flagged], _BOOLEAN[bool(mail.attachments) or "x-has-attachments" in mail.headers], mail.importance,
        mail.received_at.isoformat() if mail.received_at else NULL, mail.sent_at.isoformat() if mail.sent_at else NULL,
    )  # fmt: skip


def _array(texts: Sequence[str]) -> str:
    """Return the texts as the literal of a Postgres array."""
    if not texts:
        return "{}"
    whole = '","'.join(texts)
    if _SLASH not in whole and whole.count(_QUOTE) == 2 * (len(texts) - 1):
        return f'{{"{whole}"}}'
    return (
        "{" + ",".join(f'"{text.replace(_SLASH, _SLASH * 2).replace(_QUOTE, _SLASH + _QUOTE)}"' for text in texts) + "}"
    )


def _participants(item: Placed, people: People) -> Iterable[tuple[str, ...]]:
    for side, who in (("our", item.mail.ours), ("their", item.mail.theirs)):
        for role, person in who:
            yield (item.id, *people.row_of(side, role, person))


async def _keep_thread_ids(tx: Tx, user_id: UUID, threads: Threads) -> None:
    if not threads.added:
        return
    own = str(user_id)
    rows = [(own, key, threads.root(thread)) for key, thread in threads.added.items()]
    await tx.copy_text("email_thread_ids", THREAD_ID, rows)


async def _note_contacted(tx: Tx, placed: Sequence[Placed], people: People) -> None:
    """Tell the contacts that we wrote to when that was; locked in the order of their ids, as others may do the same."""
    contacted: dict[str, datetime] = {}
    for item in placed:
        if item.mail.direction == "outbound":
            for _, person in item.mail.theirs:
                contact = people.contacts.get(person.email)
                if contact is not None:
                    contacted[contact[0]] = max(item.occurred_at, contacted.get(contact[0], item.occurred_at))
    if not contacted:
        return
    await tx.run(
        """
        WITH told AS (SELECT * FROM unnest(%(ids)s::uuid[], %(moments)s::timestamptz[]) AS told (id, at)),
             locked AS (SELECT c.id FROM contacts c JOIN told USING (id)
                         WHERE c.last_contacted_at IS NULL OR c.last_contacted_at < told.at ORDER BY c.id FOR UPDATE OF c)
        UPDATE contacts c SET last_contacted_at = told.at
          FROM told JOIN locked USING (id)
         WHERE c.id = told.id
        """,
        ids=list(contacted),
        moments=list(contacted.values()),
    )


async def _settle_answers(tx: Tx, user_id: UUID, threads: set[str]) -> None:
    """In threads that existed before: outbound mail answers what came in earlier, inbound mail what went out earlier."""
    if not threads:
        return
    await tx.run(
        """
        UPDATE communications m
           SET awaiting_our_response = false, responded_at = answer.occurred_at, response_communication_id = answer.id
          FROM (SELECT DISTINCT ON (i.id) i.id AS inbound_id, o.id, o.occurred_at
                  FROM communications i
                  JOIN communications o ON o.user_id = i.user_id AND o.thread_id = i.thread_id AND o.direction = 'outbound' AND o.noise_type IS NULL
                                       AND o.occurred_at > i.occurred_at
                 WHERE i.user_id = %(user_id)s AND i.thread_id = ANY(%(threads)s) AND i.direction = 'inbound' AND i.awaiting_our_response
                 ORDER BY i.id, o.occurred_at) AS answer
         WHERE m.id = answer.inbound_id
        """,
        user_id=user_id,
        threads=list(threads),
    )
    await tx.run(
        """
        UPDATE communications m SET awaiting_their_response = false
         WHERE m.user_id = %(user_id)s AND m.thread_id = ANY(%(threads)s) AND m.direction = 'outbound' AND m.awaiting_their_response
           AND EXISTS (SELECT FROM communications i
                        WHERE i.user_id = m.user_id AND i.thread_id = m.thread_id AND i.direction = 'inbound' AND i.occurred_at > m.occurred_at
                          AND i.noise_type IS DISTINCT FROM 'system')
        """,
        user_id=user_id,
        threads=list(threads),
    )
