"""Reads one communication and keeps what it says: promises, questions, objections, signals, mood, urgency."""

from agents.analysis.outputs import AnalyzedOut, AnalyzeIn
from agents.purposes import About
from agents.registry import AgentSpec, register

register(
    AgentSpec(
        name="analysis",
        capability="analysis",
        input=AnalyzeIn,
        output=AnalyzedOut,
        graph="agents.analysis.graph:build",
        about=lambda asked: About(communication_id=asked.communication_id),
        recursion_limit=12,
    )
)
