"""What a communication looks like, and who may see it: the person whose mailbox it is, and managers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import NotFound
from memory.rows import Money, Named, Row

Channel = Literal["email", "call", "meeting", "sms", "chat", "note"]
Direction = Literal["inbound", "outbound", "internal"]

COMMUNICATION = """
    m.id, m.user_id, m.company_id, m.contact_id, m.deal_id, m.company_product_id, m.channel, m.direction, m.occurred_at,
    m.duration_seconds, m.subject, m.content_preview, m.attachments, m.our_participants, m.their_participants, m.sender_email,
    m.sender_name, m.source_table, m.thread_id, m.awaiting_our_response, m.awaiting_their_response, m.response_due_by,
    m.responded_at, m.tags, m.is_starred, m.is_archived, m.is_ai_generated, m.ai_action_type, m.noise_type, m.analysis_status,
    m.match_status, m.match_confidence
"""
VISIBLE = "(%(scope)s::uuid IS NULL OR m.user_id = %(scope)s)"


class CommunicationNotFound(NotFound):
    """Communication {communication_id} does not exist."""


class CompanyBeside(Named):
    """The company of a communication."""

    domain: str | None


class ContactBeside(Named):
    """The contact of a communication."""

    email: str | None


class DealBeside(Named):
    """The deal of a communication."""

    stage: str
    estimated_value: Money


class AnalysisRow(Row):
    """The current opinion on a communication, with the engine, model and prompt it comes from."""

    id: UUID
    version: int
    engine: str
    model_used: str | None
    prompt_key: str | None
    prompt_version: int | None
    run_id: UUID | None
    summary: str | None
    communication_type: str | None
    playbook_trigger: str | None
    request_type: str | None
    products_discussed: list[str]
    sentiment: str | None
    sentiment_score: float | None
    sentiment_confidence: float | None
    urgency: str | None
    key_questions: list[Any]
    extracted_facts: list[Any]
    extracted_signals: list[Any]
    extracted_objections: list[Any]
    extracted_commitments_us: list[Any]
    extracted_commitments_them: list[Any]
    extracted_competitors: list[Any]
    extracted_next_steps: list[Any]
    potential_triggers: list[str]
    flags: dict[str, Any]
    overall_confidence: float | None
    analyzed_at: datetime


class CommunicationRow(Row):
    """One communication with what it is linked to. `full_content` is filled when one is asked for by id."""

    id: UUID
    user_id: UUID
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    company_product_id: UUID | None
    channel: Channel
    direction: Direction
    occurred_at: datetime
    duration_seconds: int | None
    subject: str | None
    content_preview: str | None
    full_content: str | None = None
    attachments: list[Any]
    our_participants: list[Any]
    their_participants: list[Any]
    sender_email: str | None
    sender_name: str | None
    source_table: str
    thread_id: str
    awaiting_our_response: bool
    awaiting_their_response: bool
    response_due_by: datetime | None
    responded_at: datetime | None
    tags: list[str]
    is_starred: bool
    is_archived: bool
    is_ai_generated: bool
    ai_action_type: str | None
    noise_type: str | None
    analysis_status: str
    match_status: str
    match_confidence: float | None
    company: CompanyBeside | None
    contact: ContactBeside | None
    deal: DealBeside | None
    current_analysis: AnalysisRow | None


class Subject(Row):
    """What an operation needs to know of the communication that it is about."""

    id: UUID
    user_id: UUID
    company_id: UUID | None
    contact_id: UUID | None
    deal_id: UUID | None
    channel: Channel
    direction: Direction
    subject: str | None
    sender_email: str | None
    sender_name: str | None
    thread_id: str
    occurred_at: datetime
    awaiting_our_response: bool
    responded_at: datetime | None
    excluded_at: datetime | None
    their_participants: list[dict[str, Any]]


async def get_subject(tx: Tx, caller: Caller, communication_id: UUID, *, lock: bool = False) -> Subject:
    """
    Return the communication that an operation is about; `lock` holds it and its thread until the commit.

    What is done about one message is done about its thread, so the thread is locked before any of its messages.
    Raises `CommunicationNotFound`, also when the caller may not see it.
    """
    columns = """
        m.id, m.user_id, m.company_id, m.contact_id, m.deal_id, m.channel, m.direction, m.subject, m.sender_email, m.sender_name,
        m.thread_id, m.occurred_at, m.awaiting_our_response, m.responded_at, m.excluded_at, m.their_participants
    """
    where = f"FROM communications m WHERE m.id = %(communication_id)s AND {VISIBLE}"
    if lock:
        await tx.run(
            f"SELECT pg_advisory_xact_lock(hashtextextended(m.user_id || m.thread_id, 0)) {where}",
            communication_id=communication_id,
            scope=caller.scope,
        )
    return await tx.one(
        Subject,
        f"SELECT {columns} {where} FOR UPDATE" if lock else f"SELECT {columns} {where}",
        missing=CommunicationNotFound(communication_id=communication_id),
        communication_id=communication_id,
        scope=caller.scope,
    )
