"""Reading mail as a job: a mailbox that lies where a worker can reach it."""

from datetime import timedelta
from uuid import UUID

from api.jobs.kit import Run, job
from tools import ingest, users


@job("ingest.read_mail", queue="mail", attempts=8, limit=timedelta(hours=12))
async def read_mail(run: Run, *, path: str, user_id: UUID, mailbox: str | None = None, **_: object) -> None:
    """Read mbox, .eml or Graph JSON into a mailbox; an attempt that was broken off is gone on with by the next."""
    async with run.db.reading() as tx:
        caller = await users.find_caller_by_id(tx, user_id)
    if caller is None:
        raise ingest.NoSuchMailbox(who=str(user_id))
    done = await ingest.ingest(run.db, caller, ingest.IngestIn(path=path, mailbox=mailbox))
    run.log.info("mail read", source=done.source, seen=done.seen, written=done.written, damaged=done.damaged)
