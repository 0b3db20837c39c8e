"""What a summary may be made of: the newest things said and done about a subject, as far as its reader may see them."""

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal, LiteralString
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import NotFound
from memory.rows import Row
from tools import activities, deals

EntityType = Literal["deal", "company", "contact"]


class SubjectNotFound(NotFound):
    """There is no {type} with id {subject_id}."""


class OfferedSource(Row):
    """Something that was said or done, numbered from 1 in the order in which a model is shown it."""

    number: int = 0
    type: Literal["communication", "activity", "note", "transcript"]
    id: UUID
    occurred_at: datetime
    direction: str | None
    who: str | None
    title: str | None
    text: str
    sentiment: str | None
    gist: str | None


class OfferedContact(Row):
    """A person at the company, numbered from 1."""

    number: int = 0
    id: UUID
    name: str
    title: str | None
    role: str | None
    last_contacted_at: datetime | None
    communication_style: dict[str, Any]


class Promise(Row):
    """An open promise."""

    direction: str
    promise_text: str
    due_by: datetime | None
    quote: str | None
    source_communication_id: UUID | None


class DealInContext(Row):
    """A deal of the subject."""

    id: UUID
    name: str
    stage: str
    estimated_value: float
    health_score: int
    health_trend: str | None
    stage_entered_at: datetime
    created_at: datetime
    expected_close_date: str | None
    owner_name: str | None
    closed_at: datetime | None


class CompanyInContext(Row):
    """The company of the subject."""

    id: UUID
    name: str
    status: str
    segment: str
    industry: str
    agent_count: int
    crm_platform: str | None
    became_customer_at: datetime | None
    created_at: datetime
    products: list[str]


class Engagement(Row):
    """Counts of what the audience may see; moments are UTC."""

    total: int
    last_30d: int
    previous_30d: int
    inbound_30d: int
    outbound_30d: int
    last_at: datetime | None
    last_inbound_at: datetime | None
    channels: dict[str, int]
    positive: int
    negative: int
    read: int


class SummaryContext(Row):
    """Everything that a summary may be made of, for one audience."""

    type: EntityType
    subject_id: UUID
    company: CompanyInContext
    contacts: list[OfferedContact]
    deals: list[DealInContext]
    tasks: list[str]
    promises: list[Promise]
    sources: list[OfferedSource]
    engagement: Engagement

    @property
    def hash(self) -> str:
        """The identity of what was read: the same context needs no second summary."""
        return sha256(self.model_dump_json().encode()).hexdigest()


# Of which communications and activities a subject's summary is made.
_ABOUT: dict[EntityType, LiteralString] = {
    "deal": "(x.deal_id = %(subject_id)s OR (x.deal_id IS NULL AND x.company_id = %(company_id)s))",
    "company": "x.company_id = %(company_id)s",
    "contact": "x.contact_id = %(subject_id)s",
}
_ABOUT_ACTIVITY: dict[EntityType, LiteralString] = {
    "deal": "(a.deal_id = %(subject_id)s OR (a.deal_id IS NULL AND a.company_id = %(company_id)s))",
    "company": "a.company_id = %(company_id)s",
    "contact": "a.contact_id = %(subject_id)s",
}


async def load_context(tx: Tx, caller: Caller, type: EntityType, subject_id: UUID) -> SummaryContext:
    """
    Return what a summary for this caller may be made of: newest 20 messages, 15 activities, 5 notes, 10 open tasks.

    Raises `SubjectNotFound`, also for a deal that the caller may not see.
    """
    company_id = await get_company_of(tx, caller, type, subject_id)
    params: dict[str, Any] = {
        "type": type, "subject_id": subject_id, "company_id": company_id, "scope": caller.scope,
    }  # fmt: skip
    sources = await _load_sources(tx, type, params)
    contacts = await _load_contacts(tx, params)
    return SummaryContext(
        type=type,
        subject_id=subject_id,
        company=await _load_company(tx, params),
        contacts=[row.model_copy(update={"number": place}) for place, row in enumerate(contacts, 1)],
        deals=await _load_deals(tx, params),
        tasks=await _load_tasks(tx, params),
        promises=await _load_promises(tx, params),
        sources=[row.model_copy(update={"number": place}) for place, row in enumerate(sources, 1)],
        engagement=await _load_engagement(tx, type, params),
    )


async def get_company_of(tx: Tx, caller: Caller, type: EntityType, subject_id: UUID) -> UUID:
    """
    Return the company that a subject belongs to.

    Raises `SubjectNotFound`, also for a deal that the caller may not see.
    """
    statements: dict[EntityType, LiteralString] = {
        "deal": f"SELECT d.company_id FROM deals d WHERE d.id = %(subject_id)s AND {deals.VISIBLE}",
        "company": "SELECT id FROM companies WHERE id = %(subject_id)s AND deleted_at IS NULL",
        "contact": "SELECT company_id FROM contacts WHERE id = %(subject_id)s AND deleted_at IS NULL",
    }
    missing = SubjectNotFound(type=type, subject_id=subject_id)
    return await tx.one(UUID, statements[type], missing=missing, subject_id=subject_id, scope=caller.scope)


async def _load_sources(tx: Tx, type: EntityType, params: dict[str, Any]) -> list[OfferedSource]:
    about, about_activity = _ABOUT[type], _ABOUT_ACTIVITY[type]
    return await tx.many(
        OfferedSource,
        f"""
        (SELECT 'communication' AS type, x.id, x.occurred_at, x.direction, coalesce(x.sender_name, x.sender_email) AS who,
                x.subject AS title, left(x.full_content, 1500) AS text, a.sentiment, a.summary AS gist
           FROM communications x LEFT JOIN communication_analysis a ON a.id = x.current_analysis_id
          WHERE {about} AND x.excluded_at IS NULL AND x.noise_type IS NULL AND coalesce(x.full_content, '') <> ''
            AND x.occurred_at <= %(now)s AND (%(scope)s::uuid IS NULL OR x.user_id = %(scope)s)
          ORDER BY x.occurred_at DESC, x.id LIMIT 20)
        UNION ALL
        (SELECT 'activity', a.id, a.occurred_at, NULL, u.name, a.subject, left(concat_ws(': ', a.subject, a.body), 600), a.sentiment, NULL
           FROM activities a LEFT JOIN users u ON u.id = a.user_id
          WHERE {about_activity} AND a.match_status <> 'excluded' AND a.occurred_at <= %(now)s AND coalesce(a.body, a.subject, '') <> ''
            AND a.type NOT IN ('email_sent', 'email_received')
            AND {activities.NOT_A_COPY} AND {activities.VISIBLE}
          ORDER BY a.occurred_at DESC, a.id LIMIT 15)
        UNION ALL
        (SELECT 'note', x.id, x.added_at, NULL, u.name, x.context_type, left(x.note, 600), NULL, NULL
           FROM relationship_notes x LEFT JOIN users u ON u.id = x.added_by
          WHERE x.deleted_at IS NULL
            AND CASE WHEN %(type)s = 'contact' THEN x.contact_id = %(subject_id)s ELSE x.company_id = %(company_id)s END
          ORDER BY x.added_at DESC, x.id LIMIT 5)
        ORDER BY 3 DESC, 2
        """,
        **params,
    )


async def _load_contacts(tx: Tx, params: dict[str, Any]) -> list[OfferedContact]:
    return await tx.many(
        OfferedContact,
        """
        SELECT id, name, title, role, last_contacted_at, communication_style FROM contacts
         WHERE company_id = %(company_id)s AND deleted_at IS NULL AND (%(type)s <> 'contact' OR id = %(subject_id)s)
         ORDER BY is_primary DESC, last_contacted_at DESC NULLS LAST, id LIMIT 20
        """,
        **params,
    )


async def _load_company(tx: Tx, params: dict[str, Any]) -> CompanyInContext:
    return await tx.one(
        CompanyInContext,
        """
        SELECT c.id, c.name, c.status, c.segment, c.industry, c.agent_count, c.crm_platform, c.became_customer_at, c.created_at,
               coalesce((SELECT array_agg(p.name ORDER BY p.name)
                           FROM company_product_read_model o JOIN products p ON p.id = o.product_id
                          WHERE o.company_id = c.id AND o.status IN ('active', 'in_onboarding')), '{}') AS products
          FROM companies c WHERE c.id = %(company_id)s
        """,
        **params,
    )


async def _load_deals(tx: Tx, params: dict[str, Any]) -> list[DealInContext]:
    return await tx.many(
        DealInContext,
        f"""
        SELECT d.id, d.name, d.stage, d.estimated_value, d.health_score, d.health_trend, d.stage_entered_at, d.created_at,
               d.expected_close_date::text, u.name AS owner_name, d.closed_at
          FROM deals d LEFT JOIN users u ON u.id = d.owner_id
         WHERE d.company_id = %(company_id)s AND (%(type)s <> 'deal' OR d.id = %(subject_id)s) AND {deals.VISIBLE}
         ORDER BY d.stage LIKE 'closed%%', d.updated_at DESC, d.id LIMIT 20
        """,
        **params,
    )


async def _load_tasks(tx: Tx, params: dict[str, Any]) -> list[str]:
    return await tx.many(
        str,
        """
        SELECT t.title || ' (due ' || to_char(t.due_at, 'YYYY-MM-DD') || ')' FROM tasks t
         WHERE t.company_id = %(company_id)s AND (%(type)s <> 'deal' OR t.deal_id = %(subject_id)s) AND t.completed_at IS NULL
           AND t.deleted_at IS NULL AND (%(scope)s::uuid IS NULL OR t.assigned_to = %(scope)s OR t.created_by = %(scope)s)
         ORDER BY t.due_at, t.id LIMIT 10
        """,
        **params,
    )


async def _load_promises(tx: Tx, params: dict[str, Any]) -> list[Promise]:
    return await tx.many(
        Promise,
        """
        SELECT p.direction, p.promise_text, p.due_by, p.quote, p.source_communication_id
          FROM promises p
         WHERE p.company_id = %(company_id)s AND p.status IN ('pending', 'overdue') AND NOT p.is_hidden
           AND (%(type)s <> 'contact' OR p.contact_id = %(subject_id)s)
           AND (%(scope)s::uuid IS NULL OR p.owner_user_id = %(scope)s)
         ORDER BY p.due_by NULLS LAST, p.id LIMIT 10
        """,
        **params,
    )


async def _load_engagement(tx: Tx, type: EntityType, params: dict[str, Any]) -> Engagement:
    about = _ABOUT[type]
    return await tx.one(
        Engagement,
        f"""
        WITH seen AS (
            SELECT x.occurred_at, x.direction, x.channel, a.sentiment
              FROM communications x LEFT JOIN communication_analysis a ON a.id = x.current_analysis_id
             WHERE {about} AND x.excluded_at IS NULL AND x.noise_type IS NULL AND x.occurred_at <= %(now)s
               AND (%(scope)s::uuid IS NULL OR x.user_id = %(scope)s)
        )
        SELECT count(*) AS total,
               count(*) FILTER (WHERE occurred_at > %(now)s - interval '30 days') AS last_30d,
               count(*) FILTER (WHERE occurred_at <= %(now)s - interval '30 days' AND occurred_at > %(now)s - interval '60 days') AS previous_30d,
               count(*) FILTER (WHERE direction = 'inbound' AND occurred_at > %(now)s - interval '30 days') AS inbound_30d,
               count(*) FILTER (WHERE direction = 'outbound' AND occurred_at > %(now)s - interval '30 days') AS outbound_30d,
               max(occurred_at) AS last_at, max(occurred_at) FILTER (WHERE direction = 'inbound') AS last_inbound_at,
               coalesce((SELECT jsonb_object_agg(channel, n) FROM (SELECT channel, count(*) AS n FROM seen GROUP BY channel) c), '{{}}') AS channels,
               count(*) FILTER (WHERE sentiment IN ('positive', 'excited')) AS positive,
               count(*) FILTER (WHERE sentiment IN ('negative', 'concerned')) AS negative,
               count(sentiment) AS read
          FROM seen
        """,
        **params,
    )
