"""Health, judged again when the facts that it was judged on have changed."""

from uuid import UUID

from memory.callers import SYSTEM
from memory.db import Tx
from memory.rows import Row
from tools.lifecycle import asks, handling, health
from tools.lifecycle.health import HealthInputs

BATCH = 100
# What health is judged on, and a hash of it. Cases count while they are open; how they were rated counts for 90 days.
_JUDGED = f"""
    SELECT j.company_product_id, j.inputs, j.known_hash,
           left(encode(sha256(convert_to('{health.VERSION}' || j.inputs::text, 'UTF8')), 'hex'), 16) AS input_hash
      FROM (SELECT m.company_product_id, m.health_input_hash AS known_hash,
                   jsonb_build_object(
                       'critical', coalesce(c.critical_count, 0), 'urgent', coalesce(c.urgent_count, 0),
                       'high', coalesce(c.high_count, 0), 'total', coalesce(c.total_open, 0),
                       'response_breached', coalesce(c.first_response_breached_count, 0),
                       'resolution_breached', coalesce(c.resolution_breached_count, 0),
                       'escalated', coalesce(c.escalated_count, 0), 'negative_impact', coalesce(rated.negative, 0),
                       'critical_impact', coalesce(rated.critical, 0), 'stage_breached', m.is_sla_breached) AS inputs
              FROM company_product_read_model m
              LEFT JOIN company_product_open_case_counts c ON c.company_product_id = m.company_product_id
              LEFT JOIN (
                   SELECT s.company_product_id, count(*) FILTER (WHERE s.engagement_impact = 'negative') AS negative,
                          count(*) FILTER (WHERE s.engagement_impact = 'critical') AS critical
                     FROM support_case_read_model s
                    WHERE s.company_product_id >= %(first)s AND s.company_product_id <= %(last)s
                      AND s.engagement_impact IN ('negative', 'critical')
                      AND (s.status NOT IN ('resolved', 'closed') OR s.csat_submitted_at > %(now)s - interval '90 days')
                    GROUP BY s.company_product_id
                   ) rated ON rated.company_product_id = m.company_product_id
             WHERE m.phase IN ('in_sales', 'onboarding', 'active')
               AND m.company_product_id >= %(first)s AND m.company_product_id <= %(last)s) j
"""
_LOWEST, _HIGHEST = UUID(int=0), UUID(int=2**128 - 1)


class _Judged(Row):
    """The facts of one product, as they stand."""

    company_product_id: UUID
    inputs: HealthInputs
    known_hash: str | None
    input_hash: str


async def list_changed(tx: Tx, after: UUID | None) -> list[UUID]:
    """Return the next hundred products, by id, that are looked after and whose facts are other than when last judged."""
    return await tx.many(
        UUID,
        f"""
        SELECT company_product_id FROM ({_JUDGED}) x
         WHERE input_hash IS DISTINCT FROM known_hash
         ORDER BY company_product_id
         LIMIT %(batch)s
        """,
        first=UUID(int=after.int + 1) if after else _LOWEST,
        last=_HIGHEST,
        batch=BATCH,
    )


async def evaluate(tx: Tx, company_product_id: UUID) -> bool:
    """Judge the health of one product and record it when its facts have changed; True when something was recorded."""
    await handling.hold(tx, [company_product_id])
    judged = await tx.maybe(_Judged, _JUDGED, first=company_product_id, last=company_product_id)
    if judged is None:
        return False
    found = health.judge(judged.inputs, judged.input_hash)
    return bool(await handling.execute(tx, SYSTEM, company_product_id, asks.RecordHealthIn(health=found)))
