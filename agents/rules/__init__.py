"""
Answers without a model: deterministic, typed like the model's, one per purpose.

    @answers(REPLY)
    def reply(inputs: ReplyInputs) -> ReplyOutput: ...

Modules in this package register themselves when `load()` imports them. They are pure: no clock, no database, no chance.
"""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel

from agents.purposes import Purpose

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out
_answers: dict[str, Callable[[Any], BaseModel]] = {}


def answers(purpose: Purpose[I, O]) -> Callable[[Callable[[I], O]], Callable[[I], O]]:
    """Register the decorated function as the rules' answer to this purpose."""

    def register(rule: Callable[[I], O]) -> Callable[[I], O]:
        _answers[purpose.key] = rule
        return rule

    return register


@cache
def load() -> None:
    """Import every module of this package, so that its rules are known."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def find_rule(purpose: Purpose[I, O]) -> Callable[[I], O] | None:
    """Return the rules' answer to this purpose, if they have one."""
    load()
    found: Any = _answers.get(purpose.key)
    return found
