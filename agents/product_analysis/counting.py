"""
What many readings say together: objections by frequency, pitch points by effect, stage by stage.

A matter counts once per meeting, under its topic. Only what its words carry and what is sure enough to be shown counts.
Source: CRM specification, product analysis: the ten most frequent objections, pitch points by effectiveness; a stage is
offered pitch points above 0.6 and objections raised at least twice.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid5

from agents import guards
from agents.product_analysis.outputs import Item, TranscriptReading
from agents.product_analysis.transcripts import words_of
from tools.products.readings import KeptReading

Found = dict[str, Any]
"""JSON of what was found, as it stands in the stages and the product's insights."""

MOST = 10
LEAST_EFFECT = 0.6
LEAST_TIMES = 2
EXAMPLES = 3
SUGGESTED = UUID("3f1d6f0e-6a44-5a57-9d5e-0c8f5f6f0f11")
"""The namespace of suggestions' ids: the same matter at the same stage keeps its id from analysis to analysis."""


def settle(reading: TranscriptReading, transcript: str) -> tuple[TranscriptReading, int]:
    """Return what stands of a reading, with quotes as the transcript has them, and how many items had to go."""
    kept = {
        name: [item for item in guards.settle_quotes(getattr(reading, name), transcript) if _shown(item)]
        for name in ("objections", "pitch_points", "signals")
    }
    hidden = sum(len(getattr(reading, name)) - len(items) for name, items in kept.items())
    objections: list[Any] = []
    for item in kept["objections"]:
        span = guards.supported(item.response, transcript) if item.response else None
        objections.append(item.model_copy(update={"response": span.text if span else ""}))
    return reading.model_copy(update=kept | {"objections": objections}), hidden


def _shown(item: Item) -> bool:
    return guards.gate(item.confidence) != "hidden"


@dataclass
class Matter:
    """One topic over all meetings that it came up in."""

    topic: str
    text: str
    meetings: set[UUID] = field(default_factory=set[UUID])
    effective: set[UUID] = field(default_factory=set[UUID])
    stages: dict[UUID, set[UUID]] = field(default_factory=dict[UUID, set[UUID]])
    sources: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    responses: list[str] = field(default_factory=list[str])

    @property
    def share(self) -> float:
        """In what part of its meetings it was handled, or took effect: 0 to 1."""
        return round(len(self.effective) / len(self.meetings), 2)

    def add(self, reading: KeptReading, item: Any, *, effective: bool) -> None:
        """Count the meeting, its stage and its effect, and keep its words as an example."""
        self.meetings.add(reading.transcription_id)
        if effective:
            self.effective.add(reading.transcription_id)
        if reading.stage_id is not None:
            self.stages.setdefault(reading.stage_id, set()).add(reading.transcription_id)
        if len(self.sources) < EXAMPLES:
            self.sources.append(
                {"transcription_id": str(reading.transcription_id), "title": reading.title, "quote": item.quote}
            )


def objections(readings: Iterable[KeptReading]) -> list[Matter]:
    """Return what buyers held against the product, most frequent first; the share is how often it was handled."""
    matters: dict[str, Matter] = {}
    for reading in readings:
        for item in TranscriptReading.model_validate(reading.reading).objections:
            matter = matters.setdefault(_key(item.topic), Matter(item.topic, item.objection))
            matter.add(reading, item, effective=item.handled)
            response = words_of(item.response)
            if item.handled and response and response not in matter.responses:
                matter.responses.append(response)
    return sorted(matters.values(), key=lambda matter: (-len(matter.meetings), matter.topic))


def pitch_points(readings: Iterable[KeptReading]) -> list[Matter]:
    """Return what was said in favour of the product, most effective first; of equals the one said more often."""
    matters: dict[str, Matter] = {}
    for reading in readings:
        for item in TranscriptReading.model_validate(reading.reading).pitch_points:
            matter = matters.setdefault(_key(item.topic), Matter(item.topic, item.point))
            matter.add(reading, item, effective=item.effective)
    return sorted(matters.values(), key=lambda matter: (-matter.share, -len(matter.meetings), matter.topic))


def _key(topic: str) -> str:
    return " ".join(topic.casefold().split())


def top_objections(matters: Sequence[Matter]) -> list[Found]:
    """Return the ten most frequent as the product's insights show them."""
    return [
        {
            "topic": matter.topic, "objection": matter.text, "frequency": len(matter.meetings),
            "handled_share": matter.share, "responses": matter.responses[:EXAMPLES], "sources": matter.sources,
        }
        for matter in matters[:MOST]
    ]  # fmt: skip


def top_pitch_points(matters: Sequence[Matter]) -> list[Found]:
    """Return the ten most effective as the product's insights show them."""
    return [
        {
            "topic": matter.topic, "point": matter.text, "times": len(matter.meetings),
            "effectiveness_score": matter.share, "sources": matter.sources,
        }
        for matter in matters[:MOST]
    ]  # fmt: skip


def suggested_pitch_points(matters: Sequence[Matter], stage_id: UUID) -> list[Found]:
    """Return what to say in a stage: what was said in it and takes effect in more than 0.6 of its meetings."""
    return [
        {
            "id": _suggestion_id(stage_id, "pitch", matter), "text": matter.text, "source": "ai_suggested",
            "effectiveness_score": matter.share, "times": len(matter.meetings), "sources": matter.sources,
        }
        for matter in matters
        if stage_id in matter.stages and matter.share > LEAST_EFFECT
    ][:MOST]  # fmt: skip


def suggested_objections(matters: Sequence[Matter], stage_id: UUID) -> list[Found]:
    """Return what to be ready for in a stage: what came up in it, and at least twice in all, with what has met it."""
    return [
        {
            "id": _suggestion_id(stage_id, "objection", matter), "objection": matter.text, "source": "ai_suggested",
            "response": matter.responses[0] if matter.responses else "", "frequency": len(matter.meetings),
            "handled_share": matter.share, "sources": matter.sources,
        }
        for matter in matters
        if stage_id in matter.stages and len(matter.meetings) >= LEAST_TIMES
    ][:MOST]  # fmt: skip


def _suggestion_id(stage_id: UUID, kind: str, matter: Matter) -> str:
    return uuid5(SUGGESTED, f"{stage_id}/{kind}/{_key(matter.topic)}").hex
