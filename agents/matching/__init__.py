"""Finds out whose communication it is, links what is certain and asks a person about the rest."""

from agents.matching.outputs import MatchedOut, MatchIn
from agents.purposes import About
from agents.registry import AgentSpec, register

register(
    AgentSpec(
        name="matching",
        capability="matching",
        input=MatchIn,
        output=MatchedOut,
        graph="agents.matching.graph:build",
        about=lambda asked: About(communication_id=asked.communication_id),
        recursion_limit=12,
    )
)
