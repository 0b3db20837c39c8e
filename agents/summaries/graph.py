"""
Summaries.

    load ──▶ ask ──▶ keep ──▶ end
      │                        ▲
      └── fresh already ───────┘
"""

from typing import Any

from langgraph.graph import StateGraph

from agents.kit import Context
from agents.summaries import nodes
from agents.summaries.nodes import SummaryState


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
