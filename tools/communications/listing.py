"""Pages of communications, the original behind one, and the figures of one company."""

from typing import Any, Literal, LiteralString
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx, escape_like
from memory.errors import NotFound
from memory.rows import Doc, In, Row
from tools import deals, names, workspace
from tools.communications.rows import COMMUNICATION, VISIBLE, Channel, CommunicationRow

COUNTED_TO = 1_000
# A statement for what is asked and no condition more, so that each gets the plan of its own index.
BY: dict[str, LiteralString] = {
    "id": "m.id = %(id)s",
    "company_id": "m.company_id = %(company_id)s",
    "contact_id": "m.contact_id = %(contact_id)s",
    "deal_id": "m.deal_id = %(deal_id)s",
    "sender_email": """
        m.company_id IS NULL
        AND (m.sender_email = %(sender_email)s
             OR (%(business_domain)s::text IS NOT NULL AND m.sender_domain = %(business_domain)s)
             OR m.full_content ILIKE %(mention)s)
    """,
    "channel": "m.channel = %(channel)s",
    "direction": "m.direction = %(direction)s",
}


class SourceNotFound(NotFound):
    """There is no original of this kind with id {source_id}."""


class CompanyUnknown(NotFound):
    """Company {company_id} does not exist."""


class CommunicationFilter(In):
    """
    Which communications to list, newest first.

    Of `id`, `company_id` and `sender_email` the first given counts. `sender_email` finds unlinked ones from the address,
    from its business domain, or that mention it.
    """

    id: UUID | None = None
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    sender_email: str | None = Field(default=None, max_length=320)
    channel: Channel | None = None
    direction: Literal["inbound", "outbound", "internal"] | None = None
    awaiting_response: bool | None = None
    ai_only: bool = False
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0)


class CommunicationsOut(Row):
    """A page of communications; `total` counts up to 1,000."""

    communications: list[CommunicationRow]
    total: int
    limit: int
    offset: int


class SourceFilter(In):
    """The original to show: a mail with its headers and bodies, or a meeting transcript."""

    table: Literal["email_messages", "meeting_transcriptions"]
    id: UUID


class SourceOut(Row):
    """The original as it arrived."""

    source: dict[str, Any]


class StatsFilter(In):
    """The company whose figures are wanted."""

    company_id: UUID


class RecentSignal(Row):
    """A signal in a recent communication."""

    signal: str
    type: Literal["positive", "negative"]


class Stats(Row):
    """Figures of one company; `avg_response_time` is our mean time to answer, in hours."""

    total_communications: int
    inbound: int
    outbound: int
    products_discussed: list[str]
    recent_signals: list[RecentSignal]
    avg_response_time: float | None


class StatsOut(Row):
    """The figures of one company."""

    stats: Stats


async def list_communications(tx: Tx, caller: Caller, filter: CommunicationFilter) -> Doc[CommunicationsOut]:
    """
    Return a page of visible communications, newest first; excluded ones are hidden.

    The constant limit is for the planner: behind a parameter alone it expects a tenth of the table, and joins for that.
    """
    where = _where(filter)
    params = await _params(tx, caller, filter)
    content: LiteralString = ", m.full_content" if filter.id else ""
    return await tx.doc(
        CommunicationsOut,
        f"""
        SELECT json_build_object('communications', coalesce(json_agg(x), '[]'), 'total', (
                   SELECT count(*) FROM (SELECT 1 FROM communications m WHERE {where} LIMIT %(counted_to)s) n),
               'limit', %(limit)s::int, 'offset', %(offset)s::int)::text
          FROM (SELECT {COMMUNICATION}{content},
                       CASE WHEN c.id IS NOT NULL THEN json_build_object('id', c.id, 'name', c.name, 'domain', c.domain) END AS company,
                       CASE WHEN t.id IS NOT NULL THEN json_build_object('id', t.id, 'name', t.name, 'email', t.email) END AS contact,
                       CASE WHEN d.id IS NOT NULL AND {deals.VISIBLE} THEN json_build_object('id', d.id, 'name', d.name, 'stage', d.stage,
                            'estimated_value', d.estimated_value) END AS deal,
                       (SELECT row_to_json(a) FROM communication_analysis a WHERE a.id = m.current_analysis_id) AS current_analysis
                  FROM (SELECT id FROM (SELECT m.id FROM communications m WHERE {where}
                                         ORDER BY m.occurred_at DESC, m.id LIMIT 200 OFFSET %(offset)s) longest
                         LIMIT %(limit)s) page
                  JOIN communications m ON m.id = page.id
                  LEFT JOIN companies c ON c.id = m.company_id
                  LEFT JOIN contacts t ON t.id = m.contact_id
                  LEFT JOIN deals d ON d.id = m.deal_id
                 ORDER BY m.occurred_at DESC, m.id) x
        """,
        **params,
    )


def _where(filter: CommunicationFilter) -> LiteralString:
    """Return the conditions of what the filter asks; of id, company and sender only the first counts."""
    ignored = {"id": {"company_id", "sender_email"}, "company_id": {"sender_email"}}
    first = "id" if filter.id else "company_id" if filter.company_id else ""
    given = {key for key in BY if getattr(filter, key)} - ignored.get(first, set())
    waits: dict[bool | None, list[LiteralString]] = {
        None: [], True: ["m.awaiting_our_response"], False: ["NOT m.awaiting_our_response"],
    }  # fmt: skip
    made: list[LiteralString] = ["m.is_ai_generated"] if filter.ai_only else []
    asked: list[LiteralString] = [condition for key, condition in BY.items() if key in given]
    always: list[LiteralString] = ["m.excluded_at IS NULL", VISIBLE]
    return " AND ".join(always + asked + waits[filter.awaiting_response] + made)


async def _params(tx: Tx, caller: Caller, filter: CommunicationFilter) -> dict[str, Any]:
    email = names.normalize_email(filter.sender_email)
    domain = names.domain_of(email)
    if domain and domain in (await workspace.get_workspace(tx)).generic_mail_domains:
        domain = None
    return {
        **filter.model_dump(),
        "sender_email": email,
        "business_domain": domain,
        "mention": f"%{escape_like(email)}%" if email else None,
        "scope": caller.scope,
        "counted_to": COUNTED_TO,
    }


async def get_source(tx: Tx, caller: Caller, filter: SourceFilter) -> SourceOut:
    """
    Return the original behind a communication, by the original's own id or the communication's.

    Raises `SourceNotFound`, also when the caller may not see it.
    """
    statements: dict[str, LiteralString] = {
        "email_messages": """
            SELECT row_to_json(e)::jsonb FROM email_messages e
             WHERE (e.id = %(id)s OR e.communication_id = %(id)s) AND (%(scope)s::uuid IS NULL OR e.user_id = %(scope)s)
             LIMIT 1
        """,
        "meeting_transcriptions": """
            SELECT row_to_json(t)::jsonb FROM meeting_transcriptions t
             WHERE t.id = %(id)s AND (%(scope)s::uuid IS NULL OR t.user_id = %(scope)s)
        """,
    }
    source = await tx.one(
        dict[str, Any],
        statements[filter.table],
        missing=SourceNotFound(source_id=filter.id),
        id=filter.id,
        scope=caller.scope,
    )
    return SourceOut(source=source)


async def get_stats(tx: Tx, caller: Caller, filter: StatsFilter) -> StatsOut:
    """
    Return the figures of what the caller may see of one company.

    Raises `CompanyUnknown`.
    """
    stats = await tx.one(
        Stats,
        f"""
        WITH seen AS (SELECT m.* FROM communications m
                       WHERE m.company_id = %(company_id)s AND m.excluded_at IS NULL AND {VISIBLE})
        SELECT count(m.id) AS total_communications,
               count(m.id) FILTER (WHERE m.direction = 'inbound') AS inbound,
               count(m.id) FILTER (WHERE m.direction = 'outbound') AS outbound,
               coalesce((SELECT array_agg(DISTINCT p) FROM seen s JOIN communication_analysis a ON a.id = s.current_analysis_id,
                                unnest(a.products_discussed) p), '{{}}') AS products_discussed,
               coalesce((SELECT json_agg(json_build_object('signal', g.signal, 'type', g.type))
                           FROM (SELECT e ->> 'signal' AS signal,
                                        CASE WHEN a.sentiment IN ('negative', 'concerned') THEN 'negative' ELSE 'positive' END AS type
                                   FROM seen s JOIN communication_analysis a ON a.id = s.current_analysis_id,
                                        jsonb_array_elements(a.extracted_signals) e
                                  WHERE (e ->> 'confidence')::numeric >= 0.70
                                  ORDER BY s.occurred_at DESC LIMIT 5) g), '[]') AS recent_signals,
               round(avg(extract(epoch FROM m.responded_at - m.occurred_at) / 3600)
                     FILTER (WHERE m.direction = 'inbound' AND m.responded_at IS NOT NULL), 1)::float AS avg_response_time
          FROM companies c LEFT JOIN seen m ON m.company_id = c.id
         WHERE c.id = %(company_id)s AND c.deleted_at IS NULL
         GROUP BY c.id
        """,
        missing=CompanyUnknown(company_id=filter.company_id),
        company_id=filter.company_id,
        scope=caller.scope,
    )
    return StatsOut(stats=stats)
