"""
Health of a deal: five scores from 0 to 100 and their weighted sum, from counts alone.

Source: CRM specification, AI algorithms, health (engagement .25, velocity .20, stakeholder .20, activity .20, sentiment .15;
each starts at 50 and is clamped to 0..100).
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import model_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import NotFound
from memory.rows import In, Row
from tools import deal_facts
from tools.deal_facts import STAGES, DealFacts

FORMULA = "health-1"
WEIGHTS = {"engagement": 0.25, "velocity": 0.20, "stakeholder": 0.20, "activity": 0.20, "sentiment": 0.15}
BENCHMARK_DAYS = {
    "new_lead": 5,
    "qualifying": 7,
    "discovery": 10,
    "demo": 10,
    "data_review": 7,
    "trial": 21,
    "negotiation": 14,
}
DAYS_PER_STAGE = 12
LARGE_SEGMENTS = ("enterprise",)

Trend = Literal["improving", "stable", "declining"]
Factor = tuple[int, str]


class NoOpenDeals(NotFound):
    """There is no open deal to judge."""


class HealthIn(In):
    """One deal, or a company by its open deals."""

    dealId: UUID | None = None
    companyId: UUID | None = None

    @model_validator(mode="after")
    def _one(self) -> "HealthIn":
        if (self.dealId is None) == (self.companyId is None):
            raise ValueError("send dealId or companyId")
        return self


class Component(Row):
    """One of the five scores (0..100), its weight, and what moved it."""

    score: int
    weight: float
    factors: list[str]


class HealthOut(Row):
    """The health of a deal, or of a company weighted by the value of its open deals."""

    overall: int
    components: dict[str, Component]
    trend: Trend
    changeFromLast: int
    riskFactors: list[str]
    positiveFactors: list[str]
    recommendation: str


class _Before(Row):
    last: int | None
    week_ago: int | None


def judge(facts: DealFacts, now: datetime) -> dict[str, tuple[int, list[Factor]]]:
    """Return each component's score with the factors that moved it, points first."""
    parts = {
        "engagement": _engagement(facts, now),
        "velocity": _velocity(facts, now),
        "stakeholder": _stakeholder(facts),
        "activity": _activity(facts),
        "sentiment": _sentiment(facts),
    }
    return {
        name: (max(0, min(100, start + sum(points for points, _ in factors))), factors)
        for name, (start, factors) in parts.items()
    }


def _engagement(facts: DealFacts, now: datetime) -> tuple[int, list[Factor]]:
    silent = facts.days_silent(now)
    if silent is None:
        return 20, [(0, "Nobody has been in touch yet")]
    points = next((p for limit, p in ((2, 30), (5, 20), (7, 5), (14, -15)) if silent <= limit), -30)
    factors: list[Factor] = [(points, f"Last touch {int(silent)} days ago")]
    if facts.inbound_mails_14d >= 3:
        factors.append((15, f"{facts.inbound_mails_14d} mails from them in two weeks"))
    elif facts.inbound_mails_14d == 0 and silent > 7:
        factors.append((-10, "No mail from them in two weeks"))
    if facts.meetings_14d:
        factors.append((10, "A meeting within two weeks"))
    return 50, factors


def _velocity(facts: DealFacts, now: datetime) -> tuple[int, list[Factor]]:
    if facts.is_closed:
        return 100, []
    days = facts.days_in_stage(now)
    ratio = days / BENCHMARK_DAYS[facts.stage]
    points = next((p for limit, p in ((0.5, 25), (1, 15), (1.5, -10), (2, -25)) if ratio <= limit), -35)
    factors: list[Factor] = [(points, f"{int(days)} days in {facts.stage}, usual are {BENCHMARK_DAYS[facts.stage]}")]
    expected = int((now - facts.created_at).days / DAYS_PER_STAGE)
    behind = min(expected, len(STAGES) - 1) - STAGES.index(facts.stage)
    if behind <= 0:
        factors.append((10, "As far as its age suggests"))
    elif behind > 1:
        factors.append((-15, f"{behind} stages behind its age"))
    return 50, factors


def _stakeholder(facts: DealFacts) -> tuple[int, list[Factor]]:
    if not facts.contacts:
        return 20, [(0, "No contact is known")]
    known, decides = facts.contacts, facts.decision_makers > 0
    if facts.segment in LARGE_SEGMENTS:
        points = 30 if decides and known >= 4 else 15 if decides and known >= 2 else -5 if known >= 2 else -20
    else:
        points = 25 if decides and known >= 2 else 15 if decides else 5 if known >= 2 else -10
    who = "with a decision maker" if decides else "no decision maker"
    factors: list[Factor] = [(points, f"{known} contacts, {who}")]
    if facts.champions:
        factors.append((10, "A champion"))
    return 50, factors


def _activity(facts: DealFacts) -> tuple[int, list[Factor]]:
    count = facts.touches_30d
    if not count:
        return 25, [(0, "Nothing happened in a month")]
    factors: list[Factor] = []
    points = 15 if count >= 15 else 10 if count >= 8 else -10 if count < 4 else 0
    if points:
        factors.append((points, f"{count} touches in a month"))
    if facts.kinds_30d >= 4:
        factors.append((10, f"{facts.kinds_30d} kinds of touch"))
    if facts.outbound_mails_30d:
        ratio = facts.inbound_mails_30d / facts.outbound_mails_30d
        if ratio >= 0.5:
            factors.append((15, "They answer"))
        elif ratio < 0.2:
            factors.append((-15, "They hardly answer"))
    if facts.meetings_14d:
        factors.append((5, "A recent meeting"))
    return 50, factors


def _sentiment(facts: DealFacts) -> tuple[int, list[Factor]]:
    if not facts.read:
        return 50, []
    factors: list[Factor] = []
    positive, negative = facts.positive / facts.read, facts.negative / facts.read
    if positive > 0.3:
        factors.append((25 if positive > 0.5 else 15, f"{positive:.0%} of their messages are positive"))
    if negative > 0.1:
        factors.append((-25 if negative > 0.3 else -10, f"{negative:.0%} of their messages are negative"))
    return 50, factors


async def compute_health(tx: Tx, caller: Caller, body: HealthIn) -> HealthOut:
    """
    Judge a deal or a company's open deals now, and keep the result of each deal in its history.

    Raises `NoOpenDeals`, also when the caller may not see the deal.
    """
    found = await deal_facts.list_facts(tx, caller, deal_id=body.dealId, company_id=body.companyId)
    if not found:
        raise NoOpenDeals
    judged = [(facts, await record_health(tx, facts)) for facts in found]
    return judged[0][1] if body.dealId else _weighted(judged)


async def record_health(tx: Tx, facts: DealFacts) -> HealthOut:
    """Judge one deal, append to its history and write its score: the only writer of `deals.health_*`."""
    parts = judge(facts, tx.now)
    overall = round(sum(WEIGHTS[name] * score for name, (score, _) in parts.items()))
    before = await tx.one(
        _Before,
        """
        SELECT (SELECT overall_score FROM deal_health_history WHERE deal_id = %(deal_id)s ORDER BY recorded_at DESC LIMIT 1) AS last,
               (SELECT overall_score FROM deal_health_history
                 WHERE deal_id = %(deal_id)s AND recorded_at < %(now)s - interval '7 days'
                 ORDER BY recorded_at DESC LIMIT 1) AS week_ago
        """,
        deal_id=facts.deal_id,
    )
    trend = _trend(overall, before.week_ago)
    factors = sorted(factor for _, moved in parts.values() for factor in moved)
    health = HealthOut(
        overall=overall,
        components={
            name: Component(score=score, weight=WEIGHTS[name], factors=[text for _, text in moved])
            for name, (score, moved) in parts.items()
        },
        trend=trend,
        changeFromLast=overall - before.last if before.last is not None else 0,
        riskFactors=[text for points, text in factors if points < 0],
        positiveFactors=[text for points, text in reversed(factors) if points > 0],
        recommendation=_recommendation(parts),
    )
    await _store(tx, facts.deal_id, health)
    return health


def _trend(overall: int, week_ago: int | None) -> Trend:
    change = overall - week_ago if week_ago is not None else 0
    return "improving" if change >= 5 else "declining" if change <= -5 else "stable"


def _recommendation(parts: dict[str, tuple[int, list[Factor]]]) -> str:
    """Return what helps the weakest part."""
    weakest = min(parts, key=lambda name: parts[name][0])
    if parts[weakest][0] >= 50:
        return "Keep the pace: nothing stands out as weak."
    return {
        "engagement": "Get back in touch: the conversation has gone quiet.",
        "velocity": "Agree on the next step: the deal stands longer in its stage than usual.",
        "stakeholder": "Meet more people: the decision maker should be among them.",
        "activity": "Do more than one kind of thing: a call or a meeting moves more than another mail.",
        "sentiment": "Ask what is wrong: recent messages sound unhappy.",
    }[weakest]


async def _store(tx: Tx, deal_id: UUID, health: HealthOut) -> None:
    await tx.run(
        """
        WITH judged AS (
            UPDATE deals SET health_score = %(overall)s, health_trend = %(trend)s, health_updated_at = %(now)s WHERE id = %(deal_id)s
        )
        INSERT INTO deal_health_history (deal_id, overall_score, engagement_score, velocity_score, stakeholder_score, activity_score,
                                         sentiment_score, trend, change_from_last, risk_factors, positive_factors, formula_version, recorded_at)
        VALUES (%(deal_id)s, %(overall)s, %(engagement)s, %(velocity)s, %(stakeholder)s, %(activity)s, %(sentiment)s, %(trend)s, %(change)s,
                %(risks)s, %(positives)s, %(formula)s, %(now)s)
        """,
        deal_id=deal_id,
        overall=health.overall,
        **{name: part.score for name, part in health.components.items()},
        trend=health.trend,
        change=health.changeFromLast,
        risks=health.riskFactors,
        positives=health.positiveFactors,
        formula=FORMULA,
    )


def _weighted(judged: list[tuple[DealFacts, HealthOut]]) -> HealthOut:
    """Return one health for many deals, each weighing what it is worth (equally when none has a value)."""
    values = [float(facts.estimated_value) for facts, _ in judged]
    weights = values if sum(values) else [1.0] * len(judged)
    total = sum(weights)

    def mean(numbers: list[int]) -> int:
        return round(sum(weight * number for weight, number in zip(weights, numbers, strict=True)) / total)

    healths = [health for _, health in judged]
    change = mean([health.changeFromLast for health in healths])
    worst = min(healths, key=lambda health: health.overall)
    trends = [health.trend for health in healths]
    balance = trends.count("improving") - trends.count("declining")
    return HealthOut(
        overall=mean([health.overall for health in healths]),
        components={
            name: Component(
                score=mean([health.components[name].score for health in healths]),
                weight=weight,
                factors=sorted({text for health in healths for text in health.components[name].factors})[:10],
            )
            for name, weight in WEIGHTS.items()
        },
        trend="improving" if balance > 0 else "declining" if balance < 0 else "stable",
        changeFromLast=change,
        riskFactors=sorted({text for health in healths for text in health.riskFactors})[:10],
        positiveFactors=sorted({text for health in healths for text in health.positiveFactors})[:10],
        recommendation=worst.recommendation,
    )
