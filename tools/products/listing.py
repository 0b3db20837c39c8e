"""The catalogue with its figures, and one product with its pipeline and customers."""

from typing import Any, LiteralString
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Doc, In, Row
from tools.products.rows import (
    HELD,
    MODULES,
    PARTS,
    PRODUCT,
    PipelineItem,
    ProcessWithStages,
    ProductNotFound,
    ProductRow,
    StageItem,
    TierRow,
)

ACTIVE_SHOWN = 10
# How many companies stand where, over groups `g` of rows with the same status; money is what those pay who use it.
COUNTS = """
    coalesce(sum(g.n) FILTER (WHERE g.status = 'active'), 0) AS active,
    coalesce(sum(g.n) FILTER (WHERE g.status = 'in_sales'), 0) AS in_sales,
    coalesce(sum(g.n) FILTER (WHERE g.status = 'in_onboarding'), 0) AS in_onboarding,
    coalesce(sum(g.n) FILTER (WHERE g.status = 'inactive'), 0) AS inactive,
    coalesce(sum(g.n) FILTER (WHERE g.status = 'declined'), 0) AS declined,
    coalesce(sum(g.n) FILTER (WHERE g.status = 'churned'), 0) AS churned,
    coalesce(sum(g.mrr) FILTER (WHERE g.status = 'active'), 0) AS total_mrr
"""
# The stages `x` of the published sales process of product `p`.
SALES_STAGES = """
    product_processes sp JOIN product_process_stages x ON x.process_id = sp.id AND x.archived_at IS NULL
     WHERE sp.product_id = p.id AND sp.process_type = 'sales' AND sp.status = 'published'
"""
STAGES = f"""
    coalesce((SELECT json_agg(json_build_object(
                         'id', x.id, 'name', x.name, 'slug', x.slug, 'stage_order', x.stage_order, 'sla_days', x.sla_days,
                         'is_terminal', x.is_terminal, 'terminal_type', x.terminal_type, 'color', x.color, 'icon', x.icon)
                     ORDER BY x.stage_order)
                FROM {SALES_STAGES}), '[]')
"""


class ProductFilter(In):
    """Which products of the catalogue, and how much of each."""

    include_modules: bool = False
    include_stats: bool = False
    sellable_only: bool = False


class ProductPageFilter(In):
    """Which part of a product's pipeline."""

    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0)


class CatalogueStats(Row):
    """How many companies stand where; `total_mrr` is what the active ones pay a month."""

    active_count: int
    in_sales_count: int
    in_onboarding_count: int
    inactive_count: int
    declined_count: int
    churned_count: int
    total_mrr: float


class StageCount(Row):
    """How many companies are in a stage of the sale."""

    stage_id: UUID
    stage_name: str | None
    count: int


class CatalogueProduct(ProductRow):
    """A product of the catalogue; what was not asked for is missing."""

    tiers: list[TierRow]
    processes: list[ProcessWithStages]
    modules: list[ProductRow] | None = None
    stats: CatalogueStats | None = None
    stages: list[StageItem] | None = None
    pipeline_by_stage: list[StageCount] | None = None


class ProductsOut(Row):
    """The catalogue in its order."""

    products: list[CatalogueProduct]


class ProductStats(Row):
    """How many companies stand where; `total_mrr` is what the active ones pay a month."""

    active: int
    in_sales: int
    in_onboarding: int
    declined: int
    churned: int
    total_mrr: float


class WholeProduct(ProductRow):
    """A product with all that belongs to it; `insights` is what its last analysis found, or null."""

    tiers: list[TierRow]
    processes: list[ProcessWithStages]
    modules: list[ProductRow]
    stages: list[StageItem]
    insights: dict[str, Any] | None


class ProductOut(Row):
    """A product, who is on the way to it (longest first), who got it last, and how many stand where."""

    product: WholeProduct
    pipeline: list[PipelineItem]
    activeCustomers: list[PipelineItem]
    stats: ProductStats


async def list_products(tx: Tx, caller: Caller, filter: ProductFilter) -> Doc[ProductsOut]:
    """Return the active top-level products in their order; figures count a rep's own companies, a manager's all."""
    modules: LiteralString = f", 'modules', {MODULES}" if filter.include_modules else ""
    stats: LiteralString = (
        f", 'stats', {_CATALOGUE_STATS}, 'stages', {STAGES}, 'pipeline_by_stage', {_BY_STAGE}"
        if filter.include_stats
        else ""
    )
    return await tx.doc(
        ProductsOut,
        f"""
        WITH counts AS MATERIALIZED (
            SELECT g.product_id, {COUNTS}
              FROM (SELECT r.product_id, r.status, sum(r.total_count) AS n, sum(r.total_value) AS mrr
                      FROM product_standing_counts r
                     WHERE %(include_stats)s AND (%(scope)s::uuid IS NULL OR r.owner_id = %(scope)s)
                     GROUP BY r.product_id, r.status) g
             GROUP BY g.product_id
        ), staged AS MATERIALIZED (
            SELECT r.product_id, r.stage_id, max(s.name) AS name, sum(r.total_count) AS n
              FROM product_standing_counts r JOIN product_process_stages s ON s.id = r.stage_id
             WHERE %(include_stats)s AND r.status = 'in_sales'
               AND (%(scope)s::uuid IS NULL OR r.owner_id = %(scope)s)
             GROUP BY r.product_id, r.stage_id
        )
        SELECT json_build_object('products', coalesce(json_agg(t.product ORDER BY t.display_order, t.name), '[]'))::text
          FROM (SELECT p.display_order, p.name,
                       to_jsonb(own) || jsonb_build_object('tiers', own.tiers {modules} {stats}) AS product
                  FROM products p CROSS JOIN LATERAL (SELECT {PRODUCT}, {PARTS}) own
                 WHERE p.parent_product_id IS NULL AND p.is_active AND (NOT %(sellable_only)s OR p.is_sellable)) t
        """,
        include_stats=filter.include_stats,
        sellable_only=filter.sellable_only,
        scope=caller.scope,
    )


_CATALOGUE_STATS: LiteralString = """
    (SELECT jsonb_build_object(
                'active_count', coalesce(max(n.active), 0), 'in_sales_count', coalesce(max(n.in_sales), 0),
                'in_onboarding_count', coalesce(max(n.in_onboarding), 0), 'inactive_count', coalesce(max(n.inactive), 0),
                'declined_count', coalesce(max(n.declined), 0), 'churned_count', coalesce(max(n.churned), 0),
                'total_mrr', coalesce(max(n.total_mrr), 0))
       FROM counts n WHERE n.product_id = p.id)
"""
# Today's stages of the sale, empty ones too, and behind them the stages of older versions that somebody is still in.
_BY_STAGE: LiteralString = f"""
    coalesce((SELECT json_agg(json_build_object('stage_id', b.id, 'stage_name', b.name, 'count', b.n) ORDER BY b.place, b.name)
                FROM (SELECT x.id, x.name, coalesce(n.n, 0) AS n, x.stage_order AS place
                        FROM (SELECT x.* FROM {SALES_STAGES} AND NOT x.is_terminal) x
                        LEFT JOIN staged n ON n.stage_id = x.id
                      UNION ALL
                      SELECT n.stage_id, n.name, n.n, 2000000
                        FROM staged n
                       WHERE n.product_id = p.id
                         AND n.stage_id NOT IN (SELECT x.id FROM {SALES_STAGES} AND NOT x.is_terminal)) b), '[]')
"""
# Rows of what companies have of product `p`, with the company and who looks after it.
_HOLDERS: LiteralString = f"""
    SELECT {HELD}, json_build_object('id', c.id, 'name', c.name) AS company,
           CASE WHEN u.id IS NOT NULL
                THEN json_build_object('id', u.id, 'name', u.name, 'email', u.email) END AS owner_user
      FROM company_product_read_model r
      JOIN company_products h ON h.id = r.company_product_id
      JOIN companies c ON c.id = h.company_id
      LEFT JOIN users u ON u.id = r.owner_id
"""


async def get_product(tx: Tx, caller: Caller, slug: str, filter: ProductPageFilter) -> Doc[ProductOut]:
    """
    Return one product with its pipeline (longest on the way first), its newest customers and its figures.

    Raises `ProductNotFound`.
    """
    return await tx.doc(
        ProductOut,
        f"""
        SELECT json_build_object(
                   'product', (SELECT row_to_json(t) FROM (
                       SELECT {PRODUCT}, {PARTS}, {MODULES} AS modules, {STAGES} AS stages,
                              (SELECT i.insights FROM product_insights i WHERE i.product_id = p.id) AS insights) t),
                   'pipeline', coalesce((SELECT json_agg(t) FROM (
                       {_HOLDERS} WHERE r.product_id = p.id AND r.status = 'in_sales'
                        ORDER BY r.sales_started_at, r.company_product_id
                        LIMIT %(limit)s OFFSET %(offset)s) t), '[]'),
                   'activeCustomers', coalesce((SELECT json_agg(t) FROM (
                       {_HOLDERS} WHERE r.product_id = p.id AND r.status = 'active'
                        ORDER BY r.activated_at DESC NULLS LAST, r.company_product_id
                        LIMIT %(active_shown)s) t), '[]'),
                   'stats', (SELECT json_build_object(
                                 'active', n.active, 'in_sales', n.in_sales, 'in_onboarding', n.in_onboarding,
                                 'declined', n.declined, 'churned', n.churned, 'total_mrr', n.total_mrr)
                               FROM (SELECT {COUNTS}
                                       FROM (SELECT r.status, sum(r.total_count) AS n, sum(r.total_value) AS mrr
                                               FROM product_standing_counts r
                                              WHERE r.product_id = p.id GROUP BY r.status) g) n))::text
          FROM products p WHERE p.slug = %(slug)s
        """,
        missing=ProductNotFound(slug=slug),
        slug=slug,
        limit=filter.limit,
        offset=filter.offset,
        active_shown=ACTIVE_SHOWN,
    )
