"""`python -m api demo`: the demo workspace, into an empty database."""

import asyncio

from memory.db import Database
from tools import demo


def load(url: str) -> demo.DemoCounts:
    """
    Load the demo workspace, unless it is there already.

    Raises `WorkspaceInUse`.
    """
    return asyncio.run(_load(url))


async def _load(url: str) -> demo.DemoCounts:
    database = await Database.open(url, size=2)
    try:
        async with database.transaction() as tx:
            return await demo.load_demo(tx, tx.now)
    finally:
        await database.close()


def describe(counts: demo.DemoCounts) -> str:
    """Say in one line what the demo holds."""
    held = counts.model_dump(exclude={"loaded"})
    return ", ".join(f"{count:,} {what}" for what, count in held.items()) + "."
