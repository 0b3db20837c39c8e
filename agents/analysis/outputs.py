"""What is asked about one communication, and what comes back."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agents.purposes import Purpose, Untrusted
from memory.rows import In

CONTENT_TOKENS = 6000
Confidence = Annotated[float, Field(ge=0, le=1, description="0.9 said outright, 0.7 little doubt, 0.5 a guess")]
CommunicationType = Literal["sales", "onboarding", "support", "success", "billing", "internal"]
RequestType = Literal[
    "demo_request", "pricing_question", "general_question", "meeting_request", "follow_up", "complaint", "info_share",
    "introduction", "other",
]  # fmt: skip
Mood = Literal["positive", "neutral", "negative", "concerned", "excited"]
Urgency = Literal["high", "medium", "low"]
Trigger = Literal[
    "inbound_inquiry", "demo_request", "pricing_request", "commitment_made", "commitment_due", "competitor_mentioned",
    "objection_raised", "deal_at_risk", "follow_up_needed", "question_asked", "positive_signal", "negative_signal",
    "escalation_needed", "none",
]  # fmt: skip


class Item(BaseModel):
    """Something read in the message: how sure, and the words it was read from."""

    confidence: Confidence
    quote: str = Field(description="A short passage of the message, word for word")


class Question(Item):
    """What the sender asks of the reader."""

    question: str


class Fact(Item):
    """Something that the sender states about their business or role."""

    fact: str


class Signal(Item):
    """A sign of where the deal is going, such as budget_confirmed or deal_at_risk."""

    signal: str
    detail: str = ""


class ObjectionItem(Item):
    """What is held against going on."""

    objection: str
    detail: str = ""
    addressed: bool = False


class Commitment(Item):
    """What one side has promised; `due_text` are the words of the message, `due_by` an ISO date or moment."""

    commitment: str
    due_text: str = ""
    due_by: str = ""
    who: str = ""


class Competitor(Item):
    """Another supplier that is named."""

    competitor: str
    context: Literal["currently_using", "evaluating", "mentioned"] = "mentioned"


class NextStep(Item):
    """What happens next, and who does it."""

    step: str
    owner: Literal["us", "them"]
    priority: Literal["high", "medium", "low"] = "medium"


class Flags(BaseModel):
    """What other agents ask of the message before they act on it."""

    requires_response: bool = False
    contains_pricing: bool = False
    contains_objection: bool = False
    is_simple_logistics: bool = False
    injection_suspected: bool = False


class Reading(BaseModel):
    """One opinion on one communication. Commitments and promises stand apart by who made them."""

    summary: str
    communication_type: CommunicationType
    playbook_trigger: str
    request_type: RequestType
    products_discussed: list[str] = []
    sentiment: Mood
    sentiment_score: Annotated[float, Field(ge=-1, le=1)]
    sentiment_confidence: Confidence
    urgency: Urgency
    key_questions: list[Question] = []
    facts: list[Fact] = []
    signals: list[Signal] = []
    objections: list[ObjectionItem] = []
    commitments_us: list[Commitment] = []
    commitments_them: list[Commitment] = []
    competitors: list[Competitor] = []
    next_steps: list[NextStep] = []
    potential_triggers: list[Trigger] = []
    flags: Flags
    fulfilled_promises: list[int] = Field(
        default=[], description="Numbers of the open promises that this message keeps"
    )
    away_until: str = Field(default="", description="ISO date of return, if this is an out-of-office reply")
    overall_confidence: Confidence


class OpenPromise(BaseModel):
    """A promise that is still open, under the number by which it may be named."""

    number: int
    who: Literal["us", "them"]
    promise: str
    promised_on: str
    same_thread: bool = False


class Message(BaseModel):
    """One communication, as the prompt asks about it."""

    model_config = ConfigDict(frozen=True)

    channel: str
    direction: Literal["inbound", "outbound", "internal"]
    sentAt: datetime
    timezone: str
    subject: Annotated[str, Untrusted(200)]
    content: Annotated[str, Untrusted(CONTENT_TOKENS)]
    ourParticipants: list[str]
    theirParticipants: Annotated[list[str], Untrusted(400)]
    threadTail: Annotated[str, Untrusted(1200)]
    relationshipContext: Annotated[str, Untrusted(1500)]
    openPromises: Annotated[list[OpenPromise], Untrusted(1200)]
    products: list[str]
    competitors: list[str]
    priceWords: list[str]
    playbookTriggers: list[str]
    stage: str = "none"
    isCustomer: bool = False
    isKnown: bool = True
    isReply: bool = False


ANALYSIS: Purpose[Message, Reading] = Purpose(
    key="communication_hub_analysis",
    capability="analysis",
    input=Message,
    output=Reading,
    folder="analysis/communication_hub_analysis",
    tier="strong",
    max_output_tokens=3000,
)


class AnalyzeIn(In):
    """
    Which communication to read. `force` reads one again that has been read.

    `claimed_at` is the token of the claim that a worker holds on it already.
    """

    communication_id: UUID
    force: bool = False
    claimed_at: datetime | None = None


class AnalyzedOut(BaseModel):
    """What became of it; `hidden` counts what was too unsure to be kept."""

    communication_id: UUID
    status: Literal["complete", "unchanged", "skipped"]
    analysis_id: UUID | None = None
    version: int | None = None
    engine: str | None = None
    degraded: str | None = None
    promises: int = 0
    fulfilled: int = 0
    items: int = 0
    hidden: int = 0
