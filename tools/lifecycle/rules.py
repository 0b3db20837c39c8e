"""What a company's product refuses; each message names the rule."""

from memory.errors import Conflict, Forbidden, Invalid, NotFound


class PhaseForbids(Invalid):
    """A product in phase {phase} cannot {what}; that is allowed in phase {allowed}."""


class PhaseOutOfOrder(Invalid):
    """A product in phase {phase} cannot go to phase {to_phase}; it may go to {allowed}."""


class ProcessOpen(Invalid):
    """The {process_type} process is still open; complete it first."""


class NoOpenProcess(Invalid):
    """No {process_type} process is open."""


class ProcessUnusable(Invalid):
    """Process {process_id} cannot be begun: {reason}."""


class StageForeign(Invalid):
    """Stage {stage_id} does not belong to the process."""


class StageTerminal(Invalid):
    """Stage {stage_id} ends the process; complete the process instead."""


class StageNotTerminal(Invalid):
    """Stage {stage_id} does not end the process with outcome {outcome}."""


class StageSame(Invalid):
    """The product is in stage {stage_id} already."""


class StageArchived(Conflict):
    """Stage {stage_id} has been archived; choose another."""


class OutcomeForeign(Invalid):
    """A {process_type} process does not end {outcome}; it ends {allowed}."""


class OwnerUnknown(Invalid):
    """User {user_id} does not exist or is not active."""


class SlaNotDue(Invalid):
    """The open stage has no {what} that is due and not recorded yet."""


class SuggestionNotFound(NotFound):
    """Suggestion {suggestion_id} does not exist."""


class SuggestionExists(Conflict):
    """Suggestion {suggestion_id} exists already."""


class SuggestionSettled(Conflict):
    """The suggestion is {status} already."""


class SuggestionExpired(Conflict):
    """The suggestion has expired."""


class SuggestionEmpty(Invalid):
    """The suggestion proposes nothing that could be executed; accept it with executeAction false."""


class ActionUnknown(Invalid):
    """The suggested action is not valid."""


class AgentsSuggest(Forbidden):
    """An agent may only suggest; a person accepts and acts."""


class NotYours(Forbidden):
    """Only its owner or a manager may change this product."""
