"""Jobs of projections: those that run behind catch up, and rebuilds are carried out."""

from uuid import UUID

from api.jobs.kit import Run, job
from memory import projections as engine
from memory.db import RaisedByServer
from tools import projections


@job("projections.catch_up", queue="clock", attempts=1)
async def catch_up(run: Run, **_: object) -> None:
    """Bring every projector that runs behind to the present; one that fails does not hold up the others."""
    for projector in engine.known():
        if not projector.inline:
            try:
                await engine.catch_up(run.db, projector)
            except RaisedByServer as failure:
                run.log.error("projector failed", projector=projector.name, reason=str(failure))


@job("projections.rebuild", attempts=3)
async def rebuild(run: Run, *, rebuild_id: UUID, **_: object) -> None:
    """Carry out a rebuild that an administrator asked for."""
    done = await projections.run_rebuild(run.db, rebuild_id)
    run.log.info("projections rebuilt", status=done.status, mode=done.mode)
