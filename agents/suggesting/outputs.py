"""What a suggestion is asked with, and what comes back."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agents.purposes import Purpose, Untrusted


class SuggestIn(BaseModel):
    """The task that the mail should do."""

    model_config = ConfigDict(extra="forbid")

    task_id: UUID


class TaskInputs(BaseModel):
    """What the mail is written from."""

    task: str
    sender: str
    company: str
    deal: str
    contacts: Annotated[list[str], Untrusted(400)]
    activities: Annotated[list[str], Untrusted(1200)]


class Suggestion(BaseModel):
    """A mail; what is not known stands as [[what is missing]]."""

    subject: str = Field(max_length=300)
    body: str = Field(max_length=8000)
    tone: Literal["friendly", "formal", "brief", "apologetic", "enthusiastic"] = "friendly"
    callToAction: str = Field(default="", max_length=300)


class SuggestDone(BaseModel):
    """The suggestion, which engine gave it, and by which prompt."""

    suggestion: Suggestion
    engine: str
    prompt_key: str
    prompt_version: int


TASK_MAIL = Purpose(
    key="task_email_suggestion",
    capability="drafting",
    input=TaskInputs,
    output=Suggestion,
    folder="suggesting/task_mail",
    max_output_tokens=1200,
)
