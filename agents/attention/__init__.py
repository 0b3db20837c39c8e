"""Letters that deal with an attention flag, written for a person to check: never sent, and to whom is not the model's to say."""

from agents.attention.outputs import FlagDraftDone, FlagDraftIn
from agents.registry import AgentSpec, register

register(
    AgentSpec(
        name="attention",
        capability="drafting",
        input=FlagDraftIn,
        output=FlagDraftDone,
        graph="agents.attention.graph:build_graph",
        recursion_limit=10,
    )
)
