"""What the tests of evals stand on: an asker by the rules, an asker of a model at the wire, and suites of few cases."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from evals.cases import Case, MessageInput, ReplyInput
from evals.subjects.kit import Asker, Purse
from memory.db import Database
from memory.settings import Settings
from tests.agents.conftest import Pauses, pauses, settings, settings_with_model, wire

__all__ = ["pauses", "settings", "settings_with_model", "wire"]


def message(content: str, **fields: Any) -> MessageInput:
    return MessageInput(content=content, **fields)


def asked(content: str, **fields: Any) -> ReplyInput:
    return ReplyInput(last_inbound_summary=content, **fields)


def case(input: Any, expect: Any, id: str = "one-case", **fields: Any) -> Case[Any, Any]:
    return Case[Any, Any](id=id, why="It is there for a test.", input=input, expect=expect, **fields)


@pytest.fixture
async def by_rules(settings: Settings, db: Database) -> AsyncIterator[Asker]:
    asker = Asker.open(settings, db, Purse(1.0))
    yield asker
    await asker.door.close()


@pytest.fixture
async def by_model(settings_with_model: Settings, db: Database, pauses: Pauses, tmp_path: Path) -> AsyncIterator[Asker]:
    """An asker of the scripted server, which remembers."""
    alone = settings_with_model.model_copy(update={"model_fallback": None})
    asker = Asker.open(alone, db, Purse(1.0), tmp_path / "cache", sleep=pauses)
    yield asker
    await asker.door.close()
