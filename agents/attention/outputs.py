"""What a letter that deals with a flag is asked with, and what comes back."""

from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from agents.drafting.outputs import QualityChecks, ReplyOutput
from agents.purposes import Purpose, Untrusted


class FlagDraftIn(BaseModel):
    """The flag to deal with."""

    model_config = ConfigDict(extra="forbid")

    flag_id: UUID


class DraftAbout(BaseModel):
    """Whom and what the draft is about; the address comes from the records."""

    company_name: str
    contact_name: str | None
    contact_email: str
    product_name: str | None
    stage_name: str | None
    flag_type: str
    reason: str


class FlagDraftDone(BaseModel):
    """The draft that was kept; `confidence` from 0 to 100."""

    draft_id: UUID
    subject: str
    body: str
    confidence: int
    needs_human_review: list[str]
    placeholders: list[str]
    quality_checks: QualityChecks
    engine: str
    about: DraftAbout


class StalledInputs(BaseModel):
    """What a letter that takes a stalled sale up again is written from. Times are in the sender's own zone."""

    company_name: str
    contact_first_name: str
    contact_title: str
    sender_name: str
    product_name: str
    stage_name: str
    stage_context: str
    temporal_context: str
    email_date: str
    current_date: str
    available_times: list[str]
    open_promises: list[str]
    style: str
    reason: Annotated[str, Untrusted(200)]
    recommended_action: Annotated[str, Untrusted(200)]
    last_inbound_summary: Annotated[str, Untrusted(400)]
    last_outbound_summary: Annotated[str, Untrusted(400)]


STALLED = Purpose(
    key="email_followup_stalled",
    capability="drafting",
    input=StalledInputs,
    output=ReplyOutput,
    folder="attention/stalled",
    tier="strong",
    max_output_tokens=1200,
)
