"""Which version answers: the active one of the first key that has one, else the file that the service ships."""

from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.rows import In, Row
from prompts import registry
from tools.ai_prompts.rows import NoSuchPrompt, Variable


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


# Looking it up by hand --------------------------------------------------------------------------------------------

Source = Literal["database", "file"]


class LookupFilter(In):
    """The suffixes to try, in their order: a process type, the slugs of products."""

    suffix: list[Variable] = Field(default=[], max_length=10)


class Answering(Row):
    """The version that answers."""

    key: str
    version: int
    source: Source


class LookupStep(Row):
    """One key that was tried."""

    key: str
    found: bool
    source: Source | None
    version: int | None
    explanation: str


class LookupOut(Row):
    """Which version answers for a key with these suffixes, and what was tried on the way; the rest is not reached."""

    key: str
    suffixes: list[str]
    answers: Answering | None
    steps: list[LookupStep]


class Standing(Row):
    """A key as the database knows it."""

    key: str
    is_active: bool
    active_version: int | None


async def look_up(tx: Tx, caller: Caller, key: str, filter: LookupFilter) -> LookupOut:
    """
    Return which version answers for this key with these suffixes, as the door finds it.

    Raises `NoSuchPrompt` when neither the database nor a file knows the key or one of its suffixes.
    """
    keys = [*(f"{key}__{suffix}" for suffix in filter.suffix if suffix), key]
    rows = await tx.many(
        Standing, "SELECT key, is_active, active_version FROM ai_prompts WHERE key = ANY(%(keys)s)", keys=keys
    )
    standing = {row.key: row for row in rows}
    steps = [_step(name, standing.get(name), registry.shelf().find(name)) for name in dict.fromkeys(keys)]
    if not standing and not any(step.found for step in steps):
        raise NoSuchPrompt(key=key)
    chosen = next((step for step in steps if step.found), None)
    answers = None
    if chosen is not None and chosen.source is not None and chosen.version is not None:
        answers = Answering(key=chosen.key, version=chosen.version, source=chosen.source)
    return LookupOut(key=key, suffixes=filter.suffix, answers=answers, steps=steps)


def _step(key: str, kept: Standing | None, shipped: registry.Prompt | None) -> LookupStep:
    if kept is not None and kept.is_active and kept.active_version is not None:
        said = f"Version {kept.active_version} is active."
        return LookupStep(key=key, found=True, source="database", version=kept.active_version, explanation=said)
    why = "There is no such prompt."
    if kept is not None:
        why = "The prompt is switched off." if not kept.is_active else "No version of it has been released."
    if shipped is not None:
        said = f"{why} The shipped file answers."
        return LookupStep(key=key, found=True, source="file", version=shipped.version, explanation=said)
    return LookupStep(key=key, found=False, source=None, version=None, explanation=why)
