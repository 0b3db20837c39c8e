"""What a product looks like: alone, with its tiers and processes, and as a company has it."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from memory.errors import NotFound
from memory.rows import Money, Named, Row
from tools.processes import ProcessType, TerminalType

ProductType = Literal["base", "suite", "module", "addon"]
Phase = Literal["prospect", "in_sales", "onboarding", "active", "churned"]
HeldStatus = Literal["inactive", "in_sales", "in_onboarding", "active", "declined", "churned"]

# A product `p` with its own columns only.
PRODUCT = """
    p.id, p.name, p.slug, p.description, p.parent_product_id, p.product_type, p.display_order, p.icon, p.color,
    p.base_price_monthly, p.pricing_model, p.is_active, p.is_sellable, p.fit_rules, p.successor_product_id,
    p.migrates_product_id, p.created_at, p.updated_at
"""
# What belongs to a product `p`: plans, and published processes with their stages in short.
PARTS = """
    coalesce((SELECT json_agg(json_build_object(
                         'id', t.id, 'name', t.name, 'slug', t.slug, 'display_order', t.display_order,
                         'included_modules', t.included_modules, 'features', t.features, 'price_monthly', t.price_monthly)
                     ORDER BY t.display_order, t.name)
                FROM product_tiers t WHERE t.product_id = p.id), '[]') AS tiers,
    coalesce((SELECT json_agg(json_build_object(
                         'id', c.id, 'process_type', c.process_type, 'name', c.name, 'version', c.version,
                         'stages', coalesce((
                             SELECT json_agg(json_build_object(
                                        'id', s.id, 'name', s.name, 'slug', s.slug, 'stage_order', s.stage_order,
                                        'sla_days', s.sla_days, 'is_terminal', s.is_terminal,
                                        'terminal_type', s.terminal_type, 'color', s.color, 'icon', s.icon)
                                        ORDER BY s.stage_order)
                               FROM product_process_stages s WHERE s.process_id = c.id AND s.archived_at IS NULL), '[]'))
                     ORDER BY c.process_type)
                FROM product_processes c WHERE c.product_id = p.id AND c.status = 'published'), '[]') AS processes
"""
MODULES = f"""
    coalesce((SELECT json_agg(m) FROM (
        SELECT {PRODUCT.replace("p.", "k.")} FROM products k
         WHERE k.parent_product_id = p.id AND k.is_active ORDER BY k.display_order, k.name) m), '[]')
"""
# What a company has of a product: the row `h` and its projection `r`, which is missing until something has happened.
HELD = """
    h.id, h.company_id, h.product_id, h.tier_id, h.enabled_modules, h.notes, h.ai_sequence_active, h.close_confidence,
    h.close_ready, h.expected_close_date, h.open_objections, h.last_human_touch_at, h.last_ai_touch_at, h.last_activity_at,
    h.snoozed_until, h.converted_from_deal_id, h.created_at, h.updated_at,
    r.phase, coalesce(r.status, 'inactive') AS status, r.current_process_type, r.current_process_id,
    r.current_process_version, r.stage_entered_at, r.stage_sla_deadline, coalesce(r.is_sla_warning, false) AS is_sla_warning,
    coalesce(r.is_sla_breached, false) AS is_sla_breached, r.process_started_at, r.process_completed_at, r.last_outcome,
    coalesce(r.stage_transition_count, 0) AS stage_transition_count, r.owner_id, r.tier AS priority_tier,
    coalesce(r.mrr, 0) AS mrr, coalesce(r.mrr_currency, 'USD') AS mrr_currency, r.seats, r.next_step, r.next_step_due_at,
    r.health_score, r.risk_level, coalesce(r.risk_factors, '[]') AS risk_factors, r.sales_started_at,
    r.onboarding_started_at, r.activated_at, r.churned_at, r.declined_at, r.declined_reason, r.last_event_at,
    coalesce(r.last_event_sequence, 0) AS version,
    CASE WHEN r.process_completed_at IS NULL
         THEN floor(extract(epoch FROM %(now)s::timestamptz - r.stage_entered_at) / 86400)::int END AS days_in_stage,
    floor(extract(epoch FROM coalesce(r.process_completed_at, %(now)s::timestamptz) - r.process_started_at)
          / 86400)::int AS total_process_days,
    coalesce(r.next_step_due_at < %(now)s, false) AS is_overdue,
    CASE WHEN r.current_stage_id IS NOT NULL
         THEN json_build_object('id', r.current_stage_id, 'name', r.current_stage_name, 'slug', r.current_stage_slug,
                                'order', r.current_stage_order) END AS current_stage
"""


class ProductNotFound(NotFound):
    """There is no product {slug}."""


class TierRow(Row):
    """A plan of a product; the price per month in the workspace's currency."""

    id: UUID
    name: str
    slug: str
    display_order: int
    included_modules: list[str]
    features: Any
    price_monthly: float | None


class StageItem(Row):
    """A stage in short."""

    id: UUID
    name: str
    slug: str
    stage_order: int
    sla_days: int | None
    is_terminal: bool
    terminal_type: TerminalType | None
    color: str | None
    icon: str | None


class ProcessWithStages(Row):
    """A published process with its stages in order."""

    id: UUID
    process_type: ProcessType
    name: str
    version: int
    stages: list[StageItem]


class ProductRow(Row):
    """A product. `fit_rules` say to which companies it fits; the price per month in the workspace's currency."""

    id: UUID
    name: str
    slug: str
    description: str | None
    parent_product_id: UUID | None
    product_type: ProductType
    display_order: int
    icon: str | None
    color: str | None
    base_price_monthly: float | None
    pricing_model: Literal["per_seat", "flat", "tiered"] | None
    is_active: bool
    is_sellable: bool
    fit_rules: list[Any]
    successor_product_id: UUID | None
    migrates_product_id: UUID | None
    created_at: datetime
    updated_at: datetime


class CurrentStage(Row):
    """Where something stands, as it was when it got there."""

    id: UUID
    name: str | None
    slug: str | None
    order: int | None


class Owner(Row):
    """Who looks after it."""

    id: UUID
    name: str
    email: str


class HeldProduct(Row):
    """
    What a company has of a product: working fields and what its events say.

    Days are whole days up to now, or up to the end of the process; `version` is what `expectedVersion` is compared with.
    """

    id: UUID
    company_id: UUID
    product_id: UUID
    tier_id: UUID | None
    enabled_modules: list[str]
    notes: str | None
    ai_sequence_active: bool
    close_confidence: int | None
    close_ready: bool
    expected_close_date: date | None
    open_objections: list[Any]
    last_human_touch_at: datetime | None
    last_ai_touch_at: datetime | None
    last_activity_at: datetime | None
    snoozed_until: datetime | None
    converted_from_deal_id: UUID | None
    created_at: datetime
    updated_at: datetime
    phase: Phase | None
    status: HeldStatus
    current_process_type: ProcessType | None
    current_process_id: UUID | None
    current_process_version: int | None
    stage_entered_at: datetime | None
    stage_sla_deadline: datetime | None
    is_sla_warning: bool
    is_sla_breached: bool
    process_started_at: datetime | None
    process_completed_at: datetime | None
    last_outcome: str | None
    stage_transition_count: int
    owner_id: UUID | None
    priority_tier: int | None
    mrr: Money = Decimal(0)
    mrr_currency: str
    seats: int | None
    next_step: str | None
    next_step_due_at: datetime | None
    health_score: int | None
    risk_level: Literal["none", "low", "medium", "high", "critical"] | None
    risk_factors: list[Any]
    sales_started_at: datetime | None
    onboarding_started_at: datetime | None
    activated_at: datetime | None
    churned_at: datetime | None
    declined_at: datetime | None
    declined_reason: str | None
    last_event_at: datetime | None
    version: int
    days_in_stage: int | None
    total_process_days: int | None
    is_overdue: bool
    current_stage: CurrentStage | None


class PipelineItem(HeldProduct):
    """One company on its way through the sale."""

    company: Named
    owner_user: Owner | None
