"""`python -m api rebuild`: vector memory is brought to the configured model in front of the one who asked."""

import asyncio
from collections.abc import Callable

from rich.console import Console

from api.jobs import kit
from memory.db import Database
from memory.errors import Outage
from tools import knowledge

LOOK_AGAIN_S = 1.0


class NotRebuilt(Outage):
    """{failed} texts could not be given vectors, so {model} goes on answering; see the worker's log."""


def rebuild(url: str, console: Console) -> None:
    """
    Index what is new, embed what waits, and let the configured model answer; running workers help.

    Raises `NotRebuilt`.
    """
    with console.status("Reading what is new ...") as status:
        state = asyncio.run(_rebuild(url, status.update))
    console.print(f"{state.sources:,} sources are remembered; {state.model} answers.", highlight=False)


async def _rebuild(url: str, say: Callable[[str], None]) -> knowledge.KnowledgeStateRow:
    database = await Database.open(url, size=4)
    try:
        await kit.run_job_inline(database, "knowledge.collect")
        await kit.run_job_inline(database, "knowledge.rebuild")
        before = -1
        while (state := await _state(database)).pending:
            say(f"{state.pending:,} chunks wait for a vector ...")
            if state.pending == before:  # workers hold the rest
                await asyncio.sleep(LOOK_AGAIN_S)
            before = state.pending
            await kit.run_job_inline(database, "knowledge.embed_pending")
        await kit.run_job_inline(database, "knowledge.rebuild")
        state = await _state(database)
        if state.building:
            raise NotRebuilt(failed=state.failed, model=state.model)
        return state
    finally:
        await database.close()


async def _state(database: Database) -> knowledge.KnowledgeStateRow:
    async with database.reading() as tx:
        return await knowledge.get_knowledge_state(tx)
