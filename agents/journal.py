"""
What happens in a run, noted in memory and written step by step.

Nodes, the door and the runner note; the runner writes. The present run's journal travels in a context variable, so
that whoever works for a run can note something without being handed the run.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

Kind = Literal[
    "run.started",
    "run.resumed",
    "run.paused",
    "run.finished",
    "run.failed",
    "run.cancelled",
    "step.started",
    "step.finished",
    "step.failed",
    "model.called",
    "tool.called",
    "source.read",
]


@dataclass(frozen=True, slots=True)
class Note:
    """One event to be: `at` is the wall clock in seconds since 1970."""

    kind: Kind
    step: str | None
    data: dict[str, Any]
    at: float


@dataclass
class Journal:
    """The notes of a run that are not written yet; `where` tells which step the present code belongs to."""

    notes: list[Note] = field(default_factory=list[Note])
    where: Callable[[], str | None] = lambda: None
    tainted: bool = False

    def note(self, kind: Kind, *, step: str | None = None, **data: Any) -> None:
        """Note one event of the present step (or of the one named)."""
        self.notes.append(Note(kind, step or self.where(), data, time.time()))

    def read_source(self, kind: str, source_id: UUID, title: str = "", *, third_party: bool = False) -> None:
        """Note that a record was read; one that outsiders wrote taints the run."""
        self.tainted = self.tainted or third_party
        self.note("source.read", record=kind, id=str(source_id), title=title[:200], third_party=third_party)

    def take(self) -> list[Note]:
        """Return the notes, and forget them."""
        taken, self.notes = self.notes, []
        return taken


current: ContextVar[Journal | None] = ContextVar("journal", default=None)
"""The journal of the run that this code works for, if any."""
