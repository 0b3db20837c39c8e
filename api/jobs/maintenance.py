"""Jobs that keep the house in order: what is done with is forgotten after a while."""

from datetime import timedelta

from api.jobs.kit import Run, job
from memory import heartbeats, outbox

DONE_KEPT = timedelta(days=7)
DEAD_KEPT = timedelta(days=90)
SILENT_KEPT = timedelta(hours=1)
BATCH = 5000


@job("outbox.prune", attempts=2)
async def prune_outbox(run: Run, **_: object) -> None:
    """Delete promises that were kept a week ago, or given up three months ago."""
    while True:
        async with run.transaction() as tx:
            gone = await outbox.prune_promises(
                tx, done_before=tx.now - DONE_KEPT, dead_before=tx.now - DEAD_KEPT, limit=BATCH
            )
        if gone < BATCH:
            return


@job("outbox.forget_silent", attempts=2)
async def forget_silent(run: Run, **_: object) -> None:
    """Forget processes that have shown no life for an hour."""
    async with run.transaction() as tx:
        await heartbeats.prune(tx, before=tx.now - SILENT_KEPT)
