"""What is asked about a communication, from the message and what belongs beside it."""

from datetime import datetime
from typing import Any
from uuid import UUID

from agents import guards
from agents.analysis.outputs import ANALYSIS, CONTENT_TOKENS, Message, OpenPromise
from agents.purposes import About
from agents.readers import reads
from memory.callers import Caller
from memory.db import Database
from tools import workspace
from tools.analysis import context
from tools.analysis.context import MessageContext, OfferedPromise
from tools.playbook import PLAYS
from tools.workspace import Workspace


@reads(ANALYSIS, "communication")
async def read(db: Database, caller: Caller, communication_id: UUID, now: datetime) -> tuple[Message, About]:
    """
    Return what would be asked about this communication now.

    Raises `CommunicationNotFound`.
    """
    async with db.reading(now) as tx:
        found = await context.get_message_context(tx, caller, communication_id)
        house = await workspace.get_workspace(tx)
    return message(found, house), About(communication_id=communication_id)


def message(found: MessageContext, house: Workspace) -> Message:
    """Return the question about this message, its words cleaned and capped."""
    content = guards.clean(found.full_content or found.content_preview or "")
    return Message(
        channel=found.channel,
        direction=found.direction,
        sentAt=found.occurred_at,
        timezone=found.timezone,
        subject=guards.clean(found.subject or "")[:500],
        content=guards.capped(content, CONTENT_TOKENS),
        ourParticipants=_names(found.our_participants),
        theirParticipants=_names(found.their_participants),
        threadTail="\n".join(
            f"{earlier.occurred_at:%Y-%m-%d} {earlier.direction}: {earlier.said}" for earlier in found.earlier
        ),
        relationshipContext=_relationship(found),
        openPromises=[_offered(number, promise) for number, promise in enumerate(found.open_promises, start=1)],
        products=found.products,
        competitors=list(house.competitors),
        priceWords=list(house.price_words),
        playbookTriggers=sorted(PLAYS),
        stage=found.stage or "none",
        isCustomer=found.company_status == "customer",
        isKnown=found.company_id is not None or found.direction != "inbound",
        isReply=found.in_reply_to_id is not None or bool(found.earlier),
    )


def _names(people: list[dict[str, Any]]) -> list[str]:
    return [name for person in people[:20] if (name := str(person.get("name") or person.get("email") or "").strip())]


def _relationship(found: MessageContext) -> str:
    lines = [
        f"Company: {found.company_name} ({found.company_status})" if found.company_name else "Company: not known",
        f"Contact: {found.contact_name}{f', {found.contact_title}' if found.contact_title else ''}"
        if found.contact_name
        else "",
        f"Deal stage: {found.stage}" if found.stage else "",
        *(f"Known ({known.kind}): {known.text}" for known in found.known),
        *(f"Note of a colleague: {note}" for note in found.notes),
    ]
    return "\n".join(line for line in lines if line)


def _offered(number: int, promise: OfferedPromise) -> OpenPromise:
    return OpenPromise(
        number=number,
        who="us" if promise.direction == "we_promised" else "them",
        promise=promise.promise_text,
        promised_on=promise.promised_at.date().isoformat(),
        same_thread=promise.in_thread,
    )
