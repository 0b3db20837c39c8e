"""What a prompt and its versions look like, and the checks that every change begins with."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Forbidden, NotFound
from memory.rows import In, Row

Variable = Annotated[str, Field(max_length=100)]
Reason = Annotated[str, Field(min_length=3, max_length=1000)]
Category = Literal[
    "general", "meetings", "email", "communications", "scheduler", "intelligence", "summaries", "command_center"
]
State = Literal["draft", "active", "released"]
"""A draft has never been active, a released version was active before."""
WORDS = {
    "prompt_template", "system_template", "schema_template", "provider", "model", "max_tokens", "temperature",
    "fallback_provider", "fallback_model",
}  # fmt: skip
SETTINGS = ("provider", "model", "max_tokens", "temperature", "fallback_provider", "fallback_model")
VERSION = """
    v.prompt_template, v.system_template, v.schema_template, v.provider, v.model, v.max_tokens, v.temperature, v.fallback_provider,
    v.fallback_model
"""
PROMPT = f"""
    p.id, p.key, p.name, p.description, p.purpose, p.category, v.variables, p.is_active, p.is_system, p.lock_version, p.updated_by,
    p.created_at, p.updated_at, p.active_version, n.latest_version, v.version, {VERSION}, v.change_reason, p.default_version,
    s.prompt_template AS default_prompt_template, s.schema_template AS default_schema_template
"""
# The version that is asked for, else the active one, else the newest draft.
JOINED = """
    ai_prompts p
    CROSS JOIN LATERAL (SELECT max(x.version) AS latest_version FROM ai_prompt_versions x WHERE x.prompt_id = p.id) n
    JOIN ai_prompt_versions v ON v.prompt_id = p.id AND v.version = coalesce(%(version)s::int, p.active_version, n.latest_version)
    LEFT JOIN ai_prompt_versions s ON s.prompt_id = p.id AND s.version = p.default_version
"""


class PromptNotFound(NotFound):
    """Prompt {prompt_id} does not exist."""


class NoSuchPrompt(NotFound):
    """There is no prompt with the key {key}."""


class NoSuchVersion(NotFound):
    """Prompt {key} has no version {version}."""


class PromptChanged(Conflict):
    """Somebody else has changed the prompt meanwhile; it is at lock version {lock_version} now."""

    shows = ("lock_version",)


class MayNotWritePrompts(Forbidden):
    """Your role may not edit prompts."""


class PromptRow(Row):
    """
    A prompt, one version of it, and the default it came with.

    `active_version` answers questions now (None: nobody has released one yet); `version` is the one that is shown here.
    """

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
    active_version: int | None
    latest_version: int
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


class PromptFilter(In):
    """Which prompts to list; `search` looks into key, name and description."""

    category: Category | None = None
    is_active: bool | None = None
    search: str | None = Field(default=None, max_length=200)


class PromptWords(In):
    """The words of a version and the model that shall answer; a model setting that is absent is the deployment's."""

    prompt_template: str = Field(min_length=1, max_length=100_000)
    system_template: str | None = Field(default=None, max_length=100_000)
    schema_template: str | None = Field(default=None, max_length=100_000)
    variables: list[Variable] | None = Field(default=None, max_length=100)
    provider: str | None = Field(default=None, max_length=50)
    model: str | None = Field(default=None, max_length=200)
    max_tokens: int = Field(default=4096, ge=1, le=200_000)
    temperature: Decimal | None = Field(default=None, ge=0, le=2, decimal_places=2)
    fallback_provider: str | None = Field(default=None, max_length=50)
    fallback_model: str | None = Field(default=None, max_length=200)


class CreatePromptIn(PromptWords):
    """
    A new prompt and its first version, a draft.

    `override_reason` releases it at once without a verdict; only admins may give one.
    """

    key: str = Field(pattern=r"^[a-z][a-z0-9_]{1,79}(__[a-z0-9_-]{1,60})?$")
    name: str = Field(min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    category: Category = "general"
    purpose: str | None = Field(default=None, max_length=2000)
    is_active: bool = True
    override_reason: Reason | None = None


class UpdatePromptIn(PromptWords):
    """
    A new version, a draft; what is absent is taken from the active one. `lock_version` refuses to overwrite a later change.

    `override_reason` releases it at once without a verdict; only admins may give one.
    """

    prompt_template: str | None = Field(default=None, min_length=1, max_length=100_000)  # pyright: ignore[reportIncompatibleVariableOverride]
    max_tokens: int | None = Field(default=None, ge=1, le=200_000)  # pyright: ignore[reportIncompatibleVariableOverride]
    name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str | None = Field(default=None, max_length=2000)
    category: Category | None = None
    purpose: str | None = Field(default=None, max_length=2000)
    is_active: bool | None = None
    change_reason: str | None = Field(default=None, max_length=1000)
    lock_version: int | None = Field(default=None, ge=0)
    override_reason: Reason | None = None


async def get_prompt(tx: Tx, caller: Caller, prompt_id: UUID, version: int | None = None) -> PromptRow:
    """
    Return one prompt with its active version (the newest draft while there is none), or with the version asked for.

    Raises `PromptNotFound`.
    """
    return await tx.one(
        PromptRow,
        f"SELECT {PROMPT} FROM {JOINED} WHERE p.id = %(prompt_id)s",
        missing=PromptNotFound(prompt_id=prompt_id),
        prompt_id=prompt_id,
        version=version,
    )


async def get_prompt_by_key(tx: Tx, caller: Caller, key: str) -> PromptRow:
    """
    Return one prompt with its active version, or the newest draft while there is none.

    Raises `NoSuchPrompt`.
    """
    return await tx.one(
        PromptRow,
        f"SELECT {PROMPT} FROM {JOINED} WHERE p.key = %(key)s",
        missing=NoSuchPrompt(key=key),
        key=key,
        version=None,
    )


async def lock_prompt(tx: Tx, caller: Caller, prompt_id: UUID, lock_version: int | None = None) -> PromptRow:
    """
    Return one prompt that nobody else changes before this transaction ends.

    Raises `PromptNotFound`, and `PromptChanged` when it is past that lock version.
    """
    await tx.maybe(UUID, "SELECT id FROM ai_prompts WHERE id = %(prompt_id)s FOR UPDATE", prompt_id=prompt_id)
    found = await get_prompt(tx, caller, prompt_id)
    if lock_version is not None and lock_version != found.lock_version:
        raise PromptChanged(lock_version=found.lock_version)
    return found


async def lock_by_key(tx: Tx, caller: Caller, key: str, lock_version: int | None = None) -> PromptRow:
    """
    Return one prompt that nobody else changes before this transaction ends.

    Raises `NoSuchPrompt`, and `PromptChanged` when it is past that lock version.
    """
    prompt_id = await tx.one(
        UUID, "SELECT id FROM ai_prompts WHERE key = %(key)s", missing=NoSuchPrompt(key=key), key=key
    )
    return await lock_prompt(tx, caller, prompt_id, lock_version)


def check_writer(caller: Caller, writers: Sequence[str]) -> None:
    """
    Let those pass who may write prompts.

    Raises `MayNotWritePrompts`.
    """
    if caller.kind != "system" and caller.role not in writers:
        raise MayNotWritePrompts
