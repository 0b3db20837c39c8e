"""Promises, by the clock."""

from api.jobs.kit import Run, job
from tools import promises


@job("promises.mark_overdue", queue="clock")
async def mark_overdue(run: Run, **_: object) -> None:
    """Mark the promises whose day has passed."""
    async with run.transaction() as tx:
        late = await promises.mark_overdue(tx)
    if late:
        run.log.info("promises overdue", count=late)
