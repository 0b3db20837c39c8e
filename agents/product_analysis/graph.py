"""
Product analysis.

    load ──▶ read ──▶ contrast ──▶ suggest ──▶ measure ──▶ end
              │ ▲
              └─┘  a few transcripts at a time, until none is left

A step that the wanted part does not include passes.
"""

from typing import Any

from langgraph.graph import END, StateGraph

from agents.kit import Context
from agents.product_analysis import nodes
from agents.product_analysis.nodes import AnalysisState


def build_graph() -> Any:
    """Return the graph, not compiled."""
    graph: Any = StateGraph(AnalysisState, context_schema=Context)
    graph.add_node("load", nodes.load)
    graph.add_node("read", nodes.read)
    graph.add_node("contrast", nodes.contrast)
    graph.add_node("suggest", nodes.suggest)
    graph.add_node("measure", nodes.measure)
    graph.set_entry_point("load")
    graph.add_edge("load", "read")
    graph.add_conditional_edges("read", nodes.is_read, {True: "contrast", False: "read"})
    graph.add_edge("contrast", "suggest")
    graph.add_edge("suggest", "measure")
    graph.add_edge("measure", END)
    return graph
