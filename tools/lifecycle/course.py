"""A command under way, and what was looked up for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from memory.events import Event
from memory.rows import Named
from tools.lifecycle import state
from tools.lifecycle.asks import Trigger
from tools.lifecycle.state import State
from tools.processes import Process

DAY = timedelta(days=1)
ANY = "sales, onboarding or engagement"


@dataclass(frozen=True, slots=True)
class Facts:
    """
    What was looked up for one command.

    `current` is the open process; `target` the one that the command names, or the published one that follows.
    """

    product_id: UUID
    current: Process | None = None
    target: Process | None = None
    owner: Named | None = None
    currency: str = "USD"


class Course:
    """A command under way: the state so far and the events that led there."""

    __slots__ = ("at", "events", "state", "trigger")

    def __init__(self, before: State, at: datetime, trigger: Trigger = "manual") -> None:
        self.state = state.copy(before)
        self.events: list[Event] = []
        self.at = at
        self.trigger: Trigger = trigger

    def emit(self, event_type: str, data: dict[str, Any], **optional: object) -> None:
        """Record that something happened; optional facts that are None stay out of the payload."""
        data |= {name: value for name, value in optional.items() if value is not None}
        self.events.append(Event(event_type, data))
        state.apply(self.state, event_type, data, self.at)


def days(span: timedelta) -> float:
    """Return days with two decimals; the clocks of two commands may differ by a moment, so never less than none."""
    return max(0.0, round(span / DAY, 2))
