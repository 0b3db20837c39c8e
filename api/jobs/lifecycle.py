"""Lifecycles, by the clock: stages that last too long are recorded, and health is judged again when its facts changed."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from api.jobs.kit import Run, job
from memory.db import Tx
from tools.lifecycle import evaluating, sla

List = Callable[[Tx, UUID | None], Awaitable[list[UUID]]]
Record = Callable[[Tx, UUID], Awaitable[int]]


@job("lifecycle.scan_stages", queue="clock", attempts=2)
async def scan_stages(run: Run, **_: object) -> None:
    """Record the warnings and breaches of stages that are due."""
    await _sweep(run, sla.list_due, sla.record_due)


@job("health.evaluate", attempts=3)
async def evaluate(run: Run, *, company_product_id: UUID, **_: object) -> None:
    """Judge the health of one company's product, after something happened to a case of it."""
    async with run.transaction() as tx:
        await evaluating.evaluate(tx, company_product_id)


@job("health.evaluate_changed", queue="clock", attempts=2)
async def evaluate_changed(run: Run, **_: object) -> None:
    """Judge the health of every product whose facts are other than when it was judged last."""
    await _sweep(run, evaluating.list_changed, evaluating.evaluate)


async def _sweep(run: Run, list_next: List, record: Record) -> None:
    """Go through what is due, a hundred at a time until none are left, one transaction each; one failure stops no other."""
    recorded, failed, after = 0, 0, None
    while True:
        async with run.db.reading(run.now) as tx:
            due = await list_next(tx, after)
        if not due:
            break
        after = due[-1]
        for company_product_id in due:
            try:
                async with run.transaction() as tx:
                    recorded += await record(tx, company_product_id)
            except Exception:
                run.log.exception("product not judged", company_product_id=str(company_product_id))
                failed += 1
    if recorded or failed:
        run.log.info("products judged", recorded=recorded, failed=failed)
