"""Answers to messages, written for a person to check: a draft never sends itself and never chooses its recipient."""

from agents.drafting.outputs import DraftDone, DraftIn
from agents.purposes import About
from agents.registry import AgentSpec, register

register(
    AgentSpec(
        name="drafting",
        capability="drafting",
        input=DraftIn,
        output=DraftDone,
        graph="agents.drafting.graph:build_graph",
        about=lambda asked: About(communication_id=asked.communication_id),
        recursion_limit=10,
    )
)
