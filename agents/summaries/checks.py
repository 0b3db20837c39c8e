"""What is kept of a summary: claims whose quote stands in the source that they name, and the numbers, which code adds."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from agents import guards
from agents.summaries.outputs import RECORDS, Citation, Cited, Claim, ContactOutput, Kept, Shape, SummaryOutput
from tools.summary_context import SummaryContext


class Shelf:
    """The sources of one summary by number, and the citations that claims have earned so far."""

    def __init__(self, context: SummaryContext, records: str) -> None:
        """Source 0 is what our own records say."""
        self._texts = {RECORDS: records} | {source.number: source.text for source in context.sources}
        self._sources = {source.number: source for source in context.sources}
        self.citations: list[Citation] = []
        self.dropped = 0

    def cite(self, claim: Claim) -> Cited | None:
        """Return the claim with its citation, or None when nothing carries it."""
        span = guards.supported(claim.quote, self._texts.get(claim.source, ""))
        shown = guards.gate(claim.confidence)
        if span is None or shown == "hidden":
            self.dropped += 1
            return None
        number = self._number(claim.source, span.text)
        return Cited(text=claim.text, cites=[number], importance=claim.importance, certainty=shown)

    def keep(self, claims: Iterable[Claim]) -> list[Cited]:
        """Return the claims that stand."""
        return [cited for claim in claims if (cited := self.cite(claim))]

    def _number(self, source: int, quote: str) -> int:
        for citation in self.citations:
            if citation.quote == quote and citation.id == (self._sources[source].id if source else None):
                return citation.number
        offered = self._sources.get(source)
        self.citations.append(
            Citation(
                number=len(self.citations) + 1,
                type=offered.type if offered else "records",
                id=offered.id if offered else None,
                title=offered.title if offered else "Our records",
                occurred_at=offered.occurred_at if offered else None,
                quote=quote,
            )
        )
        return len(self.citations)


def check(output: SummaryOutput, context: SummaryContext, records: str) -> Kept:
    """Return what stands of an answer. Confidence falls with the share of claims that had to be dropped."""
    shelf = Shelf(context, records)
    headline = shelf.cite(output.headline)
    more = output if isinstance(output, ContactOutput) else ContactOutput(headline=output.headline)
    kept = {
        name: shelf.keep(claims)
        for name, claims in (
            ("overview", output.overview), ("key_points", output.key_points), ("risks", output.risks),
            ("opportunities", output.opportunities), ("insights", more.insights), ("pain_points", more.pain_points),
            ("interests", more.interests),
        )
    }  # fmt: skip
    stands = sum(map(len, kept.values())) + (headline is not None)
    share = stands / (stands + shelf.dropped) if stands + shelf.dropped else 0.0
    return Kept(
        headline=headline.text if headline else None,
        **kept,
        recommended_actions=output.recommended_actions,
        relationship_tips=more.relationship_tips,
        citations=shelf.citations,
        dropped=shelf.dropped,
        confidence=round(output.confidence * share, 2),
    )


def shape(context: SummaryContext, kept: Kept, now: datetime) -> Shape:
    """Return the finished summary in the shape of its type; every number in it comes from the records."""
    parts = {"deal": _deal_parts, "company": _company_parts, "contact": _contact_parts}[context.type](
        context, kept, now
    )
    return {
        "headline": kept.headline or _headline(context),
        "overview": " ".join(claim.text for claim in kept.overview) or "Too little is known yet for an overview.",
        "overviewCites": [number for claim in kept.overview for number in claim.cites],
        **parts,
        "risks": [claim.model_dump() for claim in kept.risks],
        "opportunities": [claim.model_dump() for claim in kept.opportunities],
        "recommendedActions": [action.model_dump() for action in kept.recommended_actions],
        "citations": [citation.model_dump(mode="json") for citation in kept.citations],
        "droppedClaims": kept.dropped,
        "confidence": kept.confidence,
        "generatedAt": now.isoformat(),
    }


def _headline(context: SummaryContext) -> str:
    if context.type == "deal" and context.deals:
        return f"{context.deals[0].name}: {context.deals[0].stage}"
    if context.type == "contact" and context.contacts:
        return f"{context.contacts[0].name}, {context.company.name}"
    return context.company.name


def _points(kept: Kept) -> list[dict[str, Any]]:
    return [
        {"point": claim.text, "importance": claim.importance, "cites": claim.cites, "certainty": claim.certainty}
        for claim in kept.key_points
    ]


def _silence(context: SummaryContext, now: datetime) -> dict[str, Any]:
    last = context.engagement.last_at
    return {
        "lastContactDate": last.isoformat() if last else None,
        "daysSinceContact": (now - last).days if last else None,
    }


def _pattern(context: SummaryContext) -> str:
    seen = context.engagement
    if not seen.last_30d:
        return "silent"
    if seen.inbound_30d and seen.outbound_30d:
        return "two-way"
    return "mostly them" if seen.inbound_30d else "mostly us"


def _deal_parts(context: SummaryContext, kept: Kept, now: datetime) -> dict[str, Any]:
    deal = context.deals[0]
    roles = [person.role for person in context.contacts]
    players = [
        person for person in context.contacts if person.role in ("decision_maker", "champion", "influencer", "blocker")
    ]
    return {
        "currentStatus": {
            "stage": deal.stage,
            "daysInStage": (now - deal.stage_entered_at).days,
            "healthScore": deal.health_score,
            "trend": deal.health_trend,
        },
        "keyPoints": _points(kept),
        "stakeholderStatus": {
            "totalContacts": len(roles),
            "hasDecisionMaker": "decision_maker" in roles,
            "hasChampion": "champion" in roles,
            "keyPlayers": [
                {
                    "id": str(person.id),
                    "name": person.name,
                    "role": person.role,
                    "sentiment": _sentiment_of(context, person.name),
                }
                for person in players
            ],
        },
        "engagement": {
            **_silence(context, now),
            "recentActivityCount": context.engagement.last_30d,
            "communicationPattern": _pattern(context),
        },
    }


def _sentiment_of(context: SummaryContext, name: str) -> str | None:
    """Return the sentiment of the newest message that this person wrote."""
    return next(
        (s.sentiment for s in context.sources if s.who == name and s.direction == "inbound" and s.sentiment), None
    )


def _company_parts(context: SummaryContext, kept: Kept, now: datetime) -> dict[str, Any]:
    company, seen = context.company, context.engagement
    open_deals = [deal for deal in context.deals if not deal.stage.startswith("closed")]
    won = sum(deal.estimated_value for deal in context.deals if deal.stage == "closed_won")
    change = seen.last_30d - seen.previous_30d
    return {
        "profile": {
            "status": company.status,
            "segment": company.segment,
            "industry": company.industry,
            "size": company.agent_count,
            "crmPlatform": company.crm_platform,
        },
        "relationship": {
            "tenure": (now - (company.became_customer_at or company.created_at)).days,
            "currentProducts": company.products,
            "totalRevenue": won,
            "healthStatus": _health_status(context),
        },
        "keyContacts": [
            {"id": str(person.id), "name": person.name, "role": person.role} for person in context.contacts[:5]
        ],
        "keyPoints": _points(kept),
        "dealsSummary": {
            "activeDeals": len(open_deals),
            "totalPipelineValue": sum(deal.estimated_value for deal in open_deals),
            "closedWonValue": won,
            "dealStages": sorted({deal.stage for deal in open_deals}),
        },
        "engagement": {
            "totalActivities": seen.total,
            "lastActivityDate": seen.last_at.isoformat() if seen.last_at else None,
            "activityTrend": "increasing" if change > 0 else "decreasing" if change < 0 else "stable",
            "primaryChannels": sorted(seen.channels, key=lambda channel: -seen.channels[channel])[:3],
        },
    }


def _health_status(context: SummaryContext) -> str:
    if context.company.status in ("churned", "cold_lead", "prospect"):
        return "churned" if context.company.status == "churned" else "prospect"
    worried = context.engagement.negative > context.engagement.positive
    weak = any(deal.health_score < 40 for deal in context.deals if not deal.stage.startswith("closed"))
    return "at_risk" if worried or weak else "healthy"


def _contact_parts(context: SummaryContext, kept: Kept, now: datetime) -> dict[str, Any]:
    person, seen = context.contacts[0], context.engagement
    style = person.communication_style
    mood = "positive" if seen.positive > seen.negative else "negative" if seen.negative > seen.positive else "neutral"
    return {
        "profile": {"name": person.name, "title": person.title, "company": context.company.name},
        "influence": {
            "decisionMakingRole": person.role,
            "buyingInfluence": {"decision_maker": "high", "champion": "high", "influencer": "medium"}.get(
                person.role or "", "low"
            ),
            "sentiment": mood if seen.read else None,
            "engagementLevel": "high" if seen.last_30d >= 8 else "medium" if seen.last_30d >= 2 else "low",
        },
        "communication": {
            "preferredChannel": style.get("preferred_channel"),
            "responsePattern": style.get("response_pattern"),
            "bestTimeToReach": style.get("best_time_to_reach"),
        },
        "engagement": {**_silence(context, now), "totalInteractions": seen.total, "interactionTypes": seen.channels},
        "keyInsights": [{"insight": claim.text, "cites": claim.cites} for claim in (*kept.key_points, *kept.insights)],
        "painPoints": [claim.model_dump() for claim in kept.pain_points],
        "interests": [claim.model_dump() for claim in kept.interests],
        "relationshipTips": [action.model_dump() for action in kept.relationship_tips],
    }
