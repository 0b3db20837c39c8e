"""Prompts as pages: the library, one prompt with its versions and releases, two versions side by side, the lookup."""

from typing import Any

from starlette.responses import Response

from agents import prompt_trials
from api.console.visits import PromptPage, router
from api.console.wording import changed_words
from memory.errors import Refusal
from prompts.registry import CATEGORIES
from tools import ai_prompts
from tools.ai_prompts import CreatePromptIn, DiffFilter, HistoryFilter, LookupFilter, PromptFilter
from tools.ai_prompts.diffs import DiffLine
from tools.evaluations import suites

VERSIONS = 50
STATES = ("on", "off", "waiting")
NEW = ("key", "name", "description", "category", "system_template", "prompt_template")
router = router()


@router.get("/prompts")
async def show_prompts(page: PromptPage, search: str = "", category: str = "", state: str = "") -> Response:
    """List prompts by key, with what answers and what waits."""
    chosen = PromptFilter(
        search=search.strip()[:200] or None,
        category=category if category in CATEGORIES else None,  # pyright: ignore[reportArgumentType]
        is_active={"on": True, "off": False}.get(state),
    )
    async with page.db.reading() as tx:
        found = (await ai_prompts.list_prompts(tx, page.caller, chosen)).prompts
    if state == "waiting":
        found = [prompt for prompt in found if prompt.latest_version > (prompt.active_version or 0)]
    return page.show(
        "prompts/list.html",
        "prompts/_list.html",
        prompts=found,
        filter=chosen,
        state=state if state in STATES else "",
        states=STATES,
        categories=CATEGORIES,
        suites={prompt.key: suites.suites_of(prompt.key) for prompt in found},
    )


@router.get("/prompts-new")
async def show_new_prompt(page: PromptPage, key: str = "") -> Response:
    """Ask for a new prompt."""
    sent = dict.fromkeys(NEW, "") | {"category": "general", "key": key[:150]}
    return page.show("prompts/new.html", sent=sent, categories=CATEGORIES, problem=None)


@router.post("/prompts-new")
async def create_prompt(page: PromptPage) -> Response:
    """Make a new prompt; its first version is a draft."""
    sent = dict.fromkeys(NEW, "") | {name: page.sent.get(name, "") for name in NEW}
    try:
        body = page.take(CreatePromptIn, {name: value for name, value in sent.items() if value.strip()})
        offer = prompt_trials.find_offer(body.key)
        async with page.db.transaction() as tx:
            made = await ai_prompts.create_prompt(tx, page.caller, body, page.writers, offer)
    except Refusal as refused:
        return page.show("prompts/new.html", None, refused.status, sent=sent, categories=CATEGORIES, problem=refused)
    return page.go(f"/console/prompts/{made.key}/release/{made.version}", said="saved")


@router.get("/prompts/{key}")
async def show_prompt(page: PromptPage, key: str) -> Response:
    """Show one prompt: what answers now, its versions, its releases, and which suites hold it."""
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
        history = (await ai_prompts.list_versions(tx, page.caller, key, HistoryFilter(limit=VERSIONS))).history
        releases = (await ai_prompts.list_releases(tx, page.caller, key, HistoryFilter(limit=VERSIONS))).releases
        looked = await ai_prompts.look_up(tx, page.caller, key, LookupFilter())
    return page.show(
        "prompts/one.html",
        prompt=prompt,
        history=history,
        releases=releases,
        suites=suites.suites_of(key),
        looked=looked,
        suffix="",
        returnable=[version for version in history if version.state == "released"],
        asked=prompt_trials.find_purpose(key) is not None,
    )


@router.get("/prompts/{key}/lookup")
async def look_up(page: PromptPage, key: str, suffix: str = "") -> Response:
    """Say which version answers for the key with these suffixes, and why."""
    wanted = page.take(LookupFilter, {"suffix": [part for part in suffix.replace(",", " ").split() if part]})
    async with page.db.reading() as tx:
        looked = await ai_prompts.look_up(tx, page.caller, key, wanted)
    return page.show("prompts/lookup.html", "prompts/_lookup.html", key=key, looked=looked, suffix=suffix)


@router.get("/prompts/{key}/versions/{version}")
async def show_version(page: PromptPage, key: str, version: int) -> Response:
    """Show one version: its words, its settings, who wrote it and why."""
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
        found = await ai_prompts.get_version(tx, page.caller, key, version)
    return page.show("prompts/version.html", prompt=prompt, version=found)


@router.get("/prompts/{key}/diff")
async def show_diff(page: PromptPage, key: str, base: int, version: int) -> Response:
    """Show what differs between two versions, line by line and word by word."""
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
        differences = await ai_prompts.diff_versions(
            tx, page.caller, key, page.take(DiffFilter, {"base": base, "version": version})
        )
        history = (await ai_prompts.list_versions(tx, page.caller, key, HistoryFilter(limit=VERSIONS))).history
    return page.show(
        "prompts/diff.html",
        "prompts/_diff.html",
        prompt=prompt,
        diff=differences,
        parts={part.name: rows_of(part.lines) for part in differences.parts},
        history=history,
    )


def rows_of(lines: list[DiffLine], around: int = 3) -> list[dict[str, Any]]:
    """Return a diff in rows: a line that changed beside what it became, and long stretches that did not folded away."""
    rows: list[dict[str, Any]] = []
    at = 0
    while at < len(lines):
        end = at
        if lines[at].kind == "same":
            while end < len(lines) and lines[end].kind == "same":
                end += 1
            rows += _quiet(lines[at:end], 0 if at == 0 else around, 0 if end == len(lines) else around)
        else:
            while end < len(lines) and lines[end].kind != "same":
                end += 1
            rows += _loud(lines[at:end])
        at = end
    return rows


def _quiet(lines: list[DiffLine], head: int, tail: int) -> list[dict[str, Any]]:
    whole = [{"kind": "same", "before": line, "after": line, "left": line.text, "right": line.text} for line in lines]
    if len(lines) <= head + tail + 2:
        return whole
    folded = {"kind": "folded", "count": len(lines) - head - tail, "rows": whole[head : len(lines) - tail]}
    return [*whole[:head], folded, *whole[len(lines) - tail :]]


def _loud(lines: list[DiffLine]) -> list[dict[str, Any]]:
    """Return lines that left beside lines that came, pair by pair."""
    gone = [line for line in lines if line.kind == "removed"]
    come = [line for line in lines if line.kind == "added"]
    rows: list[dict[str, Any]] = []
    for at in range(max(len(gone), len(come))):
        before, after = gone[at] if at < len(gone) else None, come[at] if at < len(come) else None
        left, right = before.text if before else "", after.text if after else ""
        if before and after:
            left, right = changed_words(before.text, after.text)
        rows.append({"kind": "changed", "before": before, "after": after, "left": left, "right": right})
    return rows
