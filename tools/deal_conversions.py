"""
Deals become sales of products: what was one opportunity goes on as a company's way through each product's own stages.

The sale counts from the first thing that ever happened on the deal. The deal's estimate is no monthly revenue and stays
where it is.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from pydantic import Field, field_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Forbidden, Invalid
from memory.rows import In, Row
from tools import company_products, lifecycle, processes, users
from tools.activities import NOT_A_COPY
from tools.company_products import CompanyProductRow
from tools.deals import VISIBLE, DealNotFound
from tools.lifecycle import Ask

NEXT_STEP_IN = timedelta(days=3)
BEFORE_A_SALE = (None, "prospect", "churned")


class DealLost(Conflict):
    """The deal is lost; a lost deal is not converted."""


class OnlyInformed(Forbidden):
    """Only the people who work on the deal may convert it."""


class ProductUnsellable(Invalid):
    """Product {product_id} does not exist or is not sold."""


class NoSalesProcess(Invalid):
    """Product {name} has no published sales process with a stage to begin in."""


class ProductOfDeal(In):
    """A product that is sold from now on, and the stage to begin in; the first by default."""

    product_id: UUID
    stage_id: UUID | None = None


class ConvertDealIn(In):
    """The products that the deal is about, each once."""

    products: list[ProductOfDeal] = Field(min_length=1, max_length=50)

    @field_validator("products")
    @classmethod
    def _each_once(cls, products: list[ProductOfDeal]) -> list[ProductOfDeal]:
        if len({product.product_id for product in products}) < len(products):
            raise ValueError("name each product once")
        return products


class ConvertedProduct(Row):
    """What the company has of one product now; `created` when it had nothing of it before."""

    product_id: UUID
    product_name: str
    company_product_id: UUID
    stage_name: str | None
    created: bool


class LegacyDealStatus(Row):
    """What became of the deal."""

    status: str
    conversion_status: Literal["converted", "partial"] | None
    converted_at: datetime | None


class ConversionStats(Row):
    """How much had happened on the deal."""

    activities_count: int
    communications_count: int
    meetings_count: int


class DealConvertedOut(Row):
    """The deal goes on as these products; `already_converted` when nothing was left to do."""

    success: Literal[True] = True
    deal_id: UUID
    converted: bool
    already_converted: bool
    first_activity_at: datetime
    last_activity_at: datetime
    company_product_ids: list[UUID]
    products: list[ConvertedProduct]
    legacy_deal_status: LegacyDealStatus
    stats: ConversionStats


class _Deal(Row):
    """The deal under its lock; its products so far are those of earlier conversions."""

    id: UUID
    name: str
    stage: str
    company_id: UUID
    owner_id: UUID | None
    health_score: int
    quoted_products: list[UUID]
    conversion_status: str | None
    created_at: datetime
    converted: list[UUID]
    may_convert: bool


class _Past(ConversionStats):
    first_activity_at: datetime
    last_activity_at: datetime


class _Sold(Row):
    id: UUID
    name: str


async def convert_deal(tx: Tx, caller: Caller, deal_id: UUID, body: ConvertDealIn) -> DealConvertedOut:
    """
    Go on with the deal as sales of these products, and close it as converted; a deal that was converted stays as it is.

    Raises `DealNotFound`, `OnlyInformed`, `DealLost`, `ProductUnsellable`, `NoSalesProcess`, and what beginning a sale
    raises: `lifecycle.StageForeign`, `lifecycle.StageTerminal`, `lifecycle.NotYours`.
    """
    deal = await _lock_deal(tx, caller, deal_id)
    wanted = [product for product in body.products if product.product_id not in deal.converted]
    if deal.stage == "closed_converted" and (deal.conversion_status == "converted" or not wanted):
        return await _tell(tx, deal, await _get_kept(tx, deal), created=(), already=True)
    past = await _get_past(tx, deal)
    sold = await _get_sold(tx, [product.product_id for product in wanted])
    ordered = sorted(wanted, key=lambda product: product.product_id)
    rows = [await company_products.get_or_create(tx, caller, deal.company_id, each.product_id) for each in ordered]
    await _write(tx, caller, deal, past, rows)
    await lifecycle.hold(tx, [row.id for row in rows])
    for product, row in zip(ordered, rows, strict=True):
        await _sell(tx, caller, deal, past, product, row, sold[product.product_id])
    return await _tell(tx, deal, past, created=[row.id for row in rows if row.created], already=False)


async def _sell(
    tx: Tx, caller: Caller, deal: _Deal, past: _Past, product: ProductOfDeal, row: CompanyProductRow, name: str
) -> None:
    """Begin the sale unless it is under way, and give it an owner and a next step; a customer stays one."""
    it = await lifecycle.load_state(tx, row.id)
    asks: list[Ask] = []
    if it.phase in BEFORE_A_SALE:
        process = await processes.find_published(tx, row.product_id, "sales")
        if process is None or process.first_stage is None:
            raise NoSalesProcess(name=name)
        asks.append(
            lifecycle.BackdatedSaleIn(
                processId=process.id, initialStageId=product.stage_id, effectiveAt=past.first_activity_at
            )
        )
    elif it.phase != "in_sales":
        return
    owner_id = deal.owner_id or caller.user_id
    if owner_id and await users.find_caller_by_id(tx, owner_id):
        asks.append(lifecycle.SetOwnerIn(ownerId=owner_id))
    asks.append(lifecycle.SetNextStepDueIn(nextStep=f"Follow up on {deal.name}", dueDate=tx.now + NEXT_STEP_IN))
    await lifecycle.execute(tx, caller, row.id, *asks)


# The deal ---------------------------------------------------------------------------------------------------------


async def _lock_deal(tx: Tx, caller: Caller, deal_id: UUID) -> _Deal:
    deal = await tx.one(
        _Deal,
        f"""
        SELECT d.id, d.name, d.stage, d.company_id, d.owner_id, d.health_score, d.quoted_products, d.conversion_status,
               d.created_at,
               coalesce((SELECT array_agg(v.product_id) FROM deal_conversions v WHERE v.legacy_deal_id = d.id), '{{}}') AS converted,
               (%(scope)s::uuid IS NULL OR d.owner_id = %(scope)s
                OR EXISTS (SELECT FROM deal_collaborators w
                            WHERE w.deal_id = d.id AND w.user_id = %(scope)s AND w.role <> 'informed')) AS may_convert
          FROM deals d
         WHERE d.id = %(deal_id)s AND {VISIBLE}
           FOR UPDATE OF d
        """,
        missing=DealNotFound(deal_id=deal_id),
        deal_id=deal_id,
        scope=caller.scope,
    )
    if not deal.may_convert:
        raise OnlyInformed
    if deal.stage == "closed_lost":
        raise DealLost
    return deal


async def _get_past(tx: Tx, deal: _Deal) -> _Past:
    """Return when the deal's first and last things happened, its creation when nothing did, and how many there were."""
    return await tx.one(
        _Past,
        f"""
        WITH happened AS (
            SELECT 'activity' AS kind, a.occurred_at AS at, a.type IN ('meeting_held', 'calendar_event') AS is_meeting
              FROM activities a
             WHERE a.deal_id = %(deal_id)s AND a.match_status <> 'excluded' AND {NOT_A_COPY}
            UNION ALL
            SELECT 'communication', m.occurred_at, false
              FROM communications m WHERE m.deal_id = %(deal_id)s AND m.excluded_at IS NULL
            UNION ALL
            SELECT 'transcript', t.meeting_date, t.activity_id IS NULL
              FROM meeting_transcriptions t WHERE t.deal_id = %(deal_id)s
        )
        SELECT coalesce(min(at), %(created_at)s) AS first_activity_at, coalesce(max(at), %(created_at)s) AS last_activity_at,
               count(*) FILTER (WHERE kind = 'activity') AS activities_count,
               count(*) FILTER (WHERE kind = 'communication') AS communications_count,
               count(*) FILTER (WHERE is_meeting) AS meetings_count
          FROM happened WHERE at <= %(now)s
        """,
        deal_id=deal.id,
        created_at=deal.created_at,
    )


async def _get_kept(tx: Tx, deal: _Deal) -> _Past:
    """Return what the conversion counted then."""
    return await tx.one(
        _Past,
        """
        SELECT coalesce(min(first_activity_at), %(created_at)s) AS first_activity_at,
               coalesce(max(last_activity_at), %(created_at)s) AS last_activity_at,
               coalesce(max(activities_count), 0) AS activities_count,
               coalesce(max(communications_count), 0) AS communications_count,
               coalesce(max(meetings_count), 0) AS meetings_count
          FROM deal_conversions WHERE legacy_deal_id = %(deal_id)s
        """,
        deal_id=deal.id,
        created_at=deal.created_at,
    )


async def _get_sold(tx: Tx, product_ids: Sequence[UUID]) -> dict[UUID, str]:
    """
    Return the names of products that are sold.

    Raises `ProductUnsellable`.
    """
    sold = await tx.many(
        _Sold,
        "SELECT id, name FROM products WHERE id = ANY (%(ids)s) AND is_active AND is_sellable",
        ids=list(product_ids),
    )
    names = {product.id: product.name for product in sold}
    for product_id in product_ids:
        if product_id not in names:
            raise ProductUnsellable(product_id=product_id)
    return names


async def _write(tx: Tx, caller: Caller, deal: _Deal, past: _Past, rows: Sequence[CompanyProductRow]) -> None:
    """Write which products the deal goes on as, what they take from it, and its own end."""
    ids = [row.id for row in rows]
    await tx.run(
        """
        INSERT INTO deal_conversions (legacy_deal_id, company_product_id, product_id, converted_at, converted_by,
                                      first_activity_at, last_activity_at, activities_count, communications_count, meetings_count)
        SELECT %(deal_id)s, h.id, h.product_id, %(now)s, %(by)s, %(first_activity_at)s, %(last_activity_at)s,
               %(activities_count)s, %(communications_count)s, %(meetings_count)s
          FROM company_products h WHERE h.id = ANY (%(ids)s)
        """,
        **past.model_dump(),
        deal_id=deal.id,
        by=caller.user_id,
        ids=ids,
    )
    await tx.run(
        """
        UPDATE company_products
           SET close_confidence = %(health)s, converted_from_deal_id = %(deal_id)s,
               last_activity_at = greatest(last_activity_at, %(last_activity_at)s)
         WHERE id = ANY (%(ids)s)
        """,
        health=deal.health_score,
        deal_id=deal.id,
        last_activity_at=past.last_activity_at,
        ids=ids,
    )
    left = set(deal.quoted_products) - set(deal.converted) - {row.product_id for row in rows}
    await _close(tx, caller, deal, ids, "partial" if left else "converted")


async def _close(tx: Tx, caller: Caller, deal: _Deal, ids: Sequence[UUID], status: str) -> None:
    """End the deal as converted, with a line in its history and a note of what it goes on as."""
    await tx.run(
        """
        WITH closed AS (
            UPDATE deals
               SET stage = 'closed_converted', conversion_status = %(status)s, converted_by = %(by)s, converted_at = %(now)s,
                   closed_at = coalesce(closed_at, %(now)s), stage_entered_at = %(now)s
             WHERE id = %(deal_id)s
        ), moved AS (
            INSERT INTO deal_stage_history (deal_id, from_stage, to_stage, changed_by, changed_at)
            SELECT %(deal_id)s, %(stage)s, 'closed_converted', %(by)s, %(now)s WHERE %(stage)s <> 'closed_converted'
        )
        INSERT INTO activities (company_id, deal_id, user_id, type, subject, body, occurred_at)
        SELECT %(company_id)s, %(deal_id)s, %(by)s, 'note', 'Deal converted',
               %(name)s || ' goes on as ' || string_agg(p.name, ', ' ORDER BY p.display_order, p.name), %(now)s
          FROM company_products h JOIN products p ON p.id = h.product_id WHERE h.id = ANY (%(ids)s)
        """,
        **deal.model_dump(include={"name", "stage", "company_id"}),
        deal_id=deal.id,
        status=status,
        by=caller.user_id,
        ids=list(ids),
    )


async def _tell(tx: Tx, deal: _Deal, past: _Past, *, created: Sequence[UUID], already: bool) -> DealConvertedOut:
    products = await tx.many(
        ConvertedProduct,
        """
        SELECT v.product_id, p.name AS product_name, v.company_product_id, r.current_stage_name AS stage_name,
               v.company_product_id = ANY (%(created)s::uuid[]) AS created
          FROM deal_conversions v
          JOIN products p ON p.id = v.product_id
          LEFT JOIN company_product_read_model r ON r.company_product_id = v.company_product_id
         WHERE v.legacy_deal_id = %(deal_id)s
         ORDER BY p.display_order, p.name, v.product_id
        """,
        deal_id=deal.id,
        created=list(created),
    )
    status = await tx.one(
        LegacyDealStatus,
        "SELECT stage AS status, conversion_status, converted_at FROM deals WHERE id = %(deal_id)s",
        deal_id=deal.id,
    )
    stats = ConversionStats(
        activities_count=past.activities_count,
        communications_count=past.communications_count,
        meetings_count=past.meetings_count,
    )
    return DealConvertedOut(
        deal_id=deal.id,
        converted=not already,
        already_converted=already,
        first_activity_at=past.first_activity_at,
        last_activity_at=past.last_activity_at,
        company_product_ids=[product.company_product_id for product in products],
        products=products,
        legacy_deal_status=status,
        stats=stats,
    )
