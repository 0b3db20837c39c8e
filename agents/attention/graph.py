"""
Letters that deal with a flag.

    load ──▶ write ──▶ keep ──▶ end
"""

from typing import Any

from langgraph.graph import StateGraph

from agents.attention import nodes
from agents.attention.nodes import FlagDraftState
from agents.kit import Context


def build_graph() -> Any:
    """Return the graph, not compiled."""
    graph: Any = StateGraph(FlagDraftState, context_schema=Context)
    graph.add_node("load", nodes.load)
    graph.add_node("write", nodes.write)
    graph.add_node("keep", nodes.keep)
    graph.set_entry_point("load")
    graph.add_edge("load", "write")
    graph.add_edge("write", "keep")
    graph.set_finish_point("keep")
    return graph
