"""
What a flag looks like, who may see it and who may change it.

Everybody may read flags; a list shows a person's own unless a manager asks for all. A flag is changed by the owner of its
product, by managers, and by anybody while it belongs to no product or the product to nobody.
"""

from datetime import datetime
from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Forbidden, Invalid, NotFound
from memory.rows import Named, Row
from tools.communications.notes import ActionType, record_note
from tools.company_products import MAY_WRITE

FlagType = Literal[
    "NEEDS_REPLY", "BOOK_MEETING_APPROVAL", "PROPOSAL_APPROVAL", "PRICING_EXCEPTION", "CLOSE_DECISION", "HIGH_RISK_OBJECTION",
    "NO_NEXT_STEP_AFTER_MEETING", "STALE_IN_STAGE", "GHOSTING_AFTER_PROPOSAL", "DATA_MISSING_BLOCKER", "SYSTEM_ERROR",
]  # fmt: skip
Severity = Literal["low", "medium", "high", "critical"]
Status = Literal["open", "snoozed", "resolved"]
SourceType = Literal["communication", "pipeline", "system", "manual"]
STATUSES: tuple[str, ...] = ("open", "snoozed", "resolved")
STALLED: tuple[FlagType, ...] = ("STALE_IN_STAGE", "NO_NEXT_STEP_AFTER_MEETING", "GHOSTING_AFTER_PROPOSAL")
WRITABLE: tuple[FlagType, ...] = (*STALLED, "NEEDS_REPLY")
"""The flags that a letter to the customer deals with."""

FLAG = """
    f.id, f.company_id, f.company_product_id, f.source_type, f.source_id, f.flag_type, f.severity, f.reason, f.recommended_action,
    f.owner, f.status, f.snoozed_until, f.snooze_reason, f.resolved_at, f.resolved_by, f.resolution_notes, f.created_by,
    f.created_at, f.updated_at, json_build_object('id', c.id, 'name', c.name) AS company,
    CASE WHEN q.id IS NOT NULL THEN json_build_object('id', q.id, 'product',
        json_build_object('id', p.id, 'name', p.name, 'slug', p.slug)) END AS company_product
"""
JOINED = """
    attention_flags f
    JOIN companies c ON c.id = f.company_id
    LEFT JOIN company_products q ON q.id = f.company_product_id
    LEFT JOIN products p ON p.id = q.product_id
    LEFT JOIN company_product_read_model m ON m.company_product_id = f.company_product_id
"""


class FlagNotFound(NotFound):
    """Attention flag {flag_id} does not exist."""


class NotYourFlag(Forbidden):
    """Only the owner of the product that the flag is about, or a manager, may change it."""


class FlagResolved(Conflict):
    """Attention flag {flag_id} is resolved already."""


class FlagNotOpen(Invalid):
    """Attention flag {flag_id} is {status}; only an open one can be acted on."""


class NotForMail(Invalid):
    """A flag of type {flag_type} is not dealt with by a mail."""


class ProductNamed(Named):
    """A product."""

    slug: str


class FlaggedProduct(Row):
    """What of the company the flag is about."""

    id: UUID
    product: ProductNamed


class FlagRow(Row):
    """One flag with its company and product."""

    id: UUID
    company_id: UUID
    company_product_id: UUID | None
    source_type: SourceType
    source_id: str | None
    flag_type: FlagType
    severity: Severity
    reason: str
    recommended_action: str | None
    owner: Literal["human", "ai"]
    status: Status
    snoozed_until: datetime | None
    snooze_reason: str | None
    resolved_at: datetime | None
    resolved_by: UUID | None
    resolution_notes: str | None
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    company: Named
    company_product: FlaggedProduct | None

    @property
    def communication_id(self) -> UUID | None:
        """The communication that the flag asks to deal with."""
        if self.source_type != "communication" or self.source_id is None:
            return None
        try:
            return UUID(self.source_id)
        except ValueError:
            return None


class FlagOut(Row):
    """The flag as it stands now."""

    success: bool = True
    flag: FlagRow


class _Held(FlagRow):
    may_write: bool


async def get_flag(tx: Tx, flag_id: UUID) -> FlagRow:
    """
    Return one flag.

    Raises `FlagNotFound`.
    """
    return await tx.one(
        FlagRow,
        f"SELECT {FLAG} FROM {JOINED} WHERE f.id = %(flag_id)s",
        missing=FlagNotFound(flag_id=flag_id),
        flag_id=flag_id,
    )


async def hold_flag(tx: Tx, caller: Caller, flag_id: UUID) -> FlagRow:
    """
    Lock a flag for the caller to change it.

    Raises `FlagNotFound`, `NotYourFlag`.
    """
    held = await tx.one(
        _Held,
        f"""
        SELECT {FLAG}, f.company_product_id IS NULL OR {MAY_WRITE} AS may_write
          FROM {JOINED} WHERE f.id = %(flag_id)s
           FOR UPDATE OF f
        """,
        missing=FlagNotFound(flag_id=flag_id),
        flag_id=flag_id,
        scope=caller.scope,
    )
    if not held.may_write:
        raise NotYourFlag
    return held


def check_writable(flag: FlagRow) -> None:
    """
    Refuse flags that no letter deals with.

    Raises `NotForMail`.
    """
    if flag.flag_type not in WRITABLE:
        raise NotForMail(flag_type=flag.flag_type)


def check_open(flag: FlagRow) -> None:
    """
    Refuse flags that are snoozed or resolved.

    Raises `FlagNotOpen`.
    """
    if flag.status != "open":
        raise FlagNotOpen(flag_id=flag.id, status=flag.status)


async def note_on_source(tx: Tx, caller: Caller, flag: FlagRow, action: ActionType, content: str) -> None:
    """Write beside the communication that raised the flag what was done about it; other flags have no such place."""
    if flag.communication_id is None:
        return
    known = await tx.maybe(
        UUID, "SELECT id FROM communications WHERE id = %(communication_id)s", communication_id=flag.communication_id
    )
    if known is not None:
        await record_note(tx, caller, known, content=content[:5000], action_type=action, attention_flag_id=flag.id)
