"""Attention flags over HTTP: what somebody should look at, and the letters that deal with it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field

from api.deps import Reading, Services, StartsModel, Transaction, User
from api.schemas import doc_response
from memory.errors import Invalid
from memory.rows import In, Row
from tools import follow_ups
from tools.attention import context, flags
from tools.attention.rows import FlagOut

router = APIRouter(prefix="/api/attention-flags", tags=["Attention flags"])


class DraftsOnly(Invalid):
    """Here a letter is only drafted; send it with send-email."""


class ExecuteFlagIn(In):
    """A draft is all that is made here: sending is a request of its own."""

    send: bool = Field(default=False, examples=[False])


class QualityChecks(Row):
    """What code found in the words of the draft."""

    used_contact_name: bool
    referenced_prior_interaction: bool


class FlagDraft(Row):
    """A letter to check. Gaps that only you can fill stand in double square brackets."""

    id: UUID
    subject: str
    body: str
    channel: Literal["email"] = "email"
    quality_checks: QualityChecks
    confidence: int
    needs_human_review: list[Any]
    placeholders: list[Any]
    engine: str


class FlagDraftContext(Row):
    """Whom and what the draft is about; the address comes from the records, never from a model."""

    company_name: str
    contact_name: str | None
    contact_email: str
    product_name: str | None
    stage_name: str | None
    flag_type: str
    reason: str


class FlagExecutedOut(Row):
    """The draft; nothing was sent."""

    success: bool = True
    draft: FlagDraft
    context: FlagDraftContext
    sent: Literal[False] = False


@router.get("", summary="List attention flags", response_model=flags.FlagsOut)
async def list_flags(filter: Annotated[flags.FlagFilter, Query()], user: User, tx: Reading) -> Response:
    """List your flags, the gravest first, then the oldest; managers may list everybody's with `scope=all`."""
    return doc_response(await flags.list_flags(tx, user, filter))


@router.post("/create", summary="Raise an attention flag", status_code=201)
async def raise_flag(body: flags.RaiseFlagIn, user: User, tx: Transaction) -> FlagOut:
    """Raise a flag by hand, for a person to look at."""
    return await flags.raise_flag(tx, user, body)


@router.post("/{flag_id}/resolve", summary="Resolve an attention flag")
async def resolve_flag(flag_id: UUID, user: User, tx: Transaction, body: flags.ResolveFlagIn | None = None) -> FlagOut:
    """Take a flag off the list; one that is resolved stays as it is."""
    return await flags.resolve_flag(tx, user, flag_id, body or flags.ResolveFlagIn())


@router.post("/{flag_id}/snooze", summary="Snooze an attention flag")
async def snooze_flag(flag_id: UUID, body: flags.SnoozeFlagIn, user: User, tx: Transaction) -> FlagOut:
    """Hide a flag until a later moment; it comes back by itself."""
    return await flags.snooze_flag(tx, user, flag_id, body)


@router.post("/{flag_id}/unsnooze", summary="Bring a snoozed flag back")
async def unsnooze_flag(flag_id: UUID, user: User, tx: Transaction) -> FlagOut:
    """Bring a snoozed flag back now."""
    return await flags.unsnooze_flag(tx, user, flag_id)


@router.post("/{flag_id}/execute", summary="Draft a letter for a flag", dependencies=[StartsModel])
async def execute_flag(
    flag_id: UUID, user: User, services: Services, body: ExecuteFlagIn | None = None
) -> FlagExecutedOut:
    """Draft the letter that deals with a flag, for you to check. Nothing is sent."""
    if body is not None and body.send:
        raise DraftsOnly
    async with services.db.reading() as tx:
        await context.load_flag_context(tx, user, flag_id)  # what cannot be drafted is no run
    done = await services.perform(user, "attention", {"flag_id": flag_id})
    draft = {name: done[name] for name in FlagDraft.model_fields if name in done}
    return FlagExecutedOut(
        draft=FlagDraft(id=done["draft_id"], **draft), context=FlagDraftContext.model_validate(done["about"])
    )


@router.post("/{flag_id}/send-email", summary="Send the letter that deals with a flag")
async def send_email(
    flag_id: UUID, body: follow_ups.SendFollowUpIn, user: User, services: Services
) -> follow_ups.FollowUpSentOut:
    """Send a letter from your mailbox and resolve the flag; in draft mode it lies there and the flag stays open."""
    return await follow_ups.send_follow_up(services.db.transaction, services.mailboxes, user, flag_id, body)


@router.post("/{flag_id}/mark-sent", summary="Say that you have written yourself")
async def mark_sent(
    flag_id: UUID, body: follow_ups.MarkSentIn, user: User, tx: Transaction
) -> follow_ups.MarkedSentOut:
    """Write down what you have sent, or said, by your own means, and resolve the flag."""
    return await follow_ups.mark_sent(tx, user, flag_id, body)
