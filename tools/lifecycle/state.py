"""
What a company's product is, as its events tell it: a pure fold.

    null ──> prospect ──> in_sales ──> onboarding ──> active
               ^   └──────────┴────────────┴────────────┴──> churned ──┐
               └──────────────────────────────────────────────────────-┘

`State` holds what decisions need. Ids, amounts and moments stay the strings that the payloads hold: replaying a long
history is what every command begins with.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

Phase = Literal["prospect", "in_sales", "onboarding", "active", "churned"]
Status = Literal["inactive", "in_sales", "in_onboarding", "active", "declined", "churned"]
ProcessType = Literal["sales", "onboarding", "engagement"]
Outcome = Literal["won", "lost", "completed", "churned", "cancelled"]
RiskLevel = Literal["none", "low", "medium", "high", "critical"]
SuggestionStatus = Literal["pending", "accepted", "dismissed"]
Data = Mapping[str, Any]

MACHINE: Mapping[Phase | None, tuple[Phase, ...]] = {
    None: ("prospect", "in_sales"),
    "prospect": ("in_sales", "churned"),
    "in_sales": ("onboarding", "churned"),
    "onboarding": ("active", "churned"),
    "active": ("churned",),
    "churned": ("prospect",),
}
"""Where a phase may go."""

PHASE_SET = "CompanyProductPhaseSet"
PROCESS_SET = "CompanyProductProcessSet"
STAGE_SET = "CompanyProductStageSet"
PROCESS_COMPLETED = "CompanyProductProcessCompleted"
SLA_WARNING = "CompanyProductSLAWarning"
SLA_BREACHED = "CompanyProductSLABreached"
HEALTH_UPDATED = "CompanyProductHealthUpdated"
HEALTH_COMPUTED = "CompanyProductHealthComputed"
RISK_LEVEL_SET = "CompanyProductRiskLevelSet"
ACTIVITY_RECORDED = "CompanyProductActivityRecorded"
NOTE_ADDED = "CompanyProductNoteAdded"
OWNER_SET = "CompanyProductOwnerSet"
TIER_SET = "CompanyProductTierSet"
MRR_SET = "CompanyProductMRRSet"
SEATS_SET = "CompanyProductSeatsSet"
NEXT_STEP_DUE_SET = "CompanyProductNextStepDueSet"
SUGGESTION_CREATED = "AISuggestionCreated"
SUGGESTION_ACCEPTED = "AISuggestionAccepted"
SUGGESTION_DISMISSED = "AISuggestionDismissed"


class Happened(Protocol):
    """What replaying needs of a recorded event."""

    @property
    def type(self) -> str: ...
    @property
    def data(self) -> dict[str, Any]: ...
    @property
    def occurred_at(self) -> datetime: ...


@dataclass(frozen=True, slots=True)
class Suggestion:
    """What an agent has proposed; `action` is a command and its parameters, or None when there is nothing to execute."""

    status: SuggestionStatus
    action: Data | None
    expires_at: str | None


@dataclass(slots=True)
class State:
    """One company's product; `process_*` and `stage_*` stay when a process is completed, `process_open` tells."""

    version: int = 0
    phase: Phase | None = None
    process_open: bool = False
    process_id: str | None = None
    process_type: ProcessType | None = None
    process_started_at: datetime | None = None
    transitions: int = 0
    stage_id: str | None = None
    stage_name: str | None = None
    stage_order: int | None = None
    sla_days: int | None = None
    sla_warning_days: int | None = None
    stage_entered_at: datetime | None = None
    stage_entry_sequence: int = 0
    is_warned: bool = False
    is_breached: bool = False
    ended_type: ProcessType | None = None
    ended_outcome: Outcome | None = None
    owner_id: str | None = None
    owner_name: str | None = None
    tier: int | None = None
    mrr: str | None = None
    currency: str | None = None
    seats: int | None = None
    next_step: str | None = None
    next_step_due_at: str | None = None
    health_score: int | None = None
    risk_level: RiskLevel | None = None
    health_input_hash: str | None = None
    suggestions: dict[str, Suggestion] = field(default_factory=dict[str, Suggestion])


def replay(events: Iterable[Happened]) -> State:
    """Return what these events, in order, have made of an unknown company's product."""
    state = State()
    for event in events:
        apply(state, event.type, event.data, event.occurred_at)
    return state


def evolve(state: State, event: Happened) -> State:
    """Return the state after one more event; the given one stays as it is."""
    after = copy(state)
    apply(after, event.type, event.data, event.occurred_at)
    return after


def copy(state: State) -> State:
    """Return a state that may be changed without changing this one."""
    return replace(state, suggestions=dict(state.suggestions))


def apply(state: State, event_type: str, data: Data, at: datetime) -> None:
    """Change the state as one event says; a type that is not known only counts."""
    state.version += 1
    change = _CHANGES.get(event_type)
    if change is not None:
        change(state, data, at)


def derive_status(phase: Phase | None, ended_type: ProcessType | None, ended_outcome: Outcome | None) -> Status:
    """Return the status of a product in this phase whose last completed process ended so."""
    match phase:
        case None | "prospect":
            return "inactive"
        case "in_sales" | "active":
            return phase
        case "onboarding":
            return "in_onboarding"
        case "churned":
            declined = ended_type == "sales" and ended_outcome in ("lost", "cancelled")
            return "declined" if declined else "churned"


# What each event changes --------------------------------------------------------------------------------------------


def _phase_set(state: State, data: Data, _at: datetime) -> None:
    state.phase = data["to_phase"]


def _process_set(state: State, data: Data, at: datetime) -> None:
    state.process_open = True
    state.process_id = data["to_process_id"]
    state.process_type = data["to_process_type"]
    state.process_started_at = at
    state.transitions = 1
    state.stage_id = data["initial_stage_id"]
    state.stage_name = data["initial_stage_name"]
    state.stage_order = data["initial_stage_order"]
    _enter(state, data, at)


def _stage_set(state: State, data: Data, at: datetime) -> None:
    state.transitions = data["stage_transition_count"]
    state.stage_id = data["to_stage_id"]
    state.stage_name = data["to_stage_name"]
    state.stage_order = data["to_stage_order"]
    _enter(state, data, at)


def _enter(state: State, data: Data, at: datetime) -> None:
    state.sla_days = data["sla_days"]
    state.sla_warning_days = data["sla_warning_days"]
    state.stage_entered_at = at
    state.stage_entry_sequence = state.version
    state.is_warned = state.is_breached = False


def _process_completed(state: State, data: Data, _at: datetime) -> None:
    state.process_open = False
    state.ended_type = data["process_type"]
    state.ended_outcome = data["outcome"]
    state.stage_id = data["terminal_stage_id"]
    state.stage_name = data["terminal_stage_name"]
    state.stage_order = data["terminal_stage_order"]
    state.sla_days = state.sla_warning_days = None
    state.is_warned = state.is_breached = False


def _sla_warning(state: State, _data: Data, _at: datetime) -> None:
    state.is_warned = True


def _sla_breached(state: State, _data: Data, _at: datetime) -> None:
    state.is_breached = True


def _health_updated(state: State, data: Data, _at: datetime) -> None:
    state.health_score = data["to_score"]


def _health_computed(state: State, data: Data, _at: datetime) -> None:
    state.health_score = data["to_score"]
    state.risk_level = data["risk_level"]
    state.health_input_hash = data["input_hash"]


def _risk_level_set(state: State, data: Data, _at: datetime) -> None:
    state.risk_level = data["to_risk_level"]


def _owner_set(state: State, data: Data, _at: datetime) -> None:
    state.owner_id = data["to_owner_id"]
    state.owner_name = data["to_owner_name"]


def _tier_set(state: State, data: Data, _at: datetime) -> None:
    state.tier = data["to_tier"]


def _mrr_set(state: State, data: Data, _at: datetime) -> None:
    state.mrr = data["to_mrr"]
    state.currency = data["currency"]


def _seats_set(state: State, data: Data, _at: datetime) -> None:
    state.seats = data["to_seats"]


def _next_step_due_set(state: State, data: Data, _at: datetime) -> None:
    state.next_step = data["to_next_step"]
    state.next_step_due_at = data["to_due_date"]


def _suggestion_created(state: State, data: Data, _at: datetime) -> None:
    state.suggestions[data["suggestion_id"]] = Suggestion(
        "pending", data.get("suggested_action"), data.get("expires_at")
    )


def _suggestion_accepted(state: State, data: Data, _at: datetime) -> None:
    _settle(state, data["suggestion_id"], "accepted")


def _suggestion_dismissed(state: State, data: Data, _at: datetime) -> None:
    _settle(state, data["suggestion_id"], "dismissed")


def _settle(state: State, suggestion_id: str, status: SuggestionStatus) -> None:
    state.suggestions[suggestion_id] = replace(state.suggestions[suggestion_id], status=status)


_CHANGES: Mapping[str, Callable[[State, Data, datetime], None]] = {
    PHASE_SET: _phase_set,
    PROCESS_SET: _process_set,
    STAGE_SET: _stage_set,
    PROCESS_COMPLETED: _process_completed,
    SLA_WARNING: _sla_warning,
    SLA_BREACHED: _sla_breached,
    HEALTH_UPDATED: _health_updated,
    HEALTH_COMPUTED: _health_computed,
    RISK_LEVEL_SET: _risk_level_set,
    OWNER_SET: _owner_set,
    TIER_SET: _tier_set,
    MRR_SET: _mrr_set,
    SEATS_SET: _seats_set,
    NEXT_STEP_DUE_SET: _next_step_due_set,
    SUGGESTION_CREATED: _suggestion_created,
    SUGGESTION_ACCEPTED: _suggestion_accepted,
    SUGGESTION_DISMISSED: _suggestion_dismissed,
}
