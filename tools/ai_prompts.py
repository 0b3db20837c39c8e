"""Prompts that were edited over the API: immutable versions, of which one is active."""

from collections.abc import Sequence
from uuid import UUID

from memory.db import Tx
from memory.rows import Row


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
