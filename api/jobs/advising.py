"""Advice on products under way, after a message about one was read."""

from datetime import timedelta
from uuid import UUID

from api.jobs.kit import Run, job
from tools import advising


@job(advising.JOB, queue="agents", attempts=3, limit=timedelta(minutes=10))
async def advise(run: Run, *, communication_id: UUID, **_: object) -> None:
    """Suggest what a person may do next, with the rights of the person in whose mailbox the message is."""
    async with run.db.reading(run.now) as tx:
        adviser = await advising.find_adviser(tx, communication_id)
    if adviser is None:
        return
    engine = await run.engine()
    from agents import runs
    from agents.advising.outputs import AdvisedOut, AdviseIn

    asked = AdviseIn(communication_id=communication_id)
    done = await runs.perform(engine, adviser, "advising", asked, output=AdvisedOut)
    run.log.info("advised", communication_id=str(communication_id), suggestions=len(done.suggestion_ids))
