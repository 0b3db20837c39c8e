"""Mails that do a task: suggested, never sent."""

from agents.registry import AgentSpec, register
from agents.suggesting.outputs import SuggestDone, SuggestIn

register(
    AgentSpec(
        name="suggesting",
        capability="drafting",
        input=SuggestIn,
        output=SuggestDone,
        graph="agents.suggesting.graph:build_graph",
        recursion_limit=5,
    )
)
