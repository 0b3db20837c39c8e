"""Releasing a prompt: checks, evidence, an admin's word; the way back; trying a version before it answers."""

from starlette.responses import Response

from agents import prompt_trials
from agents.prompt_trials import DryRunIn, DryRunOut
from api.console.pages.editing import chosen_record, list_material
from api.console.pages.prompts import rows_of
from api.console.visits import ENOUGH, PromptPage, Visit, router
from memory.db import clock
from memory.errors import Refusal
from tools import ai_prompts
from tools.ai_prompts import DiffFilter, ReleaseIn, RestoreIn, RevertIn, RollbackIn
from tools.evaluations import reading
from tools.evaluations.rows import EvalRunFilter, EvalRunRow

router = router()


@router.get("/prompts/{key}/release/{version}")
async def show_release(page: PromptPage, key: str, version: int) -> Response:
    """Show whether a version may be released: what changes, what was checked, what the evals say."""
    return await _release_page(page, key, version)


@router.post("/prompts/{key}/release/{version}")
async def release(page: PromptPage, key: str, version: int) -> Response:
    """Make a version the one that answers, on the evidence or on an admin's word."""
    reason = page.sent.get("override_reason", "").strip() or None if "override" in page.sent else None
    asked = {"version": version, "override_reason": reason, **_lock(page)}
    try:
        body = page.take(ReleaseIn, asked)
        async with page.db.transaction() as tx:
            await ai_prompts.release_version(tx, page.caller, key, body, page.writers, prompt_trials.find_offer(key))
    except Refusal as refused:
        return await _release_page(page, key, version, refused)
    return page.go(f"/console/prompts/{key}", said="released")


@router.post("/prompts/{key}/rollback")
async def roll_back(page: PromptPage, key: str) -> Response:
    """Let a version answer again that did before: the one before this one unless told."""
    version = page.sent.get("version", "").strip() or None
    body = page.take(RollbackIn, {"version": version, "reason": page.sent.get("reason", ""), **_lock(page)})
    async with page.db.transaction() as tx:
        await ai_prompts.rollback_prompt(tx, page.caller, key, body, page.writers, prompt_trials.find_offer(key))
    return page.go(f"/console/prompts/{key}", said="rolled-back")


@router.post("/prompts/{key}/restore")
async def restore(page: PromptPage, key: str) -> Response:
    """Let the default that the service ships answer again."""
    body = page.take(RestoreIn, {"reason": page.sent.get("reason", "").strip() or None, **_lock(page)})
    async with page.db.transaction() as tx:
        await ai_prompts.restore_default(tx, page.caller, key, body, page.writers, prompt_trials.find_offer(key))
    return page.go(f"/console/prompts/{key}", said="restored")


@router.post("/prompts/{key}/revert/{version}")
async def revert(page: PromptPage, key: str, version: int) -> Response:
    """Take an old version up again as a new draft."""
    body = page.take(
        RevertIn, {"version": version, "reason": page.sent.get("reason", "").strip() or None, **_lock(page)}
    )
    async with page.db.transaction() as tx:
        made = await ai_prompts.revert_version(tx, page.caller, key, body, page.writers)
    return page.go(f"/console/prompts/{key}/release/{made.version}", said="reverted")


@router.get("/prompts/{key}/try/{version}")
async def show_trial(page: PromptPage, key: str, version: int) -> Response:
    """Ask what a version shall be tried with."""
    return await _trial_page(page, key, version)


@router.post("/prompts/{key}/try/{version}")
async def run_trial(page: PromptPage, key: str, version: int) -> Response:
    """Ask once with a version; nothing in the records comes of it."""
    await page.services.gate.admit_model(page.caller)
    body = page.take(DryRunIn, {"version": version, **chosen_record(page.sent)})
    outcome = await prompt_trials.dry_run(page.services.settings, page.db, page.caller, key, body, clock())
    if page.partial:
        return page.show("prompts/_trial.html", outcome=outcome)
    return await _trial_page(page, key, version, outcome)


async def _trial_page(page: Visit, key: str, version: int, outcome: DryRunOut | None = None) -> Response:
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
        found = await ai_prompts.get_version(tx, page.caller, key, version)
        material = await list_material(page, tx, key)
    return page.show(
        "prompts/try.html",
        prompt=prompt,
        version=found,
        material=material,
        engine=page.services.settings.model_engine,
        outcome=outcome,
        record=page.sent.get("record", ""),
    )


async def _release_page(page: Visit, key: str, version: int, problem: Refusal | None = None) -> Response:
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
        ready = await ai_prompts.get_readiness(tx, page.caller, key, version, prompt_trials.find_offer(key))
        found = await ai_prompts.get_version(tx, page.caller, key, version)
        runs: list[EvalRunRow] = []
        if page.caller.role == "admin":
            wanted = EvalRunFilter(prompt_key=key, prompt_version=version, limit=50)
            runs = (await reading.list_runs(tx, page.caller, wanted)).runs
        diff = None
        if ready.against_key == key and ready.against_version not in (None, version):
            between = DiffFilter(base=ready.against_version, version=version)
            diff = await ai_prompts.diff_versions(tx, page.caller, key, between)
    under_way = any(run.status in ("queued", "running") for run in runs)
    status = problem.status if problem else ENOUGH if page.partial and not under_way else 200
    return page.show(
        "prompts/release.html",
        "prompts/_evidence.html",
        status,
        prompt=prompt,
        version=found,
        ready=ready,
        diff=diff,
        parts={part.name: rows_of(part.lines) for part in diff.parts} if diff else {},
        runs=runs,
        under_way=under_way,
        engine=page.services.settings.model_engine,
        problem=problem,
        reason=page.sent.get("override_reason", ""),
    )


def _lock(page: Visit) -> dict[str, str]:
    sent = page.sent.get("lock_version", "").strip()
    return {"lock_version": sent} if sent else {}
