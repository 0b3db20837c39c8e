"""Runs of agents as pages: what was asked, what was read, what it cost, and what came of it."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from starlette.responses import Response

from agents import registry as agents
from api.console.visits import Page, router
from memory.callers import Caller
from memory.db import Tx
from prompts import registry
from tools import ai_prompts, run_results, runs
from tools.ai_calls import CallRow
from tools.ai_prompts import PromptWordsRow
from tools.run_results import QuoteRow, ResultRow, SourceText, SubjectName
from tools.runs import RunFilter, RunOut, RunRow

PAGE = 50
MOST_SOURCES = 60
STATUSES = ("queued", "running", "waiting", "succeeded", "failed", "cancelled")
router = router()


@router.get("/runs")
async def show_runs(page: Page, agent: str = "", status: str = "", offset: int = 0) -> Response:
    """List runs, newest first."""
    chosen = RunFilter(
        agent=agent[:80] or None,
        status=status if status in STATUSES else None,  # pyright: ignore[reportArgumentType]
        offset=max(0, min(offset, 100_000)),
        limit=PAGE,
    )
    async with page.db.reading() as tx:
        listed = (await runs.list_runs(tx, page.caller, chosen)).parse()
        names = await run_results.name_subjects(tx, page.caller, [id for run in listed.runs for id in _subjects(run)])
    return page.show(
        "runs/list.html",
        "runs/_list.html",
        runs=listed.runs,
        total=listed.total,
        filter=chosen,
        statuses=STATUSES,
        agents=sorted(spec.name for spec in agents.list_agents()),
        about={run.id: _about(run, names) for run in listed.runs},
        page=PAGE,
    )


@router.get("/runs/{run_id}")
async def show_run(page: Page, run_id: UUID) -> Response:
    """Show one run: steps, model calls with their prompts, tokens and cost, what was read and what it says."""
    async with page.db.reading() as tx:
        shown = (await runs.show_run(tx, page.caller, run_id)).parse()
        written = await run_results.list_results(tx, page.caller, run_id)
        sources = await _sources(tx, page.caller, shown, written)
        names = await run_results.name_subjects(tx, page.caller, list(_subjects(shown.run)))
        words = {(call.prompt_key, call.prompt_version): await _words(tx, call) for call in shown.calls}
    return page.show(
        "runs/one.html",
        "runs/_one.html",
        shown=shown,
        run=shown.run,
        over=shown.run.status in runs.OVER,
        words=words,
        steps=_timeline(shown),
        cost=sum(call.cost_usd for call in shown.calls),
        results=written,
        sources=sources,
        about=_about(shown.run, names),
    )


@router.post("/runs/{run_id}/cancel")
async def cancel_run(page: Page, run_id: UUID) -> Response:
    """Ask a run to stop after its step."""
    async with page.db.transaction() as tx:
        await runs.cancel_run(tx, page.caller, run_id)
    return page.go(f"/console/runs/{run_id}", said="cancelled")


def _subjects(run: RunRow) -> list[UUID]:
    """Return the records that a run is about, the nearest first."""
    return [id for id in (run.communication_id, run.deal_id, run.contact_id, run.company_id) if id is not None]


def _about(run: RunRow, names: Mapping[UUID, SubjectName]) -> list[SubjectName]:
    return [names[id] for id in _subjects(run) if id in names]


async def _words(tx: Tx, call: CallRow) -> PromptWordsRow | None:
    """Return the words that a call was made with: a released version's from the database, a shipped one's from its file."""
    if call.prompt_source == "database":
        return await ai_prompts.find_words(tx, call.prompt_key, call.prompt_version)
    versions = registry.shelf().versions.get(call.prompt_key, ())
    shipped = next((prompt for prompt in versions if prompt.version == call.prompt_version), None)
    return PromptWordsRow(system_template=shipped.system, prompt_template=shipped.user) if shipped else None


# Steps on one scale of time ---------------------------------------------------------------------------------------------


def _timeline(shown: RunOut) -> list[dict[str, Any]]:
    """Return the steps with where they begin and how long they are, in thousandths of the whole."""
    if not shown.steps:
        return []
    began = min(step.started_at for step in shown.steps)
    spans = [((step.started_at - began).total_seconds() * 1000, float(step.ms or 0)) for step in shown.steps]
    whole = max(1.0, *(start + length for start, length in spans))
    return [
        {
            "step": step,
            "x": round(min(start / whole * 1000, 996.0), 1),
            "width": round(max(length / whole * 1000, 4.0), 1),
        }
        for step, (start, length) in zip(shown.steps, spans, strict=True)
    ]


# Sources with the words that something rests on --------------------------------------------------------------------------


async def _sources(tx: Tx, caller: Caller, shown: RunOut, written: list[ResultRow]) -> list[dict[str, Any]]:
    """Return what was read, with what it says and which of its words are cited; the cited ones first."""
    cited: dict[str, list[QuoteRow]] = defaultdict(list)
    for quote in [*_cited_in(shown.run.output), *(quote for row in written for quote in row.quotes)]:
        known = cited[str(quote.id)]
        if all(quote.quote != other.quote for other in known):
            known.append(quote)
    known_ids = [id for source in shown.sources if (id := _uuid(source.id))]
    texts = {str(text.id): text for text in await run_results.read_sources(tx, caller, known_ids[:MOST_SOURCES])}
    listed = [_source(source, cited.pop(source.id, []), texts.get(source.id)) for source in shown.sources]
    loose = [quote for quotes in cited.values() for quote in quotes]
    if loose:
        listed.append({"source": None, "quotes": loose, "text": None, "found": []})
    return sorted(listed, key=lambda item: not item["quotes"])


def _source(source: Any, quotes: list[QuoteRow], text: SourceText | None) -> dict[str, Any]:
    return {"source": source, "quotes": quotes, "text": text, "found": [quote.quote for quote in quotes]}


def _uuid(value: str) -> UUID | None:
    try:
        return UUID(value)
    except ValueError:
        return None


def _cited_in(value: Any) -> list[QuoteRow]:
    """Return the quotes that a run's output cites, wherever it carries them."""
    if isinstance(value, list):
        return [quote for part in cast("list[Any]", value) for quote in _cited_in(part)]
    if not isinstance(value, dict):
        return []
    record = cast("dict[str, Any]", value)
    below = [quote for part in record.values() for quote in _cited_in(part)]
    if not isinstance(record.get("quote"), str) or not record["quote"]:
        return below
    mine = QuoteRow(
        record=str(record.get("type") or "source"),
        id=_uuid(str(record.get("id"))),
        quote=record["quote"],
        about="cited",
    )
    return [mine, *below]
