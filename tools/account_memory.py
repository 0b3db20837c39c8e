"""Account memory: what works with a company and what does not, with every change and its author."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, Field, JsonValue, model_validator

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Invalid
from memory.rows import In, Named, Row
from tools import companies

LIST_FIELDS = (
    "resonates", "effective_angles", "avoided", "failed_approaches", "key_concerns", "rapport_builders",
    "objections_encountered", "personal_notes",
)  # fmt: skip
ITEMS_KEPT = 50
MEMORY = """
    m.resonates, m.effective_angles, m.avoided, m.failed_approaches, m.key_concerns, m.rapport_builders,
    m.objections_encountered, m.personal_notes, m.preferred_channel, m.response_pattern, m.formality_level,
    m.best_time_to_reach, m.decision_style, m.typical_timeline, m.last_win_theme, m.last_loss_reason
"""

Source = Literal["meeting_analysis", "email_analysis", "manual", "postmortem"]
ListField = Literal[
    "resonates", "effective_angles", "avoided", "failed_approaches", "key_concerns", "rapport_builders",
    "objections_encountered", "personal_notes",
]  # fmt: skip


class ValueMismatch(Invalid):
    """{field} takes {wanted}."""


class MemoryRow(Row):
    """What is remembered of a company; empty where nobody has learned anything yet."""

    resonates: list[JsonValue] = []
    effective_angles: list[JsonValue] = []
    avoided: list[JsonValue] = []
    failed_approaches: list[JsonValue] = []
    key_concerns: list[JsonValue] = []
    rapport_builders: list[JsonValue] = []
    objections_encountered: list[JsonValue] = []
    personal_notes: list[JsonValue] = []
    preferred_channel: str | None = None
    response_pattern: str | None = None
    formality_level: str | None = None
    best_time_to_reach: str | None = None
    decision_style: str | None = None
    typical_timeline: str | None = None
    last_win_theme: str | None = None
    last_loss_reason: str | None = None


# A remark is a sentence or two, an objection or a note with its circumstances a few more.
LONGEST_REMARK, LONGEST_NOTE, MOST_SENT = 1000, 4000, 200
Remark = Annotated[str, Field(min_length=1, max_length=LONGEST_REMARK)]


def _short(value: JsonValue) -> JsonValue:
    if len(json.dumps(value)) > LONGEST_NOTE:
        raise ValueError(f"may take at most {LONGEST_NOTE} characters as JSON")
    return value


Note = Annotated[dict[str, JsonValue], AfterValidator(_short)]


class Updates(In):
    """Fields that replace what was remembered; lists are cut to the newest fifty."""

    resonates: list[Remark] | None = Field(default=None, max_length=MOST_SENT)
    effective_angles: list[Remark] | None = Field(default=None, max_length=MOST_SENT)
    avoided: list[Remark] | None = Field(default=None, max_length=MOST_SENT)
    failed_approaches: list[Remark] | None = Field(default=None, max_length=MOST_SENT)
    key_concerns: list[Remark] | None = Field(default=None, max_length=MOST_SENT)
    rapport_builders: list[Remark] | None = Field(default=None, max_length=MOST_SENT)
    objections_encountered: list[Note] | None = Field(default=None, max_length=MOST_SENT)
    personal_notes: list[Note] | None = Field(default=None, max_length=MOST_SENT)
    preferred_channel: Literal["phone", "email", "linkedin", "video", "text"] | None = None
    response_pattern: Literal["quick", "deliberate", "sporadic"] | None = None
    formality_level: Literal["formal", "casual", "mixed"] | None = None
    best_time_to_reach: str | None = Field(default=None, max_length=200)
    decision_style: Literal["owner_led", "consensus", "committee", "financial"] | None = None
    typical_timeline: str | None = Field(default=None, max_length=200)
    last_win_theme: str | None = Field(default=None, max_length=500)
    last_loss_reason: str | None = Field(default=None, max_length=500)


class UpdateMemoryIn(In):
    """Either one value for one list field, or `updates` that replace fields."""

    field: ListField | None = None
    value: Annotated[JsonValue, AfterValidator(_short)] = None
    updates: Updates | None = None
    source: Source = "manual"

    @model_validator(mode="after")
    def _one_way(self) -> "UpdateMemoryIn":
        if (self.field is None) == (self.updates is None):
            raise ValueError("send either field and value, or updates")
        if self.field is not None and self.value in (None, ""):
            raise ValueError("value may not be empty")
        return self


class MemoryUpdate(Row):
    """One change of one field."""

    id: UUID
    field_updated: str
    old_value: JsonValue
    new_value: JsonValue
    source: Source
    confidence: float | None
    created_at: datetime
    user: Named | None


class MemoryOut(Row):
    """The memory of a company with its newest changes."""

    memory: MemoryRow
    recentUpdates: list[MemoryUpdate]


class MemoryUpdatedOut(Row):
    """The memory after the change."""

    message: str
    memory: MemoryRow
    fieldsUpdated: list[str]


async def get_memory(tx: Tx, caller: Caller, company_id: UUID) -> MemoryOut:
    """
    Return what is remembered of a company, with its last ten changes.

    Raises `companies.CompanyNotFound`.
    """
    await companies.get_company(tx, caller, company_id)
    memory = await tx.maybe(
        MemoryRow, f"SELECT {MEMORY} FROM account_memory m WHERE m.company_id = %(company_id)s", company_id=company_id
    )
    updates = await tx.many(
        MemoryUpdate,
        """
        SELECT u.id, u.field_updated, u.old_value, u.new_value, u.source, u.confidence, u.created_at,
               CASE WHEN p.id IS NOT NULL THEN json_build_object('id', p.id, 'name', p.name) END AS user
          FROM account_memory m
          JOIN account_memory_updates u ON u.account_memory_id = m.id
          LEFT JOIN users p ON p.id = u.updated_by
         WHERE m.company_id = %(company_id)s
         ORDER BY u.created_at DESC, u.id
         LIMIT 10
        """,
        company_id=company_id,
    )
    return MemoryOut(memory=memory or MemoryRow(), recentUpdates=updates)


async def update_memory(tx: Tx, caller: Caller, company_id: UUID, body: UpdateMemoryIn) -> MemoryUpdatedOut:
    """
    Append to a list field, or replace fields, under the row's lock; each changed field is recorded.

    Raises `companies.CompanyNotFound`, `ValueMismatch`.
    """
    await companies.get_company(tx, caller, company_id)
    memory_id = await tx.one(
        UUID,
        """
        INSERT INTO account_memory (company_id) VALUES (%(company_id)s)
        ON CONFLICT (company_id) DO UPDATE SET updated_at = %(now)s
        RETURNING id
        """,
        company_id=company_id,
    )
    before = await tx.one(
        MemoryRow, f"SELECT {MEMORY} FROM account_memory m WHERE m.id = %(memory_id)s", memory_id=memory_id
    )
    wanted = _wanted(before, body)
    changed = {field: value for field, value in wanted.items() if value != getattr(before, field)}
    for field, value in changed.items():
        await _record(tx, caller, memory_id, field, getattr(before, field), value, body.source)
    after = MemoryRow.model_validate(before.model_dump() | changed)
    await _store(tx, memory_id, after)
    message = f"Updated {', '.join(changed)}." if changed else "Known already; nothing changed."
    return MemoryUpdatedOut(message=message, memory=after, fieldsUpdated=list(changed))


def _wanted(before: MemoryRow, body: UpdateMemoryIn) -> dict[str, Any]:
    """Return the new value of every field that the body speaks of."""
    if body.updates is not None:
        given = body.updates.model_dump(exclude_unset=True)
        return {field: _kept(value or []) if field in LIST_FIELDS else value for field, value in given.items()}
    if body.field is None:
        return {}
    takes_objects = body.field in ("objections_encountered", "personal_notes")
    if not isinstance(body.value, dict if takes_objects else str):
        raise ValueMismatch(field=body.field, wanted="an object" if takes_objects else "a text")
    return {body.field: _kept([*getattr(before, body.field), body.value])}


def _kept(items: list[JsonValue]) -> list[JsonValue]:
    """Return the newest items, each once; case does not distinguish texts."""
    seen: dict[str, JsonValue] = {}
    for item in items:
        seen.setdefault(item.casefold() if isinstance(item, str) else repr(item), item)
    return list(seen.values())[-ITEMS_KEPT:]


async def _record(
    tx: Tx, caller: Caller, memory_id: UUID, field: str, old: object, new: object, source: Source
) -> None:
    await tx.run(
        """
        INSERT INTO account_memory_updates (account_memory_id, field_updated, old_value, new_value, source, updated_by, created_at)
        VALUES (%(memory_id)s, %(field)s, %(old)s, %(new)s, %(source)s, %(user_id)s, %(now)s)
        """,
        memory_id=memory_id,
        field=field,
        old=Json(old),
        new=Json(new),
        source=source,
        user_id=caller.user_id,
    )


async def _store(tx: Tx, memory_id: UUID, memory: MemoryRow) -> None:
    values = memory.model_dump()
    await tx.run(
        """
        UPDATE account_memory
           SET resonates = %(resonates)s, effective_angles = %(effective_angles)s, avoided = %(avoided)s,
               failed_approaches = %(failed_approaches)s, key_concerns = %(key_concerns)s,
               rapport_builders = %(rapport_builders)s, objections_encountered = %(objections_encountered)s,
               personal_notes = %(personal_notes)s, preferred_channel = %(preferred_channel)s,
               response_pattern = %(response_pattern)s, formality_level = %(formality_level)s,
               best_time_to_reach = %(best_time_to_reach)s, decision_style = %(decision_style)s,
               typical_timeline = %(typical_timeline)s, last_win_theme = %(last_win_theme)s,
               last_loss_reason = %(last_loss_reason)s, lock_version = lock_version + 1
         WHERE id = %(memory_id)s
        """,
        **{field: Json(value) if field in LIST_FIELDS else value for field, value in values.items()},
        memory_id=memory_id,
    )
