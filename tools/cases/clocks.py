"""Which answer is owed by when: what is configured, and the scan for what the clock alone makes happen."""

from datetime import UTC, datetime
from uuid import UUID

from memory.db import Tx
from memory.rows import Row
from tools.cases.decisions import Targets

BATCH = 100
FIRST = datetime(1, 1, 1, tzinfo=UTC)


class TargetsRow(Row):
    """One row of the configuration that applies."""

    first_response_hours: float
    resolution_hours: float
    update_hours: float | None
    warning_threshold_percent: int
    config_source: str


class DueRow(Row):
    """A case of which a clock has passed its warning or its end, and when."""

    case_id: UUID
    passed_at: datetime
    set_event_id: UUID


async def find_targets(tx: Tx, product_id: UUID | None, severity: str) -> Targets | None:
    """Return what is owed for a case of this severity: the product's own rule before the general one; None when nothing is."""
    found = await tx.maybe(
        TargetsRow,
        """
        SELECT first_response_hours, resolution_hours, update_hours, warning_threshold_percent,
               CASE WHEN product_id IS NULL THEN 'default' ELSE 'product' END AS config_source
          FROM support_sla_config
         WHERE severity = %(severity)s AND is_active AND (product_id = %(product_id)s OR product_id IS NULL)
         ORDER BY product_id IS NULL
         LIMIT 1
        """,
        product_id=product_id,
        severity=severity,
    )
    return Targets(**found.model_dump()) if found else None


async def list_due(tx: Tx, after: DueRow | None = None) -> list[DueRow]:
    """
    Return the next cases of which something is due that nobody has recorded, at most 100, the longest due first.

    A case stands here once for each of its clocks. What is recorded falls out by itself; `after` gets past what could
    not be recorded.
    """
    return await tx.many(
        DueRow,
        """
        SELECT support_case_id AS case_id, passed_at, set_event_id
          FROM (SELECT support_case_id, due_at AS passed_at, set_event_id FROM support_case_sla_facts
                 WHERE stopped_at IS NULL AND breached_at IS NULL AND due_at < %(now)s
                 UNION ALL
                SELECT support_case_id, warning_at, set_event_id FROM support_case_sla_facts
                 WHERE stopped_at IS NULL AND breached_at IS NULL AND warned_at IS NULL AND warning_at <= %(now)s AND due_at >= %(now)s) d
         WHERE (passed_at, set_event_id) > (%(passed_at)s::timestamptz, %(set_event_id)s::uuid)
         ORDER BY passed_at, set_event_id
         LIMIT %(limit)s
        """,
        passed_at=after.passed_at if after else FIRST,
        set_event_id=after.set_event_id if after else UUID(int=0),
        limit=BATCH,
    )
