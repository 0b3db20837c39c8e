"""Flags: listed, raised by hand, resolved, snoozed until later, and woken again."""

from datetime import UTC, datetime
from typing import Annotated, Literal, LiteralString
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, field_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Forbidden, Invalid
from memory.rows import Doc, In, Row
from tools.attention.rows import (
    FLAG,
    JOINED,
    STATUSES,
    FlagOut,
    FlagResolved,
    FlagRow,
    FlagType,
    NotYourFlag,
    Severity,
    SourceType,
    get_flag,
    hold_flag,
    note_on_source,
)
from tools.company_products import MAY_WRITE

LATEST = datetime(9999, 1, 1, tzinfo=UTC)
MOST_COUNTED = 10_000
# A person's own: what they sell, what is at the same companies or at companies they own without naming a product, and
# what waits in their own mailbox.
OWN = """
    f.id IN (
        SELECT o.id FROM company_product_read_model m JOIN attention_flags o ON o.company_product_id = m.company_product_id
         WHERE m.owner_id = %(mine)s
        UNION
        SELECT o.id FROM attention_flags o
         WHERE o.company_product_id IS NULL
           AND o.company_id IN (SELECT m.company_id FROM company_product_read_model m WHERE m.owner_id = %(mine)s
                                UNION SELECT w.id FROM companies w WHERE w.owner_id = %(mine)s)
        UNION
        SELECT o.id FROM attention_flags o
          JOIN communications x ON x.id = CASE WHEN o.source_id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN o.source_id::uuid END
         WHERE o.company_product_id IS NULL AND o.source_type = 'communication' AND x.user_id = %(mine)s AND x.company_id = o.company_id)
"""
FILTERED = """
    EXISTS (SELECT FROM companies c WHERE c.id = f.company_id AND c.deleted_at IS NULL)
    AND (%(company_id)s::uuid IS NULL OR f.company_id = %(company_id)s)
    AND (%(statuses)s::text[] IS NULL OR f.status = ANY(%(statuses)s))
    AND (%(source_type)s::text IS NULL OR f.source_type = %(source_type)s)
    AND (%(flag_type)s::text IS NULL OR f.flag_type = %(flag_type)s)
    AND (%(severity)s::text IS NULL OR f.severity = %(severity)s)
"""
RANK = "CASE f.severity WHEN 'critical' THEN 0 WHEN 'high' THEN 1 WHEN 'medium' THEN 2 ELSE 3 END"


class OthersFlags(Forbidden):
    """Only a manager may list everybody's flags."""


class NotLater(Invalid):
    """snooze_until must lie in the future."""


class NotSnoozed(Invalid):
    """Attention flag {flag_id} is not snoozed."""


class CompanyUnknown(Invalid):
    """Company {company_id} does not exist."""


class ProductOfOtherCompany(Invalid):
    """The company has no such product: company_product_id {company_product_id}."""


def _before_the_end(moment: datetime) -> datetime:
    if moment >= LATEST:
        raise ValueError("lies too far ahead")
    return moment


class FlagFilter(In):
    """Which flags to list, the gravest first; `status` takes several, separated by commas."""

    company_id: UUID | None = None
    status: str | None = Field(default=None, max_length=100)
    source_type: SourceType | None = None
    flag_type: FlagType | None = None
    severity: Severity | None = None
    scope: Literal["mine", "all"] = "mine"
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0)

    @field_validator("status")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        for part in _parts(value) or []:
            if part not in STATUSES:
                raise ValueError(f"{part!r} is none of {', '.join(STATUSES)}")
        return value


class FlagsOut(Row):
    """A page of flags, and how many there are; `total` counts up to 10,000."""

    flags: list[FlagRow]
    total: int


class RaiseFlagIn(In):
    """What somebody should look at, and what they should do."""

    company_id: UUID
    company_product_id: UUID | None = None
    flag_type: FlagType
    severity: Severity
    reason: str = Field(min_length=1, max_length=2000)
    recommended_action: str = Field(min_length=1, max_length=2000)


class ResolveFlagIn(In):
    """What came of it."""

    resolution_notes: str | None = Field(default=None, max_length=4000)


class SnoozeFlagIn(In):
    """Until when it may wait, and why."""

    snooze_until: Annotated[AwareDatetime, AfterValidator(_before_the_end), Field(examples=["2099-01-01T09:00:00Z"])]
    reason: str | None = Field(default=None, max_length=1000)


def _parts(value: str | None) -> list[str] | None:
    return [part.strip() for part in (value or "").split(",") if part.strip()] or None


async def list_flags(tx: Tx, caller: Caller, filter: FlagFilter) -> Doc[FlagsOut]:
    """
    Return a page of flags, the gravest first, then the oldest.

    Raises `OthersFlags`.
    """
    if filter.scope == "all" and not caller.sees_all:
        raise OthersFlags
    return await tx.doc(
        FlagsOut,
        _LIST_OWN if filter.scope == "mine" and caller.user_id else _LIST_ALL,
        **filter.model_dump(exclude={"status", "scope"}),
        statuses=_parts(filter.status),
        mine=caller.user_id,
        most=MOST_COUNTED,
    )


def _list(where: LiteralString) -> LiteralString:
    """Return the page and the number of what `where` lets through; the page is found in the index, not counted through."""
    return f"""
        SELECT json_build_object(
                   'flags', (SELECT coalesce(json_agg(x), '[]') FROM (
                       SELECT {FLAG}
                         FROM (SELECT f.id FROM attention_flags f WHERE {where}
                                ORDER BY {RANK}, f.created_at, f.id LIMIT %(limit)s OFFSET %(offset)s) g
                         JOIN ({JOINED}) ON f.id = g.id
                        ORDER BY {RANK}, f.created_at, f.id) x),
                   'total', (SELECT count(*) FROM (SELECT FROM attention_flags f WHERE {where} LIMIT %(most)s) t))::text
        """


_LIST_ALL = _list(FILTERED)
_LIST_OWN = _list(f"{FILTERED} AND {OWN}")


async def raise_flag(tx: Tx, caller: Caller, body: RaiseFlagIn) -> FlagOut:
    """
    Raise a flag by hand, for a person to look at.

    Raises `CompanyUnknown`, `ProductOfOtherCompany`, `NotYourFlag`.
    """
    await tx.one(
        UUID,
        "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL FOR SHARE",
        missing=CompanyUnknown(company_id=body.company_id),
        company_id=body.company_id,
    )
    if body.company_product_id is not None:
        await _check_product(tx, caller, body.company_id, body.company_product_id)
    flag_id = await tx.one(
        UUID,
        """
        INSERT INTO attention_flags (company_id, company_product_id, source_type, flag_type, severity, reason, recommended_action, owner,
                                     status, created_by, created_at)
        VALUES (%(company_id)s, %(company_product_id)s, 'manual', %(flag_type)s, %(severity)s, %(reason)s, %(recommended_action)s, 'human',
                'open', %(user_id)s, %(now)s)
        RETURNING id
        """,
        **body.model_dump(),
        user_id=caller.user_id,
    )
    return FlagOut(flag=await get_flag(tx, flag_id))


async def _check_product(tx: Tx, caller: Caller, company_id: UUID, company_product_id: UUID) -> None:
    may_write = await tx.one(
        bool,
        f"""
        SELECT {MAY_WRITE}
          FROM company_products q LEFT JOIN company_product_read_model m ON m.company_product_id = q.id
         WHERE q.id = %(company_product_id)s AND q.company_id = %(company_id)s
        """,
        missing=ProductOfOtherCompany(company_product_id=company_product_id),
        company_product_id=company_product_id,
        company_id=company_id,
        scope=caller.scope,
    )
    if not may_write:
        raise NotYourFlag


async def resolve_flag(tx: Tx, caller: Caller, flag_id: UUID, body: ResolveFlagIn) -> FlagOut:
    """
    Take a flag off the list; one that is resolved stays as it is.

    Raises `FlagNotFound`, `NotYourFlag`.
    """
    flag = await hold_flag(tx, caller, flag_id)
    if flag.status != "resolved":
        await tx.run(
            """
            UPDATE attention_flags
               SET status = 'resolved', snoozed_until = NULL, resolved_at = %(now)s, resolved_by = %(user_id)s,
                   resolution_notes = %(resolution_notes)s
             WHERE id = %(flag_id)s
            """,
            flag_id=flag_id,
            user_id=caller.user_id,
            resolution_notes=body.resolution_notes,
        )
        await note_on_source(tx, caller, flag, "resolved_flag", body.resolution_notes or "The flag is resolved.")
    return FlagOut(flag=await get_flag(tx, flag_id))


async def snooze_flag(tx: Tx, caller: Caller, flag_id: UUID, body: SnoozeFlagIn) -> FlagOut:
    """
    Hide a flag until a later moment; `wake_snoozed` brings it back.

    Raises `FlagNotFound`, `NotYourFlag`, `NotLater`, `FlagResolved`.
    """
    flag = await hold_flag(tx, caller, flag_id)
    if body.snooze_until <= tx.now:
        raise NotLater
    if flag.status == "resolved":
        raise FlagResolved(flag_id=flag_id)
    await tx.run(
        """
        UPDATE attention_flags SET status = 'snoozed', snoozed_until = %(until)s, snooze_reason = %(reason)s
         WHERE id = %(flag_id)s
        """,
        flag_id=flag_id,
        until=body.snooze_until,
        reason=body.reason,
    )
    until = body.snooze_until.astimezone(UTC)
    why = f": {body.reason}" if body.reason else "."
    await note_on_source(tx, caller, flag, "snoozed", f"The flag waits until {until:%Y-%m-%d %H:%M} UTC{why}")
    return FlagOut(flag=await get_flag(tx, flag_id))


async def unsnooze_flag(tx: Tx, caller: Caller, flag_id: UUID) -> FlagOut:
    """
    Bring a snoozed flag back now.

    Raises `FlagNotFound`, `NotYourFlag`, `NotSnoozed`.
    """
    flag = await hold_flag(tx, caller, flag_id)
    if flag.status != "snoozed":
        raise NotSnoozed(flag_id=flag_id)
    await tx.run(
        """
        UPDATE attention_flags SET status = 'open', snoozed_until = NULL, snooze_reason = NULL WHERE id = %(flag_id)s
        """,
        flag_id=flag_id,
    )
    return FlagOut(flag=await get_flag(tx, flag_id))


async def wake_snoozed(tx: Tx) -> int:
    """Bring back every flag whose time has come, and return how many there were."""
    return await tx.run(
        """
        UPDATE attention_flags SET status = 'open', snoozed_until = NULL, snooze_reason = NULL
         WHERE status = 'snoozed' AND snoozed_until <= %(now)s
        """
    )


async def resolve_stalls(tx: Tx, caller: Caller, company_product_id: UUID, note: str) -> int:
    """Resolve what the pipeline has flagged about a product, because somebody has dealt with it; return how many there were."""
    return await tx.run(
        """
        UPDATE attention_flags
           SET status = 'resolved', snoozed_until = NULL, resolved_at = %(now)s, resolved_by = %(user_id)s, resolution_notes = %(note)s
         WHERE company_product_id = %(company_product_id)s AND source_type = 'pipeline' AND status <> 'resolved'
        """,
        company_product_id=company_product_id,
        user_id=caller.user_id,
        note=note,
    )
