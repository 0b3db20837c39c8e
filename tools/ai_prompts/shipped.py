"""The prompts that the service ships, kept as versions: listed, compared and returned to like any other."""

from uuid import UUID

from memory.callers import SYSTEM
from memory.db import Tx
from prompts import registry
from tools.ai_prompts import releases
from tools.ai_prompts.rows import WORDS, lock_prompt
from tools.ai_prompts.versions import add_version, touch_prompt


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
        INSERT INTO ai_prompts (key, name, description, category, is_system)
        VALUES (%(key)s, %(name)s, %(description)s, %(category)s, true)
        ON CONFLICT (key) DO UPDATE SET is_system = true
        RETURNING id
        """,
        key=prompt.key,
        name=prompt.key.replace("_", " ").capitalize(),
        description=prompt.description,
        category=prompt.category,
    )
    if await _is_kept(tx, prompt_id, prompt):
        return False
    words = dict.fromkeys(WORDS) | {"prompt_template": prompt.user, "system_template": prompt.system or None}
    said = f"Shipped, version {prompt.version}: {prompt.changed}"
    version = await add_version(tx, None, prompt_id, words, said)
    follows = await _follows_files(tx, prompt_id)
    await tx.run(
        "UPDATE ai_prompts SET default_version = %(version)s WHERE id = %(prompt_id)s",
        prompt_id=prompt_id,
        version=version,
    )
    if follows:
        kept = await lock_prompt(tx, SYSTEM, prompt_id)
        await releases.activate(tx, SYSTEM, kept, version, "shipped", said[:1000])
    else:
        await touch_prompt(tx, SYSTEM, prompt_id)
    return True


async def _is_kept(tx: Tx, prompt_id: UUID, prompt: registry.Prompt) -> bool:
    """Whether the default is these words already, and shipped: a person's own first version is no default of ours."""
    return await tx.one(
        bool,
        """
        SELECT EXISTS (
            SELECT FROM ai_prompts p JOIN ai_prompt_versions v ON v.prompt_id = p.id AND v.version = p.default_version
             WHERE p.id = %(prompt_id)s AND v.prompt_template = %(user)s AND coalesce(v.system_template, '') = %(system)s
        )
        """,
        prompt_id=prompt_id,
        user=prompt.user,
        system=prompt.system,
    )


async def _follows_files(tx: Tx, prompt_id: UUID) -> bool:
    """Whether what answers now is nothing, or a default of ours that nobody has replaced."""
    return await tx.one(
        bool,
        """
        SELECT p.active_version IS NULL
               OR p.active_version = p.default_version
                  AND EXISTS (SELECT FROM prompt_releases r
                               WHERE r.prompt_id = p.id AND r.version = p.active_version AND r.kind IN ('shipped', 'restore'))
          FROM ai_prompts p WHERE p.id = %(prompt_id)s
        """,
        prompt_id=prompt_id,
    )
