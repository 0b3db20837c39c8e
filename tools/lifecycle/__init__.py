"""
Lifecycle: how a company comes to a product and stays with it, kept as events and decided by pure rules.

    asks.py         what may be asked of it: one model per command
    state.py        what it is, replayed from its events
    course.py       a command under way, and what was looked up for it
    moving.py       phases, processes, stages: what is allowed and what follows
    noting.py       values, notes, limits, health, suggestions
    decisions.py    which rule answers which command
    rules.py        what is refused
    facts.py        what a command needs to know beyond the history
    handling.py     load, decide, append
    sla.py          stages that last too long
    health.py       the score; evaluating.py applies it when its facts have changed
    suggestions.py  what agents propose, as people read it
    projectors.py   which read models are kept
"""

from tools.lifecycle.asks import (
    ACTION,
    AcceptSuggestionIn,
    AddNoteIn,
    AdoptIn,
    AdvanceStageIn,
    Ask,
    BackdatedSaleIn,
    CloseSaleIn,
    CompleteOnboardingStartEngagementIn,
    CompleteProcessIn,
    CompleteSaleStartOnboardingIn,
    CreateSuggestionIn,
    DismissSuggestionIn,
    MoveStageIn,
    RecordActivityIn,
    RestartSaleIn,
    SetMrrIn,
    SetNextStepDueIn,
    SetOwnerIn,
    SetPhaseIn,
    SetSeatsIn,
    SetTierIn,
    StartSaleIn,
    SuggestedAction,
)
from tools.lifecycle.handling import STREAM, EventOut, execute, hold, load_state
from tools.lifecycle.projectors import AGGREGATE
from tools.lifecycle.rules import (
    AgentsSuggest,
    NoOpenProcess,
    NotYours,
    OwnerUnknown,
    PhaseForbids,
    PhaseOutOfOrder,
    ProcessOpen,
    ProcessUnusable,
    StageArchived,
    StageForeign,
    StageSame,
    StageTerminal,
)
from tools.lifecycle.state import State
from tools.lifecycle.suggestions import SuggestionFilter, SuggestionRow, SuggestionsOut, list_suggestions

__all__ = [
    "ACTION", "AGGREGATE", "STREAM", "AcceptSuggestionIn", "AddNoteIn", "AdoptIn", "AdvanceStageIn", "AgentsSuggest", "Ask",
    "BackdatedSaleIn", "CloseSaleIn", "CompleteOnboardingStartEngagementIn", "CompleteProcessIn",
    "CompleteSaleStartOnboardingIn", "CreateSuggestionIn", "DismissSuggestionIn", "EventOut", "MoveStageIn", "NoOpenProcess", "NotYours",
    "OwnerUnknown", "PhaseForbids", "PhaseOutOfOrder", "ProcessOpen", "ProcessUnusable", "RecordActivityIn", "RestartSaleIn",
    "SetMrrIn", "SetNextStepDueIn", "SetOwnerIn", "SetPhaseIn", "SetSeatsIn", "SetTierIn", "StageArchived", "StageForeign",
    "StageSame", "StageTerminal", "StartSaleIn", "State", "SuggestedAction", "SuggestionFilter", "SuggestionRow",
    "SuggestionsOut", "execute", "hold", "list_suggestions", "load_state",
]  # fmt: skip
