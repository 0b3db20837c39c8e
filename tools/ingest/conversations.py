"""Conversations of a batch: one row per thread, made or brought up to date by one statement."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson

from memory.db import Tx
from memory.rows import Row
from tools.ingest.rows import House, Placed

MAX_PEOPLE = 50
LINK_CONFIDENCE = 35
"""Link score of a known contact or company without a deal that decides. Source: CRM specification, queues."""


class _Conversation(Row):
    id: str
    conversation_id: str


async def upsert_conversations(tx: Tx, house: House, placed: Sequence[Placed]) -> dict[str, str]:
    """
    Make or update the conversations of these mails and return their ids by thread.

    The last mail decides the state: inbound is `pending`, outbound is `awaiting_response`; noise alone is `processed`;
    what somebody ignored stays ignored, and what is snoozed wakes up for a newer inbound mail.
    """
    groups: dict[str, list[Placed]] = {}
    for item in placed:
        groups.setdefault(item.thread, []).append(item)
    rows = await tx.many(
        _Conversation,
        """
        INSERT INTO email_conversations AS c (user_id, conversation_id, status, company_id, contact_id, link_confidence, link_method, subject,
            participant_emails, participant_names, message_count, has_attachments, first_message_at, last_message_at, last_inbound_at,
            last_outbound_at, response_due_at)
        SELECT %(user_id)s, n.thread, n.status, n.company_id, n.contact_id, n.link_confidence, n.link_method, n.subject,
               n.emails, n.names, n.messages, n.attached, n.first_at, n.last_at, n.in_at, n.out_at, n.due_at
          FROM json_to_recordset(%(groups)s::json) AS n (thread text, status text, company_id uuid, contact_id uuid, link_confidence int, link_method text,
               subject text, emails text[], names text[], messages int, attached boolean, first_at timestamptz, last_at timestamptz,
               in_at timestamptz, out_at timestamptz, due_at timestamptz)
        ON CONFLICT (user_id, conversation_id) DO UPDATE
           SET status = CASE
                   WHEN c.status = 'ignored' OR coalesce(excluded.last_message_at <= c.last_message_at, false) THEN c.status
                   WHEN excluded.status = 'processed' THEN c.status
                   WHEN excluded.status = 'awaiting_response' AND c.status <> 'pending' THEN c.status
                   ELSE excluded.status END,
               company_id = coalesce(c.company_id, excluded.company_id),
               contact_id = coalesce(c.contact_id, excluded.contact_id),
               link_confidence = coalesce(c.link_confidence, excluded.link_confidence),
               link_method = CASE WHEN c.link_method = 'none' THEN excluded.link_method ELSE c.link_method END,
               participant_emails = coalesce((
                   SELECT array_agg(DISTINCT e)
                     FROM (SELECT unnest(c.participant_emails || excluded.participant_emails) AS e LIMIT 50) AS every), '{}'),
               participant_names = coalesce((
                   SELECT array_agg(DISTINCT e)
                     FROM (SELECT unnest(c.participant_names || excluded.participant_names) AS e LIMIT 50) AS every), '{}'),
               message_count = c.message_count + excluded.message_count,
               has_attachments = c.has_attachments OR excluded.has_attachments,
               first_message_at = least(c.first_message_at, excluded.first_message_at),
               last_message_at = greatest(c.last_message_at, excluded.last_message_at),
               last_inbound_at = greatest(c.last_inbound_at, excluded.last_inbound_at),
               last_outbound_at = greatest(c.last_outbound_at, excluded.last_outbound_at),
               response_due_at = CASE
                   WHEN excluded.status = 'processed' OR excluded.last_message_at <= c.last_message_at THEN c.response_due_at
                   ELSE excluded.response_due_at END
        RETURNING c.id::text, c.conversation_id
        """,
        user_id=house.user_id,
        groups=orjson.dumps([_group(thread, items, house) for thread, items in groups.items()]).decode(),
    )
    return {row.conversation_id: row.id for row in rows}


def _group(thread: str, items: list[Placed], house: House) -> dict[str, Any]:
    first = last = items[0]
    latest: dict[str, datetime] = {}
    for item in items:
        way, at = item.mail.direction, item.occurred_at
        first = item if at < first.occurred_at else first
        last = item if at > last.occurred_at else last
        latest[way] = max(at, latest.get(way, at))
    linked = next((item for item in items if item.contact_id), None) or next(
        (item for item in items if item.company_id), None
    )
    people = {
        person.email: person.name for item in items for who in (item.mail.theirs, item.mail.ours) for _, person in who
    }
    waiting = [item.occurred_at for item in items if item.awaits_us]
    return {
        "thread": thread,
        "status": _status(items, last),
        "company_id": linked.company_id if linked else None,
        "contact_id": linked.contact_id if linked else None,
        "link_confidence": LINK_CONFIDENCE if linked else None,
        "link_method": "auto_suggested" if linked else "none",
        "subject": first.mail.mail.subject,
        "emails": list(people)[:MAX_PEOPLE],
        "names": [name for name in people.values() if name][:MAX_PEOPLE],
        "messages": len(items),
        "attached": any(item.mail.mail.attachments for item in items),
        "first_at": first.occurred_at,
        "last_at": last.occurred_at,
        "in_at": latest.get("inbound"),
        "out_at": latest.get("outbound"),
        "due_at": min(waiting) + timedelta(minutes=house.sla_minutes) if waiting else None,
    }


def _status(items: list[Placed], last: Placed) -> str:
    if all(item.mail.noise_type for item in items):
        return "processed"
    return "awaiting_response" if last.mail.direction == "outbound" else "pending"
