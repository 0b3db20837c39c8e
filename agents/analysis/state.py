"""What a reading carries from node to node: plain values, so that a checkpoint holds them."""

from typing import Any, TypedDict


class AnalysisState(TypedDict, total=False):
    """
    `communication_id`, `force` and `claimed_at` come in; each node adds what the next one needs.

    `claim` is the token of the claim; `offered` are the ids of the open promises, in the order of their numbers;
    `suspected` says that the message talked to machines, before it was cleaned.
    """

    communication_id: Any
    force: bool
    claimed_at: Any
    claim: str
    message: dict[str, Any]
    offered: list[str]
    suspected: bool
    answered: dict[str, Any]
    reading: dict[str, Any]
    hidden: int
    output: dict[str, Any]
