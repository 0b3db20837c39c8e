"""Conversations: communications grouped by company, or by the outside address while nobody knows the company."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Doc, In, Row
from tools.communications.rows import VISIBLE, Channel, Direction


class ConversationFilter(In):
    """Which conversations to list, the one with the newest message first."""

    channel: Channel | None = None
    ai_only: bool = False
    link_filter: Literal["linked", "unlinked"] | None = None
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0)


class LastCommunication(Row):
    """The newest message of a conversation."""

    id: UUID
    channel: Channel
    subject: str | None
    content_preview: str | None
    occurred_at: datetime
    direction: Direction
    is_ai_generated: bool


class ConversationRow(Row):
    """One conversation: a company's, or an unknown sender's."""

    company_id: UUID | None
    company_name: str | None
    contact_id: UUID | None
    contact_name: str | None
    sender_email: str | None
    is_unlinked: bool
    last_communication: LastCommunication
    communication_count: int
    tags: list[str]
    has_open_task: bool


class ConversationsOut(Row):
    """A page of conversations."""

    conversations: list[ConversationRow]


class ConversationStats(Row):
    """How many companies, and how many unknown senders, there are conversations with."""

    linked: int
    unlinked: int


async def list_conversations(tx: Tx, caller: Caller, filter: ConversationFilter) -> Doc[ConversationsOut]:
    """Return a page of conversations, the one with the newest message first; noise and excluded messages do not count."""
    return await tx.doc(
        ConversationsOut,
        f"""
        WITH seen AS NOT MATERIALIZED (
            SELECT m.* FROM communications m
             WHERE m.excluded_at IS NULL AND m.noise_type IS NULL AND {VISIBLE}
               AND (%(channel)s::text IS NULL OR m.channel = %(channel)s)
               AND (NOT %(ai_only)s::bool OR m.is_ai_generated)
               AND (m.company_id IS NOT NULL OR m.sender_email IS NOT NULL)
               AND CASE %(link_filter)s::text WHEN 'linked' THEN m.company_id IS NOT NULL
                                              WHEN 'unlinked' THEN m.company_id IS NULL ELSE true END
        ), grouped AS (
            SELECT m.company_id, CASE WHEN m.company_id IS NULL THEN m.sender_email END AS sender_email,
                   max(m.occurred_at) AS last_at, count(*) AS communication_count, bool_or(m.awaiting_our_response) AS awaiting
              FROM seen m
             GROUP BY 1, 2
             ORDER BY last_at DESC, m.company_id, sender_email
             LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT json_build_object('conversations', coalesce(json_agg(x), '[]'))::text
          FROM (SELECT g.company_id, c.name AS company_name, l.contact_id, t.name AS contact_name,
                       coalesce(g.sender_email, l.sender_email) AS sender_email, g.company_id IS NULL AS is_unlinked,
                       json_build_object('id', l.id, 'channel', l.channel, 'subject', l.subject, 'content_preview', l.content_preview,
                                         'occurred_at', l.occurred_at, 'direction', l.direction, 'is_ai_generated', l.is_ai_generated)
                           AS last_communication,
                       g.communication_count, l.tags,
                       g.awaiting OR EXISTS (SELECT 1 FROM attention_flags f WHERE f.company_id = g.company_id AND f.status = 'open')
                           AS has_open_task
                  FROM grouped g
                  CROSS JOIN LATERAL (
                      SELECT m.* FROM seen m
                       WHERE m.company_id = g.company_id AND m.occurred_at = g.last_at
                       UNION ALL
                      SELECT m.* FROM seen m
                       WHERE g.company_id IS NULL AND m.company_id IS NULL AND m.sender_email = g.sender_email AND m.occurred_at = g.last_at
                       LIMIT 1) l
                  LEFT JOIN companies c ON c.id = g.company_id
                  LEFT JOIN contacts t ON t.id = l.contact_id
                 ORDER BY g.last_at DESC, g.company_id, g.sender_email) x
        """,
        **filter.model_dump(),
        scope=caller.scope,
    )


async def get_conversation_stats(tx: Tx, caller: Caller) -> ConversationStats:
    """Return how many companies and unknown senders the caller has conversations with."""
    return await tx.one(
        ConversationStats,
        f"""
        SELECT count(*) FILTER (WHERE g.company_id IS NOT NULL) AS linked,
               count(*) FILTER (WHERE g.sender_email IS NOT NULL) AS unlinked
          FROM (SELECT DISTINCT m.company_id, CASE WHEN m.company_id IS NULL THEN m.sender_email END AS sender_email
                  FROM communications m
                 WHERE m.excluded_at IS NULL AND m.noise_type IS NULL AND {VISIBLE}) g
        """,
        scope=caller.scope,
    )
