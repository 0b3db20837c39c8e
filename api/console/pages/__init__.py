"""The console's pages, one module per noun."""

from fastapi import APIRouter
from starlette.routing import BaseRoute, Mount

from api.console.frame import STATIC, Files
from api.console.pages import editing, evals, prompts, releases, runs, sessions, traces

ROUTERS: tuple[APIRouter, ...] = (
    sessions.router,
    runs.router,
    prompts.router,
    editing.router,
    releases.router,
    evals.router,
    traces.router,
)
MOUNTS: tuple[BaseRoute, ...] = (
    Mount("/console/static", app=Files(directory=STATIC), name="console-static"),
    Mount("/console", app=sessions.nowhere, name="console-nowhere"),
)
