"""Editing a prompt: words on one side, what a model would read on the other, as they are typed."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from starlette.responses import Response

from agents import prompt_trials
from agents.prompt_trials import PreviewIn, PreviewOut
from api.console.visits import PromptPage, Visit, router
from api.console.wording import filled
from memory.db import clock
from memory.errors import Rendered
from tools import ai_prompts, prompt_material
from tools.ai_prompts import PromptChanged, PromptRow, UpdatePromptIn, VersionDetail
from tools.prompt_material import MaterialRow

WORDS = ("system_template", "prompt_template", "schema_template")
SETTINGS = ("model", "max_tokens", "temperature", "fallback_model", "provider", "fallback_provider")
router = router()


@router.get("/prompts/{key}/edit")
async def show_editor(page: PromptPage, key: str, version: int = 0) -> Response:
    """Show the words of a version, the active one unless told, to be changed into a new one."""
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
        start = await ai_prompts.get_version(tx, page.caller, key, version or prompt.version)
    return await _editor(page, prompt, _fields(start), start.version)


@router.post("/prompts/{key}/edit")
async def save_draft(page: PromptPage, key: str) -> Response:
    """Keep the words as a new version, a draft; what answers now goes on answering."""
    async with page.db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, page.caller, key)
    offer = prompt_trials.find_offer(key)
    try:
        body = page.take(UpdatePromptIn, _asked(page.sent))
        async with page.db.transaction() as tx:
            made = await ai_prompts.update_prompt(tx, page.caller, prompt.id, body, page.writers, offer)
    except Rendered as refused:
        return await _editor(page, prompt, page.sent, prompt.version, refused)
    if made.version == prompt.active_version:
        return page.go(f"/console/prompts/{key}", said="unchanged")
    return page.go(f"/console/prompts/{key}/release/{made.version}", said="saved")


@router.post("/prompts/{key}/preview")
async def show_preview(page: PromptPage, key: str) -> Response:
    """Show what a model would read with these words, without keeping them."""
    return page.show("prompts/preview.html", "prompts/_preview.html", key=key, **await _preview(page, key, page.sent))


async def _editor(
    page: Visit, prompt: PromptRow, fields: Mapping[str, str], version: int, problem: Rendered | None = None
) -> Response:
    """Return the editor with these words in it, and what is wrong with them."""
    async with page.db.reading() as tx:
        material = await list_material(page, tx, prompt.key)
    return page.show(
        "prompts/edit.html",
        None,
        problem.status if problem else 200,
        prompt=prompt,
        version=version,
        fields={name: fields.get(name, "") for name in (*WORDS, *SETTINGS, "change_reason", "record")},
        # Whoever saves over somebody else's change has been shown that there is one.
        lock_version=prompt.lock_version,
        changed=isinstance(problem, PromptChanged),
        problem=problem,
        material=material,
        key=prompt.key,
        **await _preview(page, prompt.key, fields),
    )


async def list_material(page: Visit, tx: Any, key: str) -> list[MaterialRow]:
    """Return the records that this prompt can be tried with."""
    return await prompt_material.list_material(tx, page.caller, prompt_trials.subjects_of(key))


def chosen_record(sent: Mapping[str, str]) -> dict[str, str]:
    """Return the record that a form names as `kind:id`, or nothing for the sample."""
    kind, _, record = sent.get("record", "").partition(":")
    return {"subject_type": kind, "subject_id": record} if record else {}


async def _preview(page: Visit, key: str, sent: Mapping[str, str]) -> dict[str, Any]:
    """Return what the preview shows: what a model would read, or what stands in the way."""
    words = {name: sent.get(name, "").strip() for name in ("prompt_template", "system_template")}
    try:
        body = PreviewIn.model_validate({**words, **chosen_record(sent)})
        shown = await prompt_trials.preview(page.db, page.caller, key, body, clock())
    except ValidationError:
        return {"preview": None, "obstacle": "These words are too long, or the record is not one.", "read": {}}
    except Rendered as refused:
        return {"preview": None, "obstacle": refused.message, "read": {}}
    return {"preview": shown, "obstacle": None, "read": _read(words, shown)}


def _read(words: Mapping[str, str], shown: PreviewOut) -> dict[str, Any]:
    """Return both messages with the values that were put in marked."""
    values = {variable.name: variable.value for variable in shown.variables if variable.value is not None}
    return {
        "system": filled(words["system_template"], shown.system, values),
        "user": filled(words["prompt_template"], shown.user, values),
    }


def _fields(version: VersionDetail) -> dict[str, str]:
    """Return a version as the fields of the editor."""
    found = {name: getattr(version, name) for name in (*WORDS, *SETTINGS)}
    return {
        name: "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in found.items()
    }


def _asked(sent: Mapping[str, str]) -> dict[str, Any]:
    """Return the editor's fields as the input of the operation; an empty one is the deployment's default."""
    asked: dict[str, Any] = {name: sent[name].strip() or None for name in (*WORDS, *SETTINGS) if name in sent}
    return asked | {name: sent[name] for name in ("change_reason", "lock_version") if sent.get(name, "").strip()}
