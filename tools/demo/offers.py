"""Rows of how the products are sold and looked after: tiers, processes, stages."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from memory.db import Json
from tools.demo.accounts import Columns, Table
from tools.demo.cast import id_of
from tools.demo.material import Material, StageEntry

TIER: Columns = ("id", "product_id", "name", "slug", "display_order", "included_modules", "price_monthly", "created_at")
PROCESS: Columns = ("id", "product_id", "process_type", "status", "name", "published_at", "created_at")
STAGE: Columns = (
    "id", "process_id", "name", "slug", "goal", "stage_order", "sla_days", "sla_warning_days", "is_terminal", "terminal_type", "pitch_points",
    "objection_handlers", "created_at",
)  # fmt: skip


def process_id(slug: str, kind: str) -> UUID:
    """Return the id of a product's process of this kind."""
    return id_of("process", slug, kind)


def stage_id(slug: str, kind: str, stage: str) -> UUID:
    """Return the id of a stage of a product's process."""
    return id_of("stage", slug, kind, stage)


def tables_of(material: Material, began: datetime) -> list[Table]:
    """Return the tables of tiers, processes and stages."""
    return [
        ("product_tiers", TIER, list(_tiers(material, began))),
        ("product_processes", PROCESS, list(_processes(material, began))),
        ("product_process_stages", STAGE, list(_stages(material, began))),
    ]


def _tiers(material: Material, began: datetime) -> Iterator[tuple[Any, ...]]:
    for slug, tiers in material.tiers.items():
        for place, tier in enumerate(tiers):
            product = id_of("product", slug)
            yield (
                id_of("tier", slug, tier.slug),
                product,
                tier.name,
                tier.slug,
                place,
                tier.modules,
                tier.monthly,
                began,
            )


def _processes(material: Material, began: datetime) -> Iterator[tuple[Any, ...]]:
    for slug, kinds in material.offered.items():
        for kind in kinds:
            name = material.processes[kind].name
            yield process_id(slug, kind), id_of("product", slug), kind, "published", name, began, began


def _stages(material: Material, began: datetime) -> Iterator[tuple[Any, ...]]:
    for slug, kinds in material.offered.items():
        for kind in kinds:
            for place, stage in enumerate(material.processes[kind].stages, 1):
                key = (slug, kind, stage.slug)
                yield (
                    stage_id(*key), process_id(slug, kind), stage.name, stage.slug, stage.goal, place, stage.sla, stage.watch, stage.ends is not None,
                    stage.ends, Json(_points(stage, *key)), Json(_answers(stage, *key)), began,
                )  # fmt: skip


def _points(stage: StageEntry, *key: str) -> list[dict[str, Any]]:
    return [
        {"id": str(id_of("point", *key, at)), "text": text, "source": "manual", "effectiveness_score": None}
        for at, text in enumerate(stage.points)
    ]


def _answers(stage: StageEntry, *key: str) -> list[dict[str, Any]]:
    return [
        {"id": str(id_of("answer", *key, at)), "objection": objection, "response": response, "source": "manual"}
        for at, (objection, response) in enumerate(stage.answers)
    ]
