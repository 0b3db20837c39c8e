"""What matching carries from node to node: plain values, so that a checkpoint holds them."""

from typing import Any, TypedDict


class MatchingState(TypedDict, total=False):
    """`communication_id` comes in; `envelope` is what is asked, `candidates` what its numbers stand for."""

    communication_id: Any
    envelope: dict[str, Any]
    candidates: dict[str, Any]
    clues: dict[str, Any]
    placing: dict[str, Any]
    answered: dict[str, Any]
    verdict: dict[str, Any]
    output: dict[str, Any]
