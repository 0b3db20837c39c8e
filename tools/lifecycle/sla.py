"""How long a stage may last: warnings and breaches, recorded as of the moment at which they fell due. 24 hours a day."""

from datetime import timedelta
from uuid import UUID

from memory.callers import SYSTEM
from memory.db import Tx
from tools.lifecycle import asks, handling

BATCH = 100


async def list_due(tx: Tx, after: UUID | None) -> list[UUID]:
    """Return the next hundred products, by id, whose open stage has a warning or breach that is due and not recorded."""
    return await tx.many(
        UUID,
        """
        SELECT company_product_id FROM company_product_read_model
         WHERE stage_sla_warning_at <= %(now)s AND NOT is_sla_warning
           AND (%(after)s::uuid IS NULL OR company_product_id > %(after)s)
        UNION
        SELECT company_product_id FROM company_product_read_model
         WHERE stage_sla_deadline <= %(now)s AND NOT is_sla_breached
           AND (%(after)s::uuid IS NULL OR company_product_id > %(after)s)
         ORDER BY company_product_id
         LIMIT %(batch)s
        """,
        after=after,
        batch=BATCH,
    )


async def record_due(tx: Tx, company_product_id: UUID) -> int:
    """Record what is due of one product, each at the moment at which it fell due, and return how many that were."""
    it = await handling.load_state(tx, company_product_id)
    if not it.process_open or it.stage_entered_at is None:
        return 0
    recorded = 0
    for days, done, ask in (
        (it.sla_warning_days, it.is_warned, asks.WarnSlaIn(seenAt=tx.now)),
        (it.sla_days, it.is_breached, asks.BreachSlaIn(seenAt=tx.now)),
    ):
        if days is None or done or it.stage_entered_at + timedelta(days=days) > tx.now:
            continue
        due_at = it.stage_entered_at + timedelta(days=days)
        recorded += len(await handling.execute(tx, SYSTEM, company_product_id, ask, occurred_at=due_at))
    return recorded
