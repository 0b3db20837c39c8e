"""
What of an advice may stand. The same for a model and for rules.

Numbers must have been offered, words must stand in the evidence that is named, and what is unsure is dropped. At most two
proposals are left, of two kinds.
"""

from pydantic import BaseModel

from agents import guards
from agents.advising.outputs import Advice, Evidence, Move
from agents.advising.words import Offer

MOST = 2
UNTRUSTED_MOST = 0.84
"""What rests on a message that talks to machines is possible at best."""


class Chosen(BaseModel):
    """An offer that may be proposed, what it rests on, word for word, and how sure that is."""

    offer: Offer
    evidence: Evidence
    quote: str
    confidence: float


class Checked(BaseModel):
    """What may be proposed, the surest first, and how many proposals may not."""

    chosen: list[Chosen]
    hidden: int


def check(advice: Advice, offers: list[Offer], evidence: list[Evidence], *, suspected: bool) -> Checked:
    """Return what of the advice the offers and the evidence bear out."""
    found = [chosen for move in advice.proposals if (chosen := _look_up(move, offers, evidence, suspected=suspected))]
    best: dict[str, Chosen] = {}
    for chosen in sorted(found, key=lambda each: -each.confidence):
        best.setdefault(chosen.offer.kind, chosen)
    kept = list(best.values())[:MOST]
    return Checked(chosen=kept, hidden=len(advice.proposals) - len(kept))


def _look_up(move: Move, offers: list[Offer], evidence: list[Evidence], *, suspected: bool) -> Chosen | None:
    offer = next((offer for offer in offers if offer.number == move.option), None)
    ground = next((each for each in evidence if each.number == move.evidence), None)
    if offer is None or ground is None or offer.evidence not in (None, ground.number):
        return None
    span = guards.supported(move.quote, ground.quote)
    confidence = min(move.confidence, ground.confidence, UNTRUSTED_MOST if suspected else 1.0)
    if span is None or guards.gate(confidence) == "hidden":
        return None
    return Chosen(offer=offer, evidence=ground, quote=span.text, confidence=round(confidence, 2))
