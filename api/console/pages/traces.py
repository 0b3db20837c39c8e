"""From a result of an agent back to the words it was asked with, the run that made it, and what it was read from."""

from collections import defaultdict
from typing import Any
from uuid import UUID

from starlette.responses import RedirectResponse, Response

from api.console.visits import Page, Visit, router
from memory.db import Tx
from memory.errors import NotFound
from tools import ai_activity, ai_traces, run_results, runs
from tools.ai_activity import ActivityFilter
from tools.ai_traces import TraceOut

LATEST = 20
router = router()


@router.get("/trace")
async def show_trace(page: Page, id: str = "") -> Response:
    """Ask for the id of a result, and show what is behind it."""
    wanted = id.strip()
    if not wanted:
        return await _ask(page)
    try:
        result_id = UUID(wanted)
    except ValueError:
        return await _ask(
            page, wanted, "That is no id. It has 32 letters and digits, like those in the list below.", 400
        )
    async with page.db.reading() as tx:
        found = await ai_traces.find_trace(tx, page.caller, result_id)
        if found is None and await _is_run(page, tx, result_id):
            return RedirectResponse(f"/console/runs/{result_id}", 303)
        sources = await _sources(page, tx, found) if found else []
    if found is None:
        return await _ask(page, wanted, "There is no result of an agent with this id, or it is not yours to see.", 404)
    return page.show("trace/one.html", trace=found, sources=sources, wanted=wanted)


async def _ask(page: Visit, wanted: str = "", problem: str | None = None, status: int = 200) -> Response:
    """Return the page that asks, with the latest results to begin from."""
    async with page.db.reading() as tx:
        latest = (await ai_activity.list_actions(tx, page.caller, ActivityFilter(limit=LATEST))).parse()
    return page.show("trace/ask.html", None, status, wanted=wanted, problem=problem, actions=latest.actions)


async def _is_run(page: Visit, tx: Tx, run_id: UUID) -> bool:
    try:
        await runs.get_run(tx, page.caller, run_id)
    except NotFound:
        return False
    return True


async def _sources(page: Visit, tx: Tx, trace: TraceOut) -> list[dict[str, Any]]:
    """Return each source once, with what it says and which of its words are cited."""
    quotes: dict[tuple[str, UUID | None], list[str]] = defaultdict(list)
    titles: dict[tuple[str, UUID | None], str | None] = {}
    for source in trace.sources:
        key = (source.type, source.id)
        titles.setdefault(key, source.title)
        if source.quote and source.quote not in quotes[key]:
            quotes[key].append(source.quote)
    ids = [id for _, id in titles if id is not None]
    texts = {text.id: text for text in await run_results.read_sources(tx, page.caller, ids)}
    return [
        {"type": kind, "id": id, "title": title, "quotes": quotes[kind, id], "text": texts.get(id) if id else None}
        for (kind, id), title in titles.items()
    ]
