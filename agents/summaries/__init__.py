"""Summaries of deals, companies and contacts: every sentence cites what it was read from."""

from agents.registry import AgentSpec, register
from agents.summaries.outputs import SummaryDone, SummaryIn, about

register(
    AgentSpec(
        name="summaries",
        capability="summaries",
        input=SummaryIn,
        output=SummaryDone,
        graph="agents.summaries.graph:build_graph",
        about=lambda asked: about(asked.type, asked.id),
        recursion_limit=10,
    )
)
