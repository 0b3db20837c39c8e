"""
Whitespace: what customers of a base product do not have yet, and how well it would fit them.

Customers are companies that use a base product or are being taken on for it. Candidates are the other products that are
active and sold; one that a company uses, is being taken on for, or is being sold already is not missing.

    fit       50, +20 with three products or more, else +10 with two, + the points of every rule of the product that
              applies, at most 100
    total     the sum of the base prices of what is missing
    priority  min(100, round(0.6 x mean fit + 0.4 x total / 100))

Source: CRM specification, whitespace. The rules of a product are its `fit_rules`: a list of
`{"points": 15, "reason": "...", "when": {...}}`, where all conditions of `when` must hold and none need be given.
"""

from typing import Any, Literal, LiteralString
from uuid import UUID

from pydantic import Field, TypeAdapter, ValidationError

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict
from memory.rows import Doc, In, Row


class FitRulesUnreadable(Conflict):
    """The fit rules of product {slug} cannot be read."""


class FitConditions(In):
    """When a rule applies. Products are named by slug; a company whose size is unknown meets no bound on it."""

    owns: list[str] = []
    owns_any: list[str] = []
    lacks: list[str] = []
    min_products: int | None = None
    max_products: int | None = None
    min_employees: int | None = None
    max_employees: int | None = None
    min_agents: int | None = None
    max_agents: int | None = None
    segments: list[str] = []
    industries: list[str] = []
    statuses: list[str] = []
    crm_platforms: list[str] = []
    attributes: dict[str, Any] = {}


class FitRule(In):
    """Points for a product that a company does not have, and the reason to show."""

    points: int = Field(ge=-100, le=100)
    reason: str = Field(min_length=1, max_length=300)
    when: FitConditions = FitConditions()


class WhitespaceFilter(In):
    """Figures, or the companies behind them, best first."""

    view: Literal["stats", "opportunities"] = "opportunities"
    product_id: UUID | None = None
    min_fit_score: int = Field(default=0, ge=0, le=100)
    limit: int = Field(default=50, ge=1, le=500)
    sort_by: Literal["priority", "potential_mrr", "fit_score"] = "priority"


class ProductOpportunity(Row):
    """How many customers lack a product, and what they would pay a month for it."""

    product_id: UUID
    product_name: str
    potential_customers: int
    potential_mrr: float


class WhitespaceStats(Row):
    """Customers with and without a further product in use; the adoption rate in whole percent."""

    total_base_customers: int
    customers_with_ai_products: int
    customers_without_ai_products: int
    adoption_rate: int
    total_whitespace_mrr: float
    opportunities_by_product: list[ProductOpportunity]


class MissingProduct(Row):
    """A product that a customer lacks; the fit from 0 to 100 with its reasons."""

    product_id: UUID
    product_name: str
    product_slug: str
    estimated_mrr: float
    fit_score: int
    fit_reasons: list[str]


class Opportunity(Row):
    """A customer with what they have and what they lack; the priority from 0 to 100."""

    company_id: UUID
    company_name: str
    current_products: list[str]
    missing_products: list[MissingProduct]
    total_potential_mrr: float
    priority_score: int


class OpportunitiesOut(Row):
    """Customers who lack something, best first."""

    opportunities: list[Opportunity]


class _Rules(Row):
    id: UUID
    slug: str
    fit_rules: Any


_RULES: TypeAdapter[list[FitRule]] = TypeAdapter(list[FitRule])

# Customers with what they use (`owned`, `names`) and what is not missing (`taken`), and the products that may be missing.
_GROUND = """
    customers AS MATERIALIZED (
        SELECT c.id, c.name, c.employee_count, c.agent_count, c.segment, c.industry, c.status, c.crm_platform, c.attributes,
               held.owned, held.names, held.taken, held.has_addon, cardinality(held.owned) AS products
          FROM (SELECT r.company_id,
                       array_agg(p.slug) FILTER (WHERE r.status <> 'in_sales') AS owned,
                       array_agg(p.name ORDER BY p.display_order, p.name) FILTER (WHERE r.status <> 'in_sales') AS names,
                       array_agg(p.id) AS taken,
                       bool_or(p.product_type <> 'base' AND r.status = 'active') AS has_addon
                  FROM company_product_read_model r JOIN products p ON p.id = r.product_id
                 WHERE r.status IN ('active', 'in_onboarding', 'in_sales')
                 GROUP BY r.company_id
                HAVING bool_or(p.product_type = 'base' AND r.status <> 'in_sales')) held
          JOIN companies c ON c.id = held.company_id AND c.deleted_at IS NULL
    ), candidates AS MATERIALIZED (
        SELECT id, name, slug, display_order, coalesce(base_price_monthly, 0) AS price
          FROM products
         WHERE is_active AND is_sellable AND product_type <> 'base'
           AND (%(product_id)s::uuid IS NULL OR id = %(product_id)s)
    )
"""


async def get_whitespace(
    tx: Tx, caller: Caller, filter: WhitespaceFilter
) -> Doc[WhitespaceStats] | Doc[OpportunitiesOut]:
    """
    Return what customers lack: in figures, or company by company.

    Raises `FitRulesUnreadable`.
    """
    if filter.view == "stats":
        return await _get_stats(tx, filter)
    return await _list_opportunities(tx, filter, await _load_rules(tx))


async def _get_stats(tx: Tx, filter: WhitespaceFilter) -> Doc[WhitespaceStats]:
    return await tx.doc(
        WhitespaceStats,
        f"""
        WITH {_GROUND}, base AS (
            SELECT count(*) AS total, count(*) FILTER (WHERE has_addon) AS adopted FROM customers
        ), lacking AS (
            SELECT d.id, d.name, d.display_order, count(c.id) AS customers, count(c.id) * d.price AS mrr
              FROM candidates d LEFT JOIN customers c ON d.id <> ALL (c.taken)
             GROUP BY d.id, d.name, d.display_order, d.price
        )
        SELECT json_build_object(
                   'total_base_customers', base.total, 'customers_with_ai_products', base.adopted,
                   'customers_without_ai_products', base.total - base.adopted,
                   'adoption_rate', coalesce(round(base.adopted * 100.0 / nullif(base.total, 0)), 0),
                   'total_whitespace_mrr', coalesce((SELECT sum(mrr) FROM lacking), 0),
                   'opportunities_by_product', coalesce((
                       SELECT json_agg(json_build_object('product_id', id, 'product_name', name, 'potential_customers', customers,
                                                         'potential_mrr', mrr) ORDER BY mrr DESC, display_order, name)
                         FROM lacking), '[]'))::text
          FROM base
        """,
        product_id=filter.product_id,
    )


# Which rules `u` apply to customer `c`.
_APPLIES = """
    u.owns <@ c.owned AND (u.owns_any = '{}' OR u.owns_any && c.owned) AND NOT u.lacks && c.owned
    AND (u.min_products IS NULL OR c.products >= u.min_products) AND (u.max_products IS NULL OR c.products <= u.max_products)
    AND (u.min_employees IS NULL OR c.employee_count >= u.min_employees)
    AND (u.max_employees IS NULL OR c.employee_count <= u.max_employees)
    AND (u.min_agents IS NULL OR c.agent_count >= u.min_agents) AND (u.max_agents IS NULL OR c.agent_count <= u.max_agents)
    AND (u.segments = '{}' OR c.segment = ANY (u.segments)) AND (u.industries = '{}' OR c.industry = ANY (u.industries))
    AND (u.statuses = '{}' OR c.status = ANY (u.statuses))
    AND (u.crm_platforms = '{}' OR c.crm_platform = ANY (u.crm_platforms)) AND c.attributes @> u.attributes
"""
# All customers are weighed in numbers; words and JSON are made for the page only.
_WEIGHED: LiteralString = f"""
    rules AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%(rules)s) AS rule (
            product_id uuid, place int, points int, reason text, owns text[], owns_any text[], lacks text[], min_products int,
            max_products int, min_employees int, max_employees int, min_agents int, max_agents int, segments text[],
            industries text[], statuses text[], crm_platforms text[], attributes jsonb)
    ), earned AS MATERIALIZED (
        SELECT c.id AS company_id, u.product_id, sum(u.points) AS points
          FROM rules u JOIN customers c ON {_APPLIES}
         GROUP BY c.id, u.product_id
    ), missing AS MATERIALIZED (
        SELECT c.id AS company_id, d.id AS product_id, d.price,
               greatest(0, least(100, 50 + CASE WHEN c.products >= 3 THEN 20 WHEN c.products = 2 THEN 10 ELSE 0 END
                                          + coalesce(e.points, 0))) AS fit
          FROM customers c CROSS JOIN candidates d
          LEFT JOIN earned e ON e.company_id = c.id AND e.product_id = d.id
         WHERE d.id <> ALL (c.taken)
    ), page AS MATERIALIZED (
        SELECT c.id, c.name, f.total, f.priority,
               CASE %(sort_by)s WHEN 'potential_mrr' THEN f.total WHEN 'fit_score' THEN f.best ELSE f.priority END AS rank
          FROM (SELECT m.company_id, sum(m.price) AS total, max(m.fit) AS best,
                       least(100, round(avg(m.fit) * 0.6 + sum(m.price) / 100 * 0.4)) AS priority
                  FROM missing m WHERE m.fit >= %(min_fit_score)s
                 GROUP BY m.company_id) f
          JOIN customers c ON c.id = f.company_id
         ORDER BY rank DESC, f.priority DESC, lower(c.name), c.id
         LIMIT %(limit)s
    )
"""


async def _list_opportunities(tx: Tx, filter: WhitespaceFilter, rules: list[dict[str, Any]]) -> Doc[OpportunitiesOut]:
    return await tx.doc(
        OpportunitiesOut,
        f"""
        WITH {_GROUND}, {_WEIGHED}
        SELECT json_build_object('opportunities', coalesce(
                   json_agg(json_build_object('company_id', t.id, 'company_name', t.name, 'current_products', t.names,
                                              'missing_products', t.products, 'total_potential_mrr', t.total,
                                              'priority_score', t.priority)
                            ORDER BY t.rank DESC, t.priority DESC, lower(t.name), t.id), '[]'))::text
          FROM (SELECT page.*, c.names,
                       json_agg(json_build_object(
                           'product_id', d.id, 'product_name', d.name, 'product_slug', d.slug, 'estimated_mrr', d.price,
                           'fit_score', m.fit, 'fit_reasons',
                           CASE WHEN c.products >= 2 THEN ARRAY['Uses ' || c.products || ' products'] ELSE '{{}}' END
                               || ARRAY(SELECT u.reason FROM rules u WHERE u.product_id = d.id AND {_APPLIES} ORDER BY u.place))
                           ORDER BY m.fit DESC, d.name, d.id) AS products
                  FROM page
                  JOIN customers c ON c.id = page.id
                  JOIN missing m ON m.company_id = page.id AND m.fit >= %(min_fit_score)s
                  JOIN candidates d ON d.id = m.product_id
                 GROUP BY page.id, page.name, page.total, page.priority, page.rank, c.names) t
        """,
        rules=Json(rules),
        product_id=filter.product_id,
        min_fit_score=filter.min_fit_score,
        sort_by=filter.sort_by,
        limit=filter.limit,
    )


async def _load_rules(tx: Tx) -> list[dict[str, Any]]:
    """Return the rules of every candidate, flat, each with its product and its place among the product's rules."""
    products = await tx.many(
        _Rules,
        """
        SELECT id, slug, fit_rules FROM products
         WHERE is_active AND is_sellable AND product_type <> 'base' AND fit_rules <> '[]'
        """,
    )
    flat: list[dict[str, Any]] = []
    for product in products:
        try:
            rules = _RULES.validate_python(product.fit_rules)
        except ValidationError as failure:
            raise FitRulesUnreadable(slug=product.slug) from failure
        flat += [
            {"product_id": str(product.id), "place": place, "points": rule.points, "reason": rule.reason}
            | rule.when.model_dump()
            for place, rule in enumerate(rules)
        ]
    return flat
