"""Cases of advice: where a product stands, what a message about it says, and what a careful person would propose of it."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field, model_validator

from agents.advising.outputs import Kind
from evals.cases import Exact
from tools.advising import SaidKind

STAGES = ["Discovery", "Demo", "Proposal", "Negotiation"]


class SaidInput(Exact):
    """One thing that the message says, as its analysis has it: evidence, numbered from 1 in the order of confidence."""

    kind: SaidKind
    name: str = ""
    says: str = ""
    quote: str
    due: date | None = None
    confidence: float = 0.9


class AdviceCase(Exact):
    """A sale in its first stage for six days, on a Tuesday in March; nothing is planned, and a mail has come in."""

    today: date = date(2026, 3, 3)
    timezone: str = "America/New_York"
    channel: Literal["email", "call", "meeting"] = "email"
    direction: Literal["inbound", "outbound"] = "inbound"
    product: str = "Stock Control"
    process: Literal["sales", "onboarding", "engagement"] = "sales"
    stages: list[str] = STAGES
    stage: str = "Discovery"
    days_in_stage: int = 6
    next_step: str = ""
    next_step_due: date | None = None
    sentiment: str = "neutral"
    urgency: str = "medium"
    said: list[SaidInput] = Field(min_length=1)

    @model_validator(mode="after")
    def _stands_somewhere(self) -> "AdviceCase":
        if self.stage not in self.stages:
            raise ValueError("stage must be one of stages")
        if [each.confidence for each in self.said] != sorted((each.confidence for each in self.said), reverse=True):
            raise ValueError("said must be in the order of confidence")
        return self

    @property
    def now(self) -> datetime:
        """The moment of asking: late in the morning where the mailbox is."""
        return datetime.fromisoformat(f"{self.today.isoformat()}T16:00:00+00:00")


class Wanted(Exact):
    """A proposal that must be made: a stage by its name, a next step by its day, a task by the evidence it is for."""

    kind: Kind
    stage: str | None = None
    day: date | None = None
    evidence: int | None = None


class AdviceExpected(Exact):
    """What must be proposed; nothing means nothing. `also` are kinds that may be proposed besides, and need not."""

    propose: list[Wanted]
    also: list[Kind] = []
