"""Relationship notes: what people write down about a contact or a company. Everybody may read them."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import NotFound
from memory.rows import In, Row
from tools import knowledge

ContextType = Literal["strategy", "insight", "warning", "general"]
NOTE = """
    n.id, n.note, n.context_type, n.added_at, u.name AS added_by_name, n.linked_source_type, n.linked_source_id, n.linked_item_id
"""


class ContactUnknown(NotFound):
    """Contact {contact_id} does not exist."""


class NoteRow(Row):
    """One note and who wrote it."""

    id: UUID
    note: str
    context_type: ContextType
    added_at: datetime
    added_by_name: str | None
    linked_source_type: str | None
    linked_source_id: UUID | None
    linked_item_id: UUID | None


class NotedContact(Row):
    """The contact that the notes are about."""

    id: UUID
    name: str
    email: str | None


class ContactOfCompany(NotedContact):
    """The contact with the company's id."""

    company_id: UUID


class NotesOut(Row):
    """Notes about a contact, and about the company as a whole."""

    contact: NotedContact
    contactNotes: list[NoteRow]
    companyNotes: list[NoteRow]
    totalNotes: int


class AddNoteIn(In):
    """A note about a contact."""

    note: str = Field(min_length=1, max_length=5000)
    contextType: ContextType = "general"


class NoteAddedOut(Row):
    """The note's id and moment."""

    success: bool = True
    noteId: UUID
    addedAt: datetime


async def list_notes(tx: Tx, caller: Caller, contact_id: UUID) -> NotesOut:
    """
    Return the newest 200 notes about a contact and about the company, newest first.

    Raises `ContactUnknown`.
    """
    contact = await _get_contact(tx, contact_id)
    about_contact = await tx.many(
        NoteRow,
        f"""
        SELECT {NOTE}
          FROM relationship_notes n LEFT JOIN users u ON u.id = n.added_by
         WHERE n.contact_id = %(contact_id)s AND n.deleted_at IS NULL
         ORDER BY n.added_at DESC, n.id LIMIT 200
        """,
        contact_id=contact_id,
    )
    about_company = await tx.many(
        NoteRow,
        f"""
        SELECT {NOTE}
          FROM relationship_notes n LEFT JOIN users u ON u.id = n.added_by
         WHERE n.company_id = %(company_id)s AND n.contact_id IS NULL AND n.deleted_at IS NULL
         ORDER BY n.added_at DESC, n.id LIMIT 200
        """,
        company_id=contact.company_id,
    )
    return NotesOut(
        contact=NotedContact(id=contact.id, name=contact.name, email=contact.email),
        contactNotes=about_contact,
        companyNotes=about_company,
        totalNotes=len(about_contact) + len(about_company),
    )


async def add_note(tx: Tx, caller: Caller, contact_id: UUID, body: AddNoteIn) -> NoteAddedOut:
    """
    Write a note about a contact, and have it remembered.

    Raises `ContactUnknown`.
    """
    contact = await _get_contact(tx, contact_id)
    note_id = await tx.one(
        UUID,
        """
        INSERT INTO relationship_notes (contact_id, company_id, note, context_type, added_by, added_at)
        VALUES (%(contact_id)s, %(company_id)s, %(note)s, %(context_type)s, %(user_id)s, %(now)s)
        RETURNING id
        """,
        contact_id=contact_id,
        company_id=contact.company_id,
        note=body.note,
        context_type=body.contextType,
        user_id=caller.user_id,
    )
    await knowledge.promise_collecting(tx)
    return NoteAddedOut(noteId=note_id, addedAt=tx.now)


async def _get_contact(tx: Tx, contact_id: UUID) -> ContactOfCompany:
    return await tx.one(
        ContactOfCompany,
        "SELECT id, name, email, company_id FROM contacts WHERE id = %(contact_id)s AND deleted_at IS NULL",
        missing=ContactUnknown(contact_id=contact_id),
        contact_id=contact_id,
    )
