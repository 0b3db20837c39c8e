"""
The agents there are.

An agent's package registers itself when it is imported; `load()` imports them all:

    register(AgentSpec(
        name="drafting", capability="drafting", input=DraftIn, output=DraftOut, graph="agents.drafting.graph:build",
        about=lambda asked: About(communication_id=asked.communication_id),
    ))

It does so in its `__init__`, which imports the models of input and output and nothing of LangGraph: the API reads specs
too, and LangGraph takes seconds to load. `graph` names the function that returns the uncompiled
`StateGraph(DraftState, context_schema=Context)`. A run begins with the fields of `input` as its state, and ends with the
state key `output` (a dict or the model), validated into `output`.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

import agents
from agents.purposes import About
from memory.callers import Role
from memory.errors import Invalid

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out


class UnknownAgent(Invalid):
    """There is no agent {agent}; there are: {known}."""


@dataclass(frozen=True)
class AgentSpec(Generic[I, O]):
    """
    One agent. `graph` makes its uncompiled graph, `module:function` or the function itself.

    `about` names the records a run concerns, `role` is the least that may run it. A run has at most `recursion_limit`
    steps and `timeout_s` seconds per attempt.
    """

    name: str
    capability: str
    input: type[I]
    output: type[O]
    graph: str | Callable[[], Any]
    about: Callable[[I], About] = lambda _: About()
    recursion_limit: int = 25
    timeout_s: float = 600.0
    role: Role = "rep"


_specs: dict[str, AgentSpec[Any, Any]] = {}


def register(spec: AgentSpec[I, O]) -> AgentSpec[I, O]:
    """Make the agent known under its name."""
    _specs[spec.name] = spec
    return spec


@cache
def load() -> None:
    """Import every package of agents, so that they register."""
    for module in pkgutil.iter_modules(agents.__path__):
        if module.ispkg:
            importlib.import_module(f"agents.{module.name}")


def get_agent(name: str) -> AgentSpec[Any, Any]:
    """
    Return the agent of this name.

    Raises `UnknownAgent`.
    """
    load()
    if name not in _specs:
        raise UnknownAgent(agent=name, known=", ".join(sorted(_specs)) or "none")
    return _specs[name]


def list_agents() -> list[AgentSpec[Any, Any]]:
    """Return every agent, by name."""
    load()
    return [_specs[name] for name in sorted(_specs)]


def build_graph(spec: AgentSpec[Any, Any]) -> Any:
    """Return the agent's uncompiled graph; loads LangGraph."""
    if not isinstance(spec.graph, str):
        return spec.graph()
    module, _, function = spec.graph.partition(":")
    return getattr(importlib.import_module(module), function)()
