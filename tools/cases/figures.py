"""How many cases are open, how grave they are, and how well the last 30 days went."""

from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Row


class CaseFigures(Row):
    """
    Open cases of a company, or of one of its products, by how they stand; and averages of the last 30 days.

    Averages are over cases opened (response), resolved (resolution) or rated (satisfaction, 1 to 5) in these days; hours to
    the hundredth, None where there is nothing to average.
    """

    total_open: int
    open_count: int
    in_progress_count: int
    waiting_count: int
    escalated_count: int
    low_count: int
    medium_count: int
    high_count: int
    urgent_count: int
    critical_count: int
    first_response_breached_count: int
    resolution_breached_count: int
    update_breached_count: int
    breached_count: int
    at_risk_count: int
    negative_impact_count: int
    critical_impact_count: int
    avg_first_response_hours: float | None
    avg_resolution_hours: float | None
    avg_csat_score: float | None


COUNTS = """
    coalesce(n.total_open, 0) AS total_open, coalesce(n.open_count, 0) AS open_count, coalesce(n.in_progress_count, 0) AS in_progress_count,
    coalesce(n.waiting_count, 0) AS waiting_count, coalesce(n.escalated_count, 0) AS escalated_count, coalesce(n.low_count, 0) AS low_count,
    coalesce(n.medium_count, 0) AS medium_count, coalesce(n.high_count, 0) AS high_count, coalesce(n.urgent_count, 0) AS urgent_count,
    coalesce(n.critical_count, 0) AS critical_count, coalesce(n.first_response_breached_count, 0) AS first_response_breached_count,
    coalesce(n.resolution_breached_count, 0) AS resolution_breached_count,
    coalesce(n.update_breached_count, 0) AS update_breached_count, coalesce(n.breached_count, 0) AS breached_count,
    coalesce(n.at_risk_count, 0) AS at_risk_count, coalesce(n.negative_impact_count, 0) AS negative_impact_count,
    coalesce(n.critical_impact_count, 0) AS critical_impact_count
"""
AVERAGES = """
    avg(extract(epoch FROM m.first_response_at - m.opened_at) / 3600)
        FILTER (WHERE m.opened_at >= %(now)s - interval '30 days') AS first_response,
    avg(extract(epoch FROM m.resolved_at - m.opened_at) / 3600)
        FILTER (WHERE m.resolved_at >= %(now)s - interval '30 days') AS resolution,
    avg(m.csat_score) FILTER (WHERE m.csat_submitted_at >= %(now)s - interval '30 days') AS csat
"""


async def get_company_figures(tx: Tx, caller: Caller, company_id: UUID) -> CaseFigures:
    """Return the figures of a company; of one without cases, zeros."""
    return await tx.one(
        CaseFigures,
        f"""
        SELECT {COUNTS}, round(a.first_response, 2) AS avg_first_response_hours, round(a.resolution, 2) AS avg_resolution_hours,
               round(a.csat, 2) AS avg_csat_score
          FROM (SELECT {AVERAGES} FROM support_case_read_model m WHERE m.company_id = %(company_id)s) a
          LEFT JOIN company_open_case_counts n ON n.company_id = %(company_id)s
        """,
        company_id=company_id,
    )


async def get_product_figures(tx: Tx, caller: Caller, company_product_id: UUID) -> CaseFigures:
    """Return the figures of a company's product; of one without cases, zeros."""
    return await tx.one(
        CaseFigures,
        f"""
        SELECT {COUNTS}, round(a.first_response, 2) AS avg_first_response_hours, round(a.resolution, 2) AS avg_resolution_hours,
               round(a.csat, 2) AS avg_csat_score
          FROM (SELECT {AVERAGES} FROM support_case_read_model m WHERE m.company_product_id = %(company_product_id)s) a
          LEFT JOIN company_product_open_case_counts n ON n.company_product_id = %(company_product_id)s
        """,
        company_product_id=company_product_id,
    )
