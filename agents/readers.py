"""
What an agent would ask about a real record, without asking it: for previews and dry runs of prompts.

    @reads(ANALYSIS, "communication")
    async def read(db, caller, communication_id, now) -> tuple[Message, About]: ...

It stands in the agent's `words.py`, beside what its nodes make the question with, and imports nothing of LangGraph. It
writes nothing, and reads what the caller may read.
"""

import importlib
import pkgutil
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

import agents
from agents.purposes import About, Purpose
from memory.callers import Caller
from memory.db import Database

Kind = Literal["communication", "deal", "company", "contact", "task"]
Read = Callable[[Database, Caller, UUID, datetime], Awaitable[tuple[BaseModel, About]]]
_readers: dict[tuple[str, Kind], Read] = {}


def reads(purpose: Purpose[Any, Any], kind: Kind) -> Callable[[Any], Any]:
    """Register the decorated function as the one that makes this purpose's inputs from a record of this kind."""

    def register(read: Read) -> Read:
        _readers[purpose.key, kind] = read
        return read

    return register


@cache
def load() -> None:
    """Import the words of every agent, so that their readers are known."""
    for module in pkgutil.iter_modules(agents.__path__):
        name = f"agents.{module.name}.words"
        if module.ispkg and find_spec(name):
            importlib.import_module(name)


def list_kinds(key: str) -> tuple[Kind, ...]:
    """Return the kinds of records that a purpose can be asked about."""
    load()
    return tuple(kind for known, kind in _readers if known == key)


def find_reader(key: str, kind: Kind) -> Read | None:
    """Return what makes a purpose's inputs from a record of this kind."""
    load()
    return _readers.get((key, kind))
