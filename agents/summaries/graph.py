"""
Summaries.

    load ──▶ ask ──▶ keep ──▶ end
      │                        ▲
      └── fresh already ───────┘
"""

from typing import Any

from langgraph.graph import StateGraph

from agents.kit import Context
from agents.registry import AgentSpec, register
from agents.summaries import nodes
from agents.summaries.nodes import SummaryState
from agents.summaries.outputs import SummaryDone, SummaryIn


def build_graph() -> Any:
    """Return the graph, not compiled."""
    graph: Any = StateGraph(SummaryState, context_schema=Context)
    graph.add_node("load", nodes.load, destinations=("ask", "__end__"))
    graph.add_node("ask", nodes.ask)
    graph.add_node("keep", nodes.keep)
    graph.set_entry_point("load")
    graph.add_edge("ask", "keep")
    graph.set_finish_point("keep")
    return graph


register(
    AgentSpec(
        name="summaries",
        capability="summaries",
        input=SummaryIn,
        output=SummaryDone,
        graph=build_graph,
        about=lambda asked: nodes.about(asked.type, asked.id),
        recursion_limit=10,
    )
)
