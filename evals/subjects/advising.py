"""A message about a product under way, and what is proposed of it: what is left after every number was looked up."""

from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from agents import guards
from agents.advising import checks, words
from agents.advising.outputs import ADVICE, Kind
from agents.purposes import Purpose
from agents.rules.dates import Calendar
from evals.advice import AdviceCase
from evals.cases import made_id
from evals.subjects.kit import Answered, Asker
from tools.advising import AdvisingSubject, Said, StageOffered


class Proposed(BaseModel):
    """One proposal, by its names; `evidence` is the number that it rests on."""

    kind: Kind
    stage: str
    day: str
    evidence: int
    confidence: float


class Advised(BaseModel):
    """What would be suggested, and how many proposals were dropped: not offered, unsure, or without words to rest on."""

    proposals: list[Proposed]
    hidden: int


def asks(_: AdviceCase) -> Purpose[Any, Any]:
    """Return the question that is put."""
    return ADVICE


async def answer(asker: Asker, case: AdviceCase) -> Answered[Advised]:
    """
    Have it advised on, from the options that the agent would offer.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    subject = _subject(case)
    evidence = words.evidence_of(subject)
    offers = words.offers_of(subject, evidence, case.now)
    said = await asker.ask(ADVICE, words.question(subject, evidence, offers, case.now))
    checked = checks.check(said.value, offers, evidence, suspected=guards.suspicious(subject.content))
    proposals = [
        Proposed(
            kind=chosen.offer.kind, stage=chosen.offer.stage, day=chosen.offer.day, evidence=chosen.evidence.number,
            confidence=chosen.confidence,
        )
        for chosen in checked.chosen
    ]  # fmt: skip
    return Answered(Advised(proposals=proposals, hidden=checked.hidden), said)


def _subject(case: AdviceCase) -> AdvisingSubject:
    """Return the case as the agent would read it; the message is what is quoted of it."""
    stages = [
        StageOffered(id=made_id(f"stage {name}"), name=name, stage_order=order)
        for order, name in enumerate(case.stages, start=1)
    ]
    here = stages[case.stages.index(case.stage)]
    calendar = Calendar.of(case.now, case.timezone)
    return AdvisingSubject(
        communication_id=made_id("communication"), user_id=made_id("user"), channel=case.channel, direction=case.direction,
        occurred_at=case.now - timedelta(hours=1), timezone=case.timezone, subject="Our conversation",
        content="\n".join(each.quote for each in case.said), sentiment=case.sentiment, urgency=case.urgency,
        injection_suspected=False, company_id=made_id("company"), contact_id=None,
        company_product_id=made_id("company product"), product_name=case.product, owner_id=made_id("user"),
        process_id=made_id("process"), process_type=case.process, stage_id=here.id, stage_name=here.name,
        stage_order=here.stage_order, stage_entered_at=case.now - timedelta(days=case.days_in_stage),
        next_step=case.next_step or None,
        next_step_due_at=calendar.moment(case.next_step_due, words.CLOSE) if case.next_step_due else None, stages=stages,
        said=[
            Said(kind=each.kind, name=each.name, says=each.says, quote=each.quote, confidence=each.confidence,
                 due_at=calendar.moment(each.due) if each.due else None)
            for each in case.said
        ],
    )  # fmt: skip
