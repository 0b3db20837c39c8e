"""Jobs of deals: health is judged and signals are found again every hour."""

from api.jobs.kit import Run, job
from memory.callers import SYSTEM
from tools import deal_facts, health, signals


@job("signals.detect", attempts=2)
async def detect(run: Run, **_: object) -> None:
    """Judge the health of every open deal, then open, refresh and close its signals."""
    async with run.transaction() as tx:
        found = await deal_facts.list_facts(tx, SYSTEM)
    for facts in found:
        async with run.transaction() as tx:
            await health.record_health(tx, facts)
    async with run.transaction() as tx:
        detected = await signals.detect_signals(tx, SYSTEM, deal_id=None, save=True)
    run.log.info("signals detected", deals=len(found), found=detected.count, saved=detected.saved)
