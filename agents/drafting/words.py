"""A reply's context as words: how the deal stands, how long they have waited, and when we have time."""

from collections.abc import Mapping, Sequence
from datetime import datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from agents.drafting.outputs import REPLY, DraftIn, ReplyInputs
from agents.purposes import About
from agents.readers import reads
from memory.callers import Caller
from memory.db import Database
from memory.vectors import Asker
from tools import drafts, knowledge, names
from tools.drafts import MOST_SLOTS, SLOT_DAYS, SLOT_MINUTES, ReplyContext
from tools.knowledge import KnowledgeHit, KnowledgeSearchIn

WORKDAY = (time(9), time(17))
RECALLED = 4
"""How many earlier passages a draft is shown."""
SATURDAY = 5
STAGE_CONTEXT = {
    "new_lead": "They hardly know us. Be helpful and short; ask one good question.",
    "qualifying": "We are finding out whether we fit. Ask about their situation.",
    "discovery": "We are learning what they need. Show that we listened.",
    "demo": "They are looking at the product. Offer to show what they asked about.",
    "data_review": "We are looking at their data. Be exact and careful.",
    "trial": "They are trying it. Help first, sell later.",
    "negotiation": "Terms are on the table. Promise nothing about price or contract that is not in the material.",
    "closed_won": "They are a customer. Solve it.",
    "closed_lost": "They decided against us. Be gracious, leave the door open.",
    "closed_converted": "They are a customer. Solve it.",
}
WAITED = ((0, "They wrote today."), (1, "They wrote yesterday."), (7, "They have waited for days: thank them for their patience."),
          (14, "They have waited for over a week: apologise for the delay in one sentence."))  # fmt: skip
WAITED_LONG = "They have waited for more than two weeks: apologise plainly, and ask whether it still matters."


@reads(REPLY, "communication")
async def read(db: Database, caller: Caller, communication_id: UUID, now: datetime) -> tuple[ReplyInputs, About]:
    """
    Return what an answer to this communication would be written from now; the past is searched by words alone.

    Raises `CommunicationNotFound`, `NotLinked`, `NobodyToAnswer`.
    """
    async with db.transaction(now) as tx:
        context = await drafts.load_reply_context(tx, caller, communication_id)
    hits = await recall(db, caller, context, now)
    found = inputs(context, DraftIn(communication_id=communication_id), now, passages(hits))
    return found, about(context)


async def recall(
    db: Database, caller: Caller, context: ReplyContext, now: datetime, asker: Asker | None = None
) -> list[KnowledgeHit]:
    """Return what else was said with this company that may help to answer, as far as the caller may read it."""
    search = KnowledgeSearchIn(
        query=f"{context.subject}\n{context.last_inbound}"[:2000],
        company_id=context.company_id,
        without_source_id=context.last_inbound_id,
        limit=RECALLED,
    )
    question = await asker.ask(search.query) if asker else None
    async with db.reading(now) as tx:
        return await knowledge.search_knowledge(tx, caller, search, question=question)


def passages(hits: Sequence[KnowledgeHit]) -> list[str]:
    """Return what was recalled, each passage with its day and title."""
    return [
        f"{hit.occurred_at:%Y-%m-%d} {hit.title}: {hit.content}" if hit.occurred_at else hit.content for hit in hits
    ]


def about(context: ReplyContext) -> About:
    """Return the records that an answer concerns, for the books."""
    return About(
        communication_id=context.communication_id, company_id=context.company_id, contact_id=context.contact_id
    )


def inputs(context: ReplyContext, asked: DraftIn, now: datetime, history: Sequence[str] = ()) -> ReplyInputs:
    """Return what the answer is written from."""
    zone = names.zone_of(context.user_timezone)
    days = (now.astimezone(zone).date() - context.occurred_at.astimezone(zone).date()).days
    return ReplyInputs(
        company_name=context.company_name,
        contact_first_name=(context.contact_name or "").split(" ")[0],
        contact_title=context.contact_title or "",
        sender_name=context.user_name,
        product_name=", ".join(context.product_names[:6]),
        stage_name=context.stage or "no deal",
        stage_context=STAGE_CONTEXT.get(context.stage or "", "There is no deal with them now."),
        temporal_context=waited(days),
        reason="They wait for our answer.",
        recommended_action="Answer what they asked; where the material has no answer, leave a placeholder.",
        email_date=context.occurred_at.astimezone(zone).date().isoformat(),
        current_date=now.astimezone(zone).date().isoformat(),
        available_times=[spoken(slot) for slot in free_slots(context.busy, now, zone)],
        open_promises=context.open_promises[:5],
        style=style_of(context.style, context.avoided),
        tone=asked.tone or "as they write to us",
        instructions=asked.instructions or "",
        subject=context.subject,
        questions=[*context.questions, *context.objections][:8],
        last_inbound_summary=context.last_inbound,
        last_outbound_summary=context.last_outbound or "",
        history=list(history),
    )


def waited(days: int) -> str:
    """Return what to say when somebody has waited for so many days."""
    return next((words for limit, words in WAITED if days <= limit), WAITED_LONG)


def free_slots(busy: Sequence[Sequence[datetime]], now: datetime, zone: ZoneInfo) -> list[datetime]:
    """
    Return up to four half hours that are free: one a day, mornings and afternoons in turn, from tomorrow on,
    within fifteen working days, between nine and five in the person's zone.
    """
    slots: list[datetime] = []
    day, worked = now.astimezone(zone).date() + timedelta(days=1), 0
    while len(slots) < MOST_SLOTS and worked < SLOT_DAYS:
        if day.weekday() < SATURDAY:
            worked += 1
            starts = _starts(datetime.combine(day, WORKDAY[0], zone))
            ordered = starts if len(slots) % 2 == 0 else [*starts[len(starts) // 2 :], *starts[: len(starts) // 2]]
            slots.extend([start for start in ordered if not _taken(start, busy)][:1])
        day += timedelta(days=1)
    return slots


def _starts(opening: datetime) -> list[datetime]:
    minutes = (WORKDAY[1].hour - WORKDAY[0].hour) * 60
    return [opening + timedelta(minutes=passed) for passed in range(0, minutes, SLOT_MINUTES)]


def _taken(start: datetime, busy: Sequence[Sequence[datetime]]) -> bool:
    end = start + timedelta(minutes=SLOT_MINUTES)
    return any(begins < end and start < ends for begins, ends in busy)


def spoken(slot: datetime) -> str:
    """Return a slot as one says it, such as Tuesday, 3 March, 14:30 (CET)."""
    return f"{slot:%A}, {slot.day} {slot:%B}, {slot:%H:%M} ({slot.tzname()})"


def style_of(style: Mapping[str, object], avoided: Sequence[object]) -> str:
    """Return as one line how somebody likes to be written to, and what to avoid."""
    said = [f"{name}: {value}" for name, value in style.items() if value]
    return "; ".join([*said, *(f"avoid: {item}" for item in avoided[:5])])
