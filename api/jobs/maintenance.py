"""Jobs that keep the house in order: what is done with is forgotten after a while."""

from datetime import timedelta

from api.jobs.kit import Run, job
from memory import heartbeats, outbox, vault
from memory.vault import Vault
from tools import mail_accounts

DONE_KEPT = timedelta(days=7)
DEAD_KEPT = timedelta(days=90)
SILENT_KEPT = timedelta(hours=1)
ANSWERS_KEPT = timedelta(hours=24)
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


@job("requests.forget_old", attempts=2)
async def forget_requests(run: Run, **_: object) -> None:
    """Forget the answers that repeated requests would get, a day after the first."""
    async with run.transaction() as tx:
        await tx.run("DELETE FROM idempotency_keys WHERE created_at < %(before)s", before=tx.now - ANSWERS_KEPT)


@job("vault.reseal", attempts=2)
async def reseal(run: Run, **_: object) -> None:
    """Seal with the newest key what older keys have sealed, so that those can be dropped from the ring a day later."""
    keys = Vault(run.settings.key_ring)
    async with run.transaction() as tx:
        sealed = await vault.reseal_secrets(tx, keys) + await mail_accounts.reseal_accounts(tx, keys)
    if sealed:
        run.log.info("secrets sealed anew", count=sealed)
