"""Prompts that were edited over the API: immutable versions, of which one is active."""

import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Forbidden, Invalid, NotFound
from memory.rows import In, Row
from prompts import registry


class ActivePrompt(Row):
    """The version in use of an active prompt; None in a setting means what the deployment configures."""

    id: UUID
    key: str
    version: int
    prompt_template: str
    system_template: str | None
    provider: str | None
    model: str | None
    max_tokens: int | None
    temperature: float | None
    fallback_provider: str | None
    fallback_model: str | None


async def find_active_version(tx: Tx, keys: Sequence[str]) -> ActivePrompt | None:
    """Return the active version of the first of these keys that has one."""
    return await tx.maybe(
        ActivePrompt,
        """
        SELECT v.id, p.key, v.version, v.prompt_template, v.system_template, v.provider, v.model, v.max_tokens,
               v.temperature, v.fallback_provider, v.fallback_model
          FROM ai_prompts p JOIN ai_prompt_versions v ON v.prompt_id = p.id AND v.version = p.active_version
         WHERE p.is_active AND p.key = ANY(%(keys)s)
         ORDER BY array_position(%(keys)s::text[], p.key) LIMIT 1
        """,
        keys=list(keys),
    )


class PromptWordsRow(Row):
    """The words of one version."""

    prompt_template: str
    system_template: str | None


async def find_words(tx: Tx, key: str, version: int) -> PromptWordsRow | None:
    """Return the words of one version, active or not; None when this version is not kept here."""
    return await tx.maybe(
        PromptWordsRow,
        """
        SELECT v.prompt_template, v.system_template
          FROM ai_prompts p JOIN ai_prompt_versions v ON v.prompt_id = p.id
         WHERE p.key = %(key)s AND v.version = %(version)s
        """,
        key=key,
        version=version,
    )


async def stamp_prompts(tx: Tx) -> str:
    """Return what changes whenever a prompt is added, released, switched on or switched off."""
    return await tx.one(
        str,
        """
        SELECT concat_ws(':', count(*), count(*) FILTER (WHERE is_active), coalesce(sum(lock_version), 0),
                         coalesce(sum(active_version), 0), coalesce(max(updated_at)::text, ''))
          FROM ai_prompts
        """,
    )


# The library that people edit -------------------------------------------------------------------------------------

Variable = Annotated[str, Field(max_length=100)]
Category = Literal[
    "general", "meetings", "email", "communications", "scheduler", "intelligence", "summaries", "command_center"
]
WORDS = {
    "prompt_template", "system_template", "schema_template", "provider", "model", "max_tokens", "temperature",
    "fallback_provider", "fallback_model",
}  # fmt: skip
PROMPT = """
    p.id, p.key, p.name, p.description, p.purpose, p.category, p.variables, p.is_active, p.is_system, p.lock_version, p.updated_by,
    p.created_at, p.updated_at, v.version, v.prompt_template, v.system_template, v.schema_template, v.provider, v.model, v.max_tokens,
    v.temperature, v.fallback_provider, v.fallback_model, v.change_reason, p.default_version,
    s.prompt_template AS default_prompt_template, s.schema_template AS default_schema_template
"""
JOINED = """
    ai_prompts p
    JOIN ai_prompt_versions v ON v.prompt_id = p.id AND v.version = p.active_version
    LEFT JOIN ai_prompt_versions s ON s.prompt_id = p.id AND s.version = p.default_version
"""


class PromptNotFound(NotFound):
    """Prompt {prompt_id} does not exist."""


class PromptExists(Conflict):
    """There is a prompt with the key {key} already."""


class PromptChanged(Conflict):
    """Somebody else has changed the prompt meanwhile; it is at lock version {lock_version} now."""

    shows = ("lock_version",)


class SystemPrompt(Conflict):
    """The service needs this prompt: it can be edited, not switched off."""


class MayNotWritePrompts(Forbidden):
    """Your role may not edit prompts."""


class TemplateBroken(Invalid):
    """The template is not valid: {reason}."""


class PromptFilter(In):
    """Which prompts to list."""

    category: Category | None = None
    is_active: bool | None = None


class PromptWords(In):
    """The words of a version and the model that shall answer; a model setting that is absent is the deployment's."""

    prompt_template: str = Field(min_length=1, max_length=100_000)
    system_template: str | None = Field(default=None, max_length=100_000)
    schema_template: str | None = Field(default=None, max_length=100_000)
    variables: list[Variable] | None = Field(default=None, max_length=100)
    provider: str | None = Field(default=None, max_length=50)
    model: str | None = Field(default=None, max_length=200)
    max_tokens: int = Field(default=4096, ge=1, le=200_000)
    temperature: Decimal | None = Field(default=None, ge=0, le=2)
    fallback_provider: str | None = Field(default=None, max_length=50)
    fallback_model: str | None = Field(default=None, max_length=200)


class CreatePromptIn(PromptWords):
    """A new prompt and its first version."""

    key: str = Field(pattern=r"^[a-z][a-z0-9_]{1,79}(__[a-z0-9_-]{1,60})?$")
    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    category: Category = "general"
    purpose: str | None = Field(default=None, max_length=2000)
    is_active: bool = True


class UpdatePromptIn(PromptWords):
    """A new version; what is absent is taken from the active one. `lock_version` refuses to overwrite a later change."""

    prompt_template: str | None = Field(default=None, min_length=1, max_length=100_000)  # pyright: ignore[reportIncompatibleVariableOverride]
    max_tokens: int | None = Field(default=None, ge=1, le=200_000)  # pyright: ignore[reportIncompatibleVariableOverride]
    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    category: Category | None = None
    purpose: str | None = Field(default=None, max_length=2000)
    is_active: bool | None = None
    change_reason: str | None = Field(default=None, max_length=1000)
    lock_version: int | None = Field(default=None, ge=0)


class PromptRow(Row):
    """A prompt with its active version and the default it came with."""

    id: UUID
    key: str
    name: str
    description: str | None
    purpose: str | None
    category: Category
    variables: list[str]
    is_active: bool
    is_system: bool
    lock_version: int
    updated_by: UUID | None
    created_at: datetime
    updated_at: datetime
    version: int
    prompt_template: str
    system_template: str | None
    schema_template: str | None
    provider: str | None
    model: str | None
    max_tokens: int | None
    temperature: float | None
    fallback_provider: str | None
    fallback_model: str | None
    change_reason: str | None
    default_version: int | None
    default_prompt_template: str | None
    default_schema_template: str | None


class PromptsOut(Row):
    """All prompts by key."""

    prompts: list[PromptRow]


class PromptOut(Row):
    """One prompt."""

    success: bool = True
    prompt: PromptRow


class VersionRow(Row):
    """One version in the history."""

    id: UUID
    version: int
    changed_at: datetime
    changed_by: UUID | None
    changed_by_name: str | None
    change_reason: str | None
    model: str | None
    provider: str | None
    is_active: bool


class HistoryOut(Row):
    """The versions of a prompt, newest first."""

    history: list[VersionRow]


class HistoryFilter(In):
    """How many versions to show."""

    limit: int = Field(default=20, ge=1, le=100)


async def list_prompts(tx: Tx, caller: Caller, filter: PromptFilter) -> PromptsOut:
    """Return every prompt by key with its active version."""
    prompts = await tx.many(
        PromptRow,
        f"""
        SELECT {PROMPT} FROM {JOINED}
         WHERE (%(category)s::text IS NULL OR p.category = %(category)s)
           AND (%(is_active)s::bool IS NULL OR p.is_active = %(is_active)s)
         ORDER BY p.key LIMIT 1000
        """,
        **filter.model_dump(),
    )
    return PromptsOut(prompts=prompts)


async def get_prompt(tx: Tx, caller: Caller, prompt_id: UUID) -> PromptRow:
    """
    Return one prompt with its active version.

    Raises `PromptNotFound`.
    """
    return await tx.one(
        PromptRow,
        f"SELECT {PROMPT} FROM {JOINED} WHERE p.id = %(prompt_id)s",
        missing=PromptNotFound(prompt_id=prompt_id),
        prompt_id=prompt_id,
    )


async def list_history(tx: Tx, caller: Caller, prompt_id: UUID, filter: HistoryFilter) -> HistoryOut:
    """
    Return the versions of a prompt, newest first.

    Raises `PromptNotFound`.
    """
    await get_prompt(tx, caller, prompt_id)
    history = await tx.many(
        VersionRow,
        """
        SELECT v.id, v.version, v.changed_at, v.changed_by, u.name AS changed_by_name, v.change_reason, v.model, v.provider,
               v.version = p.active_version AS is_active
          FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id LEFT JOIN users u ON u.id = v.changed_by
         WHERE v.prompt_id = %(prompt_id)s
         ORDER BY v.version DESC LIMIT %(limit)s
        """,
        prompt_id=prompt_id,
        limit=filter.limit,
    )
    return HistoryOut(history=history)


async def create_prompt(tx: Tx, caller: Caller, body: CreatePromptIn, writers: Sequence[str]) -> PromptRow:
    """
    Add a prompt with its first version.

    Raises `MayNotWritePrompts`, `PromptExists`, `TemplateBroken`.
    """
    _check_writer(caller, writers)
    variables = _check_words(body.prompt_template, body.system_template, body.schema_template, body.variables)
    prompt_id = await tx.maybe(
        UUID,
        """
        INSERT INTO ai_prompts (key, name, description, purpose, category, variables, is_active, active_version, default_version, updated_by)
        VALUES (%(key)s, %(name)s, %(description)s, %(purpose)s, %(category)s, %(variables)s, %(is_active)s, 1, 1, %(user_id)s)
        ON CONFLICT (key) DO NOTHING
        RETURNING id
        """,
        **body.model_dump(include={"key", "name", "description", "purpose", "category", "is_active"}),
        variables=variables,
        user_id=caller.user_id,
    )
    if prompt_id is None:
        raise PromptExists(key=body.key)
    await _add_version(tx, caller.user_id, prompt_id, 1, body.model_dump(include=WORDS), "Created")
    return await get_prompt(tx, caller, prompt_id)


async def update_prompt(
    tx: Tx, caller: Caller, prompt_id: UUID, body: UpdatePromptIn, writers: Sequence[str]
) -> PromptRow:
    """
    Add a version and make it the active one; earlier versions stay as they are.

    Raises `MayNotWritePrompts`, `PromptNotFound`, `PromptChanged`, `SystemPrompt`, `TemplateBroken`.
    """
    _check_writer(caller, writers)
    before = await _locked(tx, caller, prompt_id)
    if body.lock_version is not None and body.lock_version != before.lock_version:
        raise PromptChanged(lock_version=before.lock_version)
    if body.is_active is False and before.is_system:
        raise SystemPrompt
    given = body.model_dump(include=WORDS, exclude_unset=True)
    words = before.model_dump(include=WORDS) | given
    words["prompt_template"] = words["prompt_template"] or before.prompt_template
    variables = _check_words(
        words["prompt_template"], words["system_template"], words["schema_template"], body.variables
    )
    version = before.version
    if any(words[name] != getattr(before, name) for name in WORDS):
        version = await _next_version(tx, prompt_id)
        await _add_version(tx, caller.user_id, prompt_id, version, words, body.change_reason)
    await tx.run(
        """
        UPDATE ai_prompts
           SET name = coalesce(%(name)s, name), category = coalesce(%(category)s, category),
               description = coalesce(%(description)s, description), purpose = coalesce(%(purpose)s, purpose),
               is_active = coalesce(%(is_active)s, is_active), variables = %(variables)s, active_version = %(version)s,
               lock_version = lock_version + 1, updated_by = %(user_id)s, updated_at = %(now)s
         WHERE id = %(prompt_id)s
        """,
        **body.model_dump(include={"name", "category", "description", "purpose", "is_active"}),
        variables=variables,
        version=version,
        user_id=caller.user_id,
        prompt_id=prompt_id,
    )
    return await get_prompt(tx, caller, prompt_id)


async def deactivate_prompt(tx: Tx, caller: Caller, prompt_id: UUID, writers: Sequence[str]) -> None:
    """
    Switch a prompt off; its versions stay.

    Raises `MayNotWritePrompts`, `PromptNotFound`, `SystemPrompt`.
    """
    _check_writer(caller, writers)
    if (await _locked(tx, caller, prompt_id)).is_system:
        raise SystemPrompt
    await tx.run(
        """
        UPDATE ai_prompts SET is_active = false, lock_version = lock_version + 1, updated_by = %(user_id)s, updated_at = %(now)s
         WHERE id = %(prompt_id)s
        """,
        prompt_id=prompt_id,
        user_id=caller.user_id,
    )


async def sync_shipped(tx: Tx, shelf: registry.Shelf) -> int:
    """
    Keep a copy of every shipped prompt as a version, so that it can be listed, compared and returned to.

    A prompt that nobody has edited follows the files; an edited one keeps its edit. Returns how many versions were added.
    """
    added = 0
    await tx.lock("ai_prompts", "shipped")
    for prompt in shelf.active.values():
        added += await _sync_one(tx, prompt)
    return added


async def _sync_one(tx: Tx, prompt: registry.Prompt) -> bool:
    prompt_id = await tx.one(
        UUID,
        """
        INSERT INTO ai_prompts (key, name, description, category, variables, is_system)
        VALUES (%(key)s, %(name)s, %(description)s, %(category)s, %(variables)s, true)
        ON CONFLICT (key) DO UPDATE SET is_system = true
        RETURNING id
        """,
        key=prompt.key,
        name=prompt.key.replace("_", " ").capitalize(),
        description=prompt.description,
        category=prompt.category,
        variables=sorted(prompt.variables),
    )
    known = await tx.maybe(
        int,
        """
        SELECT v.version FROM ai_prompts p JOIN ai_prompt_versions v ON v.prompt_id = p.id AND v.version = p.default_version
         WHERE p.id = %(prompt_id)s AND v.prompt_template = %(user)s AND coalesce(v.system_template, '') = %(system)s
        """,
        prompt_id=prompt_id,
        user=prompt.user,
        system=prompt.system,
    )
    if known is not None:
        return False
    version = await _next_version(tx, prompt_id)
    words = dict.fromkeys(WORDS) | {"prompt_template": prompt.user, "system_template": prompt.system or None}
    await _add_version(tx, None, prompt_id, version, words, f"Shipped, version {prompt.version}: {prompt.changed}")
    await tx.run(
        """
        UPDATE ai_prompts
           SET active_version = CASE WHEN active_version IS NOT DISTINCT FROM default_version THEN %(version)s ELSE active_version END,
               default_version = %(version)s, lock_version = lock_version + 1, updated_at = %(now)s
         WHERE id = %(prompt_id)s
        """,
        prompt_id=prompt_id,
        version=version,
    )
    return True


def _check_writer(caller: Caller, writers: Sequence[str]) -> None:
    if caller.kind != "system" and caller.role not in writers:
        raise MayNotWritePrompts


def _check_words(prompt: str, system: str | None, schema: str | None, declared: Sequence[str] | None) -> list[str]:
    """
    Return the variables that the words use.

    Raises `TemplateBroken` when they do not parse, differ from what was declared, or the schema is no JSON object.
    """
    try:
        used = registry.variables(prompt) | registry.variables(system or "")
    except registry.PromptError as failure:
        raise TemplateBroken(reason=str(failure)) from failure
    if declared is not None and frozenset(declared) != used:
        unlike = ", ".join(sorted(frozenset(declared) ^ used))
        raise TemplateBroken(reason=f"declared and used variables differ: {unlike}")
    if schema:
        try:
            parsed = json.loads(schema)
        except ValueError as failure:
            raise TemplateBroken(reason=f"the schema is not JSON: {failure}") from failure
        if not isinstance(parsed, dict):
            raise TemplateBroken(reason="the schema is not a JSON object")
    return sorted(used)


async def _locked(tx: Tx, caller: Caller, prompt_id: UUID) -> PromptRow:
    await tx.maybe(UUID, "SELECT id FROM ai_prompts WHERE id = %(prompt_id)s FOR UPDATE", prompt_id=prompt_id)
    return await get_prompt(tx, caller, prompt_id)


async def _next_version(tx: Tx, prompt_id: UUID) -> int:
    return await tx.one(
        int,
        "SELECT coalesce(max(version), 0) + 1 FROM ai_prompt_versions WHERE prompt_id = %(prompt_id)s",
        prompt_id=prompt_id,
    )


async def _add_version(
    tx: Tx, user_id: UUID | None, prompt_id: UUID, version: int, words: dict[str, Any], reason: str | None
) -> None:
    await tx.run(
        """
        INSERT INTO ai_prompt_versions (prompt_id, version, prompt_template, system_template, schema_template, provider, model, max_tokens,
                                        temperature, fallback_provider, fallback_model, change_reason, changed_by, changed_at)
        VALUES (%(prompt_id)s, %(version)s, %(prompt_template)s, %(system_template)s, %(schema_template)s, %(provider)s, %(model)s,
                %(max_tokens)s, %(temperature)s, %(fallback_provider)s, %(fallback_model)s, %(reason)s, %(user_id)s, %(now)s)
        """,
        **words,
        prompt_id=prompt_id,
        version=version,
        reason=reason,
        user_id=user_id,
    )
