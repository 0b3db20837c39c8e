"""Where a product may go: given what happened, when this is asked, then these events or this refusal. Pure."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from memory.errors import Refusal
from memory.events import Event
from tests.tools.story import (
    ENGAGEMENT,
    NOW,
    ONBOARDING,
    PHASES,
    SALES,
    START,
    Story,
    facts_of,
    process_of,
    stage_of,
    types_of,
)  # fmt: skip
from tools.lifecycle import asks, decisions, rules, state
from tools.processes import Process


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
        demo, began = stage_of(SALES, "Demo"), NOW - timedelta(days=30)
        ask = asks.BackdatedSaleIn(processId=SALES.id, initialStageId=demo.id, effectiveAt=began)
        phase, process = Story().ask(ask, target=SALES)
        assert phase.data["effective_at"] == began.isoformat()
        assert process.data["initial_stage_id"] == str(demo.id)

    def test_leads_a_churned_product_through_prospect(self) -> None:
        new = Story().churned().ask(START, target=SALES)
        assert [event.data["to_phase"] for event in new[:2]] == ["prospect", "in_sales"]
        assert types_of(new) == ["PhaseSet", "PhaseSet", "ProcessSet"]

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
        for stage_id, refusal in ((stage_of(SALES, "Won").id, rules.StageTerminal), (uuid4(), rules.StageForeign)):
            with pytest.raises(refusal):
                Story().ask(asks.StartSaleIn(processId=SALES.id, initialStageId=stage_id), target=SALES)


class TestAdvanceStage:
    def test_goes_forwards_and_back(self) -> None:
        story, demo, lead = Story().in_sales(), stage_of(SALES, "Demo"), stage_of(SALES, "Lead")
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
            (stage_of(SALES, "Lead").id, rules.StageSame),
            (stage_of(SALES, "Won").id, rules.StageTerminal),
            (stage_of(ONBOARDING, "Setup").id, rules.StageForeign),
        ]
        for stage_id, refusal in cases:
            with pytest.raises(refusal):
                Story().in_sales().ask(asks.AdvanceStageIn(toStageId=stage_id))

    def test_refuses_without_an_open_process(self) -> None:
        with pytest.raises(rules.NoOpenProcess):
            Story().ask(asks.AdvanceStageIn(toStageId=uuid4()))

    def test_refuses_an_archived_stage(self) -> None:
        story, demo = Story().in_sales(), stage_of(SALES, "Demo")
        archived = [stage.model_copy(update={"archived": stage.id == demo.id}) for stage in SALES.stages]
        facts = facts_of(SALES.model_copy(update={"stages": archived}))
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
        ask = asks.CompleteProcessIn(terminalStageId=stage_of(SALES, "Won").id, outcome="won", notes="Signed")
        completed, moved, begun = story.ask(ask, target=ONBOARDING, after=timedelta(days=3))
        assert completed.data == {
            "process_id": str(SALES.id), "process_type": "sales", "from_stage_id": str(stage_of(SALES, "Lead").id),
            "terminal_stage_id": str(stage_of(SALES, "Won").id), "terminal_stage_name": "Won", "terminal_stage_slug": "won",
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
        ask = asks.CompleteProcessIn(terminalStageId=stage_of(process, stage).id, outcome=outcome)
        new = Story.of(phase).ask(ask)
        assert types_of(new) == ["ProcessCompleted", "PhaseSet"]
        assert (new[1].data["to_phase"], new[1].data["status"]) == (to_phase, status)

    def test_keeps_an_active_customer_whose_engagement_is_completed(self) -> None:
        process = process_of("engagement", "Growing", "Grown:completed")
        story = Story().onboarding()
        story.ask(asks.CompleteOnboardingStartEngagementIn(), target=process)
        ask = asks.CompleteProcessIn(terminalStageId=process.stages[1].id, outcome="completed")
        new = decisions.decide(story.it, ask, facts_of(process), NOW)
        assert types_of(new) == ["ProcessCompleted"]

    def test_refuses_an_outcome_that_the_process_or_the_stage_does_not_have(self) -> None:
        won, lost = stage_of(SALES, "Won").id, stage_of(SALES, "Lost").id
        cases: list[tuple[UUID, Any, type[Refusal]]] = [
            (won, "completed", rules.OutcomeForeign),
            (lost, "won", rules.StageNotTerminal),
            (stage_of(SALES, "Demo").id, "won", rules.StageNotTerminal),
            (uuid4(), "won", rules.StageForeign),
        ]
        for stage_id, outcome, refusal in cases:
            with pytest.raises(refusal):
                Story().in_sales().ask(asks.CompleteProcessIn(terminalStageId=stage_id, outcome=outcome))

    def test_refuses_a_completed_process(self) -> None:
        ask = asks.CompleteProcessIn(terminalStageId=stage_of(SALES, "Lost").id, outcome="lost")
        story = Story().in_sales()
        story.ask(ask)
        with pytest.raises(rules.NoOpenProcess):
            story.ask(ask)


class TestComposites:
    def test_go_without_a_process_when_there_is_none(self) -> None:
        story = Story().in_sales()
        assert types_of(story.ask(asks.CompleteSaleStartOnboardingIn())) == ["ProcessCompleted", "PhaseSet"]
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
        assert types_of(new) == ["ProcessCompleted", "PhaseSet", "ProcessSet"]
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
        story.ask(asks.AdvanceStageIn(toStageId=stage_of(SALES, "Demo").id))
        ask = asks.RestartSaleIn(processId=SALES.id)
        assert types_of(story.ask(ask, target=SALES)) == ["StageSet"]
        assert story.ask(ask, target=SALES) == []

    def test_begins_the_process_that_is_not_open(self) -> None:
        newer = process_of("sales", "First", "Won:won", version=2)
        (begun,) = Story().in_sales().ask(asks.RestartSaleIn(processId=newer.id), target=newer)
        assert begun.data["from_process_id"] == str(SALES.id)
        assert begun.data["from_stage_id"] == str(stage_of(SALES, "Lead").id)
