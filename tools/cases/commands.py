"""What may be asked of a support case."""

from typing import Annotated, Literal, get_args
from uuid import UUID

from pydantic import AwareDatetime, Field

from memory.rows import In

Working = Literal["open", "in_progress", "waiting_on_customer", "waiting_on_internal", "escalated"]
Status = Literal[Working, "resolved", "closed"]
Severity = Literal["low", "medium", "high", "urgent", "critical"]
Source = Literal["email", "phone", "chat", "portal", "internal"]
Channel = Literal["email", "chat", "phone", "portal"]
CloseReason = Literal["resolved", "duplicate", "no_response", "cancelled", "other"]
SlaType = Literal["first_response", "resolution", "update"]
Visibility = Literal["private", "team"]

STATUSES: tuple[str, ...] = (*get_args(Working), "resolved", "closed")
SEVERITIES: tuple[str, ...] = get_args(Severity)
WORKING: frozenset[str] = frozenset(get_args(Working))

Reason = Annotated[str | None, Field(max_length=2000)]
Line = Annotated[str, Field(min_length=1, max_length=200)]
Preview = Annotated[str | None, Field(max_length=2000)]


class CreateCaseIn(In):
    """A new case of a company, about one of its products or about none."""

    company_id: UUID
    company_product_id: UUID | None = None
    title: str = Field(min_length=1, max_length=500)
    description: str | None = Field(default=None, max_length=20_000)
    severity: Severity = "medium"
    category: Line | None = None
    subcategory: Line | None = None
    source: Source = "portal"
    external_id: Line | None = None
    contact_id: UUID | None = None
    contact_email: str | None = Field(default=None, max_length=320)
    contact_name: Line | None = None


class CommandIn(In):
    """What every command may say: the version of the case that it was decided on."""

    expectedVersion: int | None = Field(default=None, ge=0, le=2**31 - 1)


class AssignCaseIn(CommandIn):
    """Give the case to somebody; without a team it stays with the one it has."""

    command: Literal["assign"]
    owner_id: UUID
    team: Line | None = None
    reason: Reason = None


class ChangeCaseStatusIn(CommandIn):
    """Say where the work on the case stands; it is resolved, closed and reopened by commands of their own."""

    command: Literal["change_status"]
    to_status: Status
    reason: Reason = None


class ChangeCaseSeverityIn(CommandIn):
    """Judge the case graver or milder; what is still owed becomes due accordingly."""

    command: Literal["change_severity"]
    to_severity: Severity
    reason: Reason = None


class ChangeCaseCategoryIn(CommandIn):
    """Say what the case is about."""

    command: Literal["change_category"]
    category: Line
    subcategory: Line | None = None
    reason: Reason = None


class SetCaseActionIn(CommandIn):
    """Say what is to be done next, by when and by whom."""

    command: Literal["set_next_action"]
    action: str = Field(min_length=1, max_length=500)
    due_at: AwareDatetime
    assigned_to_id: UUID | None = None


class LogMessageIn(CommandIn):
    """Write down that the customer has been in touch; just now unless it says when."""

    command: Literal["log_message"]
    channel: Channel
    content_preview: Preview = None
    message_id: Line | None = None
    sender_email: str | None = Field(default=None, max_length=320)
    sender_name: Line | None = None
    received_at: AwareDatetime | None = None


class LogResponseIn(CommandIn):
    """Write down that the customer has just been answered."""

    command: Literal["log_response"]
    channel: Channel
    content_preview: Preview = None
    response_id: Line | None = None


class AddCaseNoteIn(CommandIn):
    """Write a note that the customer never sees; a private one is seen by its author only."""

    command: Literal["add_note"]
    content: str = Field(min_length=1, max_length=10_000)
    visibility: Visibility = "team"
    mentioned_user_ids: list[UUID] = Field(default=[], max_length=50)


class ConfigureSlaIn(CommandIn):
    """Promise this customer something else than the rule: so many hours from when the clock began."""

    command: Literal["configure_sla"]
    sla_type: SlaType
    target_hours: float = Field(gt=0, le=8760, allow_inf_nan=False)


class EscalateCaseIn(CommandIn):
    """Call for help; one level higher unless it says which."""

    command: Literal["escalate"]
    reason: str = Field(min_length=1, max_length=2000)
    escalation_level: int | None = Field(default=None, ge=1, le=10)
    escalated_to_team: Line | None = None
    escalated_to_user_id: UUID | None = None


class ResolveCaseIn(CommandIn):
    """Say how the case was settled."""

    command: Literal["resolve"]
    resolution_summary: str = Field(min_length=1, max_length=10_000)
    root_cause: str | None = Field(default=None, max_length=10_000)


class CloseCaseIn(CommandIn):
    """Close the case; one that is not resolved only by force, and by its owner or a manager."""

    command: Literal["close"]
    close_reason: CloseReason
    notes: str | None = Field(default=None, max_length=10_000)
    force_close: bool = False


class ReopenCaseIn(CommandIn):
    """Take a resolved or closed case up again; its resolution is owed anew."""

    command: Literal["reopen"]
    reason: str = Field(min_length=1, max_length=2000)


class SubmitCsatIn(CommandIn):
    """Write down how satisfied the customer is, from 1 (not at all) to 5."""

    command: Literal["submit_csat"]
    score: int = Field(ge=1, le=5)
    comment: str | None = Field(default=None, max_length=5000)


class TagCaseIn(CommandIn):
    """Put a tag on the case."""

    command: Literal["add_tag"]
    tag: str = Field(min_length=1, max_length=60)


class UntagCaseIn(CommandIn):
    """Take a tag off the case."""

    command: Literal["remove_tag"]
    tag: str = Field(min_length=1, max_length=60)


Command = (
    AssignCaseIn
    | ChangeCaseStatusIn
    | ChangeCaseSeverityIn
    | ChangeCaseCategoryIn
    | SetCaseActionIn
    | LogMessageIn
    | LogResponseIn
    | AddCaseNoteIn
    | ConfigureSlaIn
    | EscalateCaseIn
    | ResolveCaseIn
    | CloseCaseIn
    | ReopenCaseIn
    | SubmitCsatIn
    | TagCaseIn
    | UntagCaseIn
)
AnyCommand = Annotated[Command, Field(discriminator="command")]
