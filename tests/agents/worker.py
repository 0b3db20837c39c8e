"""A worker process for tests that kill one: `python worker.py DATABASE_URL RUN_ID`."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[2]))

from agents import runs
from memory.db import Database
from memory.settings import Settings
from tests.agents import errands


async def main(url: str, run_id: UUID) -> None:
    """Work on one run."""
    errands.use_own_prompts()
    db = await Database.open(url)
    settings = Settings(_env_file=None, OPENAI_API_KEY=None, OPENAI_BASE_URL=None)  # pyright: ignore[reportCallIssue]
    engine = await runs.Engine.open(settings, db, lease=timedelta(seconds=2))
    await runs.execute(engine, run_id)
    await engine.close()
    await db.close()


asyncio.run(main(sys.argv[1], UUID(sys.argv[2])))
