"""
Advises on a product under way after a message about it was read: what a person may do next, from what is offered.

It suggests and nothing else: a person accepts, and then it is done in their name.
"""

from agents.advising.outputs import AdvisedOut, AdviseIn
from agents.purposes import About
from agents.registry import AgentSpec, register

register(
    AgentSpec(
        name="advising",
        capability="advising",
        input=AdviseIn,
        output=AdvisedOut,
        graph="agents.advising.graph:build",
        about=lambda asked: About(communication_id=asked.communication_id),
        recursion_limit=10,
    )
)
