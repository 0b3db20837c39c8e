"""
From a purpose and its inputs to the words that a model reads.

A prompt that somebody activated in the database goes before the shipped file, `key__suffix` before `key`. Inputs that
are marked `Untrusted` are cleaned, capped and fenced here, so no agent can forget it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Any, cast

import orjson
from pydantic import BaseModel

from agents import guards
from agents.purposes import Purpose, untrusted_fields
from memory.db import Database
from memory.errors import Outage
from prompts import registry
from prompts.registry import Prompt, PromptError
from tools import ai_prompts
from tools.ai_prompts import ActivePrompt

STAMP_S = 2.0
"""Seconds after which a released prompt is noticed."""
KEPT_S = 300.0
NOTHING = "(nothing)"


class PromptUnusable(Outage):
    """The prompt {key} cannot be used: {reason}"""


@dataclass(frozen=True, slots=True)
class Words:
    """A rendered prompt."""

    prompt: Prompt
    system: str
    user: str


class Prompts:
    """
    The prompts of one process: shipped files, and what the database has released over them.

    `pinned` go before both, by the key that is asked for: a version that is tried or evaluated, released or not.
    """

    def __init__(self, db: Database, pinned: Mapping[str, Prompt] | None = None) -> None:
        """Read nothing yet."""
        self._db = db
        self._pinned = pinned or {}
        self._found: dict[tuple[str, ...], tuple[float, Prompt | None]] = {}
        self._stamp = ""
        self._stamped_at = -KEPT_S

    async def find(self, key: str, suffixes: Sequence[str] = ()) -> Prompt:
        """
        Return the prompt to use now.

        Raises `PromptUnusable` when neither the database nor a file has one.
        """
        keys = (*(f"{key}__{suffix}" for suffix in suffixes if suffix), key)
        for name in keys:
            found = self._pinned.get(name) or await self._released(name) or registry.shelf().find(name)
            if found is not None:
                return registry.with_default_system(found, await self._system()) if not found.system else found
        raise PromptUnusable(key=key, reason="there is none.")

    async def _system(self) -> Prompt:
        pinned = self._pinned.get(registry.SYSTEM)
        return pinned or await self._released(registry.SYSTEM) or registry.shelf().system

    async def _released(self, *keys: str) -> Prompt | None:
        await self._notice_releases()
        kept = self._found.get(keys)
        if kept is not None and time.monotonic() - kept[0] < KEPT_S:
            return kept[1]
        async with self._db.reading() as tx:
            row = await ai_prompts.find_active_version(tx, keys)
        prompt = prompt_of(row) if row else None
        self._found[keys] = (time.monotonic(), prompt)
        return prompt

    async def _notice_releases(self) -> None:
        if time.monotonic() - self._stamped_at < STAMP_S:
            return
        async with self._db.reading() as tx:
            stamp = await ai_prompts.stamp_prompts(tx)
        self._stamped_at = time.monotonic()
        if stamp != self._stamp:
            self._stamp = stamp
            self._found.clear()


def prompt_of(row: ActivePrompt) -> Prompt:
    """Return a version that is kept in the database as the door wants it."""
    # A version written for another vendor's model keeps its words; the model is then the deployment's.
    ours = row.provider in (None, "openai")
    return Prompt(
        key=row.key,
        version=row.version,
        user=row.prompt_template,
        system=row.system_template or "",
        source="database",
        model=row.model if ours else None,
        max_tokens=row.max_tokens,
        temperature=row.temperature,
        fallback_model=row.fallback_model if row.fallback_provider in (None, "openai") else None,
    )


def put(prompt: Prompt, purpose: Purpose[Any, Any], inputs: BaseModel, model: str) -> Words:
    """
    Return the prompt with the inputs put in, other people's words fenced with a nonce of this call alone.

    Raises `PromptUnusable` when the words ask for something that the inputs do not have.
    """
    nonce = guards.new_nonce()
    marked = untrusted_fields(purpose.input)
    values = {
        name: guards.fence(value, nonce) if name in marked else value
        for name, value in values_of(purpose, inputs, model).items()
    }
    try:
        system, user = prompt.render(values)
    except PromptError as failure:
        raise PromptUnusable(key=prompt.key, reason=f"{failure}.") from failure
    if marked:
        system = f"{system}\n\n{guards.rule_of_the_fence(nonce)}"
    return Words(prompt, system, user)


def values_of(purpose: Purpose[Any, Any], inputs: BaseModel, model: str | None) -> dict[str, str]:
    """Return the inputs as text by name, other people's words cleaned and capped; only the fence is missing."""
    marked = untrusted_fields(purpose.input)
    values = {name: plain(getattr(inputs, name)) for name in purpose.input.model_fields}
    for name, mark in marked.items():
        values[name] = guards.capped(guards.clean(values[name]), mark.tokens, model)
    return values


def plain(value: object) -> str:
    """Return an input as the text that stands in the prompt: lists as lines, records as JSON, nothing as such."""
    match value:
        case None | "":
            return NOTHING
        case str():
            return value
        case Enum():
            return str(value.value)
        case datetime() | date():
            return value.isoformat()
        case BaseModel():
            return value.model_dump_json()
        case list() | tuple():
            lines = [plain(item) for item in cast("Sequence[object]", value)]
            return "\n".join(f"- {line}" for line in lines) or NOTHING
        case dict():
            return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        case _:
            return str(value)
