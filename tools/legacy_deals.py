"""
Legacy deals: sales that nobody works on any more, to be closed, taken up again, or left for a while.

A legacy deal is a product of a company in the phase of sales that stands in no stage, or that no person has touched for
thirty days. Everybody may see them; the owner, managers, and anybody while nobody owns it may change one.
"""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Forbidden, Invalid, NotFound
from memory.rows import Doc, In, Row
from tools import company_products, lifecycle, processes
from tools.attention import flags

UNTOUCHED_DAYS = 30
NEXT_STEP_DAYS = 3
NEXT_STEP = "Take up contact again"


class LegacyDealNotFound(NotFound):
    """Legacy deal {company_product_id} does not exist."""


class NotYourDeal(Forbidden):
    """Only its owner or a manager may change this deal."""


class NotInSales(Invalid):
    """The deal is not in the phase of sales."""


class NoSalesProcess(Invalid):
    """The product has no published sales process."""


class NoOpenStage(Invalid):
    """The published sales process of the product has no stage to begin in."""


class LegacyDealFilter(In):
    """Whose legacy deals to list."""

    scope: Literal["mine", "all"] = "mine"
    limit: int = Field(default=200, ge=1, le=500)
    offset: int = Field(default=0, ge=0)


class LegacyDealRow(Row):
    """One legacy deal; its id is that of the company's product."""

    id: UUID
    company_id: UUID
    company_name: str
    product_id: UUID
    product_name: str
    stage_id: UUID | None
    stage_name: str | None
    last_human_touch_at: datetime | None
    created_at: datetime
    status: str


class ListedAt(Row):
    """When the list was made."""

    generatedAt: datetime


class LegacyDealsOut(Row):
    """A page of legacy deals, the oldest first; `count` is how many there are."""

    deals: list[LegacyDealRow]
    count: int
    meta: ListedAt


class CloseDealIn(In):
    """Why it is lost."""

    reason: str | None = Field(default=None, min_length=1, max_length=2000)


class DealClosedOut(Row):
    """When it was lost."""

    success: bool = True
    status: Literal["closed_lost"] = "closed_lost"
    closed_at: datetime


class DealTakenUpOut(Row):
    """Where the sale stands now, and when its next step is due."""

    success: bool = True
    stage_id: UUID
    stage_name: str
    next_step_due_at: datetime


class SnoozeDealIn(In):
    """For how many days it may wait."""

    days: int = Field(default=14, ge=1, le=90)


class DealSnoozedOut(Row):
    """Until when it waits."""

    success: bool = True
    snoozed_until: datetime


class _Held(Row):
    product_id: UUID
    phase: str | None
    may_write: bool


async def list_legacy_deals(tx: Tx, caller: Caller, filter: LegacyDealFilter) -> Doc[LegacyDealsOut]:
    """Return a page of the legacy deals of the caller, or of all, the oldest first."""
    return await tx.doc(
        LegacyDealsOut,
        """
        WITH found AS (
            SELECT q.id, q.created_at
              FROM company_product_read_model m
              JOIN company_products q ON q.id = m.company_product_id
              JOIN companies c ON c.id = q.company_id
             WHERE m.phase = 'in_sales' AND q.merged_into_id IS NULL AND c.deleted_at IS NULL
               AND (m.current_stage_id IS NULL OR q.last_human_touch_at IS NULL
                    OR q.last_human_touch_at < %(now)s - make_interval(days => %(untouched_days)s))
               AND (q.snoozed_until IS NULL OR q.snoozed_until <= %(now)s)
               AND (%(mine)s::uuid IS NULL OR m.owner_id = %(mine)s)
        ), page AS (
            SELECT q.id, q.company_id, c.name AS company_name, q.product_id, p.name AS product_name, m.current_stage_id AS stage_id,
                   m.current_stage_name AS stage_name, q.last_human_touch_at, q.created_at, m.status
              FROM (SELECT * FROM found ORDER BY created_at, id LIMIT %(limit)s OFFSET %(offset)s) g
              JOIN company_products q ON q.id = g.id
              JOIN company_product_read_model m ON m.company_product_id = g.id
              JOIN companies c ON c.id = q.company_id
              JOIN products p ON p.id = q.product_id
             ORDER BY q.created_at, q.id)
        SELECT json_build_object(
                   'deals', (SELECT coalesce(json_agg(x), '[]') FROM page x),
                   'count', (SELECT count(*) FROM found),
                   'meta', json_build_object('generatedAt', %(now)s::timestamptz))::text
        """,
        mine=caller.user_id if filter.scope == "mine" else None,
        limit=filter.limit,
        offset=filter.offset,
        untouched_days=UNTOUCHED_DAYS,
    )


async def close_deal(tx: Tx, caller: Caller, company_product_id: UUID, body: CloseDealIn) -> DealClosedOut:
    """
    Lose the sale, and resolve what the pipeline had flagged about it.

    Raises `LegacyDealNotFound`, `NotYourDeal`, `NotInSales`.
    """
    await _hold(tx, caller, company_product_id, in_sales=True)
    await flags.resolve_stalls(tx, caller, company_product_id, "The sale is closed.")
    await tx.run(
        "UPDATE company_products SET snoozed_until = NULL WHERE id = %(company_product_id)s",
        company_product_id=company_product_id,
    )
    lost = lifecycle.CloseSaleIn(outcome="lost", reason=body.reason)
    await lifecycle.execute(tx, caller, company_product_id, lost, permitted=True)
    return DealClosedOut(closed_at=tx.now)


async def take_up_deal(tx: Tx, caller: Caller, company_product_id: UUID) -> DealTakenUpOut:
    """
    Begin the sale anew in the first stage of the published process, with a next step in three days.

    Raises `LegacyDealNotFound`, `NotYourDeal`, `NotInSales`, `NoSalesProcess`, `NoOpenStage`.
    """
    held = await _hold(tx, caller, company_product_id, in_sales=True)
    process = await processes.find_published(tx, held.product_id, "sales")
    if process is None:
        raise NoSalesProcess
    first = process.first_stage
    if first is None:
        raise NoOpenStage
    await tx.run(
        "UPDATE company_products SET last_human_touch_at = %(now)s, snoozed_until = NULL WHERE id = %(company_product_id)s",
        company_product_id=company_product_id,
    )
    due_at = tx.now + timedelta(days=NEXT_STEP_DAYS)
    await lifecycle.execute(
        tx,
        caller,
        company_product_id,
        lifecycle.RestartSaleIn(processId=process.id, stageId=first.id),
        lifecycle.SetNextStepDueIn(nextStep=NEXT_STEP, dueDate=due_at),
        permitted=True,
    )
    return DealTakenUpOut(stage_id=first.id, stage_name=first.name, next_step_due_at=due_at)


async def snooze_deal(tx: Tx, caller: Caller, company_product_id: UUID, body: SnoozeDealIn) -> DealSnoozedOut:
    """
    Leave the deal alone for some days: it is neither listed nor flagged until then.

    Raises `LegacyDealNotFound`, `NotYourDeal`.
    """
    await _hold(tx, caller, company_product_id)
    until = tx.now + timedelta(days=body.days)
    await tx.run(
        "UPDATE company_products SET snoozed_until = %(until)s WHERE id = %(company_product_id)s",
        company_product_id=company_product_id,
        until=until,
    )
    return DealSnoozedOut(snoozed_until=until)


async def _hold(tx: Tx, caller: Caller, company_product_id: UUID, *, in_sales: bool = False) -> _Held:
    """
    Lock a company's product for the caller to change it.

    Raises `LegacyDealNotFound`, `NotYourDeal`, `NotInSales`.
    """
    held = await tx.one(
        _Held,
        f"""
        SELECT q.product_id, m.phase, {company_products.MAY_WRITE} AS may_write
          FROM company_products q LEFT JOIN company_product_read_model m ON m.company_product_id = q.id
         WHERE q.id = %(company_product_id)s AND q.merged_into_id IS NULL
           FOR NO KEY UPDATE OF q
        """,
        missing=LegacyDealNotFound(company_product_id=company_product_id),
        company_product_id=company_product_id,
        scope=caller.scope,
    )
    if not held.may_write:
        raise NotYourDeal
    if in_sales and held.phase != "in_sales":
        raise NotInSales
    return held
