"""Values, notes, limits, health and suggestions: what changes without moving."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tools.lifecycle import asks, rules, state
from tools.lifecycle.course import ANY, DAY, Course, Facts, days
from tools.lifecycle.health import VERSION
from tools.lifecycle.state import State

# Single values ------------------------------------------------------------------------------------------------------


def set_owner(course: Course, ask: asks.SetOwnerIn, facts: Facts) -> None:
    """Give it to somebody else."""
    it = course.state
    if facts.owner is None or facts.owner.id != ask.ownerId:
        raise rules.OwnerUnknown(user_id=ask.ownerId)
    if it.owner_id == str(ask.ownerId):
        return
    course.emit(
        state.OWNER_SET,
        {
            "from_owner_id": it.owner_id,
            "from_owner_name": it.owner_name,
            "to_owner_id": str(ask.ownerId),
            "to_owner_name": facts.owner.name,
        },
        reason=ask.reason,
    )


def set_tier(course: Course, ask: asks.SetTierIn, _facts: Facts) -> None:
    """Change its tier."""
    if course.state.tier != ask.tier:
        course.emit(state.TIER_SET, {"from_tier": course.state.tier, "to_tier": ask.tier})


def set_mrr(course: Course, ask: asks.SetMrrIn, facts: Facts) -> None:
    """Change what it brings in."""
    it = course.state
    amount = f"{ask.mrr:.2f}"
    currency = ask.currency or it.currency or facts.currency
    if (it.mrr, it.currency) != (amount, currency):
        course.emit(state.MRR_SET, {"from_mrr": it.mrr, "to_mrr": amount, "currency": currency})


def set_seats(course: Course, ask: asks.SetSeatsIn, _facts: Facts) -> None:
    """Change its seats."""
    if course.state.seats != ask.seats:
        course.emit(state.SEATS_SET, {"from_seats": course.state.seats, "to_seats": ask.seats})


def set_next_step_due(course: Course, ask: asks.SetNextStepDueIn, _facts: Facts) -> None:
    """Change what is next."""
    it = course.state
    due_at = ask.dueDate.isoformat()
    if (it.next_step, it.next_step_due_at) != (ask.nextStep, due_at):
        course.emit(
            state.NEXT_STEP_DUE_SET,
            {
                "from_next_step": it.next_step,
                "to_next_step": ask.nextStep,
                "from_due_date": it.next_step_due_at,
                "to_due_date": due_at,
            },
        )


def add_note(course: Course, ask: asks.AddNoteIn, _facts: Facts) -> None:
    """Write something down."""
    course.emit(
        state.NOTE_ADDED,
        {
            "note_id": str(ask.noteId),
            "content": ask.content,
            "note_type": ask.noteType,
            "visibility": ask.visibility,
        },
    )


def record_activity(course: Course, ask: asks.RecordActivityIn, _facts: Facts) -> None:
    """Record what was done."""
    course.emit(
        state.ACTIVITY_RECORDED,
        {"activity_type": ask.activityType},
        activity_id=_text(ask.activityId),
        summary=ask.summary,
        outcome=ask.outcome,
        contact_id=_text(ask.contactId),
        duration_minutes=ask.durationMinutes,
    )


# What the service sees ----------------------------------------------------------------------------------------------


def warn_sla(course: Course, ask: asks.WarnSlaIn, _facts: Facts) -> None:
    """Record, once per stay in a stage, that it should be watched."""
    it = course.state
    lasted = _lasted(it, ask.seenAt)
    if it.is_warned or it.sla_warning_days is None or lasted < it.sla_warning_days * DAY:
        raise rules.SlaNotDue(what="warning")
    course.emit(state.SLA_WARNING, _sla_data(it, lasted) | {"warning_days": it.sla_warning_days})


def breach_sla(course: Course, ask: asks.BreachSlaIn, _facts: Facts) -> None:
    """Record, once per stay in a stage, that it has lasted too long."""
    it = course.state
    lasted = _lasted(it, ask.seenAt)
    if it.is_breached or it.sla_days is None or lasted < it.sla_days * DAY:
        raise rules.SlaNotDue(what="breach")
    course.emit(state.SLA_BREACHED, _sla_data(it, lasted) | {"days_over": days(lasted - it.sla_days * DAY)})


def _lasted(it: State, seen_at: datetime) -> timedelta:
    if not it.process_open or it.stage_entered_at is None:
        raise rules.NoOpenProcess(process_type=ANY)
    return seen_at - it.stage_entered_at


def _sla_data(it: State, lasted: timedelta) -> dict[str, Any]:
    return {
        "process_id": it.process_id,
        "process_type": it.process_type,
        "stage_id": it.stage_id,
        "stage_name": it.stage_name,
        "sla_days": it.sla_days,
        "actual_days": days(lasted),
        "stage_entry_sequence": it.stage_entry_sequence,
    }


def record_health(course: Course, ask: asks.RecordHealthIn, _facts: Facts) -> None:
    """Record the health that was judged on new facts, and the risk when its level changes."""
    it, health = course.state, ask.health
    if it.health_input_hash == health.input_hash:
        return
    level, reasons = it.risk_level, [reason.model_dump(mode="json", exclude_none=True) for reason in health.reasons]
    course.emit(
        state.HEALTH_COMPUTED,
        {
            "from_score": it.health_score,
            "to_score": health.score,
            "from_risk_level": level,
            "risk_level": health.risk_level,
            "reasons": reasons,
            "input_hash": health.input_hash,
            "scoring_version": VERSION,
            "computed_at": course.at.isoformat(),
        },
    )
    if (level or "none") != health.risk_level:
        course.emit(
            state.RISK_LEVEL_SET,
            {
                "from_risk_level": level,
                "to_risk_level": health.risk_level,
                "primary_reason": min(health.reasons, key=lambda reason: reason.impact).code if reasons else None,
                "reasons": reasons,
                "triggered_by_support_cases": any(reason.source == "support_cases" for reason in health.reasons),
                "triggered_by_sla_breach": any(reason.source == "sla" for reason in health.reasons),
            },
        )


# Suggestions --------------------------------------------------------------------------------------------------------


def create_suggestion(course: Course, ask: asks.CreateSuggestionIn, _facts: Facts) -> None:
    """Record what is proposed."""
    if str(ask.suggestionId) in course.state.suggestions:
        raise rules.SuggestionExists(suggestion_id=ask.suggestionId)
    course.emit(
        state.SUGGESTION_CREATED,
        {
            "suggestion_id": str(ask.suggestionId),
            "suggestion_type": ask.suggestionType,
            "title": ask.title,
            "description": ask.description,
            "confidence": ask.confidence,
            "source_type": ask.sourceType,
        },
        source_id=ask.sourceId,
        suggested_action=ask.suggestedAction.model_dump(mode="json") if ask.suggestedAction else None,
        expires_at=ask.expiresAt.isoformat() if ask.expiresAt else None,
    )


def accept_suggestion(course: Course, ask: asks.AcceptSuggestionIn, _facts: Facts) -> None:
    """Record that it was accepted; whoever decides goes on with the proposed action."""
    suggestion = _pending(course.state, ask.suggestionId)
    if suggestion.expires_at and datetime.fromisoformat(suggestion.expires_at) <= course.at:
        raise rules.SuggestionExpired
    if ask.executeAction and suggestion.action is None:
        raise rules.SuggestionEmpty
    course.emit(
        state.SUGGESTION_ACCEPTED,
        {"suggestion_id": str(ask.suggestionId), "execute_action": ask.executeAction},
        modification=ask.modification,
    )


def dismiss_suggestion(course: Course, ask: asks.DismissSuggestionIn, _facts: Facts) -> None:
    """Record that it was turned down."""
    _pending(course.state, ask.suggestionId)
    course.emit(
        state.SUGGESTION_DISMISSED,
        {"suggestion_id": str(ask.suggestionId)},
        dismiss_reason=ask.dismissReason,
        feedback=ask.feedback,
    )


def _pending(it: State, suggestion_id: UUID) -> state.Suggestion:
    suggestion = it.suggestions.get(str(suggestion_id))
    if suggestion is None:
        raise rules.SuggestionNotFound(suggestion_id=suggestion_id)
    if suggestion.status != "pending":
        raise rules.SuggestionSettled(status=suggestion.status)
    return suggestion


def _text(value: UUID | None) -> str | None:
    return str(value) if value else None
