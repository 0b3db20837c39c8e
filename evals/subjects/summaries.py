"""A deal, company or contact, summarised: the claims that stand, each with the source it stands on."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, cast

from pydantic import BaseModel

from agents.purposes import Purpose
from agents.summaries import checks, words
from agents.summaries.outputs import COMPANY, CONTACT, DEAL, Cited, Kept, SummaryOutput
from evals.cases import SummaryInput, made_id
from evals.subjects.kit import Answered, Asker
from tools.summary_context import (
    CompanyInContext,
    DealInContext,
    Engagement,
    OfferedContact,
    OfferedSource,
    Promise,
    SummaryContext,
)

LISTS = ("overview", "key_points", "risks", "opportunities", "insights", "pain_points", "interests")


class ClaimKept(BaseModel):
    """A claim that stands: where it is shown, what it says, what it quotes, and the text that it quotes from."""

    part: str
    text: str
    quote: str
    source: str


class Summarized(BaseModel):
    """What is kept of a summary; `records` is source 0."""

    headline: str
    claims: list[ClaimKept]
    actions: list[str]
    records: str
    dropped: int
    confidence: float

    @property
    def text(self) -> str:
        """All that the summary says in its own words."""
        return "\n".join([self.headline, *(claim.text for claim in self.claims), *self.actions])

    @property
    def everything(self) -> str:
        """All that it says, with what it quotes."""
        return "\n".join([self.text, *(claim.quote for claim in self.claims)])

    def said(self, part: str) -> str:
        """Return one list of the summary with what it quotes."""
        return "\n".join(f"{claim.text}\n{claim.quote}" for claim in self.claims if claim.part == part)


def asks(case: SummaryInput) -> Purpose[Any, Any]:
    """Return the question that is put: a deal, a company and a contact have each their own."""
    return {"deal": DEAL, "company": COMPANY, "contact": CONTACT}[case.type]


async def answer(asker: Asker, case: SummaryInput) -> Answered[Summarized]:
    """
    Have the summary written as the agent has it written.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    seen = context(case)
    purpose, inputs = words.question(seen, _noon(case.today))
    said = await asker.ask(purpose, inputs)
    records = words.records(inputs)
    kept = checks.check(cast("SummaryOutput", said.value), seen, records)
    return Answered(_summarized(kept, seen, records), said)


def _summarized(kept: Kept, seen: SummaryContext, records: str) -> Summarized:
    texts = {source.id: source.text for source in seen.sources}
    facts = {
        source.id: f"{source.who or ''} {source.occurred_at.date()} {source.title or ''}" for source in seen.sources
    }
    claims: list[ClaimKept] = []
    for part in LISTS:
        standing: list[Cited] = getattr(kept, part)
        for cited in standing:
            citation = kept.citations[cited.cites[0] - 1]
            source = f"{texts[citation.id]}\n{facts[citation.id]}" if citation.id else records
            claims.append(ClaimKept(part=part, text=cited.text, quote=citation.quote, source=source))
    actions = [*kept.recommended_actions, *kept.relationship_tips]
    return Summarized(
        headline=kept.headline or "",
        claims=claims,
        actions=[f"{action.action} {action.reasoning}" for action in actions],
        records=records,
        dropped=kept.dropped,
        confidence=kept.confidence,
    )


# The context of a case ----------------------------------------------------------------------------------------------


def context(case: SummaryInput) -> SummaryContext:
    """Return what the agent would read from the database."""
    return SummaryContext(
        type=case.type,
        subject_id=made_id(case.type),
        company=_company(case),
        contacts=[
            OfferedContact(
                number=place, id=made_id("contact", place), last_contacted_at=None, communication_style={}, **one.model_dump()
            )
            for place, one in enumerate(case.contacts, 1)
        ],
        deals=_deals(case),
        tasks=case.tasks,
        promises=[
            Promise(
                direction="we_promised" if one.direction == "we" else "they_promised", promise_text=one.text,
                due_by=_noon(one.due) if one.due else None, quote=None, source_communication_id=None,
            )
            for one in case.promises
        ],
        sources=[
            OfferedSource(
                number=place, id=made_id("source", place), occurred_at=_noon(one.date), gist=None,
                **one.model_dump(exclude={"date"}),
            )
            for place, one in enumerate(case.sources, 1)
        ],
        engagement=_engagement(case),
    )  # fmt: skip


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def _company(case: SummaryInput) -> CompanyInContext:
    became = case.company.became_customer_at
    return CompanyInContext(
        id=made_id("company"),
        created_at=_noon(case.today - timedelta(days=400)),
        became_customer_at=_noon(became) if became else None,
        **case.company.model_dump(exclude={"became_customer_at"}),
    )


def _deals(case: SummaryInput) -> list[DealInContext]:
    deals: list[DealInContext] = []
    for place, one in enumerate(case.deals, 1):
        entered = _noon(case.today - timedelta(days=one.days_in_stage))
        told: dict[str, Any] = one.model_dump(exclude={"days_in_stage", "expected_close_date"})
        deals.append(
            DealInContext(
                id=made_id("deal", place),
                stage_entered_at=entered,
                created_at=entered,
                expected_close_date=one.expected_close_date.isoformat() if one.expected_close_date else None,
                closed_at=entered if one.stage.startswith("closed") else None,
                **told,
            )
        )
    return deals


def _engagement(case: SummaryInput) -> Engagement:
    said = [source for source in case.sources if source.type == "communication"]
    recent = [source for source in said if source.date > case.today - timedelta(days=30)]
    before = [source for source in said if 30 <= (case.today - source.date).days < 60]
    theirs = [source.date for source in said if source.direction == "inbound"]
    moods = [source.sentiment for source in said if source.sentiment]
    return Engagement(
        total=len(said),
        last_30d=len(recent),
        previous_30d=len(before),
        inbound_30d=sum(source.direction == "inbound" for source in recent),
        outbound_30d=sum(source.direction == "outbound" for source in recent),
        last_at=_noon(max(source.date for source in said)) if said else None,
        last_inbound_at=_noon(max(theirs)) if theirs else None,
        channels={"email": len(said)} if said else {},
        positive=sum(mood in ("positive", "excited") for mood in moods),
        negative=sum(mood in ("negative", "concerned") for mood in moods),
        read=len(moods),
    )
