"""Relationship notes over HTTP."""

from uuid import UUID

from fastapi import APIRouter

from api.deps import Reading, Transaction, User
from tools import relationships

router = APIRouter(prefix="/api/relationships", tags=["Relationships"])


@router.get("/{contact_id}/notes", summary="List notes about a contact")
async def list_notes(contact_id: UUID, user: User, tx: Reading) -> relationships.NotesOut:
    """List the notes about a contact and about the company, newest first."""
    return await relationships.list_notes(tx, user, contact_id)


@router.post("/{contact_id}/notes", summary="Add a note about a contact", status_code=201)
async def add_note(
    contact_id: UUID, body: relationships.AddNoteIn, user: User, tx: Transaction
) -> relationships.NoteAddedOut:
    """Write a note about a contact."""
    return await relationships.add_note(tx, user, contact_id, body)
