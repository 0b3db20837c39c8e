"""
The shell door with a few more jobs: what tests start as real workers and beats.

    python tests/api/jobs_program.py work | beat
"""

import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from api.jobs import beat, kit, relay
from api.jobs.kit import Run, job
from memory import effects, heartbeats

# What takes minutes in earnest.
relay.SWEEP_S = 0.3
relay.STALE = timedelta(seconds=3)
kit.load()


async def tell(run: Run, what: str) -> None:
    """Say how far the job is, in a row that survives the process."""
    async with run.transaction() as tx:
        await heartbeats.record(tx, f"{what}:{run.attempt}", pid=os.getpid(), parent=os.getppid())


@job("tests.survive", queue="agents", lease=timedelta(seconds=1.5))
async def survive(run: Run, *, deaths: int, **_: object) -> None:
    """Do something once, tell, and wait to be killed `deaths` times."""
    async with run.transaction() as tx:
        if await effects.once(tx, "tests.survive") is None:
            await tx.run("INSERT INTO done (what) VALUES ('effect')")
    await tell(run, "attempt")
    if run.attempt <= deaths:
        await asyncio.Event().wait()


@job("tests.finish", queue="default")
async def finish(run: Run, **_: object) -> None:
    """Tell, and end once told to."""
    await tell(run, "begun")
    while True:
        async with run.db.reading() as tx:
            if await tx.one(bool, "SELECT EXISTS (SELECT FROM done WHERE what = 'told to end')"):
                return
        await asyncio.sleep(0.02)


@job("tests.tick", queue="clock")
async def tick(run: Run, **_: object) -> None:
    """Leave a row."""
    async with run.transaction() as tx:
        await tx.run("INSERT INTO done (what) VALUES ('tick')")


beat.TABLE = (*beat.TABLE, beat.Entry("tests.tick", beat.every(seconds=1)))

if __name__ == "__main__":
    from api.cli import main

    main()
