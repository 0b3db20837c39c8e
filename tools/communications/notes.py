"""Notes beside a communication: by hand, and of what was done about it."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Invalid
from memory.rows import In, Named, Row
from tools.communications.rows import get_subject

NoteType = Literal["manual", "action", "system"]
ActionType = Literal[
    "marked_done", "resolved_flag", "snoozed", "sent_email", "sent_reply", "scheduled_meeting", "assigned_company",
    "draft_generated",
]  # fmt: skip
NOTE = """
    n.id, n.communication_id, n.note_type, n.action_type, n.content, n.attention_flag_id, n.created_at,
    CASE WHEN u.id IS NOT NULL THEN json_build_object('id', u.id, 'name', u.name) END AS user
"""


class FlagUnknown(Invalid):
    """Attention flag {attention_flag_id} does not exist."""


class NoteRow(Row):
    """One note and who wrote it."""

    id: UUID
    communication_id: UUID
    note_type: NoteType
    action_type: ActionType | None
    content: str
    attention_flag_id: UUID | None
    created_at: datetime
    user: Named | None


class NotesOut(Row):
    """The notes of one communication, newest first."""

    notes: list[NoteRow]


class NoteOut(Row):
    """The new note."""

    success: bool = True
    note: NoteRow


class AddNoteIn(In):
    """A note beside a communication."""

    content: str = Field(min_length=1, max_length=5000)
    note_type: Literal["manual", "action"] = "manual"
    action_type: ActionType | None = None
    attention_flag_id: UUID | None = None


async def list_notes(tx: Tx, caller: Caller, communication_id: UUID) -> NotesOut:
    """
    Return the newest 200 notes of one communication, newest first.

    Raises `CommunicationNotFound`.
    """
    await get_subject(tx, caller, communication_id)
    notes = await tx.many(
        NoteRow,
        f"""
        SELECT {NOTE} FROM communication_notes n LEFT JOIN users u ON u.id = n.user_id
         WHERE n.communication_id = %(communication_id)s
         ORDER BY n.created_at DESC, n.id LIMIT 200
        """,
        communication_id=communication_id,
    )
    return NotesOut(notes=notes)


async def add_note(tx: Tx, caller: Caller, communication_id: UUID, body: AddNoteIn) -> NoteOut:
    """
    Write a note beside a communication.

    Raises `CommunicationNotFound`, `FlagUnknown`.
    """
    await get_subject(tx, caller, communication_id)
    if body.attention_flag_id:
        await tx.one(
            UUID,
            "SELECT id FROM attention_flags WHERE id = %(flag_id)s",
            missing=FlagUnknown(attention_flag_id=body.attention_flag_id),
            flag_id=body.attention_flag_id,
        )
    return NoteOut(note=await record_note(tx, caller, communication_id, **body.model_dump()))


async def record_note(
    tx: Tx,
    caller: Caller,
    communication_id: UUID,
    *,
    content: str,
    note_type: NoteType = "action",
    action_type: ActionType | None = None,
    attention_flag_id: UUID | None = None,
) -> NoteRow:
    """Append a note of the caller's, without asking whether the communication is visible."""
    return await tx.one(
        NoteRow,
        f"""
        WITH n AS (
            INSERT INTO communication_notes (communication_id, user_id, note_type, action_type, content, attention_flag_id, created_at)
            VALUES (%(communication_id)s, %(user_id)s, %(note_type)s, %(action_type)s, %(content)s, %(attention_flag_id)s, %(now)s)
            RETURNING *
        )
        SELECT {NOTE} FROM n LEFT JOIN users u ON u.id = n.user_id
        """,
        communication_id=communication_id,
        user_id=caller.user_id,
        note_type=note_type,
        action_type=action_type,
        content=content,
        attention_flag_id=attention_flag_id,
    )
