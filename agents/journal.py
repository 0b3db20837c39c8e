"""
What happens in a run, noted in memory and written step by step.

Nodes, the door and the runner note; the runner writes. The present run's journal travels in a context variable, so
that whoever works for a run can note something without being handed the run.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

Kind = Literal[
    "run.started",
    "run.resumed",
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
    """The notes of a run that are not written yet, and what the run has used since it was last written."""

    notes: list[Note] = field(default_factory=list[Note])
    step: str | None = None
    tainted: bool = False
    engine: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0

    def note(self, kind: Kind, *, step: str | None = None, **data: Any) -> None:
        """Note one event of the present step (or of the one named)."""
        self.notes.append(Note(kind, step or self.step, data, time.time()))

    def read_source(self, kind: str, source_id: UUID, title: str = "", *, third_party: bool = False) -> None:
        """Note that a record was read; one that outsiders wrote taints the run."""
        self.tainted = self.tainted or third_party
        self.note("source.read", record=kind, id=str(source_id), title=title[:200], third_party=third_party)

    def spend(
        self, engine: str, input_tokens: int, output_tokens: int, cost_usd: float, *, answered: bool = True
    ) -> None:
        """Add what one call has used; a run that a model has answered once counts as a model's."""
        if answered:
            self.engine = "openai" if "openai" in (self.engine, engine) else engine
        self.input_tokens += input_tokens
        self.output_tokens += output_tokens
        self.cost_usd += cost_usd

    def take(self) -> list[Note]:
        """Return the notes, and forget them."""
        taken, self.notes = self.notes, []
        return taken


current: ContextVar[Journal | None] = ContextVar("journal", default=None)
"""The journal of the run that this code works for, if any."""
