"""Communications over HTTP: lists and queues, linking, analysis, drafts and answers."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field, model_validator

from api.deps import Reading, Services, StartsModel, Transaction, User
from api.schemas import doc_response
from api.services import Services as ProcessServices
from memory.callers import Caller
from memory.errors import Forbidden
from memory.rows import In, Row
from tools import drafts, outbound, promises
from tools.analysis import claims
from tools.communications import answering, conversations, linking, listing, notes, queue
from tools.outbound import SendMailIn

router = APIRouter(prefix="/api/communications", tags=["Communications"])

Recipient = Annotated[str, Field(min_length=1, max_length=320)]


class OnlyManagers(Forbidden):
    """Only a manager may have everything analysed."""


class AnalyzeIn(In):
    """
    One communication (`force` reads an analysed one again), or `batch` for what waits in everybody's mailboxes.

    A worker reads all that waits, in batches of its own: `limit` is accepted and caps nothing.
    """

    communication_id: UUID | None = None
    force: bool = False
    batch: bool = False
    limit: int = Field(default=50, ge=1, le=200)

    @model_validator(mode="after")
    def _one_thing(self) -> "AnalyzeIn":
        if (self.communication_id is None) == (not self.batch):
            raise ValueError("send either communication_id or batch")
        return self


class AnalyzedOut(Row):
    """What was read, or that a worker reads it."""

    success: bool = True
    analysisId: UUID | None = None
    analysis: dict[str, Any] | None = None
    queued: bool | None = None


class DraftReplyIn(In):
    """What you want said, and how."""

    instructions: str | None = Field(default=None, max_length=2000)
    tone: str | None = Field(default=None, pattern="^(friendly|formal|brief|apologetic|enthusiastic)$")


class ReplyDraft(Row):
    """A draft that waits for you; it goes to the sender of the message and to nobody else."""

    id: UUID
    subject: str
    body: str
    channel: str = "email"
    to: list[str]
    confidence: int | None
    needs_human_review: list[Any]
    placeholders: list[Any]
    engine: str | None


class ReplyContextOut(Row):
    """What the draft answers."""

    company_name: str
    contact_name: str | None
    contact_email: str
    original_subject: str
    original_preview: str


class ReplyDraftedOut(Row):
    """The draft and what it answers."""

    success: bool = True
    draft: ReplyDraft
    context: ReplyContextOut


class SendReplyIn(In):
    """The answer as you want it to leave, from your mailbox."""

    communicationId: UUID
    to: Recipient | Annotated[list[Recipient], Field(min_length=1, max_length=outbound.MOST_RECIPIENTS)]
    subject: str = Field(min_length=1, max_length=998)
    body: str = Field(min_length=1, max_length=200_000)
    cc: list[Recipient] = Field(default=[], max_length=outbound.MOST_RECIPIENTS)
    draftId: UUID | None = None


class ReplySentOut(Row):
    """What became of the answer: sent, or left as a draft in your mailbox."""

    success: bool = True
    message_id: str | None
    is_draft: bool


@router.get("", summary="List communications", response_model=listing.CommunicationsOut)
async def list_communications(
    filter: Annotated[listing.CommunicationFilter, Query()], user: User, tx: Reading
) -> Response:
    """List communications, newest first; excluded ones are hidden. `total` counts up to 1,000."""
    return doc_response(await listing.list_communications(tx, user, filter))


@router.get("/conversations", summary="List conversations", response_model=conversations.ConversationsOut)
async def list_conversations(
    filter: Annotated[conversations.ConversationFilter, Query()], user: User, tx: Reading
) -> Response:
    """List communications grouped by company, or by sender while nobody knows the company."""
    return doc_response(await conversations.list_conversations(tx, user, filter))


@router.get("/conversations/stats", summary="Count conversations")
async def get_conversation_stats(user: User, tx: Reading) -> conversations.ConversationStats:
    """Count the companies and the unknown senders that there are conversations with."""
    return await conversations.get_conversation_stats(tx, user)


@router.get("/promises", summary="List promises")
async def list_promises(
    filter: Annotated[promises.PromiseFilter, Query()], user: User, tx: Reading
) -> promises.PromisesOut:
    """List what was promised, both ways, by when it is due in your time zone."""
    return await promises.list_promises(tx, user, filter)


@router.get("/response-queue", summary="List what waits for an answer")
async def list_response_queue(user: User, tx: Reading) -> queue.ResponseQueueOut:
    """List what waits for an answer: overdue, due within two hours, later."""
    return await queue.list_response_queue(tx, user)


@router.get("/source", summary="Get an original")
async def get_source(filter: Annotated[listing.SourceFilter, Query()], user: User, tx: Reading) -> listing.SourceOut:
    """Get the original mail or transcript behind a communication."""
    return await listing.get_source(tx, user, filter)


@router.get("/stats", summary="Get figures of a company")
async def get_stats(filter: Annotated[listing.StatsFilter, Query()], user: User, tx: Reading) -> listing.StatsOut:
    """Count a company's communications, with recent signals and our mean time to answer in hours."""
    return await listing.get_stats(tx, user, filter)


@router.post("/analyze", summary="Analyse a communication", dependencies=[StartsModel])
async def analyze(body: AnalyzeIn, user: User, services: Services) -> AnalyzedOut:
    """Have one communication analysed now, or (managers) what waits analysed by a worker."""
    if body.communication_id is None:
        if not user.sees_all:
            raise OnlyManagers
        async with services.db.transaction() as tx:
            await tx.enqueue("communications.analyze_pending", key="pending")
        return AnalyzedOut(queued=True)
    await _read(services, user, body.communication_id, force=body.force)
    async with services.db.reading() as tx:
        found = await listing.list_communications(tx, user, listing.CommunicationFilter(id=body.communication_id))
    shown = found.parse().communications
    analysis = shown[0].current_analysis if shown else None
    return AnalyzedOut(
        analysisId=analysis.id if analysis else None, analysis=analysis.model_dump(mode="json") if analysis else None
    )


@router.post("/send-reply", summary="Send an answer")
async def send_reply(body: SendReplyIn, user: User, services: Services) -> ReplySentOut:
    """Send an answer from your mailbox, in the thread. The same answer twice is one mail."""
    letter = SendMailIn(
        to=[body.to] if isinstance(body.to, str) else body.to,
        subject=body.subject,
        body=body.body,
        cc=body.cc,
        communication_id=body.communicationId,
        draft_id=body.draftId,
    )
    sent = await outbound.send_mail(services.db.transaction, services.mailboxes, user, letter)
    return ReplySentOut(message_id=sent.message_id, is_draft=sent.is_draft)


@router.get("/{communication_id}/notes", summary="List notes of a communication")
async def list_notes(communication_id: UUID, user: User, tx: Reading) -> notes.NotesOut:
    """List the notes beside a communication, newest first."""
    return await notes.list_notes(tx, user, communication_id)


@router.post("/{communication_id}/notes", summary="Add a note to a communication")
async def add_note(communication_id: UUID, body: notes.AddNoteIn, user: User, tx: Transaction) -> notes.NoteOut:
    """Write a note beside a communication."""
    return await notes.add_note(tx, user, communication_id, body)


@router.post("/{communication_id}/assign", summary="Assign a communication to a company")
async def assign_company(
    communication_id: UUID, body: linking.AssignIn, user: User, tx: Transaction
) -> linking.AssignedOut:
    """Link a communication and its thread to a company; when it waits for an answer, a flag asks for one."""
    return await linking.assign_company(tx, user, communication_id, body)


@router.post("/{communication_id}/create-lead", summary="Make a lead of the sender")
async def create_lead(
    communication_id: UUID, body: linking.CreateLeadIn, user: User, tx: Transaction
) -> linking.LeadOut:
    """Create company and contact of an outside address, or link to those that exist."""
    return await linking.create_lead(tx, user, communication_id, body)


@router.post("/{communication_id}/draft-reply", summary="Draft an answer", dependencies=[StartsModel])
async def draft_reply(communication_id: UUID, body: DraftReplyIn, user: User, services: Services) -> ReplyDraftedOut:
    """Draft an answer for you to check. Gaps that only you can fill stand in double square brackets."""
    output = await services.perform(user, "drafting", {"communication_id": communication_id, **body.model_dump()})
    async with services.db.reading() as tx:
        context = await drafts.load_reply_context(tx, user, communication_id)
        draft = await drafts.get_draft(tx, user, UUID(output["draft_id"]))
    shown = ReplyDraft(
        body=draft.body_text, to=draft.to_emails, **draft.model_dump(include=set(ReplyDraft.model_fields))
    )
    return ReplyDraftedOut(
        draft=shown,
        context=ReplyContextOut(
            company_name=context.company_name,
            contact_name=context.contact_name,
            contact_email=context.to_email,
            original_subject=context.subject,
            original_preview=context.last_inbound[:300],
        ),
    )


@router.post("/{communication_id}/exclude", summary="Take a communication out of sight")
async def exclude(communication_id: UUID, body: linking.ExcludeIn, user: User, tx: Transaction) -> linking.ExcludedOut:
    """Take a communication out of every list and queue, and out of memory."""
    return await linking.exclude(tx, user, communication_id, body)


@router.delete("/{communication_id}/exclude", summary="Bring a communication back")
async def restore(communication_id: UUID, user: User, tx: Transaction) -> linking.ExcludedOut:
    """Bring an excluded communication back."""
    return await linking.restore(tx, user, communication_id)


@router.post("/{communication_id}/respond", summary="Answer, or mark as answered")
async def respond(
    communication_id: UUID, body: answering.RespondIn, user: User, services: Services
) -> answering.RespondedOut:
    """Send an answer when there is a `body`; otherwise only note that it was answered elsewhere."""
    if body.body is None:
        async with services.db.transaction() as tx:
            return await answering.mark_answered(tx, user, communication_id, body)
    async with services.db.reading() as tx:
        address = await answering.get_reply_address(tx, user, communication_id)
    letter = SendMailIn(
        to=[address.to],
        subject=body.subject or address.subject,
        body=body.body,
        cc=body.cc,
        communication_id=communication_id,
    )
    sent = await outbound.send_mail(services.db.transaction, services.mailboxes, user, letter)
    async with services.db.transaction() as tx:
        if sent.is_draft:
            return answering.RespondedOut(responded_at=tx.now, sent=False, message_id=sent.message_id, is_draft=True)
        answered = await answering.mark_answered(tx, user, communication_id, body)
    return answered.model_copy(update={"sent": True, "message_id": sent.message_id, "is_draft": False})


async def _read(services: ProcessServices, user: Caller, communication_id: UUID, *, force: bool) -> None:
    """Claim a communication and have it read now; a failure gives the claim back at once."""
    async with services.db.transaction() as tx:
        standing = await claims.claim_communication(tx, user, communication_id, force=force)
    if standing.claimed_at is None:
        return
    try:
        asked = {"communication_id": communication_id, "force": force, "claimed_at": standing.claimed_at}
        await services.perform(user, "analysis", asked)
    except BaseException as failure:
        async with services.db.transaction() as tx:
            await claims.release_failed(
                tx, communication_id, standing.claimed_at, str(failure) or type(failure).__name__
            )
        raise
