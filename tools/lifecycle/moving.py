"""Moving through phases, processes and stages: what is allowed, and the events that follow."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from tools.lifecycle import asks, rules, state
from tools.lifecycle.course import ANY, Course, Facts, days
from tools.lifecycle.state import Outcome, Phase, ProcessType, State
from tools.processes import Process, Stage

ENDS: Mapping[ProcessType, tuple[Outcome, ...]] = {
    "sales": ("won", "lost", "cancelled"),
    "onboarding": ("completed", "churned", "cancelled"),
    "engagement": ("completed", "churned", "cancelled"),
}
"""How each kind of process may end."""
WELL: Mapping[ProcessType, Outcome] = {"sales": "won", "onboarding": "completed", "engagement": "completed"}


def start_sale(course: Course, ask: asks.StartSaleIn, facts: Facts) -> None:
    """Begin the sale; what has churned passes through prospect."""
    it = course.state
    if it.process_open:
        raise rules.ProcessOpen(process_type=it.process_type)
    if it.phase not in (None, "prospect", "churned"):
        raise rules.PhaseForbids(phase=it.phase, what="start a sale", allowed="none, prospect, churned")
    process = _beginnable(facts, "sales", ask.processId, ask.processVersion)
    stage = _entry_of(process, ask.initialStageId)
    if it.phase == "churned":
        _set_phase(course, "prospect")
    effective_at = ask.effectiveAt if isinstance(ask, asks.BackdatedSaleIn) else None
    _set_phase(course, "in_sales", effective_at=effective_at)
    _begin(course, process, stage)


def restart_sale(course: Course, ask: asks.RestartSaleIn, facts: Facts) -> None:
    """Take the sale up again: in another stage, in another process, or in the first one it ever had."""
    it = course.state
    if it.phase != "in_sales":
        raise rules.PhaseForbids(phase=_named(it.phase), what="take a sale up again", allowed="in_sales")
    if it.process_open and it.process_id == str(ask.processId) and facts.target is not None:
        stage = _entry_of(facts.target, ask.stageId)
        if it.stage_id != str(stage.id):
            _move(course, stage, ask.reason)
        return
    process = _beginnable(facts, "sales", ask.processId)
    stage = _entry_of(process, ask.stageId)
    _begin(course, process, stage)


def advance_stage(course: Course, ask: asks.AdvanceStageIn, facts: Facts) -> None:
    """Go to another open stage of the process."""
    it = course.state
    if not it.process_open or facts.current is None:
        raise rules.NoOpenProcess(process_type=ANY)
    stage = _stage_of(facts.current, ask.toStageId)
    if it.stage_id == str(stage.id):
        raise rules.StageSame(stage_id=stage.id)
    if stage.is_terminal:
        raise rules.StageTerminal(stage_id=stage.id)
    if stage.archived:
        raise rules.StageArchived(stage_id=stage.id)
    _move(course, stage, ask.reason)


def complete_process(course: Course, ask: asks.CompleteProcessIn, facts: Facts) -> None:
    """End the process as the terminal stage says."""
    it = course.state
    if not it.process_open or facts.current is None or it.process_type is None:
        raise rules.NoOpenProcess(process_type=ANY)
    _check_outcome(it.process_type, ask.outcome)
    stage = _stage_of(facts.current, ask.terminalStageId)
    if stage.terminal_type != ask.outcome:
        raise rules.StageNotTerminal(stage_id=stage.id, outcome=ask.outcome)
    _end(course, ask.outcome, stage, facts, ask.notes)


def close_sale(course: Course, ask: asks.CloseSaleIn, facts: Facts) -> None:
    """End the sale, with or without a process."""
    it = course.state
    if it.phase != "in_sales":
        raise rules.PhaseForbids(phase=_named(it.phase), what="close a sale", allowed="in_sales")
    if it.process_open:
        _end(course, ask.outcome, _terminal_of(facts.current, ask.outcome), facts, ask.reason)
    elif ask.outcome == "won":
        _set_phase(course, "onboarding", reason=ask.reason)
        _begin_following(course, facts)
    else:
        _set_phase(course, "churned", reason=ask.reason)


def complete_sale(course: Course, ask: asks.CompleteSaleStartOnboardingIn, facts: Facts) -> None:
    """Win the sale."""
    _check_open(course.state, "sales")
    following = _check_following(facts, "onboarding", ask.onboardingProcessId)
    _end(course, "won", _terminal_of(facts.current, "won"), following, ask.notes)


def complete_onboarding(course: Course, ask: asks.CompleteOnboardingStartEngagementIn, facts: Facts) -> None:
    """Have the customer up and running."""
    _check_open(course.state, "onboarding")
    following = _check_following(facts, "engagement", ask.engagementProcessId)
    _end(course, "completed", _terminal_of(facts.current, "completed"), following, ask.notes)


def set_phase(course: Course, ask: asks.SetPhaseIn, facts: Facts) -> None:
    """Go where the machine allows; a process never outlives its phase."""
    it = course.state
    allowed = state.MACHINE[it.phase]
    if ask.toPhase not in allowed:
        raise rules.PhaseOutOfOrder(phase=_named(it.phase), to_phase=ask.toPhase, allowed=", ".join(allowed))
    if it.process_open and it.process_type is not None:
        # Who leaves forwards has ended it well.
        outcome: Outcome = "churned" if ask.toPhase == "churned" else WELL[it.process_type]
        _complete(course, outcome, _terminal_of(facts.current, outcome), ask.reason)
    _set_phase(course, ask.toPhase, reason=ask.reason, churn_reason=ask.churnReason)


def adopt(course: Course, ask: asks.AdoptIn, facts: Facts) -> None:
    """Enter a customer's phase from outside."""
    it = course.state
    if it.phase in ("onboarding", "active"):
        raise rules.PhaseForbids(phase=it.phase, what="be adopted", allowed="none, prospect, in_sales, churned")
    kind: ProcessType = "onboarding" if ask.toPhase == "onboarding" else "engagement"
    following = _check_following(facts, kind, ask.processId)
    if it.process_open:
        _complete(course, "won", _terminal_of(facts.current, "won"), ask.reason)
    _set_phase(course, ask.toPhase, reason=ask.reason, effective_at=ask.effectiveAt)
    _begin_following(course, following)


def _end(course: Course, outcome: Outcome, stage: Stage | None, facts: Facts, notes: str | None) -> None:
    """Complete the open process, and let the phase follow."""
    process_type = course.state.process_type
    _complete(course, outcome, stage, notes)
    if process_type == "sales" and outcome == "won":
        _set_phase(course, "onboarding")
        _begin_following(course, facts)
    elif process_type == "onboarding" and outcome == "completed":
        _set_phase(course, "active")
        _begin_following(course, facts)
    elif outcome != "completed":
        _set_phase(course, "churned", reason=notes)


def _begin_following(course: Course, facts: Facts) -> None:
    """Begin the process that belongs to the new phase, when there is one with a stage to begin in."""
    if facts.target is not None and (stage := facts.target.first_stage) is not None:
        _begin(course, facts.target, stage)


# Their events -------------------------------------------------------------------------------------------------------


def _set_phase(
    course: Course,
    phase: Phase,
    *,
    reason: str | None = None,
    churn_reason: str | None = None,
    effective_at: datetime | None = None,
) -> None:
    it = course.state
    course.emit(
        state.PHASE_SET,
        {
            "from_phase": it.phase,
            "to_phase": phase,
            "status": state.derive_status(phase, it.ended_type, it.ended_outcome),
        },
        reason=reason,
        churn_reason=churn_reason,
        effective_at=effective_at.isoformat() if effective_at else None,
    )


def _begin(course: Course, process: Process, stage: Stage) -> None:
    it = course.state
    course.emit(
        state.PROCESS_SET,
        {
            "from_process_id": it.process_id,
            "from_process_type": it.process_type,
            "to_process_id": str(process.id),
            "to_process_type": process.process_type,
            "process_version": process.version,
            "initial_stage_id": str(stage.id),
            "initial_stage_name": stage.name,
            "initial_stage_slug": stage.slug,
            "initial_stage_order": stage.order,
            "sla_days": stage.sla_days,
            "sla_warning_days": stage.sla_warning_days,
        },
        from_stage_id=it.stage_id if it.process_open else None,
    )


def _move(course: Course, stage: Stage, reason: str | None) -> None:
    it = course.state
    course.emit(
        state.STAGE_SET,
        {
            "from_stage_id": it.stage_id,
            "from_stage_name": it.stage_name,
            "from_stage_order": it.stage_order,
            "to_stage_id": str(stage.id),
            "to_stage_name": stage.name,
            "to_stage_slug": stage.slug,
            "to_stage_order": stage.order,
            "sla_days": stage.sla_days,
            "sla_warning_days": stage.sla_warning_days,
            "process_id": it.process_id,
            "process_type": it.process_type,
            "is_progression": it.stage_order is None or stage.order > it.stage_order,
            "trigger": course.trigger,
            "stage_transition_count": it.transitions + 1,
        },
        reason=reason,
    )


def _complete(course: Course, outcome: Outcome, stage: Stage | None, notes: str | None) -> None:
    it = course.state
    started_at = it.process_started_at or course.at
    course.emit(
        state.PROCESS_COMPLETED,
        {
            "process_id": it.process_id,
            "process_type": it.process_type,
            "from_stage_id": it.stage_id,
            "terminal_stage_id": str(stage.id) if stage else None,
            "terminal_stage_name": stage.name if stage else None,
            "terminal_stage_slug": stage.slug if stage else None,
            "terminal_stage_order": stage.order if stage else None,
            "outcome": outcome,
            "duration_days": days(course.at - started_at),
            "stage_transition_count": it.transitions,
        },
        notes=notes,
    )


# What they check ----------------------------------------------------------------------------------------------------


def _check_open(it: State, process_type: ProcessType) -> None:
    if not it.process_open or it.process_type != process_type:
        raise rules.NoOpenProcess(process_type=process_type)


def _check_outcome(process_type: ProcessType, outcome: Outcome) -> None:
    allowed = ENDS[process_type]
    if outcome not in allowed:
        raise rules.OutcomeForeign(process_type=process_type, outcome=outcome, allowed=", ".join(allowed))


def _beginnable(facts: Facts, process_type: ProcessType, process_id: UUID, version: int | None = None) -> Process:
    process = facts.target

    def unusable(reason: str) -> rules.ProcessUnusable:
        return rules.ProcessUnusable(process_id=process_id, reason=reason)

    if process is None or process.id != process_id:
        raise unusable("it does not exist")
    if process.product_id != facts.product_id:
        raise unusable("it belongs to another product")
    if process.process_type != process_type:
        raise unusable(f"it is not of type {process_type}")
    if process.status != "published":
        raise unusable("it is not published")
    if version is not None and process.version != version:
        raise unusable(f"its version is {process.version}")
    if process.first_stage is None:
        raise unusable("it has no stage to begin in")
    return process


def _check_following(facts: Facts, process_type: ProcessType, process_id: UUID | None) -> Facts:
    if process_id is not None:
        _beginnable(facts, process_type, process_id)
    return facts


def _entry_of(process: Process, stage_id: UUID | None) -> Stage:
    stage = _stage_of(process, stage_id) if stage_id else process.first_stage
    if stage is None:
        raise rules.ProcessUnusable(process_id=process.id, reason="it has no stage to begin in")
    if stage.is_terminal:
        raise rules.StageTerminal(stage_id=stage.id)
    if stage.archived:
        raise rules.StageArchived(stage_id=stage.id)
    return stage


def _stage_of(process: Process, stage_id: UUID) -> Stage:
    stage = process.find_stage(stage_id)
    if stage is None:
        raise rules.StageForeign(stage_id=stage_id)
    return stage


def _terminal_of(process: Process | None, outcome: Outcome) -> Stage | None:
    if process is None:
        return None
    return next((stage for stage in process.stages if stage.terminal_type == outcome and not stage.archived), None)


def _named(phase: Phase | None) -> str:
    return phase or "none"
