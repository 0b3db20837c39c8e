"""Contact facts: what is known of a person, each with where it was learned."""

from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Invalid
from memory.rows import In, Row
from tools import contacts, names

FactType = Literal["personal", "preference", "family", "interest", "communication", "concern", "business"]


class FactKnown(Conflict):
    """This fact about the contact is known already."""


class NoSuchFact(Invalid):
    """The contact has no such fact."""


class AddFactIn(In):
    """A fact learned by a person."""

    type: Literal["personal", "preference", "family", "interest", "communication", "concern"]
    fact: str = Field(min_length=1, max_length=1000)


class WhichFact(In):
    """One fact: by id, or by its place (from 0) in the list as it is shown."""

    fact_id: UUID | None = None
    factId: UUID | None = None
    index: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one(self) -> "WhichFact":
        if (self.fact_id or self.factId) is None and self.index is None:
            raise ValueError("send fact_id or index")
        return self


class FactRow(Row):
    """One fact; confidence from 0 to 1."""

    id: UUID
    type: FactType | None
    fact: str
    source: str
    detected_at: datetime
    confidence: float


class Meeting(Row):
    """The meeting in which a person was mentioned."""

    id: UUID
    title: str
    meeting_date: datetime
    duration_minutes: int | None


class Mention(Row):
    """What one transcript says of a person."""

    id: UUID
    role_detected: str | None
    deal_role_detected: str | None
    sentiment_detected: str | None
    key_quotes: list[Any]
    facts_extracted: list[Any]
    confidence: float | None
    transcription: Meeting


class DetectionRow(Row):
    """How the contact came to be known, and how the person communicates."""

    communication_style: dict[str, Any]
    ai_detected_at: datetime | None
    ai_detection_source: str | None
    ai_confidence: float | None


class ContactIntelligenceOut(Row):
    """Everything known of one contact."""

    contact: contacts.ContactRow
    relationshipFacts: list[FactRow]
    communicationStyle: dict[str, Any]
    meetingMentions: list[Mention]
    aiDetectedAt: datetime | None
    aiDetectionSource: str | None
    aiConfidence: float | None


class FactAddedOut(Row):
    """The contact and the new fact."""

    contact: contacts.ContactRow
    addedFact: FactRow


FACT = "i.id, i.fact_type AS type, i.text AS fact, i.source_type AS source, i.occurred_at AS detected_at, i.confidence"


async def list_facts(tx: Tx, caller: Caller, contact_id: UUID) -> list[FactRow]:
    """Return the standing facts about a contact that are certain enough to show, oldest first, at most 500."""
    return await tx.many(
        FactRow,
        f"""
        SELECT {FACT}
          FROM relationship_items i
         WHERE i.contact_id = %(contact_id)s AND i.kind = 'fact' AND i.status = 'active' AND i.confidence >= 0.70
         ORDER BY i.occurred_at, i.id LIMIT 500
        """,
        contact_id=contact_id,
    )


async def get_intelligence(tx: Tx, caller: Caller, contact_id: UUID) -> ContactIntelligenceOut:
    """
    Return facts, style and meeting mentions of a contact; mentions only from meetings that the caller may see.

    Raises `contacts.ContactNotFound`.
    """
    contact = await contacts.get_contact(tx, caller, contact_id)
    detection = await tx.one(
        DetectionRow,
        "SELECT communication_style, ai_detected_at, ai_detection_source, ai_confidence FROM contacts WHERE id = %(contact_id)s",
        contact_id=contact_id,
    )
    mentions = await tx.many(
        Mention,
        """
        SELECT m.id, m.role_detected, m.deal_role_detected, m.sentiment_detected, m.key_quotes, m.facts_extracted, m.confidence,
               json_build_object('id', t.id, 'title', t.title, 'meeting_date', t.meeting_date,
                                 'duration_minutes', t.duration_minutes) AS transcription
          FROM contact_meeting_mentions m JOIN meeting_transcriptions t ON t.id = m.transcription_id
         WHERE m.contact_id = %(contact_id)s AND (%(scope)s::uuid IS NULL OR t.user_id = %(scope)s)
         ORDER BY t.meeting_date DESC
         LIMIT 50
        """,
        contact_id=contact_id,
        scope=caller.scope,
    )
    return ContactIntelligenceOut(
        contact=contact,
        relationshipFacts=await list_facts(tx, caller, contact_id),
        communicationStyle=detection.communication_style,
        meetingMentions=mentions,
        aiDetectedAt=detection.ai_detected_at,
        aiDetectionSource=detection.ai_detection_source,
        aiConfidence=detection.ai_confidence,
    )


async def add_fact(tx: Tx, caller: Caller, contact_id: UUID, body: AddFactIn) -> FactAddedOut:
    """
    Keep a fact that a person vouches for, with confidence 1.

    Raises `contacts.ContactNotFound`, `FactKnown`.
    """
    contact = await contacts.get_contact(tx, caller, contact_id)
    fact = await tx.maybe(
        FactRow,
        f"""
        INSERT INTO relationship_items AS i (company_id, contact_id, kind, fact_type, text, confidence, source_type, occurred_at,
                                             text_hash, created_by)
        VALUES (%(company_id)s, %(contact_id)s, 'fact', %(type)s, %(fact)s, 1, 'manual', %(now)s, %(text_hash)s, %(user_id)s)
        ON CONFLICT (company_id, contact_id, kind, text_hash) WHERE status = 'active' DO NOTHING
        RETURNING {FACT}
        """,
        company_id=contact.company_id,
        contact_id=contact_id,
        type=body.type,
        fact=body.fact,
        text_hash=hash_text(body.fact),
        user_id=caller.user_id,
    )
    if fact is None:
        raise FactKnown
    return FactAddedOut(contact=contact, addedFact=fact)


async def retract_fact(tx: Tx, caller: Caller, contact_id: UUID, which: WhichFact) -> None:
    """
    Take a fact back; its hash stays, so that it is not learned again.

    Raises `contacts.ContactNotFound`, `NoSuchFact`.
    """
    await contacts.get_contact(tx, caller, contact_id)
    fact_id = which.fact_id or which.factId
    if fact_id is None and which.index is not None:
        facts = await list_facts(tx, caller, contact_id)
        fact_id = facts[which.index].id if which.index < len(facts) else None
    touched = await tx.run(
        """
        UPDATE relationship_items SET status = 'retracted', updated_at = %(now)s
         WHERE id = %(fact_id)s AND contact_id = %(contact_id)s AND kind = 'fact' AND status = 'active'
        """,
        fact_id=fact_id,
        contact_id=contact_id,
    )
    if not touched:
        raise NoSuchFact


def hash_text(text: str) -> str:
    """Return the identity of a remark: case, accents and spacing aside."""
    return sha256(" ".join(names.fold(text).split()).encode()).hexdigest()
