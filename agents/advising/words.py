"""What an adviser is asked: where the product stands, what the message says, and what may be proposed."""

from datetime import date, datetime, time, timedelta
from uuid import UUID

from agents import guards
from agents.advising.outputs import ADVICE, AdviceInputs, Evidence, Option
from agents.purposes import About
from agents.readers import reads
from agents.rules.dates import Calendar
from memory.callers import Caller
from memory.db import Database
from tools import advising, names
from tools.advising import AdvisingSubject, Said, StageOffered

CONTENT_TOKENS = 6000
MOST_EVIDENCE = 12
SAYS = 200
SOON, LATER = 2, 5
"""Working days until the two next steps that are always offered."""
CLOSE = time(17)
FARTHEST = timedelta(days=366)
_TASKS = frozenset({"our_promise", "question", "objection"})
_SATURDAY = 5


class Offer(Option):
    """An option with what only the server knows: the id of the stage, or the moment that the next step is due."""

    target: str = ""


@reads(ADVICE, "communication")
async def read(db: Database, caller: Caller, communication_id: UUID, now: datetime) -> tuple[AdviceInputs, About]:
    """
    Return what an adviser would be asked about this communication now.

    Raises `NothingToAdvise`.
    """
    async with db.reading(now) as tx:
        subject = await advising.get_subject(tx, caller, communication_id)
    evidence = evidence_of(subject)
    return question(subject, evidence, offers_of(subject, evidence, now), now), About(communication_id=communication_id)


def question(subject: AdvisingSubject, evidence: list[Evidence], offers: list[Offer], now: datetime) -> AdviceInputs:
    """Return the question; what the server alone knows of the offers stays here."""
    zone = names.zone_of(subject.timezone)
    due = subject.next_step_due_at
    return AdviceInputs(
        today=now.astimezone(zone).date().isoformat(),
        channel=subject.channel,
        direction=subject.direction,
        product=subject.product_name,
        process=subject.process_type,
        stage=subject.stage_name,
        daysInStage=max(0, (now - subject.stage_entered_at).days),
        nextStep=subject.next_step or "",
        nextStepDue=due.astimezone(zone).date().isoformat() if due else "",
        sentiment=subject.sentiment or "unknown",
        urgency=subject.urgency or "unknown",
        options=[Option.model_validate(offer.model_dump(exclude={"target"})) for offer in offers],
        evidence=evidence,
    )


# Evidence -------------------------------------------------------------------------------------------------------------


def evidence_of(subject: AdvisingSubject) -> list[Evidence]:
    """Return what the message says and its words bear out, the surest first; the rest is not evidence."""
    content = guards.capped(guards.clean(subject.content), CONTENT_TOKENS)
    source = f"{guards.clean(subject.subject or '')}\n{content}"
    zone = names.zone_of(subject.timezone)
    found: list[Evidence] = []
    for said in subject.said:
        span = guards.supported(said.quote, source)
        if span is None or guards.gate(said.confidence) == "hidden":
            continue
        found.append(
            Evidence(
                number=len(found) + 1,
                kind=said.kind,
                name=guards.clean(said.name)[:60],
                says=_line(said),
                due=said.due_at.astimezone(zone).date().isoformat() if said.due_at else "",
                quote=span.text,
                confidence=round(min(said.confidence, 1.0), 2),
            )
        )
    return found[:MOST_EVIDENCE]


def _line(said: Said) -> str:
    return " ".join(guards.clean(said.says).split())[:SAYS]


# Offers ---------------------------------------------------------------------------------------------------------------


def offers_of(subject: AdvisingSubject, evidence: list[Evidence], now: datetime) -> list[Offer]:
    """
    Return what may be proposed, numbered: other stages, days for the next step, a note that it is at risk, tasks.

    No stage ends the process: that is for a person to decide. A message from before the present stage was entered has
    been answered by that move, and says nothing of the next.
    """
    offers = [
        *_stages(subject),
        *_days(subject, evidence, now),
        Offer(number=0, kind="flag_risk"),
        *_tasks(subject, evidence, now),
    ]
    return [offer.model_copy(update={"number": number}) for number, offer in enumerate(offers, start=1)]


def _stages(subject: AdvisingSubject) -> list[Offer]:
    if subject.occurred_at < subject.stage_entered_at:
        return []
    return [
        Offer(number=0, kind="advance_stage", stage=stage.name, steps=_steps(subject, stage), target=str(stage.id))
        for stage in subject.stages
        if stage.id != subject.stage_id
    ]


def _steps(subject: AdvisingSubject, to: StageOffered) -> int:
    """Return how many stages ahead this one lies, below 0 behind; the present one may be archived."""
    here, there = subject.stage_order, to.stage_order
    if there > here:
        return sum(here < stage.stage_order <= there for stage in subject.stages)
    return -sum(there <= stage.stage_order < here for stage in subject.stages)


def _days(subject: AdvisingSubject, evidence: list[Evidence], now: datetime) -> list[Offer]:
    """Return the days that the message names and two that come soon, each once, but for the day that is set already."""
    calendar = Calendar.of(now, subject.timezone)
    today, set_already = calendar.today, subject.next_step_due_at
    named = [(date.fromisoformat(each.due), each.number) for each in evidence if each.due]
    wanted = [*named, (_working_day(today, SOON), None), (_working_day(today, LATER), None)]
    taken = {set_already.astimezone(calendar.zone).date()} if set_already else set[date]()
    offers: list[Offer] = []
    for day, number in wanted:
        if day in taken or not today < day <= today + FARTHEST:
            continue
        taken.add(day)
        moment = calendar.moment(day, CLOSE).isoformat()
        offers.append(Offer(number=0, kind="schedule_followup", day=day.isoformat(), evidence=number, target=moment))
    return offers


def _tasks(subject: AdvisingSubject, evidence: list[Evidence], now: datetime) -> list[Offer]:
    """Return a task for each thing that is ours to do, due when it was promised for."""
    calendar = Calendar.of(now, subject.timezone)
    offers: list[Offer] = []
    for each in evidence:
        if _is_ours(subject, each):
            due = date.fromisoformat(each.due) if each.due else calendar.today
            moment = calendar.moment(due, CLOSE).isoformat() if due > calendar.today else ""
            offers.append(Offer(number=0, kind="add_task", evidence=each.number, target=moment))
    return offers


def _working_day(day: date, count: int) -> date:
    while count:
        day += timedelta(days=1)
        count -= day.weekday() < _SATURDAY
    return day


def _is_ours(subject: AdvisingSubject, evidence: Evidence) -> bool:
    """What we promised, and what they ask or object to, is ours to do; a question that we asked is theirs."""
    return evidence.kind in _TASKS and (evidence.kind == "our_promise" or subject.direction == "inbound")
