"""The application: routes in one table, one edge before them, and what the process opens and closes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import structlog
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Mount

from api import docs, openapi
from api.dispatch import Table
from api.edge import Edge
from api.endpoints import Endpoint, Receive, Scope, Send, Untouched, build
from api.jobs.process import name_of, show_life
from api.routes import MOUNTS, ROUTERS
from api.services import Services
from api.telemetry import AccessLog, Metrics, configure_logging, start_tracing
from memory import settings as configuration
from memory.db import Database
from memory.settings import Misconfigured, Settings

VERSION = "0.1.0"
log = structlog.get_logger(__name__)


class Rainmaker(FastAPI):
    """FastAPI for what is declared; for requests, the edge."""

    def __init__(self, settings: Settings, routers: Sequence[APIRouter] = ROUTERS) -> None:
        """Build the table; nothing is opened before the lifespan."""
        super().__init__(
            title="Rainmaker",
            version=VERSION,
            openapi_url=None,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            lifespan=_lifespan,
            telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
        )
        self.settings = settings
        self.metrics = self.state.metrics = Metrics()
        self.access = AccessLog(settings)
        mounts: list[BaseRoute] = [docs.mount(), *MOUNTS]
        for router in (*routers, docs.router):
            for route in router.routes:
                (mounts if isinstance(route, Mount) else self.router.routes).append(route)
        self.table: Table[Endpoint | Untouched] = Table()
        for route in self.api_routes:
            self.table.add(route.methods or (), route.path, build(route, self._services))
        self.edge = Edge(self, self.table, mounts, self.metrics, self.access, secure=_secure(settings))
        self._http: Any = self.edge
        if settings.cors_origins:
            self._http = _open_to(settings.cors_origins, self.edge)

    def _services(self) -> Services:
        return self.state.services

    @property
    def api_routes(self) -> Sequence[APIRoute]:
        """Every route that is declared, in the order of the mount table."""
        return [route for route in self.router.routes if isinstance(route, APIRoute)]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand requests to the edge and the rest to FastAPI."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        else:
            await super().__call__(scope, cast("Any", receive), cast("Any", send))

    def openapi(self) -> dict[str, Any]:
        """Return the schema, written once."""
        if self.openapi_schema is None:
            self.openapi_schema = openapi.describe(self, self.api_routes)
        return self.openapi_schema


def _open_to(origins: Sequence[str], app: Any) -> Any:
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["authorization", "content-type", "idempotency-key", "if-match", "x-request-id"],
        expose_headers=["x-request-id", "retry-after"],
        max_age=600,
    )


def _secure(settings: Settings) -> bool:
    return settings.url.startswith("https://")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    assert isinstance(app, Rainmaker)
    settings = app.settings
    configure_logging(settings)
    app.edge.tracer = start_tracing(settings, "rainmaker-api")
    if settings.database_url is None:
        raise Misconfigured(reason="DATABASE_URL is not set.")
    db = await Database.open(settings.database_url.get_secret_value(), size=settings.database_pool)
    services = app.state.services = Services(settings, db)
    services.wake_agents()
    life = asyncio.create_task(show_life(db, name_of("api")))
    log.info("serving", address=settings.url, routes=len(app.api_routes))
    try:
        yield
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        await services.close()
        app.access.flush()
        log.info("stopped")


def create_app(settings: Settings | None = None, routers: Sequence[APIRouter] = ROUTERS) -> Rainmaker:
    """
    Return the application, not yet opened.

    Raises `Misconfigured`, `GuardMissing`, `RouteTwice`.
    """
    return Rainmaker(settings or configuration.current(), routers)
