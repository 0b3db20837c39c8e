"""Versions of a prompt: immutable, each with its author, its reason and how it stands."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.rows import In, Row
from tools.ai_prompts import checks
from tools.ai_prompts.rows import (
    VERSION,
    WORDS,
    NoSuchVersion,
    PromptRow,
    State,
    check_writer,
    get_prompt,
    get_prompt_by_key,
    lock_by_key,
)

STANDING = """
    CASE WHEN v.version = p.active_version THEN 'active' WHEN r.released_at IS NOT NULL THEN 'released' ELSE 'draft' END AS state,
    r.released_at
"""
LISTED = f"""
    SELECT v.id, v.version, v.changed_at, v.changed_by, u.name AS changed_by_name, v.change_reason, v.model, v.provider,
           v.version IS NOT DISTINCT FROM p.active_version AS is_active, {STANDING}
      FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id LEFT JOIN users u ON u.id = v.changed_by
      LEFT JOIN LATERAL (SELECT max(x.released_at) AS released_at FROM prompt_releases x
                          WHERE x.prompt_id = v.prompt_id AND x.version = v.version) r ON true
"""


class VersionRow(Row):
    """One version in the history; `released_at` is when it last became active."""

    id: UUID
    version: int
    changed_at: datetime
    changed_by: UUID | None
    changed_by_name: str | None
    change_reason: str | None
    model: str | None
    provider: str | None
    is_active: bool
    state: State
    released_at: datetime | None


class HistoryOut(Row):
    """The versions of a prompt, newest first."""

    history: list[VersionRow]


class HistoryFilter(In):
    """How many to show."""

    limit: int = Field(default=20, ge=1, le=100)


class VersionDetail(VersionRow):
    """One version with its words and settings."""

    key: str
    variables: list[str]
    prompt_template: str
    system_template: str | None
    schema_template: str | None
    max_tokens: int | None
    temperature: float | None
    fallback_provider: str | None
    fallback_model: str | None


class PromptWordsRow(Row):
    """The words of one version."""

    prompt_template: str
    system_template: str | None


class RevertIn(In):
    """Which version to take up again. `lock_version` refuses to overwrite a later change."""

    version: int = Field(ge=1)
    reason: str | None = Field(default=None, max_length=1000)
    lock_version: int | None = Field(default=None, ge=0)


async def list_history(tx: Tx, caller: Caller, prompt_id: UUID, filter: HistoryFilter) -> HistoryOut:
    """
    Return the versions of a prompt, newest first.

    Raises `PromptNotFound`.
    """
    await get_prompt(tx, caller, prompt_id)
    history = await tx.many(
        VersionRow,
        f"{LISTED} WHERE v.prompt_id = %(prompt_id)s ORDER BY v.version DESC LIMIT %(limit)s",
        prompt_id=prompt_id,
        limit=filter.limit,
    )
    return HistoryOut(history=history)


async def list_versions(tx: Tx, caller: Caller, key: str, filter: HistoryFilter) -> HistoryOut:
    """
    Return the versions of the prompt with this key, newest first.

    Raises `NoSuchPrompt`.
    """
    return await list_history(tx, caller, (await get_prompt_by_key(tx, caller, key)).id, filter)


async def get_version(tx: Tx, caller: Caller, key: str, version: int) -> VersionDetail:
    """
    Return one version with its words.

    Raises `NoSuchVersion`.
    """
    return await tx.one(
        VersionDetail,
        f"""
        SELECT p.key, v.id, v.version, v.variables, v.changed_at, v.changed_by, u.name AS changed_by_name, v.change_reason, {VERSION},
               v.version IS NOT DISTINCT FROM p.active_version AS is_active, {STANDING}
          FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id LEFT JOIN users u ON u.id = v.changed_by
          LEFT JOIN LATERAL (SELECT max(x.released_at) AS released_at FROM prompt_releases x
                              WHERE x.prompt_id = v.prompt_id AND x.version = v.version) r ON true
         WHERE p.key = %(key)s AND v.version = %(version)s
        """,
        missing=NoSuchVersion(key=key, version=version),
        key=key,
        version=version,
    )


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


async def revert_version(tx: Tx, caller: Caller, key: str, body: RevertIn, writers: Sequence[str]) -> PromptRow:
    """
    Take up an old version again: a new draft with its words and its model settings.

    Raises `MayNotWritePrompts`, `NoSuchPrompt`, `NoSuchVersion`, `PromptChanged`, `TemplateBroken`.
    """
    check_writer(caller, writers)
    prompt = await lock_by_key(tx, caller, key, body.lock_version)
    old = await get_version(tx, caller, key, body.version)
    words = old.model_dump(include=WORDS)
    reason = body.reason or f"Version {body.version} again"
    version = await add_version(tx, caller.user_id, prompt.id, words, reason)
    await touch_prompt(tx, caller, prompt.id)
    return await get_prompt(tx, caller, prompt.id, version)


async def add_version(
    tx: Tx, user_id: UUID | None, prompt_id: UUID, words: Mapping[str, Any], reason: str | None
) -> int:
    """
    Append a version and return its number; the prompt must be locked, or new.

    Raises `TemplateBroken`.
    """
    variables = checks.check_words(
        words["prompt_template"], words["system_template"], words["schema_template"], words.get("variables")
    )
    return await tx.one(
        int,
        """
        INSERT INTO ai_prompt_versions (prompt_id, version, variables, prompt_template, system_template, schema_template, provider, model,
                                        max_tokens, temperature, fallback_provider, fallback_model, change_reason, changed_by, changed_at)
        SELECT %(prompt_id)s, coalesce(max(version), 0) + 1, %(used)s, %(prompt_template)s, %(system_template)s, %(schema_template)s,
               %(provider)s, %(model)s, %(max_tokens)s, %(temperature)s, %(fallback_provider)s, %(fallback_model)s, %(reason)s,
               %(user_id)s, %(now)s
          FROM ai_prompt_versions WHERE prompt_id = %(prompt_id)s
        RETURNING version
        """,
        **{name: words[name] for name in WORDS},
        used=variables,
        prompt_id=prompt_id,
        reason=reason,
        user_id=user_id,
    )


async def touch_prompt(tx: Tx, caller: Caller, prompt_id: UUID) -> None:
    """Count one more change of the prompt, so that whoever looked at it before is told."""
    await tx.run(
        """
        UPDATE ai_prompts SET lock_version = lock_version + 1, updated_by = %(user_id)s, updated_at = %(now)s
         WHERE id = %(prompt_id)s
        """,
        prompt_id=prompt_id,
        user_id=caller.user_id,
    )
