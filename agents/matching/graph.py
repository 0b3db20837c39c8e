"""
Finds out whose communication it is.

    load ──▶ ask ──▶ judge ──▶ link ──▶ end
      │
      └─ linked before, noise, or among ourselves ──▶ end

    load     addresses, domains, names and the thread; the companies, contacts and deals that may be meant
    ask      puts the question to the model, which answers with numbers of what it was offered
    judge    the evidence caps what the answer claims; the thresholds decide: link, link and verify, review, nothing
    link     one transaction: the link or the review, the conversation, the triage decision
"""

from typing import Any

from langgraph.graph import END, START, StateGraph

from agents.kit import Context
from agents.matching import nodes
from agents.matching.state import MatchingState


def build() -> Any:
    """Return the uncompiled graph."""
    graph: Any = StateGraph(MatchingState, context_schema=Context)
    graph.add_node("load", nodes.load)
    graph.add_node("ask", nodes.ask)
    graph.add_node("judge", nodes.judge)
    graph.add_node("link", nodes.link)
    graph.add_edge(START, "load")
    graph.add_conditional_edges("load", nodes.is_open, {True: "ask", False: END})
    graph.add_edge("ask", "judge")
    graph.add_edge("judge", "link")
    graph.add_edge("link", END)
    return graph
