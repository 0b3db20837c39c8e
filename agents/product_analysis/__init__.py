"""Product analysis: what a product's meetings object, praise and agree, suggested for the stages of its sale."""

from agents.product_analysis.outputs import AnalyzedProductOut, AnalyzeProductIn
from agents.registry import AgentSpec, register

register(
    AgentSpec(
        name="product_analysis",
        capability="analysis",
        input=AnalyzeProductIn,
        output=AnalyzedProductOut,
        graph="agents.product_analysis.graph:build_graph",
        recursion_limit=30,
        timeout_s=1100.0,
        role="manager",
    )
)
