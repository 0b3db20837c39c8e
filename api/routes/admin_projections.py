"""Projections over HTTP: their metrics, and rebuilding them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from api.deps import Admin, Manager, Reading, Transaction
from tools import projection_metrics, projections
from tools.projection_metrics import MetricsFilter, MetricsOut
from tools.projections import DryRunOut, RebuildAcceptedOut, RebuildIn, RebuildRow

router = APIRouter(prefix="/api/admin/projections", tags=["Admin"])


@router.get("/metrics", summary="Metrics of commands, events and projectors", response_model=MetricsOut)
async def get_metrics(filter: Annotated[MetricsFilter, Query()], _: Manager, tx: Reading) -> MetricsOut | Response:
    """How far every projector is, counts of the last 24 hours and the latest log lines; `format=prometheus` as text."""
    metrics = await projection_metrics.get_metrics(tx, filter)
    if filter.format == "prometheus":
        return Response(projection_metrics.as_prometheus(metrics), media_type=CONTENT_TYPE_LATEST)
    return metrics


@router.post(
    "/rebuild",
    summary="Rebuild read models from the events",
    response_model=DryRunOut,
    responses={202: {"model": RebuildAcceptedOut}},
)
async def rebuild(body: RebuildIn, admin: Admin, tx: Transaction) -> DryRunOut | Response:
    """Promise a rebuild to a worker, or the comparison of two replays; `dryRun` only counts."""
    if body.dryRun:
        return await projections.count_rebuild(tx, body)
    accepted = await projections.request_rebuild(tx, admin, body)
    return JSONResponse(accepted.model_dump(mode="json"), status_code=202)


@router.get("/rebuild/{rebuild_id}", summary="Get a rebuild")
async def get_rebuild(rebuild_id: UUID, _: Admin, tx: Reading) -> RebuildRow:
    """What was asked, how it stands, and what it found."""
    return await projections.get_rebuild(tx, rebuild_id)
