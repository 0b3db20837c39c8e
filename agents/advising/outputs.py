"""What an adviser is asked with, and what comes back: numbers of what was offered, never a record or an action of its own."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agents.purposes import Purpose, Untrusted
from memory.rows import In
from tools.advising import SaidKind

Kind = Literal["advance_stage", "schedule_followup", "flag_risk", "add_task"]
Confidence = Annotated[float, Field(ge=0, le=1, description="0.9 said outright, 0.7 little doubt, 0.5 a guess")]


class Option(BaseModel):
    """
    Something that may be proposed, under the number by which it may be named.

    `stage` lies `steps` places ahead (or behind, below 0); `day` is when the next step would be due; an option with
    `evidence` is for that one alone.
    """

    number: int
    kind: Kind
    stage: str = ""
    steps: int = 0
    day: str = ""
    evidence: int | None = None


class Evidence(BaseModel):
    """Something that the message says, with its words; `due` is an ISO day."""

    number: int
    kind: SaidKind
    name: str = ""
    says: str = ""
    due: str = ""
    quote: str
    confidence: float


class AdviceInputs(BaseModel):
    """A product under way, what a message about it says, and what may be proposed. Days are those of our person."""

    model_config = ConfigDict(frozen=True)

    today: str
    channel: str
    direction: Literal["inbound", "outbound"]
    product: str
    process: str
    stage: str
    daysInStage: int
    nextStep: Annotated[str, Untrusted(150)]
    nextStepDue: str
    sentiment: str
    urgency: str
    options: list[Option]
    evidence: Annotated[list[Evidence], Untrusted(2500)]


class Move(BaseModel):
    """One proposal: the number of an option, the number of the evidence it rests on, and words of that evidence."""

    option: int
    evidence: int
    quote: str = Field(description="A short passage of the evidence, word for word")
    confidence: Confidence


class Advice(BaseModel):
    """At most two proposals, the weightier first; none when nothing is to be done."""

    proposals: list[Move] = []


ADVICE: Purpose[AdviceInputs, Advice] = Purpose(
    key="lifecycle_advice",
    capability="advising",
    input=AdviceInputs,
    output=Advice,
    folder="advising/next_moves",
    tier="cheap",
    max_output_tokens=600,
)


class AdviseIn(In):
    """The message to advise on."""

    communication_id: UUID


class AdvisedOut(BaseModel):
    """What was proposed; `hidden` counts proposals that were not offered, too unsure, or without words to rest on."""

    communication_id: UUID
    company_product_id: UUID | None = None
    suggestion_ids: list[UUID] = []
    engine: str | None = None
    degraded: str | None = None
    hidden: int = 0
