"""Support cases, by the clock: what is late is recorded as late, and what soon will be, as a warning."""

from api.jobs.kit import Run, job
from tools.cases import clocks, handling


@job("cases.scan_clocks", queue="clock", attempts=2)
async def scan_clocks(run: Run, **_: object) -> None:
    """Record the warnings and breaches that are due, a hundred at a time until none are left; one transaction per case."""
    recorded, failed, after = 0, 0, None
    while True:
        async with run.db.reading(run.now) as tx:
            due = await clocks.list_due(tx, after)
        if not due:
            break
        after = due[-1]
        for case_id in dict.fromkeys(row.case_id for row in due):
            try:
                async with run.transaction() as tx:
                    recorded += await handling.record_due(tx, case_id)
            except Exception:
                run.log.exception("case not scanned", case_id=str(case_id))
                failed += 1
    if recorded or failed:
        run.log.info("case clocks scanned", recorded=recorded, failed=failed)
