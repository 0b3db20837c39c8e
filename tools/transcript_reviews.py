"""Transcript reviews: a person settles which company and deal a meeting belongs to."""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field, ValidationError, model_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Invalid
from memory.rows import In, Row
from tools import activities, companies, contacts, deals, tasks

DEFAULT_VALUE = Decimal(10_000)


class ReviewDone(Conflict):
    """The task is completed already."""


class NotTheSubject(Invalid):
    """The task does not ask about this transcript."""


class NothingExtracted(Invalid):
    """The transcript names no company; send extractedData."""


class ExtractedContact(In):
    """A person whom the transcript names."""

    name: str = Field(min_length=1, max_length=300)
    email: str | None = Field(default=None, max_length=320, pattern=contacts.ADDRESS)
    title: str | None = Field(default=None, max_length=300)


class ExtractedData(In):
    """What the transcript says of an account that is not known yet."""

    companyName: str = Field(min_length=1, max_length=300)
    domain: str | None = Field(default=None, max_length=253)
    contacts: list[ExtractedContact] = Field(default=[], max_length=50)
    dealName: str | None = Field(default=None, max_length=300)
    estimatedValue: Decimal | None = Field(default=None, ge=0, max_digits=12, decimal_places=2)


class ResolveTranscriptIn(In):
    """The decision: an existing company (and deal, or `new`), or a new one from what was extracted."""

    taskId: UUID
    transcriptionId: UUID
    action: Literal["match", "create"]
    companyId: UUID | None = None
    dealId: UUID | Literal["new"] | None = None
    extractedData: ExtractedData | None = None

    @model_validator(mode="after")
    def _needs_a_target(self) -> "ResolveTranscriptIn":
        if self.action == "match" and self.companyId is None:
            raise ValueError("companyId is required to match")
        return self


class TranscriptResolvedOut(Row):
    """Where the transcript belongs now."""

    success: bool = True
    action: Literal["matched", "created"]
    companyId: UUID
    companyName: str
    dealId: UUID | None
    dealName: str | None
    contactCount: int = 0


class _Transcript(Row):
    title: str
    analysis: dict[str, object] | None


async def resolve_transcript(tx: Tx, caller: Caller, body: ResolveTranscriptIn) -> TranscriptResolvedOut:
    """
    Link the transcript, record the meeting and complete the task, all or nothing.

    Raises `tasks.TaskNotFound`, `ReviewDone`, `NotTheSubject`, `companies.CompanyNotFound`, `deals.DealNotFound`,
    `activities.DealOfOtherCompany`; for a new company `companies.CompanyExists`, `NothingExtracted`.
    """
    await _claim_task(tx, caller, body)
    transcript = await tx.one(
        _Transcript,
        "SELECT title, analysis FROM meeting_transcriptions WHERE id = %(transcription_id)s FOR UPDATE",
        missing=NotTheSubject(),
        transcription_id=body.transcriptionId,
    )
    outcome = await (_match(tx, caller, body) if body.action == "match" else _create(tx, caller, body, transcript))
    activity_id = await activities.record_activity(
        tx,
        caller,
        type="meeting_held",
        subject=transcript.title,
        company_id=outcome.companyId,
        deal_id=outcome.dealId,
        metadata={"transcription_id": str(body.transcriptionId)},
    )
    await tx.run(
        """
        UPDATE meeting_transcriptions
           SET company_id = %(company_id)s, deal_id = %(deal_id)s, activity_id = %(activity_id)s, match_confidence = 1.0,
               updated_at = %(now)s
         WHERE id = %(transcription_id)s
        """,
        company_id=outcome.companyId,
        deal_id=outcome.dealId,
        activity_id=activity_id,
        transcription_id=body.transcriptionId,
    )
    return outcome


async def _claim_task(tx: Tx, caller: Caller, body: ResolveTranscriptIn) -> None:
    task = await tasks.get_task(tx, caller, body.taskId)
    if task.subject_type != "transcription" or task.subject_id != body.transcriptionId:
        raise NotTheSubject
    touched = await tx.run(
        """
        UPDATE tasks SET completed_at = %(now)s, completed_by = %(user_id)s
         WHERE id = %(task_id)s AND completed_at IS NULL
        """,
        task_id=body.taskId,
        user_id=caller.user_id,
    )
    if not touched:
        raise ReviewDone


async def _match(tx: Tx, caller: Caller, body: ResolveTranscriptIn) -> TranscriptResolvedOut:
    company = await tx.one(
        companies.Existing,
        "SELECT id, name FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL",
        missing=companies.CompanyNotFound(company_id=body.companyId),
        company_id=body.companyId,
    )
    deal = None
    if body.dealId == "new":
        deal = await _open_deal(tx, caller, company, None, None)
    elif body.dealId:
        deal = await deals.get_deal(tx, caller, body.dealId)
        if deal.company.id != company.id:
            raise activities.DealOfOtherCompany
    return TranscriptResolvedOut(
        action="matched",
        companyId=company.id,
        companyName=company.name,
        dealId=deal.id if deal else None,
        dealName=deal.name if deal else None,
    )


async def _create(tx: Tx, caller: Caller, body: ResolveTranscriptIn, transcript: _Transcript) -> TranscriptResolvedOut:
    data = body.extractedData or _stored(transcript)
    created = await companies.create_company(
        tx, caller, companies.CreateCompanyIn(name=data.companyName, domain=data.domain)
    )
    company = created.parse().company
    for person in data.contacts:
        await contacts.create_contact(
            tx,
            caller,
            contacts.CreateContactIn(name=person.name, email=person.email, title=person.title, company_id=company.id),
        )
    existing = companies.Existing(id=company.id, name=company.name)
    deal = await _open_deal(tx, caller, existing, data.dealName, data.estimatedValue)
    return TranscriptResolvedOut(
        action="created",
        companyId=company.id,
        companyName=company.name,
        dealId=deal.id,
        dealName=deal.name,
        contactCount=len(data.contacts),
    )


def _stored(transcript: _Transcript) -> ExtractedData:
    stored = (transcript.analysis or {}).get("extractedData")
    if not isinstance(stored, dict):
        raise NothingExtracted
    try:
        return ExtractedData.model_validate(stored)
    except ValidationError as mistake:
        raise NothingExtracted from mistake


async def _open_deal(
    tx: Tx, caller: Caller, company: companies.Existing, name: str | None, value: Decimal | None
) -> deals.DealRow:
    opened = await deals.create_deal(
        tx,
        caller,
        deals.CreateDealIn(
            name=name or f"{company.name}: new opportunity",
            company_id=company.id,
            estimated_value=value if value is not None else DEFAULT_VALUE,
        ),
    )
    return opened.deal
