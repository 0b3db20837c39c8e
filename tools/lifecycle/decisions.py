"""
What follows from a command: pure decisions on a product's state, as events or a refusal.

`decide` gets what is asked and the facts that were looked up for it; what the events are to keep of the configuration
(stages with their limits, names of owners) is copied into them, so that replaying never reads it again.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from memory.events import Event
from tools.lifecycle import moving, noting
from tools.lifecycle.asks import Ask
from tools.lifecycle.course import Course, Facts
from tools.lifecycle.state import State

_DECISIONS = cast(
    "Mapping[str, Callable[[Course, Any, Facts], None]]",
    {
        "start-sale": moving.start_sale,
        "restart-sale": moving.restart_sale,
        "advance-stage": moving.advance_stage,
        "complete-process": moving.complete_process,
        "close-sale": moving.close_sale,
        "complete-sale-start-onboarding": moving.complete_sale,
        "complete-onboarding-start-engagement": moving.complete_onboarding,
        "set-phase": moving.set_phase,
        "adopt": moving.adopt,
        "set-owner": noting.set_owner,
        "set-tier": noting.set_tier,
        "set-mrr": noting.set_mrr,
        "set-seats": noting.set_seats,
        "set-next-step-due": noting.set_next_step_due,
        "add-note": noting.add_note,
        "record-activity": noting.record_activity,
        "sla-warning": noting.warn_sla,
        "sla-breach": noting.breach_sla,
        "record-health": noting.record_health,
        "create-suggestion": noting.create_suggestion,
        "accept-suggestion": noting.accept_suggestion,
        "dismiss-suggestion": noting.dismiss_suggestion,
    },
)


def decide(before: State, ask: Ask, facts: Facts, at: datetime) -> list[Event]:
    """
    Return the events that a command leads to; none when nothing would change.

    Raises the refusals of `rules`.
    """
    course = Course(before, at)
    take(course, ask, facts)
    return course.events


def take(course: Course, ask: Ask, facts: Facts) -> None:
    """
    Go one command further.

    Raises the refusals of `rules`.
    """
    _DECISIONS[ask.action](course, ask, facts)
