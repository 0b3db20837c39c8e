"""
Summaries of deals, companies and contacts: what they are made of, and the finished ones.

A summary is made for an audience: what managers may read is one, and each rep has one of their own, made only of what
that rep may see.
"""

from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import NotFound
from memory.rows import In, Row
from tools import deals, knowledge
from tools.summary_context import EntityType, get_company_of

SummaryType = Literal["deal_overview", "company_overview", "contact_overview"]
TYPE_OF: dict[EntityType, SummaryType] = {
    "deal": "deal_overview",
    "company": "company_overview",
    "contact": "contact_overview",
}
FRESH_FOR = timedelta(hours=24)
SUMMARY = """
    s.id, s.deal_id, s.company_id, s.contact_id, s.summary_type, s.summary, s.summary_text, s.key_points, s.risks, s.opportunities,
    s.sources, s.generated_at, s.context_hash, s.stale, s.engine, s.model_used, s.prompt_key, s.prompt_version, s.ai_call_id, s.run_id, s.tokens_used,
    s.confidence
"""
# One subject column per type; the audience is the caller's scope.
OF_SUBJECT = """
    s.summary_type = %(summary_type)s AND s.audience_id IS NOT DISTINCT FROM %(audience)s
    AND CASE %(type)s WHEN 'deal' THEN s.deal_id WHEN 'company' THEN s.company_id ELSE s.contact_id END = %(subject_id)s
"""


class SummaryNotFound(NotFound):
    """There is no summary of this {type} yet."""


class SummaryRow(Row):
    """A finished summary; `summary` has the shape of its type, `sources` are what it cites."""

    id: UUID
    deal_id: UUID | None
    company_id: UUID | None
    contact_id: UUID | None
    summary_type: str
    summary: dict[str, Any]
    summary_text: str
    key_points: list[str]
    risks: list[str]
    opportunities: list[str]
    sources: list[dict[str, Any]]
    generated_at: datetime
    context_hash: str
    stale: bool
    engine: str
    model_used: str | None
    prompt_key: str | None
    prompt_version: int | None
    ai_call_id: UUID | None
    run_id: UUID | None
    tokens_used: int
    confidence: float | None


class SummaryFilter(In):
    """One summary by `type` and `id`, figures with `stats=true`, or a page."""

    type: EntityType | None = None
    id: UUID | None = None
    stats: bool = False
    stale: bool | None = None
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _pair(self) -> "SummaryFilter":
        if self.id is not None and self.type is None:
            raise ValueError("type is required beside id")
        return self


class SummaryOut(Row):
    """One summary as it stands."""

    entityType: EntityType
    entityId: UUID
    summary: SummaryRow
    generatedAt: datetime
    stale: bool


class SummariesOut(Row):
    """A page of summaries, newest first."""

    summaries: list[SummaryRow]
    total: int


class SummaryStats(Row):
    """Figures of the summaries that the caller reads."""

    totalSummaries: int
    staleSummaries: int
    byType: dict[str, int]
    avgConfidence: float | None
    totalTokensUsed: int
    recentGenerations: int


class NewSummary(Row):
    """A summary to keep."""

    summary: dict[str, Any]
    summary_text: str
    key_points: list[str]
    risks: list[str]
    opportunities: list[str]
    sources: list[dict[str, Any]]
    context_hash: str
    engine: str
    model_used: str | None
    prompt_key: str | None
    prompt_version: int | None
    ai_call_id: UUID | None
    run_id: UUID | None
    tokens_used: int
    confidence: float


async def find_summary(tx: Tx, caller: Caller, type: EntityType, subject_id: UUID) -> SummaryRow | None:
    """Return the caller's summary of this subject, however old, or None."""
    return await tx.maybe(
        SummaryRow,
        f"SELECT {SUMMARY} FROM ai_summaries s WHERE {OF_SUBJECT}",
        type=type,
        summary_type=TYPE_OF[type],
        subject_id=subject_id,
        audience=caller.scope,
    )


def is_fresh(summary: SummaryRow, context_hash: str, now: datetime) -> bool:
    """Tell whether a summary needs no renewal: not stale, of the same context, younger than a day."""
    return not summary.stale and summary.context_hash == context_hash and now - summary.generated_at < FRESH_FOR


async def get_summary(tx: Tx, caller: Caller, type: EntityType, subject_id: UUID) -> SummaryOut:
    """
    Return the caller's summary of this subject.

    Raises `summary_context.SubjectNotFound`, `SummaryNotFound`.
    """
    await get_company_of(tx, caller, type, subject_id)
    summary = await find_summary(tx, caller, type, subject_id)
    if summary is None:
        raise SummaryNotFound(type=type)
    return SummaryOut(
        entityType=type,
        entityId=subject_id,
        summary=summary,
        generatedAt=summary.generated_at,
        stale=summary.stale or tx.now - summary.generated_at >= FRESH_FOR,
    )


async def list_summaries(tx: Tx, caller: Caller, filter: SummaryFilter) -> SummariesOut:
    """Return a page of the caller's summaries, newest first."""
    where = f"""
        s.audience_id IS NOT DISTINCT FROM %(audience)s AND (%(summary_type)s::text IS NULL OR s.summary_type = %(summary_type)s)
        AND (%(stale)s::bool IS NULL OR s.stale = %(stale)s)
        AND (s.deal_id IS NULL OR EXISTS (SELECT 1 FROM deals d WHERE d.id = s.deal_id AND {deals.VISIBLE}))
    """
    params: dict[str, Any] = {
        "audience": caller.scope,
        "scope": caller.scope,
        "summary_type": TYPE_OF[filter.type] if filter.type else None,
        "stale": filter.stale,
    }
    summaries = await tx.many(
        SummaryRow,
        f"""
        SELECT {SUMMARY} FROM ai_summaries s WHERE {where}
         ORDER BY s.generated_at DESC, s.id LIMIT %(limit)s OFFSET %(offset)s
        """,
        **params,
        limit=filter.limit,
        offset=filter.offset,
    )
    total = await tx.one(int, f"SELECT count(*) FROM ai_summaries s WHERE {where}", **params)
    return SummariesOut(summaries=summaries, total=total)


async def get_stats(tx: Tx, caller: Caller) -> SummaryStats:
    """Return figures of the caller's summaries; recent means within a day."""
    return await tx.one(
        SummaryStats,
        """
        SELECT count(*) AS "totalSummaries", count(*) FILTER (WHERE s.stale) AS "staleSummaries",
               json_build_object('deal', count(s.deal_id), 'company', count(s.company_id), 'contact', count(s.contact_id)) AS "byType",
               round(avg(s.confidence), 2)::float AS "avgConfidence", coalesce(sum(s.tokens_used), 0) AS "totalTokensUsed",
               count(*) FILTER (WHERE s.generated_at > %(now)s - interval '1 day') AS "recentGenerations"
          FROM ai_summaries s WHERE s.audience_id IS NOT DISTINCT FROM %(audience)s
        """,
        audience=caller.scope,
    )


async def save_summary(tx: Tx, caller: Caller, type: EntityType, subject_id: UUID, new: NewSummary) -> SummaryRow:
    """Keep a summary in place of the caller's earlier one, and have it remembered."""
    saved = await tx.one(
        SummaryRow,
        f"""
        INSERT INTO ai_summaries AS s (deal_id, company_id, contact_id, audience_id, summary_type, summary, summary_text, key_points, risks,
                                       opportunities, sources, generated_at, context_hash, engine, model_used, prompt_key, prompt_version,
                                       ai_call_id, run_id, tokens_used, confidence, updated_at)
        VALUES (CASE WHEN %(type)s = 'deal' THEN %(subject_id)s::uuid END, CASE WHEN %(type)s = 'company' THEN %(subject_id)s::uuid END,
                CASE WHEN %(type)s = 'contact' THEN %(subject_id)s::uuid END, %(audience)s, %(summary_type)s, %(summary)s, %(summary_text)s,
                %(key_points)s, %(risks)s, %(opportunities)s, %(sources)s, %(now)s, %(context_hash)s, %(engine)s, %(model_used)s,
                %(prompt_key)s, %(prompt_version)s, %(ai_call_id)s, %(run_id)s, %(tokens_used)s, %(confidence)s, %(now)s)
        ON CONFLICT (deal_id, company_id, contact_id, summary_type, audience_id)
        DO UPDATE SET summary = excluded.summary, summary_text = excluded.summary_text, key_points = excluded.key_points,
                      risks = excluded.risks, opportunities = excluded.opportunities, sources = excluded.sources,
                      generated_at = excluded.generated_at, context_hash = excluded.context_hash, stale = false, engine = excluded.engine,
                      model_used = excluded.model_used, prompt_key = excluded.prompt_key, prompt_version = excluded.prompt_version,
                      ai_call_id = excluded.ai_call_id, run_id = excluded.run_id, tokens_used = excluded.tokens_used, confidence = excluded.confidence,
                      updated_at = excluded.updated_at
        RETURNING {SUMMARY}
        """,
        **new.model_dump(exclude={"summary", "sources"}),
        summary=Json(new.summary),
        sources=Json(new.sources),
        type=type,
        summary_type=TYPE_OF[type],
        subject_id=subject_id,
        audience=caller.scope,
    )
    await knowledge.promise_collecting(tx)
    return saved


class StaleSubject(Row):
    """A summary that should be made again, and for whom."""

    type: EntityType
    subject_id: UUID
    audience_id: UUID | None


async def list_stale(tx: Tx, caller: Caller, *, limit: int = 50) -> list[StaleSubject]:
    """
    Return the caller's stale summaries, oldest first; the service itself sees everybody's.

    What cannot be made again is left out, or it would stand before the rest for ever: subjects that are gone, deals that
    their reader has handed on, readers who have left or now read what managers read.
    """
    return await tx.many(
        StaleSubject,
        """
        SELECT CASE WHEN s.deal_id IS NOT NULL THEN 'deal' WHEN s.company_id IS NOT NULL THEN 'company' ELSE 'contact' END AS type,
               coalesce(s.deal_id, s.company_id, s.contact_id) AS subject_id, s.audience_id
          FROM ai_summaries s
         WHERE s.stale AND (%(everybody)s OR s.audience_id IS NOT DISTINCT FROM %(audience)s)
           AND (s.company_id IS NULL OR EXISTS (SELECT 1 FROM companies c WHERE c.id = s.company_id AND c.deleted_at IS NULL))
           AND (s.contact_id IS NULL OR EXISTS (SELECT 1 FROM contacts t WHERE t.id = s.contact_id AND t.deleted_at IS NULL))
           AND (s.audience_id IS NULL
                OR EXISTS (SELECT 1 FROM users u WHERE u.id = s.audience_id AND u.is_active AND u.role = 'rep')
                   AND (s.deal_id IS NULL OR EXISTS (
                       SELECT 1 FROM deals d WHERE d.id = s.deal_id
                          AND (d.owner_id = s.audience_id
                               OR d.id IN (SELECT w.deal_id FROM deal_collaborators w WHERE w.user_id = s.audience_id)))))
         ORDER BY s.generated_at, s.id LIMIT %(limit)s
        """,
        everybody=caller.kind == "system",
        audience=caller.scope,
        limit=limit,
    )
