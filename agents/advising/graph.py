"""
Advises on a product under way.

    load ──▶ ask ──▶ verify ──▶ settle ──▶ end
      │
      └─ nothing to go on ─────────────▶ end

    load     reads what the message says and where its product stands, and makes the list of what may be proposed
    ask      puts the question to the model, outside every transaction; it has no tools
    verify   numbers must have been offered, words must stand in the message, what is unsure is dropped
    settle   one transaction: the suggestions and their evidence, unless they wait already
"""

from typing import Any

from langgraph.graph import END, START, StateGraph

from agents.advising import nodes
from agents.advising.nodes import AdvisingState
from agents.kit import Context


def build() -> Any:
    """Return the uncompiled graph."""
    graph: Any = StateGraph(AdvisingState, context_schema=Context)
    graph.add_node("load", nodes.load)
    graph.add_node("ask", nodes.ask)
    graph.add_node("verify", nodes.verify)
    graph.add_node("settle", nodes.settle)
    graph.add_edge(START, "load")
    graph.add_conditional_edges("load", nodes.has_ground, {True: "ask", False: END})
    graph.add_edge("ask", "verify")
    graph.add_edge("verify", "settle")
    graph.add_edge("settle", END)
    return graph
