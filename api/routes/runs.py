"""Runs of agents over HTTP: start one, look at it, follow it, stop it."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from agents import registry
from agents import runs as agent_runs
from api.deps import Reading, Services, StartsModel, Transaction, User
from api.schemas import doc_response
from api.services import Services as ProcessServices
from memory.callers import Caller
from memory.rows import In, Row
from tools import runs
from tools.runs import OVER, EventRow, RunFilter, RunOut, RunRow, RunsOut

router = APIRouter(prefix="/api/agents/runs", tags=["Agents"])

SHORTEST_S, LONGEST_S = 0.1, 1.0
SILENCE_S = 15.0
LIFETIME_S = 1800.0


class StartRunIn(In):
    """Which agent, and its own input."""

    agent: str = Field(max_length=80, examples=["analysis"])
    input: dict[str, Any] = Field(default={}, examples=[{"communication_id": "0d9c9d5e-5f0a-4a6f-9a56-0c5f1c7a3f10"}])


class StartedOut(Row):
    """The run; a worker takes it up."""

    run: RunRow


class AgentOut(Row):
    """An agent that can be run, and the JSON schemas of what goes in and what comes out."""

    name: str
    capability: str
    role: str
    input: dict[str, Any]
    output: dict[str, Any]


class AgentsOut(Row):
    """Every agent."""

    agents: list[AgentOut]


@router.post("", status_code=202, summary="Start a run", dependencies=[StartsModel])
async def start_run(body: StartRunIn, user: User, tx: Transaction) -> StartedOut:
    """Start an agent with your rights. The answer comes at once; follow the run at `/events` or look at it again."""
    return StartedOut(run=await agent_runs.start(tx, user, body.agent, body.input))


@router.get("", summary="List runs", response_model=RunsOut)
async def list_runs(filter: Annotated[RunFilter, Query()], user: User, tx: Reading) -> Response:
    """List your runs (a manager: everybody's), newest first."""
    return doc_response(await runs.list_runs(tx, user, filter))


@router.get("/agents", summary="List agents")
async def list_agents(user: User) -> AgentsOut:  # noqa: ARG001 - for signed-in people
    """List the agents that can be run."""
    return AgentsOut(
        agents=[
            AgentOut(
                name=spec.name,
                capability=spec.capability,
                role=spec.role,
                input=spec.input.model_json_schema(),
                output=spec.output.model_json_schema(),
            )
            for spec in registry.list_agents()
        ]
    )


@router.get("/{run_id}", summary="Get a run", response_model=RunOut)
async def get_run(run_id: UUID, user: User, tx: Reading) -> Response:
    """Get a run with its steps, the model's answers it paid for, and the records it has read."""
    return doc_response(await runs.show_run(tx, user, run_id))


@router.get(
    "/{run_id}/events",
    summary="Follow a run",
    response_class=StreamingResponse,
    responses={
        200: {"content": {"text/event-stream": {"example": 'id: 1\nevent: run.started\ndata: {"seq": 1}\n\n'}}},
        204: {"description": "The run is over and you have seen all of it."},
    },
)
async def follow_run(
    run_id: UUID,
    user: User,
    services: Services,
    last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1, description="Go on behind this event.")] = 0,
) -> Response:
    """Follow a run as server-sent events, from its first event or behind `Last-Event-ID`; ends when the run ends."""
    run, events = await _look(services, user, run_id, last_event_id)
    if not events and run.status in OVER:
        return Response(status_code=204)
    stream = _follow(services, user, run_id, last_event_id)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"cache-control": "no-store", "x-accel-buffering": "no"}
    )


@router.post("/{run_id}/cancel", summary="Cancel a run")
async def cancel_run(run_id: UUID, user: User, tx: Transaction) -> StartedOut:
    """Stop a run: at once when it waits, after the step it is in when it works."""
    return StartedOut(run=await runs.cancel_run(tx, user, run_id))


async def _look(services: ProcessServices, user: Caller, run_id: UUID, after: int) -> tuple[RunRow, list[EventRow]]:
    """Return the run, and then its events: a run that was over then has no other events than these."""
    async with services.db.reading() as tx:
        run = await runs.get_run(tx, user, run_id)
        return run, await runs.list_events(tx, run_id, after=after)


async def _follow(services: ProcessServices, user: Caller, run_id: UUID, after: int) -> AsyncIterator[bytes]:
    """
    Ask again and again, less often while nothing happens; no connection is held in between.

    A listener per run would be sooner by a few milliseconds, and cost every step of every run a notification.
    """
    wait, said, end = SHORTEST_S, time.monotonic(), time.monotonic() + LIFETIME_S
    while time.monotonic() < end:
        run, events = await _look(services, user, run_id, after)
        for event in events:
            after = event.seq
            yield _message(event)
        if events:
            wait, said = SHORTEST_S, time.monotonic()
            continue
        if run.status in OVER:
            return
        if time.monotonic() - said > SILENCE_S:
            said = time.monotonic()
            yield b": still there\n\n"
        await asyncio.sleep(wait)
        wait = min(wait * 1.5, LONGEST_S)


def _message(event: EventRow) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.kind.encode(), orjson.dumps(event.model_dump()))
