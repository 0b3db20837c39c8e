"""Decisions on a company's product: given what happened, when this is asked, then these events or this refusal. Pure."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from time import process_time
from typing import Any
from uuid import UUID, uuid4

import pytest

from memory.errors import Refusal
from memory.events import Event
from memory.rows import Named
from tools.lifecycle import asks, decisions, health, rules, state
from tools.lifecycle.course import Facts
from tools.lifecycle.state import State
from tools.processes import Process, Stage

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PRODUCT = uuid4()
PHASES: tuple[Any, ...] = (None, "prospect", "in_sales", "onboarding", "active", "churned")


def _process(kind: Any, *stages: str, **values: Any) -> Process:
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


SALES = _process("sales", "Lead 2/4", "Demo", "Won:won", "Lost:lost")
ONBOARDING = _process("onboarding", "Setup", "Done:completed", "Gone:churned")
ENGAGEMENT = _process("engagement", "Growing", "Left:churned")
START = asks.StartSaleIn(processId=SALES.id)


def _stage(process: Process, name: str) -> Stage:
    return next(stage for stage in process.stages if stage.name == name)


def _facts(current: Process | None = None, target: Process | None = None, owner: Named | None = None) -> Facts:
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
        new = decisions.decide(self.it, ask, _facts(current, target, owner), self.at)
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


def _types(events: list[Event]) -> list[str]:
    return [event.type.removeprefix("CompanyProduct") for event in events]


class TestStartSale:
    def test_takes_a_snapshot_of_the_first_stage(self) -> None:
        phase, process = Story().ask(START, target=SALES)
        assert phase == Event(
            "CompanyProductPhaseSet", {"from_phase": None, "to_phase": "in_sales", "status": "in_sales"}
        )
        assert process == Event(
            "CompanyProductProcessSet",
            {
                "from_process_id": None, "from_process_type": None, "to_process_id": str(SALES.id),
                "to_process_type": "sales", "process_version": 1, "initial_stage_id": str(SALES.stages[0].id),
                "initial_stage_name": "Lead", "initial_stage_slug": "lead", "initial_stage_order": 1, "sla_days": 4,
                "sla_warning_days": 2,
            },
        )  # fmt: skip

    def test_begins_in_the_stage_that_is_named_and_at_the_time_it_really_began(self) -> None:
        demo, began = _stage(SALES, "Demo"), NOW - timedelta(days=30)
        ask = asks.BackdatedSaleIn(processId=SALES.id, initialStageId=demo.id, effectiveAt=began)
        phase, process = Story().ask(ask, target=SALES)
        assert phase.data["effective_at"] == began.isoformat()
        assert process.data["initial_stage_id"] == str(demo.id)

    def test_leads_a_churned_product_through_prospect(self) -> None:
        new = Story().churned().ask(START, target=SALES)
        assert [event.data["to_phase"] for event in new[:2]] == ["prospect", "in_sales"]
        assert _types(new) == ["PhaseSet", "PhaseSet", "ProcessSet"]

    @pytest.mark.parametrize("phase", ["in_sales", "onboarding", "active"])
    def test_refuses_an_open_process(self, phase: str) -> None:
        with pytest.raises(rules.ProcessOpen):
            Story.of(phase).ask(START, target=SALES)

    def test_refuses_a_sale_that_goes_on_without_a_process(self) -> None:
        story = Story()
        story.ask(asks.SetPhaseIn(toPhase="in_sales"))
        with pytest.raises(rules.PhaseForbids, match="phase in_sales cannot start a sale"):
            story.ask(START, target=SALES)

    @pytest.mark.parametrize(
        ("target", "said"),
        [
            (None, "does not exist"),
            (SALES.model_copy(update={"product_id": uuid4()}), "another product"),
            (SALES.model_copy(update={"process_type": "onboarding"}), "not of type sales"),
            (SALES.model_copy(update={"status": "draft"}), "not published"),
            (SALES.model_copy(update={"stages": []}), "no stage to begin in"),
        ],
    )
    def test_refuses_a_process_that_is_not_one_of_this_products_published_sales(
        self, target: Process | None, said: str
    ) -> None:
        with pytest.raises(rules.ProcessUnusable, match=said):
            Story().ask(START, target=target)

    def test_refuses_another_version(self) -> None:
        with pytest.raises(rules.ProcessUnusable, match="its version is 1"):
            Story().ask(asks.StartSaleIn(processId=SALES.id, processVersion=2), target=SALES)

    def test_refuses_to_begin_at_the_end_or_elsewhere(self) -> None:
        for stage_id, refusal in ((_stage(SALES, "Won").id, rules.StageTerminal), (uuid4(), rules.StageForeign)):
            with pytest.raises(refusal):
                Story().ask(asks.StartSaleIn(processId=SALES.id, initialStageId=stage_id), target=SALES)


class TestAdvanceStage:
    def test_goes_forwards_and_back(self) -> None:
        story, demo, lead = Story().in_sales(), _stage(SALES, "Demo"), _stage(SALES, "Lead")
        (forth,) = story.ask(asks.AdvanceStageIn(toStageId=demo.id, reason="They asked"))
        (back,) = story.ask(asks.AdvanceStageIn(toStageId=lead.id))
        assert forth.data == {
            "from_stage_id": str(lead.id), "from_stage_name": "Lead", "from_stage_order": 1, "to_stage_id": str(demo.id),
            "to_stage_name": "Demo", "to_stage_slug": "demo", "to_stage_order": 2, "sla_days": None,
            "sla_warning_days": None, "process_id": str(SALES.id), "process_type": "sales", "is_progression": True,
            "trigger": "manual", "stage_transition_count": 2, "reason": "They asked",
        }  # fmt: skip
        assert (back.data["is_progression"], back.data["stage_transition_count"]) == (False, 3)

    def test_refuses_what_is_no_other_open_stage(self) -> None:
        cases: list[tuple[UUID, type[Refusal]]] = [
            (_stage(SALES, "Lead").id, rules.StageSame),
            (_stage(SALES, "Won").id, rules.StageTerminal),
            (_stage(ONBOARDING, "Setup").id, rules.StageForeign),
        ]
        for stage_id, refusal in cases:
            with pytest.raises(refusal):
                Story().in_sales().ask(asks.AdvanceStageIn(toStageId=stage_id))

    def test_refuses_without_an_open_process(self) -> None:
        with pytest.raises(rules.NoOpenProcess):
            Story().ask(asks.AdvanceStageIn(toStageId=uuid4()))

    def test_refuses_an_archived_stage(self) -> None:
        story, demo = Story().in_sales(), _stage(SALES, "Demo")
        archived = [stage.model_copy(update={"archived": stage.id == demo.id}) for stage in SALES.stages]
        facts = _facts(SALES.model_copy(update={"stages": archived}))
        with pytest.raises(rules.StageArchived):
            decisions.decide(story.it, asks.AdvanceStageIn(toStageId=demo.id), facts, NOW)


class TestSetPhase:
    @pytest.mark.parametrize("to_phase", PHASES[1:])
    @pytest.mark.parametrize("phase", PHASES)
    def test_goes_where_the_machine_allows_and_nowhere_else(self, phase: Any, to_phase: Any) -> None:
        allowed = {
            None: {"prospect", "in_sales"}, "prospect": {"in_sales", "churned"}, "in_sales": {"onboarding", "churned"},
            "onboarding": {"active", "churned"}, "active": {"churned"}, "churned": {"prospect"},
        }[phase]  # fmt: skip
        story = Story.of(phase)
        if to_phase in allowed:
            assert story.ask(asks.SetPhaseIn(toPhase=to_phase))[-1].data["to_phase"] == to_phase
            assert (story.it.phase, story.it.process_open) == (to_phase, False)
        else:
            with pytest.raises(rules.PhaseOutOfOrder, match=f"cannot go to phase {to_phase}"):
                story.ask(asks.SetPhaseIn(toPhase=to_phase))

    @pytest.mark.parametrize(
        ("phase", "to_phase", "outcome", "terminal"),
        [
            ("in_sales", "churned", "churned", None),
            ("in_sales", "onboarding", "won", "Won"),
            ("onboarding", "active", "completed", "Done"),
            ("onboarding", "churned", "churned", "Gone"),
            ("active", "churned", "churned", "Left"),
        ],
    )
    def test_ends_the_process_with_its_phase(
        self, phase: str, to_phase: Any, outcome: str, terminal: str | None
    ) -> None:
        completed, moved = Story.of(phase).ask(asks.SetPhaseIn(toPhase=to_phase))
        assert (completed.data["outcome"], completed.data["terminal_stage_name"]) == (outcome, terminal)
        assert moved.type == state.PHASE_SET

    @pytest.mark.parametrize(
        ("phase", "kind", "outcome", "status"),
        [
            (None, None, None, "inactive"),
            ("prospect", None, None, "inactive"),
            ("in_sales", None, None, "in_sales"),
            ("onboarding", "sales", "won", "in_onboarding"),
            ("active", "onboarding", "completed", "active"),
            ("churned", "sales", "lost", "declined"),
            ("churned", "sales", "cancelled", "declined"),
            ("churned", "sales", "churned", "churned"),
            ("churned", "engagement", "cancelled", "churned"),
            ("churned", None, None, "churned"),
        ],
    )
    def test_derives_declined_only_from_a_lost_or_cancelled_sale(
        self, phase: Any, kind: Any, outcome: Any, status: str
    ) -> None:
        assert state.derive_status(phase, kind, outcome) == status


class TestCompleteProcess:
    def test_wins_a_sale_and_begins_the_onboarding(self) -> None:
        story = Story().in_sales()
        ask = asks.CompleteProcessIn(terminalStageId=_stage(SALES, "Won").id, outcome="won", notes="Signed")
        completed, moved, begun = story.ask(ask, target=ONBOARDING, after=timedelta(days=3))
        assert completed.data == {
            "process_id": str(SALES.id), "process_type": "sales", "from_stage_id": str(_stage(SALES, "Lead").id),
            "terminal_stage_id": str(_stage(SALES, "Won").id), "terminal_stage_name": "Won", "terminal_stage_slug": "won",
            "terminal_stage_order": 3, "outcome": "won", "duration_days": 3.0, "stage_transition_count": 1,
            "notes": "Signed",
        }  # fmt: skip
        assert (moved.data["to_phase"], moved.data["status"]) == ("onboarding", "in_onboarding")
        assert (begun.data["from_process_type"], begun.data["initial_stage_name"]) == ("sales", "Setup")

    @pytest.mark.parametrize(
        ("phase", "process", "stage", "outcome", "to_phase", "status"),
        [
            ("in_sales", SALES, "Lost", "lost", "churned", "declined"),
            ("onboarding", ONBOARDING, "Gone", "churned", "churned", "churned"),
            ("onboarding", ONBOARDING, "Done", "completed", "active", "active"),
            ("active", ENGAGEMENT, "Left", "churned", "churned", "churned"),
        ],
    )
    def test_lets_the_phase_follow(
        self, phase: str, process: Process, stage: str, outcome: Any, to_phase: str, status: str
    ) -> None:
        ask = asks.CompleteProcessIn(terminalStageId=_stage(process, stage).id, outcome=outcome)
        new = Story.of(phase).ask(ask)
        assert _types(new) == ["ProcessCompleted", "PhaseSet"]
        assert (new[1].data["to_phase"], new[1].data["status"]) == (to_phase, status)

    def test_keeps_an_active_customer_whose_engagement_is_completed(self) -> None:
        process = _process("engagement", "Growing", "Grown:completed")
        story = Story().onboarding()
        story.ask(asks.CompleteOnboardingStartEngagementIn(), target=process)
        ask = asks.CompleteProcessIn(terminalStageId=process.stages[1].id, outcome="completed")
        new = decisions.decide(story.it, ask, _facts(process), NOW)
        assert _types(new) == ["ProcessCompleted"]

    def test_refuses_an_outcome_that_the_process_or_the_stage_does_not_have(self) -> None:
        won, lost = _stage(SALES, "Won").id, _stage(SALES, "Lost").id
        cases: list[tuple[UUID, Any, type[Refusal]]] = [
            (won, "completed", rules.OutcomeForeign),
            (lost, "won", rules.StageNotTerminal),
            (_stage(SALES, "Demo").id, "won", rules.StageNotTerminal),
            (uuid4(), "won", rules.StageForeign),
        ]
        for stage_id, outcome, refusal in cases:
            with pytest.raises(refusal):
                Story().in_sales().ask(asks.CompleteProcessIn(terminalStageId=stage_id, outcome=outcome))

    def test_refuses_a_completed_process(self) -> None:
        ask = asks.CompleteProcessIn(terminalStageId=_stage(SALES, "Lost").id, outcome="lost")
        story = Story().in_sales()
        story.ask(ask)
        with pytest.raises(rules.NoOpenProcess):
            story.ask(ask)


class TestComposites:
    def test_go_without_a_process_when_there_is_none(self) -> None:
        story = Story().in_sales()
        assert _types(story.ask(asks.CompleteSaleStartOnboardingIn())) == ["ProcessCompleted", "PhaseSet"]
        with pytest.raises(rules.NoOpenProcess, match="No onboarding process"):
            story.ask(asks.CompleteOnboardingStartEngagementIn())

    def test_refuse_a_process_that_is_not_published(self) -> None:
        draft = ONBOARDING.model_copy(update={"status": "draft"})
        with pytest.raises(rules.ProcessUnusable, match="not published"):
            Story().in_sales().ask(asks.CompleteSaleStartOnboardingIn(onboardingProcessId=draft.id), target=draft)

    def test_refuse_a_sale_that_is_not_open(self) -> None:
        with pytest.raises(rules.NoOpenProcess, match="No sales process"):
            Story().onboarding().ask(asks.CompleteSaleStartOnboardingIn(), target=ONBOARDING)


class TestAdopt:
    @pytest.mark.parametrize("phase", [None, "prospect", "in_sales", "churned"])
    def test_enters_from_anywhere_outside(self, phase: Any) -> None:
        story = Story.of(phase)
        story.ask(asks.AdoptIn(toPhase="active", reason="migration"), target=ENGAGEMENT)
        assert (story.it.phase, story.it.process_type, story.it.process_open) == ("active", "engagement", True)

    @pytest.mark.parametrize("phase", ["onboarding", "active"])
    def test_refuses_who_is_a_customer(self, phase: str) -> None:
        with pytest.raises(rules.PhaseForbids, match="be adopted"):
            Story.of(phase).ask(asks.AdoptIn(toPhase="active", reason="migration"))

    def test_wins_the_open_sale(self) -> None:
        new = Story().in_sales().ask(asks.AdoptIn(toPhase="onboarding", reason="conversion"), target=ONBOARDING)
        assert _types(new) == ["ProcessCompleted", "PhaseSet", "ProcessSet"]
        assert new[0].data["outcome"] == "won"


class TestCloseSale:
    @pytest.mark.parametrize(
        ("outcome", "status", "stage"),
        [("won", "in_onboarding", "Won"), ("lost", "declined", "Lost"), ("cancelled", "declined", None)],
    )
    def test_finds_its_own_terminal_stage(self, outcome: Any, status: str, stage: str | None) -> None:
        completed, moved = Story().in_sales().ask(asks.CloseSaleIn(outcome=outcome))
        assert (completed.data["terminal_stage_name"], moved.data["status"]) == (stage, status)

    @pytest.mark.parametrize(("outcome", "to_phase"), [("won", "onboarding"), ("lost", "churned")])
    def test_moves_only_the_phase_without_a_process(self, outcome: Any, to_phase: str) -> None:
        story = Story()
        story.ask(asks.SetPhaseIn(toPhase="in_sales"))
        assert [event.data["to_phase"] for event in story.ask(asks.CloseSaleIn(outcome=outcome))] == [to_phase]

    def test_refuses_outside_of_a_sale(self) -> None:
        with pytest.raises(rules.PhaseForbids):
            Story().active().ask(asks.CloseSaleIn(outcome="lost"))


class TestRestartSale:
    def test_goes_back_to_the_first_stage_once(self) -> None:
        story = Story().in_sales()
        story.ask(asks.AdvanceStageIn(toStageId=_stage(SALES, "Demo").id))
        ask = asks.RestartSaleIn(processId=SALES.id)
        assert _types(story.ask(ask, target=SALES)) == ["StageSet"]
        assert story.ask(ask, target=SALES) == []

    def test_begins_the_process_that_is_not_open(self) -> None:
        newer = _process("sales", "First", "Won:won", version=2)
        (begun,) = Story().in_sales().ask(asks.RestartSaleIn(processId=newer.id), target=newer)
        assert begun.data["from_process_id"] == str(SALES.id)
        assert begun.data["from_stage_id"] == str(_stage(SALES, "Lead").id)


class TestValues:
    def test_are_recorded_with_what_they_were(self) -> None:
        story, owner = Story(), Named(id=uuid4(), name="Ana")
        due = NOW + timedelta(days=3)
        story.ask(asks.SetMrrIn(mrr=Decimal("99.5")))
        found = [
            story.ask(asks.SetOwnerIn(ownerId=owner.id), owner=owner),
            story.ask(asks.SetTierIn(tier=2)),
            story.ask(asks.SetMrrIn(mrr=Decimal(100))),
            story.ask(asks.SetSeatsIn(seats=0)),
            story.ask(asks.SetNextStepDueIn(nextStep="Call", dueDate=due)),
        ]
        assert [event.data for (event,) in found] == [
            {"from_owner_id": None, "from_owner_name": None, "to_owner_id": str(owner.id), "to_owner_name": "Ana"},
            {"from_tier": None, "to_tier": 2},
            {"from_mrr": "99.50", "to_mrr": "100.00", "currency": "EUR"},
            {"from_seats": None, "to_seats": 0},
            {"from_next_step": None, "to_next_step": "Call", "from_due_date": None, "to_due_date": due.isoformat()},
        ]

    def test_that_are_equal_are_no_events(self) -> None:
        story, owner = Story(), Named(id=uuid4(), name="Ana")
        for repeat in (False, True):
            new = [
                *story.ask(asks.SetOwnerIn(ownerId=owner.id), owner=owner),
                *story.ask(asks.SetTierIn(tier=2)),
                *story.ask(asks.SetMrrIn(mrr=Decimal("10.00"))),
                *story.ask(asks.SetSeatsIn(seats=5)),
                *story.ask(asks.SetNextStepDueIn(nextStep="Call", dueDate=NOW)),
            ]
            assert len(new) == (0 if repeat else 5)

    def test_keep_the_currency_until_another_is_named(self) -> None:
        story = Story()
        story.ask(asks.SetMrrIn(mrr=Decimal(1), currency="CHF"))
        assert story.ask(asks.SetMrrIn(mrr=Decimal(2)))[0].data["currency"] == "CHF"
        assert story.ask(asks.SetMrrIn(mrr=Decimal(2), currency="USD"))[0].data["currency"] == "USD"

    def test_refuse_an_owner_who_is_not_there(self) -> None:
        with pytest.raises(rules.OwnerUnknown):
            Story().ask(asks.SetOwnerIn(ownerId=uuid4()))


class TestStageLimits:
    def test_are_recorded_once_per_stay(self) -> None:
        story = Story().in_sales()
        entered = story.at
        (warned,) = story.ask(asks.WarnSlaIn(seenAt=entered + timedelta(days=2, hours=12)))
        (late,) = story.ask(asks.BreachSlaIn(seenAt=entered + timedelta(days=5)))
        said = {"stage_name": "Lead", "sla_days": 4, "stage_entry_sequence": 2}
        assert said.items() <= warned.data.items() <= (warned.data | {"warning_days": 2, "actual_days": 2.5}).items()
        assert (late.data["actual_days"], late.data["days_over"]) == (5.0, 1.0)
        for ask in (asks.WarnSlaIn, asks.BreachSlaIn):
            with pytest.raises(rules.SlaNotDue):
                story.ask(ask(seenAt=entered + timedelta(days=9)))

    def test_begin_again_with_the_next_stay(self) -> None:
        story = Story().in_sales()
        story.ask(asks.BreachSlaIn(seenAt=story.at + timedelta(days=9)))
        story.ask(asks.AdvanceStageIn(toStageId=_stage(SALES, "Demo").id))
        story.ask(asks.AdvanceStageIn(toStageId=_stage(SALES, "Lead").id))
        with pytest.raises(rules.SlaNotDue):
            story.ask(asks.BreachSlaIn(seenAt=story.at + timedelta(days=3)))
        assert len(story.ask(asks.BreachSlaIn(seenAt=story.at + timedelta(days=4, hours=1)))) == 1

    def test_are_not_due_a_moment_before(self) -> None:
        story = Story().in_sales()
        with pytest.raises(rules.SlaNotDue):
            story.ask(asks.WarnSlaIn(seenAt=story.at + timedelta(days=2) - timedelta(microseconds=1)))


class TestHealth:
    @pytest.mark.parametrize(
        ("inputs", "score", "level"),
        [
            ({}, 100, "none"),
            ({"total": 3}, 85, "none"),
            ({"total": 5}, 75, "low"),
            ({"total": 3, "escalated": 1}, 70, "low"),
            ({"total": 1, "high": 1}, 75, "low"),
            ({"total": 5, "high": 2}, 50, "medium"),
            ({"total": 5, "high": 2, "escalated": 1}, 35, "high"),
            ({"total": 1, "urgent": 1}, 60, "high"),
            ({"total": 2, "urgent": 1, "critical": 1}, 60, "high"),
            ({"total": 1, "response_breached": 1}, 80, "high"),
            ({"total": 1, "resolution_breached": 1}, 70, "high"),
            ({"negative_impact": 1}, 90, "none"),
            ({"negative_impact": 2}, 80, "low"),
            ({"critical_impact": 1}, 80, "high"),
            ({"stage_breached": True}, 85, "high"),
            ({"total": 9, "critical": 9, "high": 9, "resolution_breached": 9, "critical_impact": 9}, 0, "high"),
        ],
    )
    def test_follows_the_formula(self, inputs: dict[str, Any], score: int, level: str) -> None:
        found = health.judge(health.HealthInputs(**inputs), "hash")
        assert (found.score, found.risk_level) == (score, level)
        assert sum(reason.impact for reason in found.reasons) <= score - 100

    def test_is_recorded_when_its_facts_change(self) -> None:
        story, healthy = Story(), health.judge(health.HealthInputs(), "a")
        ill = health.judge(health.HealthInputs(total=1, urgent=1, stage_breached=True), "b")
        assert _types(story.ask(asks.RecordHealthIn(health=healthy))) == ["HealthComputed"]
        assert story.ask(asks.RecordHealthIn(health=healthy)) == []
        computed, risen = story.ask(asks.RecordHealthIn(health=ill))
        assert (computed.data["from_score"], computed.data["to_score"]) == (100, 45)
        assert risen.data | {"reasons": []} == {
            "from_risk_level": "none", "to_risk_level": "high", "primary_reason": "severe_case_open", "reasons": [],
            "triggered_by_support_cases": True, "triggered_by_sla_breach": True,
        }  # fmt: skip
        assert risen.data["reasons"] == computed.data["reasons"] != []


class TestSuggestions:
    def _suggest(self, **values: Any) -> asks.CreateSuggestionIn:
        return asks.CreateSuggestionIn.model_validate(
            {"suggestionType": "set_tier", "title": "A tier", "description": "They grow.", "confidence": 0.9,
             "sourceType": "email", "suggestedAction": {"command": "set-tier", "params": {"tier": 4}}} | values
        )  # fmt: skip

    def test_are_accepted_once(self) -> None:
        story, suggestion = Story(), self._suggest()
        story.ask(suggestion)
        accept = asks.AcceptSuggestionIn(suggestionId=suggestion.suggestionId)
        assert _types(story.ask(accept)) == ["AISuggestionAccepted"]
        for ask in (accept, asks.DismissSuggestionIn(suggestionId=suggestion.suggestionId)):
            with pytest.raises(rules.SuggestionSettled, match="accepted already"):
                story.ask(ask)

    def test_expire(self) -> None:
        story, suggestion = Story(), self._suggest(expiresAt=NOW + timedelta(hours=3))
        story.ask(suggestion)
        accept = asks.AcceptSuggestionIn(suggestionId=suggestion.suggestionId)
        with pytest.raises(rules.SuggestionExpired):
            decisions.decide(story.it, accept, _facts(), NOW + timedelta(hours=3))
        assert decisions.decide(story.it, accept, _facts(), NOW + timedelta(hours=2)) != []

    def test_refuse_what_is_unknown_empty_or_told_twice(self) -> None:
        story, empty = Story(), self._suggest(suggestedAction=None)
        story.ask(empty)
        with pytest.raises(rules.SuggestionExists):
            story.ask(empty)
        with pytest.raises(rules.SuggestionNotFound):
            story.ask(asks.AcceptSuggestionIn(suggestionId=uuid4()))
        with pytest.raises(rules.SuggestionEmpty):
            story.ask(asks.AcceptSuggestionIn(suggestionId=empty.suggestionId))
        assert len(story.ask(asks.AcceptSuggestionIn(suggestionId=empty.suggestionId, executeAction=False))) == 1


class TestReplay:
    def test_evolve_leaves_the_given_state_alone(self) -> None:
        story = Story().in_sales()
        suggestion = asks.CreateSuggestionIn(
            suggestionType="other", title="t", description="d", confidence=0.5, sourceType="manual"
        )
        before = story.it
        (created,) = decisions.decide(before, suggestion, _facts(), NOW)
        recorded = _Happened(created, NOW)
        after = state.evolve(before, recorded)
        assert (before.version, before.suggestions) == (2, {})
        assert (after.version, len(after.suggestions)) == (3, 1)

    def test_counts_events_that_it_does_not_know(self) -> None:
        unknown = _Happened(Event("CompanyProductRepainted", {"color": "red"}), NOW)
        assert state.replay([unknown]) == State(version=1)

    def test_reads_health_as_it_was_written_before_it_was_computed(self) -> None:
        legacy = _Happened(
            Event("CompanyProductHealthUpdated", {"from_score": None, "to_score": 40, "factors": []}), NOW
        )
        assert state.replay([legacy]).health_score == 40

    def test_is_fast(self) -> None:
        story, numbers = Story().in_sales(), count(1)
        while len(story.events) < 100:
            lead, demo = _stage(SALES, "Lead").id, _stage(SALES, "Demo").id
            story.ask(asks.AdvanceStageIn(toStageId=demo if str(demo) != story.it.stage_id else lead))
            story.ask(asks.SetSeatsIn(seats=next(numbers)))
        happened = [_Happened(event, NOW) for event in story.events[:100]]
        spent = min(_spent(happened) for _ in range(50))
        assert spent < 400e-6, f"{spent * 1e6:.0f} us for 100 events"


class _Happened:
    def __init__(self, event: Event, at: datetime) -> None:
        self.type, self.data, self.occurred_at = event.type, event.data, at


def _spent(happened: list[_Happened]) -> float:
    began = process_time()
    state.replay(happened)
    return process_time() - began
