"""What an answer is asked with, and what comes back."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agents.purposes import Purpose, Untrusted

Tone = Literal["friendly", "formal", "brief", "apologetic", "enthusiastic"]


class DraftIn(BaseModel):
    """Which message to answer; `instructions` are the person's own, who will sign it."""

    model_config = ConfigDict(extra="forbid")

    communication_id: UUID
    instructions: str | None = Field(default=None, max_length=2000)
    tone: Tone | None = None


class QualityChecks(BaseModel):
    """What code found in the words of the draft."""

    used_contact_name: bool
    referenced_prior_interaction: bool


class DraftDone(BaseModel):
    """The draft that was kept; `confidence` from 0 to 100."""

    draft_id: UUID
    subject: str
    body: str
    confidence: int
    needs_human_review: list[str]
    placeholders: list[str]
    quality_checks: QualityChecks
    engine: str


class ReplyInputs(BaseModel):
    """What the answer is written from. Times are in the sender's own zone."""

    company_name: str
    contact_first_name: str
    contact_title: str
    sender_name: str
    product_name: str
    stage_name: str
    stage_context: str
    temporal_context: str
    reason: str
    recommended_action: str
    email_date: str
    current_date: str
    available_times: list[str]
    open_promises: list[str]
    style: str
    tone: str
    instructions: str
    subject: Annotated[str, Untrusted(100)]
    questions: Annotated[list[str], Untrusted(400)]
    last_inbound_summary: Annotated[str, Untrusted(1500)]
    last_outbound_summary: Annotated[str, Untrusted(500)]
    history: Annotated[list[str], Untrusted(800)] = []


class ReplyOutput(BaseModel):
    """The answer as it was written. What is not known stands as [[what is missing]] in the body."""

    subject: str = Field(max_length=300)
    body: str = Field(max_length=8000)
    confidence: int = Field(ge=0, le=100)
    needs_human_review: list[str] = Field(default=[], max_length=10)


REPLY = Purpose(
    key="email_followup_needs_reply",
    capability="drafting",
    input=ReplyInputs,
    output=ReplyOutput,
    folder="drafting/needs_reply",
    tier="strong",
    max_output_tokens=1500,
)
