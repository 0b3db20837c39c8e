"""What changes about a product without moving it: values, limits, health, suggestions; and replaying all of it. Pure."""

from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from time import process_time
from typing import Any
from uuid import uuid4

import pytest

from memory.events import Event
from memory.rows import Named
from tests.tools.story import NOW, SALES, Story, facts_of, stage_of, types_of
from tools.lifecycle import asks, decisions, health, rules, state
from tools.lifecycle.state import State


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
        story.ask(asks.AdvanceStageIn(toStageId=stage_of(SALES, "Demo").id))
        story.ask(asks.AdvanceStageIn(toStageId=stage_of(SALES, "Lead").id))
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
        assert types_of(story.ask(asks.RecordHealthIn(health=healthy))) == ["HealthComputed"]
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
        assert types_of(story.ask(accept)) == ["AISuggestionAccepted"]
        for ask in (accept, asks.DismissSuggestionIn(suggestionId=suggestion.suggestionId)):
            with pytest.raises(rules.SuggestionSettled, match="accepted already"):
                story.ask(ask)

    def test_expire(self) -> None:
        story, suggestion = Story(), self._suggest(expiresAt=NOW + timedelta(hours=3))
        story.ask(suggestion)
        accept = asks.AcceptSuggestionIn(suggestionId=suggestion.suggestionId)
        with pytest.raises(rules.SuggestionExpired):
            decisions.decide(story.it, accept, facts_of(), NOW + timedelta(hours=3))
        assert decisions.decide(story.it, accept, facts_of(), NOW + timedelta(hours=2)) != []

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
        (created,) = decisions.decide(before, suggestion, facts_of(), NOW)
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
            lead, demo = stage_of(SALES, "Lead").id, stage_of(SALES, "Demo").id
            story.ask(asks.AdvanceStageIn(toStageId=demo if str(demo) != story.it.stage_id else lead))
            story.ask(asks.SetSeatsIn(seats=next(numbers)))
        happened = [_Happened(event, NOW) for event in story.events[:100]]
        spent = min(_spent(happened) for _ in range(50))
        assert spent < 200e-6, f"{spent * 1e6:.0f} us for 100 events"


class _Happened:
    def __init__(self, event: Event, at: datetime) -> None:
        self.type, self.data, self.occurred_at = event.type, event.data, at


def _spent(happened: list[_Happened]) -> float:
    began = process_time()
    state.replay(happened)
    return process_time() - began
