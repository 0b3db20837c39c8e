"""Promises: what we owe them and they owe us, once each, however often the message is read that made them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from pydantic import Field

from memory.callers import Caller
from memory.db import Json, Tx
from memory.rows import In, Named, Row
from tools import names

Direction = Literal["we_promised", "they_promised"]
PROMISE = """
    p.id, p.direction, p.promise_text, p.company_id, p.contact_id, p.deal_id, p.company_product_id, p.owner_user_id,
    p.promiser_contact_id, p.promiser_name, p.promised_at, p.due_by, p.due_text, p.status, p.completed_at,
    p.completed_communication_id, p.source_communication_id, p.source_transcription_id, p.source_analysis_id, p.confidence,
    p.quote, p.is_hidden, p.created_at, p.updated_at
"""


class PromiseRow(Row):
    """One promise. `due_by` is None when its words name no day; `due_text` are those words."""

    id: UUID
    direction: Direction
    promise_text: str
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    company_product_id: UUID | None
    owner_user_id: UUID | None
    promiser_contact_id: UUID | None
    promiser_name: str | None
    promised_at: datetime
    due_by: datetime | None
    due_text: str | None
    status: Literal["pending", "completed", "overdue", "cancelled"]
    completed_at: datetime | None
    completed_communication_id: UUID | None
    source_communication_id: UUID | None
    source_transcription_id: UUID | None
    source_analysis_id: UUID | None
    confidence: float | None
    quote: str | None
    is_hidden: bool
    created_at: datetime
    updated_at: datetime


class NewPromise(In):
    """A promise as it was read in a message."""

    direction: Direction
    promise_text: str = Field(min_length=1, max_length=1000)
    promiser_name: str | None = None
    due_by: datetime | None = None
    due_text: str | None = None
    confidence: float = Field(ge=0, le=1)
    quote: str

    @property
    def text_hash(self) -> str:
        """What makes two readings of one promise the same: its words, case, accents, spacing and stops aside."""
        return sha256(" ".join(names.fold(self.promise_text).strip(" .,;:!").split()).encode()).hexdigest()


async def upsert_promises(
    tx: Tx, communication_id: UUID, analysis_id: UUID | None, promises: Sequence[NewPromise]
) -> list[UUID]:
    """
    Keep the promises of a communication and return their ids.

    One read before is brought up to date; what became of it (kept, cancelled) stays. One that this reading no longer
    finds is hidden while it is open. Links and owner are the communication's own.
    """
    unique = {(promise.direction, promise.text_hash): promise for promise in promises}
    ids = await tx.many(
        UUID,
        """
        INSERT INTO promises AS p (direction, promise_text, text_hash, company_id, contact_id, deal_id, company_product_id, owner_user_id,
            promiser_contact_id, promiser_name, promised_at, due_by, due_text, status, source_communication_id, source_analysis_id,
            confidence, quote)
        SELECT n.direction, n.promise_text, n.text_hash, m.company_id, m.contact_id, m.deal_id, m.company_product_id, m.user_id,
               CASE WHEN n.direction = 'they_promised' THEN m.contact_id END,
               coalesce(n.promiser_name, CASE WHEN n.direction = 'we_promised' THEN u.name ELSE m.sender_name END),
               m.occurred_at, n.due_by, n.due_text, CASE WHEN n.due_by < %(now)s THEN 'overdue' ELSE 'pending' END, m.id, %(analysis_id)s,
               n.confidence, n.quote
          FROM jsonb_to_recordset(%(promises)s) AS n (direction text, promise_text text, text_hash text, promiser_name text,
               due_by timestamptz, due_text text, confidence numeric, quote text)
          JOIN communications m ON m.id = %(communication_id)s
          JOIN users u ON u.id = m.user_id
        ON CONFLICT (source_communication_id, direction, text_hash) DO UPDATE
           SET promise_text = excluded.promise_text, company_id = excluded.company_id, contact_id = excluded.contact_id,
               deal_id = excluded.deal_id, company_product_id = excluded.company_product_id, owner_user_id = excluded.owner_user_id,
               promiser_contact_id = excluded.promiser_contact_id, promiser_name = excluded.promiser_name,
               due_by = excluded.due_by, due_text = excluded.due_text, confidence = excluded.confidence, quote = excluded.quote,
               status = CASE WHEN p.status IN ('completed', 'cancelled') THEN p.status ELSE excluded.status END,
               source_analysis_id = excluded.source_analysis_id, is_hidden = false, updated_at = %(now)s
        RETURNING p.id
        """,
        communication_id=communication_id,
        analysis_id=analysis_id,
        promises=Json(
            [promise.model_dump(mode="json") | {"text_hash": promise.text_hash} for promise in unique.values()]
        ),
    )
    await tx.run(
        """
        UPDATE promises SET is_hidden = true, updated_at = %(now)s
         WHERE source_communication_id = %(communication_id)s AND status IN ('pending', 'overdue') AND NOT is_hidden AND id <> ALL(%(ids)s)
        """,
        communication_id=communication_id,
        ids=ids,
    )
    return ids


async def complete_promises(tx: Tx, promise_ids: Sequence[UUID], communication_id: UUID) -> int:
    """
    Mark open promises as kept by a communication, at the moment it happened.

    Only promises of the communication's own company and mailbox can be kept by it.
    """
    if not promise_ids:
        return 0
    return await tx.run(
        """
        UPDATE promises p
           SET status = 'completed', completed_at = m.occurred_at, completed_communication_id = m.id, updated_at = %(now)s
          FROM communications m
         WHERE m.id = %(communication_id)s AND p.id = ANY(%(promise_ids)s) AND p.status IN ('pending', 'overdue')
           AND p.company_id = m.company_id AND p.owner_user_id = m.user_id AND p.promised_at <= m.occurred_at
        """,
        communication_id=communication_id,
        promise_ids=list(promise_ids),
    )


async def mark_overdue(tx: Tx) -> int:
    """Mark the promises whose day has passed, and return how many there were."""
    return await tx.run(
        """
        UPDATE promises SET status = 'overdue', updated_at = %(now)s
         WHERE status = 'pending' AND due_by < %(now)s
        """
    )


# Showing ------------------------------------------------------------------------------------------------------------

SHOWN = 500
_LISTED = """
    (%(scope)s::uuid IS NULL OR p.owner_user_id = %(scope)s)
    AND (%(user_id)s::uuid IS NULL OR p.owner_user_id = %(user_id)s)
    AND (%(company_id)s::uuid IS NULL OR p.company_id = %(company_id)s)
    AND (%(direction)s::text IS NULL OR p.direction = %(direction)s)
    AND (%(include_hidden)s OR NOT p.is_hidden)
    AND NOT EXISTS (SELECT FROM communications x WHERE x.id = p.source_communication_id AND x.excluded_at IS NOT NULL)
"""
BY_DUE = "p.due_by NULLS LAST, p.promised_at DESC, p.id"
# One part per status: each finds its first by the order of an index, however many there are.
FIRST = f"""
    (SELECT * FROM promises p WHERE p.status = %(one)s AND {_LISTED} ORDER BY {BY_DUE} LIMIT %(shown)s) UNION ALL
    (SELECT * FROM promises p WHERE p.status = %(two)s AND {_LISTED} ORDER BY {BY_DUE} LIMIT %(shown)s) UNION ALL
    (SELECT * FROM promises p WHERE p.status = %(three)s AND {_LISTED} ORDER BY {BY_DUE} LIMIT %(shown)s)
"""


class PromiseFilter(In):
    """Which promises to list; `user_id` somebody else's is for managers, who see everybody's without it."""

    user_id: UUID | None = None
    company_id: UUID | None = None
    direction: Direction | None = None
    status: Literal["pending", "completed", "overdue", "cancelled"] | None = None
    include_hidden: bool = False


class SourceBeside(Row):
    """The message in which a promise was made."""

    id: UUID
    channel: str
    subject: str | None
    occurred_at: datetime


class ShownPromise(PromiseRow):
    """A promise with whom it concerns and where it was made; `days_overdue` counts local days, 0 while it is not."""

    company: Named | None
    contact: Named | None
    source_communication: SourceBeside | None
    days_overdue: int = 0


class PromiseGroups(Row):
    """Promises by when they are due, by the days of the reader's time zone; a week ends on Sunday."""

    overdue: list[ShownPromise] = []
    due_today: list[ShownPromise] = []
    due_this_week: list[ShownPromise] = []
    upcoming: list[ShownPromise] = []
    no_due_date: list[ShownPromise] = []
    completed: list[ShownPromise] = []


class PromisesOut(Row):
    """The promises in their groups, at most 500."""

    promises: PromiseGroups
    total: int
    counts: dict[str, int]


async def list_promises(tx: Tx, caller: Caller, filter: PromiseFilter) -> PromisesOut:
    """Return the promises that the caller may see, earliest due first, in groups of the caller's own days."""
    shown = await tx.many(
        ShownPromise,
        f"""
        SELECT {PROMISE},
               CASE WHEN c.id IS NOT NULL THEN json_build_object('id', c.id, 'name', c.name) END AS company,
               CASE WHEN t.id IS NOT NULL THEN json_build_object('id', t.id, 'name', t.name) END AS contact,
               CASE WHEN m.id IS NOT NULL THEN json_build_object('id', m.id, 'channel', m.channel, 'subject', m.subject,
                    'occurred_at', m.occurred_at) END AS source_communication
          FROM (SELECT * FROM ({FIRST}) p ORDER BY p.status = 'completed', {BY_DUE} LIMIT %(shown)s) p
          LEFT JOIN companies c ON c.id = p.company_id
          LEFT JOIN contacts t ON t.id = p.contact_id
          LEFT JOIN communications m ON m.id = p.source_communication_id
         ORDER BY p.status = 'completed', {BY_DUE}
        """,
        **filter.model_dump(exclude={"status"}),
        one=filter.status or "pending",
        two=None if filter.status else "overdue",
        three=None if filter.status else "completed",
        scope=caller.scope,
        shown=SHOWN,
    )
    zone = await tx.maybe(str, "SELECT timezone FROM users WHERE id = %(user_id)s", user_id=caller.user_id)
    groups = _grouped(shown, tx.now, names.zone_of(zone))
    counts = {name: len(group) for name, group in dict(groups).items()}
    return PromisesOut(promises=groups, total=len(shown), counts=counts)


def _grouped(shown: Sequence[ShownPromise], now: datetime, zone: ZoneInfo) -> PromiseGroups:
    today = now.astimezone(zone).date()
    sunday = today + timedelta(days=6 - today.weekday())
    groups: dict[str, list[ShownPromise]] = {}
    for promise in shown:
        due = promise.due_by.astimezone(zone).date() if promise.due_by else None
        if promise.status == "completed":
            name = "completed"
        elif due is None:
            name = "no_due_date"
        elif due < today:
            name = "overdue"
        else:
            name = "due_today" if due == today else "due_this_week" if due <= sunday else "upcoming"
        late = (today - due).days if due and name == "overdue" else 0
        groups.setdefault(name, []).append(promise.model_copy(update={"days_overdue": late}))
    return PromiseGroups.model_validate(groups)
