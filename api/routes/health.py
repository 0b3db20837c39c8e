"""Whether this process lives, whether it can serve, and its numbers."""

import asyncio
import hmac
import ipaddress
import time
from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from api.auth import Unknown, header
from api.deps import Public, of
from api.services import Services
from api.telemetry import Metrics
from memory import migrate, outbox
from memory.errors import Rendered
from tools import pulse

router = APIRouter(tags=["Operations"])
log = structlog.get_logger(__name__)
ANSWER_S = 3.0
READ_AGAIN_S = 5.0


class MetricsClosed(Unknown):
    """Metrics are for this machine, or for whoever knows the metrics token."""


class Alive(BaseModel):
    """The process answers."""

    status: str = "ok"


class Part(BaseModel):
    """A kind of process that this one works with."""

    alive: int = Field(description="How many were heard within 30 seconds.")
    age_s: float = Field(description="Seconds since one was heard.")


class Readiness(BaseModel):
    """Whether this process can serve; `parts` are shown, but do not decide."""

    ready: bool
    database: str
    schema_: str = Field(alias="schema", description="Whether every migration is applied.")
    agents: str = Field(description="Whether the agents are loaded.")
    model_engine: str
    parts: dict[str, Part] = {}


@router.get("/healthz", summary="Whether the process lives", dependencies=[Public])
async def get_health() -> Alive:
    """Answer without asking anything else."""
    return Alive()


@router.get(
    "/readyz",
    summary="Whether the process can serve",
    dependencies=[Public],
    response_model=Readiness,
    responses={503: {"model": Readiness}},
)
async def get_readiness(request: Request) -> Response:
    """Ask the database, and whether its schema is this version's. 503 while it is not."""
    readiness = await _readiness(of(request))
    body = readiness.model_dump_json(by_alias=True)
    return Response(body, 200 if readiness.ready else 503, media_type="application/json")


async def _readiness(services: Services) -> Readiness:
    said: dict[str, Any] = {"agents": services.agents_state, "model_engine": services.settings.model_engine}
    database, schema = "ok", "unknown"
    try:
        async with asyncio.timeout(ANSWER_S):
            async with services.db.reading() as tx:
                said["parts"] = {
                    part.kind: Part(alive=part.alive, age_s=part.age_s) for part in await pulse.list_parts(tx)
                }
    except Exception as failure:  # noqa: BLE001 - whatever it is, the answer is "not ready", and why
        database = _reason(failure)
    else:
        schema = await _schema_state(services)
    return Readiness(ready=database == schema == "ok", database=database, schema=schema, **said)


async def _schema_state(services: Services) -> str:
    """Return `ok`, asked of the database until it is and remembered then, or what is wrong with the schema."""
    if not services.schema_checked:
        try:
            async with asyncio.timeout(ANSWER_S):
                await migrate.check(services.db.url)
        except Exception as failure:  # noqa: BLE001 - as above
            return _reason(failure)
        services.schema_checked = True
    return "ok"


def _reason(failure: Exception) -> str:
    log.warning("not_ready", reason=str(failure) or type(failure).__name__)
    return str(failure) if isinstance(failure, Rendered) else "does not answer"


@router.get("/metrics", summary="Prometheus metrics", dependencies=[Public], response_class=Response)
async def get_metrics(request: Request) -> Response:
    """Get the numbers of this process and of the shared queues, in Prometheus' text form."""
    services = of(request)
    _admit_scraper(request, services)
    await _read_numbers(services, request.app.state.metrics)
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _admit_scraper(request: Request, services: Services) -> None:
    """Without a token, only a direct connection from this machine is let in: proxies say for whom they ask."""
    token = services.settings.metrics_token
    if token is not None:
        sent = (header(request.scope, b"authorization") or b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(sent, token.get_secret_value().encode()):
            raise MetricsClosed
        return
    client = request.client.host if request.client else ""
    forwarded = header(request.scope, b"x-forwarded-for") or header(request.scope, b"forwarded")
    try:
        local = ipaddress.ip_address(client).is_loopback
    except ValueError:
        local = False
    if forwarded or not local:
        raise MetricsClosed


async def _read_numbers(services: Services, metrics: Metrics) -> None:
    pool = services.db.pool.get_stats()
    for what in ("pool_size", "pool_available", "requests_waiting"):
        metrics.pool.labels(what).set(pool.get(what, 0))
    if time.monotonic() - services.numbers_read_at < READ_AGAIN_S:
        return
    try:
        async with asyncio.timeout(ANSWER_S), services.db.reading() as tx:
            promises = await outbox.count_promises(tx)
            parts, runs, calls = await pulse.list_parts(tx), await pulse.count_runs(tx), await pulse.count_calls(tx)
    except Exception as failure:  # noqa: BLE001 - this process's own numbers are worth having without them
        log.warning("numbers_not_read", reason=type(failure).__name__)
        return
    services.numbers_read_at = time.monotonic()
    for gauge in (metrics.outbox, metrics.beats, metrics.runs, metrics.calls, metrics.spend):
        gauge.clear()
    for status, count in promises.model_dump(exclude={"late_s"}).items():
        metrics.outbox.labels(status).set(count)
    metrics.late.set(promises.late_s)
    for part in parts:
        metrics.beats.labels(part.kind).set(part.age_s)
    for row in runs:
        metrics.runs.labels(row.agent, row.status).set(row.count)
    for call in calls:
        metrics.calls.labels(call.provider, call.status).inc(call.count)
        metrics.spend.labels(call.provider, call.model).inc(float(call.cost_usd))
