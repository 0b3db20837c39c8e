"""
Choosing a tool: which of the tools on a belt does what a person asks for, and with which arguments.

A choice is not a deed: whoever asks for one decides, by the tool's effect and the confidence, whether it may act.
"""

from agents.choosing.outputs import CHOICE

__all__ = ["CHOICE"]
