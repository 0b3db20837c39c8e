"""Cases of the choice of a tool: what somebody asks for, what is at hand, and which tool does it."""

from datetime import datetime, timedelta, timezone
from typing import Any

from pydantic import Field

from agents.choosing.outputs import Record
from evals.cases import Exact, Phrases

DESK: tuple[tuple[str, str], ...] = (
    ("task", "Send the revised quote to Harborline"),
    ("task", "Call Tom Becker about the trial"),
    ("deal", "Harborline Stock Control rollout"),
    ("deal", "Becker renewal"),
    ("company", "Harborline Goods"),
    ("company", "Becker Logistics"),
    ("contact", "Dana Whitfield"),
    ("contact", "Tom Becker"),
    ("communication", "Mail from Dana Whitfield: Price for 40 seats"),
    ("user", "Ava Lindqvist (me)"),
    ("user", "Liam Ortega"),
)
"""What may be meant where a case says nothing else."""


def _desk() -> list[Record]:
    return [Record(number=place, kind=kind, name=name) for place, (kind, name) in enumerate(DESK, 1)]


class ChoiceInput(Exact):
    """What somebody asks for; by default on a Tuesday morning in New York, with a few records at hand."""

    request: str
    now: datetime = datetime(2026, 3, 3, 10, 0, tzinfo=timezone(timedelta(hours=-5)))
    timezone: str = "America/New_York"
    records: list[Record] = Field(default_factory=_desk)
    material: str = ""


class ChoiceExpected(Exact):
    """
    The tool by its name, null for none, and arguments that it must be given: a number is a record, words are looked for
    in the value, a moment begins as the one expected. `without` are arguments that nobody asked for.
    """

    tool: str | None
    arguments: dict[str, int | str] = {}
    without: Phrases = []

    def names_record(self, name: str) -> bool:
        """Whether the argument is a record."""
        return isinstance(self.arguments.get(name), int)


def shown(value: Any) -> str:
    """Return a value of an argument as words."""
    return str(value).lower() if isinstance(value, bool) else str(value)
