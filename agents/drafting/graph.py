"""
Reply drafts.

    load ──▶ write ──▶ keep ──▶ end
"""

from typing import Any

from langgraph.graph import StateGraph

from agents.drafting import nodes
from agents.drafting.nodes import DraftState
from agents.kit import Context


def build_graph() -> Any:
    """Return the graph, not compiled."""
    graph: Any = StateGraph(DraftState, context_schema=Context)
    graph.add_node("load", nodes.load)
    graph.add_node("write", nodes.write)
    graph.add_node("keep", nodes.keep)
    graph.set_entry_point("load")
    graph.add_edge("load", "write")
    graph.add_edge("write", "keep")
    graph.set_finish_point("keep")
    return graph
