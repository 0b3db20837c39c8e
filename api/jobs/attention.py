"""Jobs of attention flags, by the clock: what is snoozed wakes up, what has stalled is flagged."""

from api.jobs.kit import Run, job
from memory.callers import SYSTEM
from tools.attention import flags, stalls


@job("attention.wake_snoozed", queue="clock")
async def wake_snoozed(run: Run, **_: object) -> None:
    """Bring back the flags whose time has come."""
    async with run.transaction() as tx:
        woken = await flags.wake_snoozed(tx)
    if woken:
        run.log.info("flags woken", count=woken)


@job("attention.raise_stalls", queue="clock")
async def raise_stalls(run: Run, **_: object) -> None:
    """Bring the flags of stalled sales up to date; when somebody is at it already, that is enough."""
    try:
        async with run.transaction() as tx:
            done = await stalls.raise_stalls(tx, SYSTEM)
    except stalls.StallsUnderway:
        return
    run.log.info("stalled sales", created=done.created, updated=done.updated, resolved=done.resolved)
