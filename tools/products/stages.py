"""
The stages of a product's sale: those of its published sales process, which managers edit.

What companies went through keeps snapshots of its own, so an edit changes the future only. A stage that somebody is in is
neither archived nor turned into an end: whoever enters a stage holds its row, and these changes lock it before they count.
"""

import re
import uuid
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

import orjson
from pydantic import AfterValidator, Field, model_validator

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, Forbidden, Invalid, NotFound
from memory.rows import Doc, In, Row
from tools import names
from tools.processes import STAGE, ProductUnknown, StageRow, TerminalType

LARGEST = 20_000
"""Bytes of JSON that a free-form column of a stage takes."""
ARCHIVED_ORDER = 1_000_000
"""Where archived stages stand, behind all that live: the order of a process is unique."""
FREE = ("exit_criteria", "exit_actions", "pitch_points", "objection_handlers", "resources", "ai_actions")


class StageNotFound(NotFound):
    """Product {slug} has no stage {stage_id}."""


class OnlyManagers(Forbidden):
    """Only a manager may change a product."""


class StageOccupied(Conflict):
    """{occupied} companies are in this stage; move them first."""

    shows = ("occupied",)


class TerminalTaken(Conflict):
    """The process has a stage for {terminal_type} already."""


class TerminalUnclear(Invalid):
    """A stage that ends the process says how (terminal_type), and no other stage does."""


class WarningTooLate(Invalid):
    """sla_warning_days needs sla_days, and may not be more."""


class NotAPermutation(Invalid):
    """stage_ids must name every stage of the process exactly once."""


def _small(value: Any) -> Any:
    if len(orjson.dumps(value, default=str)) > LARGEST:
        raise ValueError(f"may have at most {LARGEST} bytes of JSON")
    return value


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise ValueError("must be an http or https address without credentials")
    return value


FreeForm = Annotated[Annotated[list[Any], Field(max_length=200)] | dict[str, Any], AfterValidator(_small)]
ItemId = Annotated[str, Field(min_length=1, max_length=64)]
Days = Annotated[int, Field(ge=1, le=3650)]
Text = Annotated[str, Field(min_length=1, max_length=2000)]


def _new_id() -> str:
    return uuid.uuid4().hex


class PitchPoint(In):
    """Something that persuades; `effectiveness_score` 0 to 1 as far as it is known."""

    id: ItemId = Field(default_factory=_new_id)
    text: Text
    source: Literal["manual", "ai_suggested"] = "manual"
    effectiveness_score: float | None = Field(default=None, ge=0, le=1)


class ObjectionHandler(In):
    """What buyers hold against it, and what to answer."""

    id: ItemId = Field(default_factory=_new_id)
    objection: Text
    response: Text
    source: Literal["manual", "ai_suggested"] = "manual"


class Resource(In):
    """Something to show or to read."""

    id: ItemId = Field(default_factory=_new_id)
    title: str = Field(min_length=1, max_length=300)
    url: Annotated[str, Field(max_length=2048), AfterValidator(_web_address)]
    type: Literal["document", "video", "link"] = "link"


class CreateStageIn(In):
    """A new stage, at the end unless `stage_order` (from 1) says where; the stages behind it move on."""

    name: str = Field(min_length=1, max_length=200)
    goal: str | None = Field(default=None, max_length=2000)
    description: str | None = Field(default=None, max_length=5000)
    exit_criteria: FreeForm = []
    stage_order: int | None = Field(default=None, ge=1, le=1000)
    sla_days: Days | None = None
    sla_warning_days: Days | None = None
    terminal_type: TerminalType | None = None


class UpdateStageIn(In):
    """What changes; a field that is absent stays. The slug stays always; what the analysis writes cannot be set."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    goal: str | None = Field(default=None, max_length=2000)
    description: str | None = Field(default=None, max_length=5000)
    exit_criteria: FreeForm | None = None
    exit_actions: FreeForm | None = None
    pitch_points: list[PitchPoint] | None = Field(default=None, max_length=100)
    objection_handlers: list[ObjectionHandler] | None = Field(default=None, max_length=100)
    resources: list[Resource] | None = Field(default=None, max_length=100)
    ai_sequence_id: str | None = Field(default=None, max_length=200)
    ai_actions: FreeForm | None = None
    sla_days: Days | None = None
    sla_warning_days: Days | None = None
    is_terminal: bool | None = None
    terminal_type: TerminalType | None = None

    @model_validator(mode="after")
    def _stays_filled(self) -> "UpdateStageIn":
        for name in ("name", "is_terminal", *FREE):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"{name} may not be null")
        for items in (self.pitch_points, self.objection_handlers, self.resources):
            if items and len({item.id for item in items}) < len(items):
                raise ValueError("ids of one list must differ")
        return self


class ReorderStagesIn(In):
    """Every stage of the process once, in the order that they shall have."""

    stage_ids: list[UUID] = Field(min_length=1, max_length=1000)


class StagesOut(Row):
    """The stages of the published sales process in order."""

    stages: list[StageRow]


class StageOut(Row):
    """One stage."""

    stage: StageRow


class _Standing(Row):
    """What decides about a stage, as it stands under the lock."""

    id: UUID
    process_id: UUID
    stage_order: int
    sla_days: int | None
    sla_warning_days: int | None
    terminal_type: TerminalType | None


async def list_stages(tx: Tx, caller: Caller, slug: str) -> Doc[StagesOut]:
    """
    Return the stages of the product's published sales process in order.

    Raises `ProductUnknown`.
    """
    return await tx.doc(
        StagesOut,
        f"""
        SELECT json_build_object('stages', coalesce((SELECT json_agg(t) FROM (
                   SELECT {STAGE}
                     FROM product_processes p JOIN product_process_stages s ON s.process_id = p.id
                    WHERE p.product_id = o.id AND p.process_type = 'sales' AND p.status = 'published'
                      AND s.archived_at IS NULL
                    ORDER BY s.stage_order) t), '[]'))::text
          FROM products o WHERE o.slug = %(slug)s
        """,
        missing=ProductUnknown(slug=slug),
        slug=slug,
    )


async def get_stage(tx: Tx, caller: Caller, slug: str, stage_id: UUID) -> Doc[StageOut]:
    """
    Return one stage of the product's published sales process.

    Raises `StageNotFound`, also for a stage of another product.
    """
    return await tx.doc(
        StageOut,
        f"""
        SELECT json_build_object('stage', row_to_json(t))::text
          FROM (SELECT {STAGE}
                  FROM product_process_stages s
                  JOIN product_processes p ON p.id = s.process_id JOIN products o ON o.id = p.product_id
                 WHERE s.id = %(stage_id)s AND s.archived_at IS NULL AND o.slug = %(slug)s
                   AND p.process_type = 'sales' AND p.status = 'published') t
        """,
        missing=StageNotFound(slug=slug, stage_id=stage_id),
        slug=slug,
        stage_id=stage_id,
    )


async def create_stage(tx: Tx, caller: Caller, slug: str, body: CreateStageIn) -> Doc[StageOut]:
    """
    Add a stage to the product's published sales process; a product without one gets its first.

    Raises `OnlyManagers`, `ProductUnknown`, `WarningTooLate`, `TerminalTaken`.
    """
    _check_manager(caller)
    _check_sla(body.sla_days, body.sla_warning_days)
    process_id = await _open_process(tx, slug)
    await _check_terminal_free(tx, process_id, body.terminal_type, but=None)
    stage_id = await tx.one(
        UUID,
        """
        WITH live AS (
            SELECT id, stage_order FROM product_process_stages
             WHERE process_id = %(process_id)s AND archived_at IS NULL
        ), place AS (
            SELECT least(%(stage_order)s, coalesce(max(stage_order), 0) + 1) AS at FROM live
        ), shifted AS (
            UPDATE product_process_stages s SET stage_order = s.stage_order + 1
              FROM live, place WHERE live.id = s.id AND live.stage_order >= place.at
        )
        INSERT INTO product_process_stages (process_id, name, slug, description, goal, stage_order, sla_days, sla_warning_days,
                                            exit_criteria, is_terminal, terminal_type)
        SELECT %(process_id)s, %(name)s, %(slug)s, %(description)s, %(goal)s, place.at, %(sla_days)s, %(sla_warning_days)s,
               %(exit_criteria)s, %(terminal_type)s::text IS NOT NULL, %(terminal_type)s
          FROM place
        RETURNING id
        """,
        **body.model_dump(exclude={"exit_criteria", "stage_order"}),
        exit_criteria=Json(body.exit_criteria),
        stage_order=body.stage_order,
        process_id=process_id,
        slug=await _free_slug(tx, process_id, body.name),
    )
    return await get_stage(tx, caller, slug, stage_id)


async def update_stage(tx: Tx, caller: Caller, slug: str, stage_id: UUID, body: UpdateStageIn) -> Doc[StageOut]:
    """
    Change what the body names and leave the rest.

    Raises `OnlyManagers`, `StageNotFound`, `WarningTooLate`, `TerminalUnclear`, `TerminalTaken`, and `StageOccupied` when
    the stage would begin or cease to end the process, or end it otherwise, while companies are in it.
    """
    _check_manager(caller)
    given = body.model_fields_set
    standing = await _lock_stage(tx, slug, stage_id)
    _check_sla(
        body.sla_days if "sla_days" in given else standing.sla_days,
        body.sla_warning_days if "sla_warning_days" in given else standing.sla_warning_days,
    )
    terminal_type = _terminal_after(standing, body)
    if terminal_type != standing.terminal_type:
        await _check_unoccupied(tx, stage_id)
        await _check_terminal_free(tx, standing.process_id, terminal_type, but=stage_id)
    changed = body.model_dump(include=given - {"is_terminal", "terminal_type"})
    values = {name: Json(value) if name in FREE else value for name, value in changed.items()}
    await tx.run(
        """
        UPDATE product_process_stages
           SET name = coalesce(%(name)s, name),
               goal = CASE WHEN 'goal' = ANY(%(given)s) THEN %(goal)s ELSE goal END,
               description = CASE WHEN 'description' = ANY(%(given)s) THEN %(description)s ELSE description END,
               exit_criteria = coalesce(%(exit_criteria)s, exit_criteria),
               exit_actions = coalesce(%(exit_actions)s, exit_actions),
               pitch_points = coalesce(%(pitch_points)s, pitch_points),
               objection_handlers = coalesce(%(objection_handlers)s, objection_handlers),
               resources = coalesce(%(resources)s, resources),
               ai_sequence_id = CASE WHEN 'ai_sequence_id' = ANY(%(given)s) THEN %(ai_sequence_id)s ELSE ai_sequence_id END,
               ai_actions = coalesce(%(ai_actions)s, ai_actions),
               sla_days = CASE WHEN 'sla_days' = ANY(%(given)s) THEN %(sla_days)s::int ELSE sla_days END,
               sla_warning_days = CASE WHEN 'sla_warning_days' = ANY(%(given)s) THEN %(sla_warning_days)s::int
                                       ELSE sla_warning_days END,
               is_terminal = %(terminal_type)s::text IS NOT NULL,
               terminal_type = %(terminal_type)s
         WHERE id = %(stage_id)s
        """,
        **(dict.fromkeys(UpdateStageIn.model_fields) | values | {"terminal_type": terminal_type}),
        given=sorted(given),
        stage_id=stage_id,
    )
    return await get_stage(tx, caller, slug, stage_id)


async def archive_stage(tx: Tx, caller: Caller, slug: str, stage_id: UUID) -> None:
    """
    Take the stage out of the process and close the gap; what companies went through stays.

    Raises `OnlyManagers`, `StageNotFound`, `StageOccupied`.
    """
    _check_manager(caller)
    standing = await _lock_stage(tx, slug, stage_id)
    await _check_unoccupied(tx, stage_id)
    await tx.run(
        """
        UPDATE product_process_stages s
           SET archived_at = CASE WHEN s.id = %(stage_id)s THEN %(now)s ELSE s.archived_at END,
               stage_order = CASE WHEN s.id = %(stage_id)s
                                  THEN (SELECT greatest(max(o.stage_order), %(archived_order)s) + 1
                                          FROM product_process_stages o WHERE o.process_id = s.process_id)
                                  ELSE s.stage_order - 1 END
         WHERE s.process_id = %(process_id)s AND s.archived_at IS NULL AND s.stage_order >= %(stage_order)s
        """,
        stage_id=stage_id,
        process_id=standing.process_id,
        stage_order=standing.stage_order,
        archived_order=ARCHIVED_ORDER,
    )


async def reorder_stages(tx: Tx, caller: Caller, slug: str, body: ReorderStagesIn) -> None:
    """
    Put the stages of the published sales process into this order.

    Raises `OnlyManagers`, `ProductUnknown`, `NotAPermutation`.
    """
    _check_manager(caller)
    process_id = await _find_open_process(tx, slug)
    live = await tx.many(
        UUID,
        "SELECT id FROM product_process_stages WHERE process_id = %(process_id)s AND archived_at IS NULL",
        process_id=process_id,
    )
    if len(body.stage_ids) != len(live) or set(body.stage_ids) != set(live):
        raise NotAPermutation
    await tx.run(
        """
        UPDATE product_process_stages s SET stage_order = wanted.place
          FROM unnest(%(stage_ids)s::uuid[]) WITH ORDINALITY AS wanted (id, place)
         WHERE s.id = wanted.id AND s.stage_order <> wanted.place
        """,
        stage_ids=body.stage_ids,
    )


# Locks and checks -------------------------------------------------------------------------------------------------


def _check_manager(caller: Caller) -> None:
    if not caller.sees_all:
        raise OnlyManagers


def _check_sla(sla_days: int | None, sla_warning_days: int | None) -> None:
    if sla_warning_days is not None and (sla_days is None or sla_warning_days > sla_days):
        raise WarningTooLate


async def _find_open_process(tx: Tx, slug: str) -> UUID | None:
    """Return the published sales process, locked against other edits of its stages, or None."""
    await tx.one(UUID, "SELECT id FROM products WHERE slug = %(slug)s", missing=ProductUnknown(slug=slug), slug=slug)
    return await tx.maybe(
        UUID,
        """
        SELECT p.id FROM product_processes p JOIN products o ON o.id = p.product_id
         WHERE o.slug = %(slug)s AND p.process_type = 'sales' AND p.status = 'published'
           FOR NO KEY UPDATE OF p
        """,
        slug=slug,
    )


async def _open_process(tx: Tx, slug: str) -> UUID:
    """Return the published sales process as `_find_open_process` does; make it when there is none."""
    while (process_id := await _find_open_process(tx, slug)) is None:
        # Nothing is made when somebody else has just made one: it is found the next time round.
        await tx.run(
            """
            INSERT INTO product_processes (product_id, process_type, version, status, name, published_at)
            SELECT o.id, 'sales', 1 + coalesce((SELECT max(version) FROM product_processes
                                                 WHERE product_id = o.id AND process_type = 'sales'), 0),
                   'published', left(o.name || ' sales', 200), %(now)s
              FROM products o WHERE o.slug = %(slug)s
            ON CONFLICT DO NOTHING
            """,
            slug=slug,
        )
    return process_id


async def _lock_stage(tx: Tx, slug: str, stage_id: UUID) -> _Standing:
    """Lock the process, then the stage: against other edits, and against companies that are about to enter it."""
    process_id = await _find_open_process(tx, slug)
    return await tx.one(
        _Standing,
        """
        SELECT id, process_id, stage_order, sla_days, sla_warning_days, terminal_type
          FROM product_process_stages
         WHERE id = %(stage_id)s AND process_id = %(process_id)s AND archived_at IS NULL
           FOR UPDATE
        """,
        missing=StageNotFound(slug=slug, stage_id=stage_id),
        stage_id=stage_id,
        process_id=process_id,
    )


async def _check_unoccupied(tx: Tx, stage_id: UUID) -> None:
    """Count after the lock, in a statement of its own: what committed before the lock is seen."""
    occupied = await tx.one(
        int,
        """
        SELECT count(*) FROM company_product_read_model
         WHERE current_stage_id = %(stage_id)s AND current_process_id IS NOT NULL AND process_completed_at IS NULL
        """,
        stage_id=stage_id,
    )
    if occupied:
        raise StageOccupied(occupied=occupied)


async def _check_terminal_free(
    tx: Tx, process_id: UUID, terminal_type: TerminalType | None, *, but: UUID | None
) -> None:
    taken = await tx.one(
        bool,
        """
        SELECT EXISTS (SELECT FROM product_process_stages
                        WHERE process_id = %(process_id)s AND terminal_type = %(terminal_type)s::text
                          AND archived_at IS NULL AND (%(but)s::uuid IS NULL OR id <> %(but)s))
        """,
        process_id=process_id,
        terminal_type=terminal_type,
        but=but,
    )
    if taken:
        raise TerminalTaken(terminal_type=terminal_type)


def _terminal_after(standing: _Standing, body: UpdateStageIn) -> TerminalType | None:
    """Return how the stage will end the process; `is_terminal` alone may take the end away, not make one."""
    given = body.model_fields_set
    wanted = body.terminal_type if "terminal_type" in given else standing.terminal_type
    if body.is_terminal is False and "terminal_type" not in given:
        return None
    if body.is_terminal is not None and body.is_terminal != (wanted is not None):
        raise TerminalUnclear
    return wanted


async def _free_slug(tx: Tx, process_id: UUID, name: str) -> str:
    """Return a slug of the name that no stage of the process has, also no archived one."""
    base = re.sub(r"[^a-z0-9]+", "-", names.fold(name)).strip("-")[:80] or "stage"
    taken = await tx.many(
        str, "SELECT slug FROM product_process_stages WHERE process_id = %(process_id)s", process_id=process_id
    )
    number, slug = 1, base
    while slug in taken:
        number += 1
        slug = f"{base}-{number}"
    return slug
