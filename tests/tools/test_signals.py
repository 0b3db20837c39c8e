"""Health and signals of deals: the formulas, the scope, and what a scan opens and closes."""

from typing import Any

import pytest

from memory.db import Tx
from tools import deal_facts, health, signals
from tools.health import HealthIn, NoOpenDeals
from tools.signals import (
    CreateSignalIn,
    SignalClosed,
    SignalFilter,
    SignalNotFound,
    SignalOpen,
    SubjectUnknown,
    UpdateSignalIn,
)


async def facts_of(tx: Tx, caller: Any, deal: Any) -> deal_facts.DealFacts:
    (facts,) = await deal_facts.list_facts(tx, caller, deal_id=deal.id)
    return facts


class TestFacts:
    async def test_counts_messages_activities_people_and_moods(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        company = await given.fetch("companies", deal.company_id)
        await given.contact(company=company, role="decision_maker")
        await given.contact(company=company, role="champion")
        mail = await given.communication(user=me, deal=deal, occurred_at=given.ago(days=1))
        await given.analysis(mail, sentiment="positive")
        await given.communication(user=me, deal=deal, direction="outbound", occurred_at=given.ago(days=20))
        await given.communication(user=me, company=company, noise_type="marketing")
        await given.activity(user=me, deal=deal, type="meeting_held", occurred_at=given.ago(days=3))
        facts = await facts_of(tx, me, deal)
        assert (facts.contacts, facts.decision_makers, facts.champions) == (2, 1, 1)
        assert (facts.touches_7d, facts.touches_30d, facts.kinds_30d, facts.meetings_14d) == (2, 3, 2, 1)
        assert (facts.inbound_mails_14d, facts.outbound_mails_30d, facts.read, facts.positive) == (1, 1, 1, 1)
        assert facts.last_touch_at == mail.occurred_at


class TestHealth:
    async def test_a_silent_deal_without_people_is_weak(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        judged = await health.compute_health(tx, me, HealthIn(dealId=deal.id))
        scores = {name: part.score for name, part in judged.components.items()}
        assert scores == {"engagement": 20, "velocity": 85, "stakeholder": 20, "activity": 25, "sentiment": 50}
        assert judged.overall == round(0.25 * 20 + 0.2 * 85 + 0.2 * 20 + 0.2 * 25 + 0.15 * 50)
        kept = await given.fetch("deals", deal.id)
        assert (kept.health_score, kept.health_trend, kept.updated_at) == (judged.overall, "stable", deal.updated_at)

    async def test_a_lively_one_is_strong(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        company = await given.fetch("companies", deal.company_id)
        for role in ("decision_maker", "champion"):
            await given.contact(company=company, role=role)
        for hours in (1, 5, 9):
            mail = await given.communication(user=me, deal=deal, occurred_at=given.ago(hours=hours))
            await given.analysis(mail, sentiment="positive")
        await given.activity(user=me, deal=deal, type="meeting_held")
        judged = await health.compute_health(tx, me, HealthIn(dealId=deal.id))
        assert judged.components["engagement"].score == 100
        assert judged.components["stakeholder"].score == 85
        assert judged.components["sentiment"].score == 75

    async def test_the_trend_compares_with_a_week_ago(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        await given.row(
            "deal_health_history", deal_id=deal.id, overall_score=90, engagement_score=90, velocity_score=90, stakeholder_score=90,
            activity_score=90, sentiment_score=90, trend="stable", formula_version="x", recorded_at=given.ago(days=8),
        )  # fmt: skip
        assert (await health.compute_health(tx, me, HealthIn(dealId=deal.id))).trend == "declining"

    async def test_a_company_weighs_its_deals_by_value(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        small = await given.deal(
            company=acme,
            owner=me,
            estimated_value=1,
            stage_entered_at=given.ago(days=90),
            created_at=given.ago(days=90),
        )
        large = await given.deal(company=acme, owner=me, estimated_value=999_999)
        company = await health.compute_health(tx, me, HealthIn(companyId=acme.id))
        one = await health.compute_health(tx, me, HealthIn(dealId=large.id))
        other = await health.compute_health(tx, me, HealthIn(dealId=small.id))
        assert company.overall == one.overall != other.overall

    async def test_other_peoples_deals_are_not_judged(self, tx: Tx, given: Any) -> None:
        deal = await given.deal(owner=await given.user())
        with pytest.raises(NoOpenDeals):
            await health.compute_health(tx, await given.user(), HealthIn(dealId=deal.id))


class TestDetectSignals:
    async def test_opens_refreshes_and_closes(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me, created_at=given.ago(days=30), stage_entered_at=given.ago(days=16))
        company = await given.fetch("companies", deal.company_id)
        first = await signals.detect_signals(tx, me, deal_id=deal.id, save=True)
        found = {(signal["signal_type"], signal["severity"]) for signal in first.signals}
        assert found == {
            ("stale_deal", "critical"),
            ("stuck_stage", "critical"),
            ("multi_thread_opportunity", "medium"),
        }
        assert (await signals.detect_signals(tx, me, deal_id=deal.id, save=True)).count == 3
        for _ in range(2):
            await given.contact(company=company)
        await given.communication(user=me, deal=deal)
        await signals.detect_signals(tx, me, deal_id=deal.id, save=True)
        shown = (await signals.list_signals(tx, me, SignalFilter())).parse()
        assert [signal.type for signal in shown.signals] == ["stuck_stage"]
        resolved = (await signals.list_signals(tx, me, SignalFilter(status="resolved"))).parse()
        assert {signal.type for signal in resolved.signals} == {"stale_deal", "multi_thread_opportunity"}

    async def test_shows_without_saving(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        await given.deal(owner=me, created_at=given.ago(days=30))
        assert (await signals.detect_signals(tx, me, deal_id=None, save=False)).count > 0
        assert (await signals.list_signals(tx, me, SignalFilter())).parse().count == 0

    async def test_what_was_dismissed_stays_away(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me, created_at=given.ago(days=30))
        await signals.detect_signals(tx, me, deal_id=deal.id, save=True)
        for signal in (await signals.list_signals(tx, me, SignalFilter())).parse().signals:
            await signals.dismiss_signal(tx, me, signal.id)
        await signals.detect_signals(tx, me, deal_id=deal.id, save=True)
        assert (await signals.list_signals(tx, me, SignalFilter())).parse().count == 0

    async def test_says_what_a_message_said(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        mail = await given.communication(user=me, deal=deal)
        await given.row(
            "relationship_items", company_id=deal.company_id, kind="buying_signal", text="Budget is approved",
            detail=signals.Json({"signal": "budget_confirmed"}), quote="the budget is approved", confidence=0.9, source_type="email",
            source_id=mail.id, occurred_at=tx.now, text_hash="h",
        )  # fmt: skip
        found = await signals.detect_signals(tx, me, deal_id=deal.id, save=False)
        budget = [signal for signal in found.signals if signal["signal_type"] == "budget_confirmed"]
        assert budget[0]["evidence"]["quote"] == "the budget is approved"


class TestSignalsByHand:
    async def test_one_open_signal_of_a_type_per_deal(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        body = CreateSignalIn(signal_type="engagement_drop", title="Quiet", category="risk", dealId=deal.id)
        made = await signals.create_signal(tx, me, body)
        with pytest.raises(SignalOpen):
            await signals.create_signal(tx, me, body)
        await signals.update_signal(tx, me, made.signal.id, UpdateSignalIn(status="resolved", actionTaken="Called"))
        with pytest.raises(SignalClosed):
            await signals.update_signal(tx, me, made.signal.id, UpdateSignalIn(status="active"))
        await signals.create_signal(tx, me, body)

    async def test_other_peoples_deals_and_signals_are_not_found(self, tx: Tx, given: Any) -> None:
        me, other = await given.user(), await given.user()
        deal = await given.deal(owner=me)
        body = CreateSignalIn(signal_type="engagement_drop", title="Quiet", category="risk", dealId=deal.id)
        made = await signals.create_signal(tx, me, body)
        with pytest.raises(SubjectUnknown):
            await signals.create_signal(tx, other, body)
        with pytest.raises(SignalNotFound):
            await signals.get_signal(tx, other, made.signal.id)
