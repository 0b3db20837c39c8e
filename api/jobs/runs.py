"""Runs of agents: carried out, looked after, and forgotten where nobody needs their checkpoints any more."""

from datetime import timedelta
from uuid import UUID

from api.jobs.kit import Run, job
from memory import effects

CHECKPOINTS_KEPT = timedelta(days=30)
BATCH = 200


@job("runs.execute", queue="agents", limit=timedelta(minutes=20))
async def execute_run(run: Run, *, run_id: UUID, **_: object) -> None:
    """Work on a run until it is over or has to wait; what becomes of it stands in its row."""
    from agents import runs

    await runs.execute(await run.engine(), run_id)


@job("runs.sweep", queue="clock", attempts=2)
async def sweep_runs(run: Run, **_: object) -> None:
    """Promise runs again whose worker died, give back money that nobody settled, and doubt acts that nobody confirmed."""
    from agents import runs

    swept = await runs.sweep(run.db, run.settings)
    async with run.transaction() as tx:
        doubted = await effects.doubt_stale(tx)
    if swept or doubted:
        run.log.warning("runs swept", runs=swept, effects_in_doubt=doubted)


@job("runs.prune", attempts=2)
async def prune_runs(run: Run, **_: object) -> None:
    """Delete the checkpoints of runs that ended a month ago; runs, events and calls stay."""
    from agents import runs

    while await runs.prune(run.db, older_than=CHECKPOINTS_KEPT, limit=BATCH) == BATCH:
        run.log.info("checkpoints pruned", runs=BATCH)
