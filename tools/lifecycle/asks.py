"""What may be asked of a company's product: one model per command, spelled as the contract has it."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, model_validator

from memory.rows import In
from tools.lifecycle.health import Health
from tools.lifecycle.state import Outcome, Phase

Reason = Annotated[str, Field(min_length=1, max_length=2000)]
Notes = Annotated[str, Field(min_length=1, max_length=10_000)]
Trigger = Literal["manual", "automation", "ai", "exit_criteria_met"]
Currency = Annotated[str, Field(pattern="^[A-Z]{3}$")]
Amount = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=2)]


def _in_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(_in_utc)]
"""A moment, or a day, which begins at midnight UTC."""


class StartSaleIn(In):
    """Begin selling: in the first stage of a published sales process, unless another one is named."""

    action: Literal["start-sale"] = "start-sale"
    processId: UUID
    processVersion: int | None = Field(default=None, ge=1, le=1_000_000)
    initialStageId: UUID | None = None


class BackdatedSaleIn(StartSaleIn):
    """A sale that began before it was written down here; its stage is entered now."""

    effectiveAt: AwareDatetime


class AdvanceStageIn(In):
    """Go to another stage of the open process, forwards or backwards."""

    action: Literal["advance-stage"] = "advance-stage"
    toStageId: UUID
    reason: Reason | None = None


class SetPhaseIn(In):
    """Go to another phase; an open process ends with the phase that it belongs to."""

    action: Literal["set-phase"] = "set-phase"
    toPhase: Phase
    reason: Reason | None = None
    churnReason: Reason | None = None


class SetOwnerIn(In):
    """Give it to an active user."""

    action: Literal["set-owner"] = "set-owner"
    ownerId: UUID
    reason: Reason | None = None


class SetTierIn(In):
    """Say how important it is: 1 to 5."""

    action: Literal["set-tier"] = "set-tier"
    tier: int = Field(ge=1, le=5)


class SetMrrIn(In):
    """Say what it brings in a month; in the present currency, or the workspace's."""

    action: Literal["set-mrr"] = "set-mrr"
    mrr: Amount
    currency: Currency | None = None


class SetSeatsIn(In):
    """Say how many seats there are."""

    action: Literal["set-seats"] = "set-seats"
    seats: int = Field(ge=0, le=100_000_000)


class SetNextStepDueIn(In):
    """Say what is to be done next, and until when."""

    action: Literal["set-next-step-due"] = "set-next-step-due"
    nextStep: str = Field(min_length=1, max_length=1000)
    dueDate: Moment


class CompleteProcessIn(In):
    """End the open process in one of its terminal stages; the phase follows."""

    action: Literal["complete-process"] = "complete-process"
    terminalStageId: UUID
    outcome: Outcome
    notes: Notes | None = None


class CompleteSaleStartOnboardingIn(In):
    """Win the sale and begin the onboarding: the given process, the published one, or none."""

    action: Literal["complete-sale-start-onboarding"] = "complete-sale-start-onboarding"
    onboardingProcessId: UUID | None = None
    notes: Notes | None = None


class CompleteOnboardingStartEngagementIn(In):
    """End the onboarding and begin the engagement: the given process, the published one, or none."""

    action: Literal["complete-onboarding-start-engagement"] = "complete-onboarding-start-engagement"
    engagementProcessId: UUID | None = None
    notes: Notes | None = None


class AddNoteIn(In):
    """Write something down."""

    action: Literal["add-note"] = "add-note"
    noteId: UUID = Field(default_factory=uuid4)
    content: Notes
    noteType: Literal["general", "sales", "support", "internal"] = "general"
    visibility: Literal["private", "team", "company"] = "team"


class RecordActivityIn(In):
    """Record that something was done."""

    action: Literal["record-activity"] = "record-activity"
    activityType: str = Field(min_length=1, max_length=100)
    activityId: UUID | None = None
    summary: str | None = Field(default=None, max_length=5000)
    outcome: str | None = Field(default=None, max_length=500)
    contactId: UUID | None = None
    durationMinutes: int | None = Field(default=None, ge=0, le=100_000)


class AcceptSuggestionIn(In):
    """Accept what an agent proposes; it is carried out as whoever accepts it, with `modification` over its parameters."""

    action: Literal["accept-suggestion"] = "accept-suggestion"
    suggestionId: UUID
    modification: dict[str, Any] | None = None
    executeAction: bool = True


class DismissSuggestionIn(In):
    """Turn down what an agent proposes."""

    action: Literal["dismiss-suggestion"] = "dismiss-suggestion"
    suggestionId: UUID
    dismissReason: Literal["not_relevant", "already_done", "incorrect", "deferred", "other"] | None = None
    feedback: str | None = Field(default=None, max_length=2000)


class MoveStageIn(In):
    """Where a sale goes: to another stage, or to its end. `actor_id` is read and ignored: whoever is signed in acts."""

    stage_id: UUID | None = None
    outcome: Literal["won", "declined"] | None = None
    reason: Reason | None = None
    expectedVersion: int | None = Field(default=None, ge=0, le=2**31 - 1)
    actor_id: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def _goes_one_way(self) -> Self:
        if (self.stage_id is None) == (self.outcome is None):
            raise ValueError("either stage_id or outcome is needed")
        return self

    @property
    def ask(self) -> "AdvanceStageIn | CloseSaleIn":
        """The command that it stands for."""
        if self.stage_id is not None:
            return AdvanceStageIn(toStageId=self.stage_id, reason=self.reason)
        return CloseSaleIn(outcome="won" if self.outcome == "won" else "lost", reason=self.reason)


# What the service asks of itself ------------------------------------------------------------------------------------


class CloseSaleIn(In):
    """End the sale in the terminal stage that its own process has for this outcome; without a process only the phase."""

    action: Literal["close-sale"] = "close-sale"
    outcome: Literal["won", "lost", "cancelled"]
    reason: Reason | None = None


class RestartSaleIn(In):
    """Take a sale up again at a stage of this process, the first by default."""

    action: Literal["restart-sale"] = "restart-sale"
    processId: UUID
    stageId: UUID | None = None
    reason: Reason | None = None


class AdoptIn(In):
    """Take over what is a customer's already: by a conversion, a migration, an import."""

    action: Literal["adopt"] = "adopt"
    toPhase: Literal["onboarding", "active"]
    reason: Reason
    processId: UUID | None = None
    effectiveAt: AwareDatetime | None = None


class WarnSlaIn(In):
    """The stage has lasted so long that it should be watched."""

    action: Literal["sla-warning"] = "sla-warning"
    seenAt: AwareDatetime


class BreachSlaIn(In):
    """The stage has lasted longer than it may."""

    action: Literal["sla-breach"] = "sla-breach"
    seenAt: AwareDatetime


class RecordHealthIn(In):
    """How it stands, when that was judged on other facts than the last time."""

    action: Literal["record-health"] = "record-health"
    health: Health


class SuggestedAction(In):
    """A command that an agent proposes: one of the actions, or `add-task`."""

    command: str = Field(min_length=1, max_length=100)
    params: dict[str, Any] = {}


class CreateSuggestionIn(In):
    """Propose something to whoever looks after the product; the only thing that an agent may ask for."""

    action: Literal["create-suggestion"] = "create-suggestion"
    suggestionId: UUID = Field(default_factory=uuid4)
    suggestionType: Literal[
        "advance_stage", "set_tier", "set_owner", "add_task", "schedule_followup", "flag_risk", "other"
    ]
    title: str = Field(min_length=1, max_length=300)
    description: str = Field(min_length=1, max_length=5000)
    confidence: float = Field(ge=0, le=1)
    sourceType: Literal["transcript", "email", "activity", "sla_scan", "health_score", "manual"]
    sourceId: str | None = Field(default=None, max_length=200)
    suggestedAction: SuggestedAction | None = None
    expiresAt: AwareDatetime | None = None


Action = (
    StartSaleIn
    | AdvanceStageIn
    | SetPhaseIn
    | SetOwnerIn
    | SetTierIn
    | SetMrrIn
    | SetSeatsIn
    | SetNextStepDueIn
    | CompleteProcessIn
    | CompleteSaleStartOnboardingIn
    | CompleteOnboardingStartEngagementIn
    | AddNoteIn
    | RecordActivityIn
)
"""What a suggestion may propose to do to the product."""
Ask = (
    Action
    | BackdatedSaleIn
    | AcceptSuggestionIn
    | DismissSuggestionIn
    | CloseSaleIn
    | RestartSaleIn
    | AdoptIn
    | WarnSlaIn
    | BreachSlaIn
    | RecordHealthIn
    | CreateSuggestionIn
)

ACTION: TypeAdapter[Action] = TypeAdapter(Annotated[Action, Field(discriminator="action")])
