"""The library of prompts that people edit: every edit is a new version, and a version is a draft until it is released."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx, escape_like
from memory.errors import Conflict
from tools.ai_prompts import checks, releases
from tools.ai_prompts.checks import Offer
from tools.ai_prompts.rows import (
    JOINED,
    PROMPT,
    WORDS,
    CreatePromptIn,
    PromptFilter,
    PromptRow,
    PromptsOut,
    UpdatePromptIn,
    check_writer,
    get_prompt,
    lock_prompt,
)
from tools.ai_prompts.versions import add_version, touch_prompt


class PromptExists(Conflict):
    """There is a prompt with the key {key} already."""


class SystemPrompt(Conflict):
    """The service needs this prompt: it can be edited, not switched off."""


async def list_prompts(tx: Tx, caller: Caller, filter: PromptFilter) -> PromptsOut:
    """Return every prompt by key with its active version, or its newest draft while none is active."""
    prompts = await tx.many(
        PromptRow,
        f"""
        SELECT {PROMPT} FROM {JOINED}
         WHERE (%(category)s::text IS NULL OR p.category = %(category)s)
           AND (%(is_active)s::bool IS NULL OR p.is_active = %(is_active)s)
           AND (%(pattern)s::text IS NULL OR concat_ws(' ', p.key, p.name, p.description) ILIKE %(pattern)s)
         ORDER BY p.key LIMIT 1000
        """,
        category=filter.category,
        is_active=filter.is_active,
        pattern=f"%{escape_like(filter.search)}%" if filter.search else None,
        version=None,
    )
    return PromptsOut(prompts=prompts)


async def create_prompt(
    tx: Tx, caller: Caller, body: CreatePromptIn, writers: Sequence[str], offer: Offer | None = None
) -> PromptRow:
    """
    Add a prompt with its first version: a draft, unless an admin releases it in the same breath.

    Raises `MayNotWritePrompts`, `MayNotOverride`, `PromptExists`, `TemplateBroken`, `ChecksFailed`.
    """
    check_writer(caller, writers)
    prompt_id = await tx.maybe(
        UUID,
        """
        INSERT INTO ai_prompts (key, name, description, purpose, category, is_active, default_version, updated_by)
        VALUES (%(key)s, %(name)s, %(description)s, %(purpose)s, %(category)s, %(is_active)s, 1, %(user_id)s)
        ON CONFLICT (key) DO NOTHING
        RETURNING id
        """,
        **body.model_dump(include={"key", "name", "description", "purpose", "category", "is_active"}),
        user_id=caller.user_id,
    )
    if prompt_id is None:
        raise PromptExists(key=body.key)
    version = await add_version(
        tx, caller.user_id, prompt_id, body.model_dump(include=WORDS | {"variables"}), "Created"
    )
    return await _finish(tx, caller, prompt_id, version, body.override_reason, offer)


async def update_prompt(
    tx: Tx, caller: Caller, prompt_id: UUID, body: UpdatePromptIn, writers: Sequence[str], offer: Offer | None = None
) -> PromptRow:
    """
    Add a version where the words change: a draft, unless an admin releases it in the same breath. Earlier versions stay.

    Raises `MayNotWritePrompts`, `MayNotOverride`, `PromptNotFound`, `PromptChanged`, `SystemPrompt`, `TemplateBroken`,
    `ChecksFailed`.
    """
    check_writer(caller, writers)
    before = await lock_prompt(tx, caller, prompt_id, body.lock_version)
    if body.is_active is False and before.is_system:
        raise SystemPrompt
    words = _changed(before, body)
    version = await add_version(tx, caller.user_id, prompt_id, words, body.change_reason) if words else None
    await tx.run(
        """
        UPDATE ai_prompts
           SET name = coalesce(%(name)s, name), category = coalesce(%(category)s, category),
               description = coalesce(%(description)s, description), purpose = coalesce(%(purpose)s, purpose),
               is_active = coalesce(%(is_active)s, is_active)
         WHERE id = %(prompt_id)s
        """,
        **body.model_dump(include={"name", "category", "description", "purpose", "is_active"}),
        prompt_id=prompt_id,
    )
    await touch_prompt(tx, caller, prompt_id)
    if body.is_active and not before.is_active and before.active_version is not None:
        off = before.model_copy(update={"active_version": None})
        await releases.activate(tx, caller, off, before.active_version, "rollback", "Switched on again")
    return await _finish(tx, caller, prompt_id, version, body.override_reason, offer)


async def deactivate_prompt(tx: Tx, caller: Caller, prompt_id: UUID, writers: Sequence[str]) -> None:
    """
    Switch a prompt off; its versions stay.

    Raises `MayNotWritePrompts`, `PromptNotFound`, `SystemPrompt`.
    """
    check_writer(caller, writers)
    if (await lock_prompt(tx, caller, prompt_id)).is_system:
        raise SystemPrompt
    await tx.run("UPDATE ai_prompts SET is_active = false WHERE id = %(prompt_id)s", prompt_id=prompt_id)
    await touch_prompt(tx, caller, prompt_id)


async def _finish(
    tx: Tx, caller: Caller, prompt_id: UUID, version: int | None, override_reason: str | None, offer: Offer | None
) -> PromptRow:
    """Release the new version if an admin says so, and return the prompt as that version has it."""
    prompt = await get_prompt(tx, caller, prompt_id, version)
    if version is None or override_reason is None:
        return prompt
    await releases.release(tx, caller, prompt, version, override_reason, offer)
    return await get_prompt(tx, caller, prompt_id)


def _changed(before: PromptRow, body: UpdatePromptIn) -> dict[str, Any] | None:
    """
    Return the words of the version that the body asks for; None when that is the one there is.

    Raises `TemplateBroken` when what is declared is not what they use.
    """
    given = body.model_dump(include=WORDS, exclude_unset=True)
    if "temperature" in given and given["temperature"] is not None:
        given["temperature"] = float(given["temperature"])
    if not given.get("prompt_template"):
        given["prompt_template"] = before.prompt_template
    if body.max_tokens is None:
        given["max_tokens"] = before.max_tokens
    words = before.model_dump(include=WORDS) | given
    if all(words[name] == getattr(before, name) for name in WORDS):
        checks.check_words(words["prompt_template"], words["system_template"], words["schema_template"], body.variables)
        return None
    return words | {"variables": body.variables}
