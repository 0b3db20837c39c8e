"""
Reads one communication and keeps what it says.

    load ──▶ ask ──▶ verify ──▶ settle ──▶ end
      │
      └─ read before, or noise ──────────▶ end

    load     claims the communication; reads it, its thread, its company and the promises still open
    ask      puts the question to the model, outside every transaction
    verify   quotes must stand in the message, numbers must have been offered, what is unsure is dropped
    settle   one transaction: version, promises, items, due answer, conversation, stale summaries
"""

from typing import Any

from langgraph.graph import END, START, StateGraph

from agents.analysis import nodes
from agents.analysis.state import AnalysisState
from agents.kit import Context


def build() -> Any:
    """Return the uncompiled graph."""
    graph: Any = StateGraph(AnalysisState, context_schema=Context)
    graph.add_node("load", nodes.load)
    graph.add_node("ask", nodes.ask)
    graph.add_node("verify", nodes.verify)
    graph.add_node("settle", nodes.settle)
    graph.add_edge(START, "load")
    graph.add_conditional_edges("load", nodes.is_claimed, {True: "ask", False: END})
    graph.add_edge("ask", "verify")
    graph.add_edge("verify", "settle")
    graph.add_edge("settle", END)
    return graph
