"""Jobs of summaries: the stale ones are made again, a few at a time."""

from api.jobs.kit import Run, job
from memory.callers import SYSTEM
from memory.errors import Outage, Refusal
from tools import summaries, users

AT_ONCE = 20


@job("summaries.refresh_stale", queue="agents", attempts=2)
async def refresh_stale(run: Run, **_: object) -> None:
    """Make the oldest stale summaries again, each with the rights of its reader."""
    async with run.db.reading() as tx:
        stale = await summaries.list_stale(tx, SYSTEM, limit=AT_ONCE)
        readers = {s.audience_id: await users.find_caller_by_id(tx, s.audience_id) for s in stale if s.audience_id}
    if not stale:
        return
    engine = await run.engine()
    from agents import runs

    for subject in stale:
        reader = readers.get(subject.audience_id) if subject.audience_id else SYSTEM
        if reader is None:
            continue
        asked = {"type": subject.type, "id": subject.subject_id}
        try:
            await runs.perform_run(engine, reader, "summaries", asked)
        except (Refusal, Outage) as failure:
            run.log.warning(
                "summary not refreshed", type=subject.type, id=str(subject.subject_id), reason=failure.message
            )
