"""
Versions of prompts that are put in front of the door for a run: `KEY@V`.

Where the house's database is at hand, its numbering counts: it keeps a copy of every shipped prompt beside what people
have edited. Without one, the files' numbers do.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from agents import questions
from memory.db import Database
from memory.errors import Invalid, NotFound
from memory.rows import Row
from prompts import registry
from prompts.registry import Prompt
from tools.ai_prompts import ActivePrompt
from tools.evaluations import suites

_NAMED = re.compile(r"^(?P<key>[a-z][a-z0-9_]{1,79}(__[a-z0-9_-]{1,60})?)@(?P<version>[1-9][0-9]{0,8})$")


class NotAVersion(Invalid):
    """{said} is not a version of a prompt; it looks like communication_hub_analysis@2."""


class VersionMissing(NotFound):
    """There is no version {version} of the prompt {key}{where}."""


class NothingActive(NotFound):
    """No version of {key} is active that it could be held against; name one with --against."""


@dataclass(frozen=True)
class Version:
    """One version, in front of the door in place of what is active."""

    key: str
    number: int
    prompt: Prompt

    @property
    def name(self) -> str:
        """The version as it is written on the command line."""
        return f"{self.key}@{self.number}"

    @property
    def asked_as(self) -> str:
        """The key that is asked for: one with a suffix answers for the prompt without."""
        return suites.base_key(self.key)

    def pinned(self, model: str | None = None) -> Mapping[str, Prompt]:
        """Return it by the key that is asked for; a model named for the run goes before the version's own."""
        return {self.asked_as: replace(self.prompt, model=None, fallback_model=None) if model else self.prompt}

    def concerns(self, key: str) -> bool:
        """Tell whether a question with that key is put in this version's words."""
        if self.asked_as != registry.SYSTEM:
            return key == self.asked_as
        shipped = registry.shelf().find(key)
        return shipped is None or not shipped.system


def parse(said: str) -> tuple[str, int]:
    """
    Return key and number of `KEY@V`.

    Raises `NotAVersion`.
    """
    named = _NAMED.match(said)
    if named is None:
        raise NotAVersion(said=said)
    return named["key"], int(named["version"])


async def read(db: Database | None, key: str, number: int) -> Version:
    """
    Return one version, from the database or, without one, from the files.

    Raises `VersionMissing`.
    """
    if db is None:
        for prompt in registry.shelf().versions.get(key, ()):
            if prompt.version == number:
                return Version(key, number, prompt)
        raise VersionMissing(key=key, version=number, where=" among the files; there is no database to look in")
    async with db.reading() as tx:
        row = await tx.one(
            ActivePrompt,
            """
            SELECT v.id, p.key, v.version, v.prompt_template, v.system_template, v.provider, v.model, v.max_tokens,
                   v.temperature, v.fallback_provider, v.fallback_model
              FROM ai_prompts p JOIN ai_prompt_versions v ON v.prompt_id = p.id
             WHERE p.key = %(key)s AND v.version = %(number)s
            """,
            missing=VersionMissing(key=key, version=number, where=""),
            key=key,
            number=number,
        )
    return Version(key, number, questions.prompt_of(row))


class _Active(Row):
    key: str
    version: int


async def active(db: Database | None, key: str) -> Version:
    """
    Return the version that answers now where this key is asked for: its own, or that of the prompt without its suffix.

    Raises `NothingActive`.
    """
    keys = list(dict.fromkeys([key, suites.base_key(key)]))
    if db is None:
        shipped = registry.shelf().find(*keys)
        if shipped is None:
            raise NothingActive(key=key)
        return Version(shipped.key, shipped.version, shipped)
    async with db.reading() as tx:
        found = await tx.one(
            _Active,
            """
            SELECT key, active_version AS version FROM ai_prompts
             WHERE key = ANY(%(keys)s) AND is_active AND active_version IS NOT NULL
             ORDER BY array_position(%(keys)s::text[], key) LIMIT 1
            """,
            missing=NothingActive(key=key),
            keys=keys,
        )
    return await read(db, found.key, found.version)
