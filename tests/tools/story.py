"""A product that things happen to, in memory: given what happened, when this is asked, then these events."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from memory.events import Event
from memory.rows import Named
from tools.lifecycle import asks, decisions, state
from tools.lifecycle.course import Facts
from tools.lifecycle.state import State
from tools.processes import Process, Stage

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PRODUCT = uuid4()
PHASES: tuple[Any, ...] = (None, "prospect", "in_sales", "onboarding", "active", "churned")


def process_of(kind: Any, *stages: str, **values: Any) -> Process:
    """Stages are written as `name`, `name:won` or `name 3/5`."""
    made: list[Stage] = []
    for order, written in enumerate(stages, 1):
        name, _, terminal = written.partition(":")
        name, _, limits = name.partition(" ")
        warned, late = map(int, limits.split("/")) if limits else (None, None)
        made.append(
            Stage(id=uuid4(), name=name, slug=name.lower(), order=order, sla_days=late, sla_warning_days=warned,
                  is_terminal=bool(terminal), terminal_type=terminal or None, archived=False)  # type: ignore[arg-type]
        )  # fmt: skip
    return Process.model_validate(
        {"id": uuid4(), "product_id": PRODUCT, "process_type": kind, "version": 1, "status": "published",
         "name": str(kind), "stages": made} | values
    )  # fmt: skip


SALES = process_of("sales", "Lead 2/4", "Demo", "Won:won", "Lost:lost")
ONBOARDING = process_of("onboarding", "Setup", "Done:completed", "Gone:churned")
ENGAGEMENT = process_of("engagement", "Growing", "Left:churned")
START = asks.StartSaleIn(processId=SALES.id)


def stage_of(process: Process, name: str) -> Stage:
    return next(stage for stage in process.stages if stage.name == name)


def facts_of(current: Process | None = None, target: Process | None = None, owner: Named | None = None) -> Facts:
    return Facts(PRODUCT, current, target, owner, "EUR")


class Story:
    """A product that things happen to, one command after the other."""

    def __init__(self) -> None:
        self.it = State()
        self.at = NOW
        self.events: list[Event] = []

    def ask(
        self, ask: Any, *, target: Process | None = None, owner: Named | None = None, after: timedelta | None = None
    ) -> list[Event]:
        self.at += after or timedelta(hours=1)
        known = {str(each.id): each for each in (SALES, ONBOARDING, ENGAGEMENT)}
        current = known.get(self.it.process_id or "") if self.it.process_open else None
        new = decisions.decide(self.it, ask, facts_of(current, target, owner), self.at)
        for event in new:
            self.it = state.copy(self.it)
            state.apply(self.it, event.type, event.data, self.at)
        self.events += new
        return new

    def in_sales(self) -> "Story":
        self.ask(START, target=SALES)
        return self

    def onboarding(self) -> "Story":
        self.in_sales().ask(asks.CompleteSaleStartOnboardingIn(), target=ONBOARDING)
        return self

    def active(self) -> "Story":
        self.onboarding().ask(asks.CompleteOnboardingStartEngagementIn(), target=ENGAGEMENT)
        return self

    def churned(self) -> "Story":
        self.active().ask(asks.SetPhaseIn(toPhase="churned"))
        return self

    def prospect(self) -> "Story":
        self.ask(asks.SetPhaseIn(toPhase="prospect"))
        return self

    @classmethod
    def of(cls, phase: Any) -> "Story":
        story = cls()
        if phase is not None:
            getattr(story, phase)()
        return story


def types_of(events: list[Event]) -> list[str]:
    return [event.type.removeprefix("CompanyProduct") for event in events]
