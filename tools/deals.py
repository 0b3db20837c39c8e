"""Deals: opportunities in stages. Their owner, collaborators and managers see them."""

from datetime import date
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx, escape_like
from memory.errors import Invalid, NotFound
from memory.rows import Doc, In, Money, Named, Row
from tools import workspace

OpenStage = Literal["new_lead", "qualifying", "discovery", "demo", "data_review", "trial", "negotiation"]
Stage = Literal[
    "new_lead", "qualifying", "discovery", "demo", "data_review", "trial", "negotiation",
    "closed_won", "closed_lost", "closed_converted",
]  # fmt: skip
DealType = Literal["new_business", "upsell", "cross_sell", "expansion", "renewal"]

DEAL = """
    d.id, d.name, d.stage, d.estimated_value, d.expected_close_date, json_build_object('id', c.id, 'name', c.name) AS company
"""
# Who may see a deal `d`: its owner and its collaborators. A null scope sees everything. Postgres would call a function of
# this for every row, where it looks collaborators up once.
VISIBLE = """
    (%(scope)s::uuid IS NULL OR d.owner_id = %(scope)s
     OR d.id IN (SELECT w.deal_id FROM deal_collaborators w WHERE w.user_id = %(scope)s))
"""


class DealNotFound(NotFound):
    """Deal {deal_id} does not exist."""


class CompanyUnknown(Invalid):
    """Company {company_id} does not exist."""


class DealRow(Row):
    """One deal with its company; the value in the workspace's currency."""

    id: UUID
    name: str
    stage: Stage
    estimated_value: Money
    expected_close_date: date | None
    company: Named


class DealsOut(Row):
    """A page of deals, newest change first."""

    deals: list[DealRow]


class DealOut(Row):
    """One deal."""

    deal: DealRow


class DealFilter(In):
    """Which deals to list; without a stage the closed ones are hidden."""

    stage: Stage | None = None
    search: str | None = Field(default=None, max_length=200)
    company_id: UUID | None = None
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0)


class CreateDealIn(In):
    """A new deal in an open stage, owned by whoever creates it."""

    name: str = Field(min_length=1, max_length=300)
    company_id: UUID
    stage: OpenStage = "new_lead"
    estimated_value: Money = Field(default=Decimal(0), ge=0, max_digits=12, decimal_places=2)
    deal_type: DealType = "new_business"
    sales_team: str | None = Field(default=None, max_length=100)
    expected_close_date: date | None = None


async def list_deals(tx: Tx, caller: Caller, filter: DealFilter) -> Doc[DealsOut]:
    """Return a page of the deals that the caller may see, newest change first."""
    return await tx.doc(
        DealsOut,
        f"""
        SELECT json_build_object('deals', coalesce(json_agg(x), '[]'))::text
          FROM (SELECT {DEAL}
                  FROM deals d JOIN companies c ON c.id = d.company_id
                 WHERE CASE WHEN %(stage)s::text IS NULL THEN d.stage NOT LIKE 'closed%%' ELSE d.stage = %(stage)s END
                   AND (%(company_id)s::uuid IS NULL OR d.company_id = %(company_id)s)
                   AND (%(search)s::text IS NULL OR lower(d.name) LIKE %(search)s OR lower(c.name) LIKE %(search)s)
                   AND {VISIBLE}
                 ORDER BY d.updated_at DESC, d.id
                 LIMIT %(limit)s OFFSET %(offset)s) x
        """,
        stage=filter.stage,
        company_id=filter.company_id,
        search=f"%{escape_like(filter.search.lower())}%" if filter.search else None,
        scope=caller.scope,
        limit=filter.limit,
        offset=filter.offset,
    )


async def get_deal(tx: Tx, caller: Caller, deal_id: UUID) -> DealRow:
    """
    Return one deal.

    Raises `DealNotFound`, also when the caller may not see it.
    """
    return await tx.one(
        DealRow,
        f"""
        SELECT {DEAL}
          FROM deals d JOIN companies c ON c.id = d.company_id
         WHERE d.id = %(deal_id)s AND {VISIBLE}
        """,
        missing=DealNotFound(deal_id=deal_id),
        deal_id=deal_id,
        scope=caller.scope,
    )


async def create_deal(tx: Tx, caller: Caller, body: CreateDealIn) -> DealOut:
    """
    Open a deal with health 50 and the first line of its stage history.

    Raises `CompanyUnknown`, `ValueNotOffered`.
    """
    own = await workspace.get_workspace(tx)
    workspace.check_offered("sales_team", body.sales_team, own.sales_teams)
    await tx.one(
        UUID,
        "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL FOR SHARE",
        missing=CompanyUnknown(company_id=body.company_id),
        company_id=body.company_id,
    )
    deal_id = await tx.one(
        UUID,
        """
        WITH deal AS (
            INSERT INTO deals (company_id, owner_id, name, stage, estimated_value, deal_type, sales_team, expected_close_date,
                               stage_entered_at, created_at, updated_at)
            VALUES (%(company_id)s, %(owner_id)s, %(name)s, %(stage)s, %(estimated_value)s, %(deal_type)s, %(sales_team)s,
                    %(expected_close_date)s, %(now)s, %(now)s, %(now)s)
            RETURNING id, stage
        )
        INSERT INTO deal_stage_history (deal_id, to_stage, changed_by, changed_at)
        SELECT id, stage, %(owner_id)s, %(now)s FROM deal
        RETURNING deal_id
        """,
        **body.model_dump(exclude={"sales_team"}),
        sales_team=body.sales_team or own.default_sales_team,
        owner_id=caller.user_id,
    )
    return DealOut(deal=await get_deal(tx, caller, deal_id))
