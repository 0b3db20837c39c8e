"""What agents propose to do with companies' products, as people read it."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Doc, In, Named, Row
from tools.company_products import MAY_WRITE

Status = Literal["pending", "accepted", "dismissed", "expired"]

# A pending suggestion expires by itself; no event says so.
_STATUS = "CASE WHEN s.status = 'pending' AND s.expires_at <= %(now)s THEN 'expired' ELSE s.status END"
_SUGGESTION = f"""
    s.suggestion_id AS id, s.company_product_id, s.suggestion_type, s.title, s.description, s.confidence, s.source_type,
    s.source_id, s.suggested_action, s.expires_at, {_STATUS} AS status, s.suggested_at, s.run_id, s.resolved_at,
    s.dismiss_reason,
    CASE WHEN w.id IS NOT NULL THEN json_build_object('communication_id', w.id, 'quote', e.quote) END AS evidence,
    json_build_object('id', c.id, 'name', c.name) AS company,
    json_build_object('id', p.id, 'name', p.name) AS product
"""


class EvidenceBeside(Row):
    """The words that a proposal rests on, and the communication that they stand in."""

    communication_id: UUID
    quote: str


class SuggestionRow(Row):
    """
    One proposal: what, why, how sure (0 to 1), and what became of it.

    `evidence` is for those who may read the communication that it comes from.
    """

    id: UUID
    company_product_id: UUID
    suggestion_type: str
    title: str
    description: str
    confidence: float
    source_type: str
    source_id: str | None
    suggested_action: dict[str, Any] | None
    expires_at: datetime | None
    status: Status
    suggested_at: datetime
    run_id: str | None
    resolved_at: datetime | None
    dismiss_reason: str | None
    evidence: EvidenceBeside | None
    company: Named
    product: Named


class SuggestionsOut(Row):
    """A page of proposals, newest first."""

    suggestions: list[SuggestionRow]


class SuggestionFilter(In):
    """Which proposals to list; pending ones, of products that you may change, unless it says otherwise."""

    status: Status | Literal["all"] = "pending"
    companyProductId: UUID | None = None
    companyId: UUID | None = None
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0)


async def list_suggestions(tx: Tx, caller: Caller, filter: SuggestionFilter) -> Doc[SuggestionsOut]:
    """Return a page of proposals for products that the caller may change, newest first."""
    return await tx.doc(
        SuggestionsOut,
        f"""
        SELECT json_build_object('suggestions', coalesce(json_agg(x), '[]'))::text
          FROM (SELECT {_SUGGESTION}
                  FROM ai_suggestions_read_model s
                  JOIN company_product_read_model m ON m.company_product_id = s.company_product_id
                  JOIN companies c ON c.id = m.company_id
                  JOIN products p ON p.id = m.product_id
                  LEFT JOIN suggestion_evidence e USING (suggestion_id)
                  LEFT JOIN communications w ON w.id = e.communication_id
                       AND (%(scope)s::uuid IS NULL OR w.user_id = %(scope)s)
                 WHERE (%(status)s = 'all' OR {_STATUS} = %(status)s)
                   AND (%(company_product_id)s::uuid IS NULL OR s.company_product_id = %(company_product_id)s)
                   AND (%(company_id)s::uuid IS NULL OR m.company_id = %(company_id)s)
                   AND {MAY_WRITE}
                 ORDER BY s.suggested_at DESC, s.suggestion_id
                 LIMIT %(limit)s OFFSET %(offset)s) x
        """,
        status=filter.status,
        company_product_id=filter.companyProductId,
        company_id=filter.companyId,
        scope=caller.scope,
        limit=filter.limit,
        offset=filter.offset,
    )
