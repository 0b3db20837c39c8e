"""
Processes: the stages that a product's sale, onboarding, support or engagement goes through.

A product has at most one published process of a kind; a company's product stays in the version that it began in.
Lifecycle commands take snapshots of stages from here, so that what happened is never read from today's configuration.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import NotFound
from memory.rows import Doc, Row

ProcessType = Literal["sales", "onboarding", "support", "engagement"]
ProcessStatus = Literal["draft", "published", "archived"]
TerminalType = Literal["won", "lost", "completed", "churned", "cancelled"]

# A stage `s` as every route shows it, in the order of its columns; what decides about moves stands in `config` too.
STAGE = """
    s.id, s.process_id, s.name, s.slug, s.description, s.goal, s.stage_order, s.stage_order AS "order",
    json_build_object('sla_days', s.sla_days, 'sla_warning_days', s.sla_warning_days, 'is_terminal', s.is_terminal,
                      'terminal_type', s.terminal_type) AS config,
    s.sla_days, s.sla_warning_days, s.is_terminal, s.terminal_type, s.color, s.icon, s.exit_criteria, s.exit_actions,
    s.pitch_points, s.objection_handlers, s.resources, s.ai_suggested_pitch_points, s.ai_suggested_objections, s.ai_insights,
    s.ai_sequence_id, s.ai_actions, s.avg_days_in_stage, s.conversion_rate, s.created_at, s.updated_at
"""
_PROCESS = """
    p.id, p.product_id, p.process_type, p.version, p.status, p.name,
    coalesce((SELECT json_agg(json_build_object(
                         'id', s.id, 'name', s.name, 'slug', s.slug, 'order', s.stage_order, 'sla_days', s.sla_days,
                         'sla_warning_days', s.sla_warning_days, 'is_terminal', s.is_terminal,
                         'terminal_type', s.terminal_type, 'archived', s.archived_at IS NOT NULL)
                     ORDER BY s.stage_order)
                FROM product_process_stages s WHERE s.process_id = p.id), '[]') AS stages
"""


class ProductUnknown(NotFound):
    """There is no product {slug}."""


class Stage(Row):
    """A stage as commands need it; `order` counts from 1, archived ones come last."""

    id: UUID
    name: str
    slug: str
    order: int
    sla_days: int | None
    sla_warning_days: int | None
    is_terminal: bool
    terminal_type: TerminalType | None
    archived: bool


class Process(Row):
    """One version of a process with its stages in order."""

    id: UUID
    product_id: UUID
    process_type: ProcessType
    version: int
    status: ProcessStatus
    name: str
    stages: list[Stage]

    def find_stage(self, stage_id: UUID) -> Stage | None:
        """Return the stage of this process, also an archived one, or None."""
        return next((stage for stage in self.stages if stage.id == stage_id), None)

    @property
    def first_stage(self) -> Stage | None:
        """The stage that a company begins in: the first that does not end the process."""
        return next((stage for stage in self.stages if not stage.is_terminal and not stage.archived), None)


class StageConfig(Row):
    """What decides how long a stage may last and whether it ends the process."""

    sla_days: int | None
    sla_warning_days: int | None
    is_terminal: bool
    terminal_type: TerminalType | None


class StageRow(Row):
    """A whole stage: what people wrote, what the analysis suggests, and how long companies stay (days, % that go on)."""

    id: UUID
    process_id: UUID
    name: str
    slug: str
    description: str | None
    goal: str | None
    stage_order: int
    order: int
    config: StageConfig
    sla_days: int | None
    sla_warning_days: int | None
    is_terminal: bool
    terminal_type: TerminalType | None
    color: str | None
    icon: str | None
    exit_criteria: Any
    exit_actions: Any
    pitch_points: list[Any]
    objection_handlers: list[Any]
    resources: list[Any]
    ai_suggested_pitch_points: list[Any]
    ai_suggested_objections: list[Any]
    ai_insights: dict[str, Any]
    ai_sequence_id: str | None
    ai_actions: Any
    avg_days_in_stage: float | None
    conversion_rate: float | None
    created_at: datetime
    updated_at: datetime


class ProcessItem(Row):
    """A process without its stages."""

    id: UUID
    name: str
    version: int
    status: ProcessStatus


class ProcessOut(Row):
    """The stages in order, and the process they belong to; null when the product has none of this kind."""

    stages: list[StageRow]
    process: ProcessItem | None


async def find_process(tx: Tx, process_id: UUID) -> Process | None:
    """Return the process with this id, whatever its status, or None."""
    return await tx.maybe(
        Process, f"SELECT {_PROCESS} FROM product_processes p WHERE p.id = %(process_id)s", process_id=process_id
    )


async def find_published(tx: Tx, product_id: UUID, process_type: ProcessType) -> Process | None:
    """Return the product's published process of this kind, or None."""
    return await tx.maybe(
        Process,
        f"""
        SELECT {_PROCESS} FROM product_processes p
         WHERE p.product_id = %(product_id)s AND p.process_type = %(process_type)s AND p.status = 'published'
        """,
        product_id=product_id,
        process_type=process_type,
    )


async def hold_stage(tx: Tx, stage_id: UUID) -> bool:
    """
    Keep the stage from being archived until this transaction ends; False when it is archived or unknown.

    Whoever enters a stage holds it: archiving waits for them, and then counts them.
    """
    held = await tx.maybe(
        UUID,
        "SELECT id FROM product_process_stages WHERE id = %(id)s AND archived_at IS NULL FOR KEY SHARE",
        id=stage_id,
    )
    return held is not None


async def get_process(tx: Tx, caller: Caller, product_slug: str, process_type: ProcessType) -> Doc[ProcessOut]:
    """
    Return the published process of a product, or else its newest draft, with all of its stages.

    Raises `ProductUnknown`.
    """
    return await tx.doc(
        ProcessOut,
        f"""
        WITH process AS (
            SELECT p.id, p.name, p.version, p.status
              FROM product_processes p JOIN products o ON o.id = p.product_id
             WHERE o.slug = %(slug)s AND p.process_type = %(process_type)s AND p.status <> 'archived'
             ORDER BY p.status = 'published' DESC, p.version DESC
             LIMIT 1
        )
        SELECT json_build_object(
                   'process', (SELECT row_to_json(process) FROM process),
                   'stages', coalesce((SELECT json_agg(t) FROM (
                       SELECT {STAGE} FROM product_process_stages s JOIN process ON process.id = s.process_id
                        WHERE s.archived_at IS NULL ORDER BY s.stage_order) t), '[]'))::text
          FROM products WHERE slug = %(slug)s
        """,
        missing=ProductUnknown(slug=product_slug),
        slug=product_slug,
        process_type=process_type,
    )
