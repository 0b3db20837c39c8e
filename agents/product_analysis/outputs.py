"""
What is asked about a product's meetings, and what comes back.

One question reads one transcript; another contrasts what was said where the sale was won with where it was lost. Every item
quotes its source word for word; meetings are named by number, ids never pass through a model.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field

from agents.purposes import Purpose, Untrusted
from memory.rows import In

TRANSCRIPT_TOKENS = 8000
Kind = Literal["full", "transcripts", "patterns", "metrics"]
Confidence = Annotated[float, Field(ge=0, le=1, description="0.9 said outright, 0.7 little doubt, 0.5 a guess")]
Topic = Annotated[
    str, Field(min_length=2, max_length=60, description="Two to five words, the same for the same matter")
]
Mood = Literal["positive", "neutral", "negative", "concerned", "excited"]


class AnalyzeProductIn(In):
    """Which product, and which part: read new transcripts, contrast won with lost, count the stages, or all of it."""

    product_id: UUID
    type: Kind = "full"


class AnalyzedProductOut(BaseModel):
    """What the analysis did; `hidden` counts items that no words carried or that were too unsure."""

    product_id: UUID
    type: Kind
    read: int = 0
    hidden: int = 0
    objections: int = 0
    pitch_points: int = 0
    patterns: int = 0
    stages_suggested: int = 0
    stages_measured: int = 0
    engines: list[str] = []


class Item(BaseModel):
    """Something that was said: how sure, and the words."""

    quote: str = Field(description="A short passage of the transcript, word for word")
    confidence: Confidence


class RaisedObjection(Item):
    """What the buyer held against it. `response` is the passage in which our side met it, when `handled`."""

    topic: Topic
    objection: str = Field(max_length=300)
    handled: bool = False
    response: str = Field(default="", max_length=1000)


class SaidPitch(Item):
    """What our side said in favour of it; `effective` when the buyer took it up."""

    topic: Topic
    point: str = Field(max_length=300)
    effective: bool = False


class ShownSignal(Item):
    """A sign of where the sale is going."""

    signal: str = Field(max_length=80)


class AgreedStep(BaseModel):
    """What happens next, and who does it."""

    step: str = Field(max_length=300)
    owner: Literal["us", "them"]


class TranscriptReading(BaseModel):
    """What one meeting says about the product."""

    summary: str = Field(max_length=600)
    sentiment: Mood
    objections: list[RaisedObjection] = []
    pitch_points: list[SaidPitch] = []
    signals: list[ShownSignal] = []
    next_steps: list[AgreedStep] = []


class TranscriptInputs(BaseModel):
    """One transcript, as the prompt asks about it. `knownTopics` are what earlier readings called things."""

    product: str
    about: str
    heldAt: datetime
    ourPeople: list[str]
    company: Annotated[str, Untrusted(50)]
    knownTopics: Annotated[list[str], Untrusted(400)]
    title: Annotated[str, Untrusted(100)]
    transcript: Annotated[str, Untrusted(TRANSCRIPT_TOKENS)]


class Said(BaseModel):
    """One matter of a meeting; `settled` when an objection was handled, or a pitch point taken up."""

    topic: str
    settled: bool
    quote: str


class Meeting(BaseModel):
    """One meeting under its number, as it was read."""

    meeting: int
    summary: str
    objections: list[Said]
    pitch_points: list[Said]


class ContrastInputs(BaseModel):
    """Meetings with companies that bought and with companies that did not."""

    product: str
    won: Annotated[list[Meeting], Untrusted(4000)]
    lost: Annotated[list[Meeting], Untrusted(4000)]


class Pattern(BaseModel):
    """What sets one side apart: the meeting that shows it best, by number, and its words there."""

    pattern: str = Field(max_length=300)
    meeting: int
    quote: str
    confidence: Confidence


class ContrastOutput(BaseModel):
    """What wins, what loses, and what to do about it."""

    winning: list[Pattern] = Field(default=[], max_length=8)
    losing: list[Pattern] = Field(default=[], max_length=8)
    advice: list[Annotated[str, Field(max_length=300)]] = Field(default=[], max_length=5)


READ: Purpose[TranscriptInputs, TranscriptReading] = Purpose(
    key="product_transcript_analysis",
    capability="analysis",
    input=TranscriptInputs,
    output=TranscriptReading,
    folder="product_analysis/transcript",
    tier="cheap",
    max_output_tokens=2500,
)
CONTRAST: Purpose[ContrastInputs, ContrastOutput] = Purpose(
    key="product_win_loss_contrast",
    capability="analysis",
    input=ContrastInputs,
    output=ContrastOutput,
    folder="product_analysis/contrast",
    tier="strong",
    max_output_tokens=2000,
)
