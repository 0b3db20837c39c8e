"""
Runs: an agent's work as a row that outlives its worker.

    start ──▶ row + promise ──commit──▶ worker: execute ──▶ claim ──▶ graph, step by step ──▶ end
    perform ─▶ row ─────────commit──▶ here: the same             checkpoint + events each step

A worker that dies leaves a lease behind; when that runs out, the sweeper promises the run again, and whoever takes it
up continues behind the last checkpoint. LangGraph's checkpoint says where; only our row says whether.
"""

import asyncio
import socket
import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from agents import registry
from agents.execution import Execution, Host
from agents.models import Door
from agents.purposes import About
from agents.registry import AgentSpec
from memory.callers import Caller
from memory.db import Database, Tx
from memory.errors import Forbidden, Invalid, Outage, Rendered
from memory.settings import Settings
from tools import budgets, leases, runs
from tools.runs import NewRun, RunRow

O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out
LEASE = timedelta(seconds=60)
ROLES = ("rep", "manager", "admin")


class InputInvalid(Invalid):
    """The input does not fit the agent {agent}."""


class MayNotRun(Forbidden):
    """The agent {agent} is not for your role."""


class RunFailed(Outage):
    """The run {run_id} failed: {reason}"""


class RunCancelled(Outage):
    """The run {run_id} was cancelled."""


class RunPostponed(Outage):
    """This process is closing; the run {run_id} will be finished by another."""


class Engine:
    """What runs agents in one process and one event loop: made once, closed once."""

    def __init__(
        self, settings: Settings, db: Database, door: Door, *, embedder: Any = None, lease: timedelta = LEASE
    ) -> None:
        """Call `open` instead; LangGraph is loaded by the first run."""
        self.settings = settings
        self.db = db
        self.door = door
        self.embedder = embedder
        self.worker = f"{socket.gethostname()}:{uuid.uuid4().hex[:12]}"
        self.host = Host(settings, db, door, embedder, lease)
        self._lease = lease

    @classmethod
    async def open(cls, settings: Settings, db: Database, *, embedder: Any = None, lease: timedelta = LEASE) -> Self:
        """Return an engine on this pool; close it before the pool."""
        return cls(settings, db, Door(settings, db), embedder=embedder, lease=lease)

    async def warm(self) -> None:
        """Load LangGraph and every agent's graph beside the event loop: it takes seconds, once."""
        await self.host.warm()

    async def close(self, *, patience: float = 30.0) -> None:
        """Let runs finish the step they are in and give them back, then close the connections to the model."""
        await self.host.drain(patience)
        await self.door.close()


# Asking -----------------------------------------------------------------------------------------------------------


async def start(
    tx: Tx,
    caller: Caller,
    agent: str,
    input: BaseModel | Mapping[str, Any],
    *,
    key: str | None = None,
    about: About | None = None,
) -> RunRow:
    """
    Write a run down and promise it to a worker, in this transaction. The same `key` gives the same run.

    Raises `UnknownAgent`, `MayNotRun`, `InputInvalid`, `OtherRequest`.
    """
    run, is_new = await runs.create_run(tx, caller, _new_run(caller, agent, input, about), key=key)
    if is_new:
        await runs.promise_execution(tx, run.id)
    return run


async def perform(
    engine: Engine,
    caller: Caller,
    agent: str,
    input: BaseModel | Mapping[str, Any],
    *,
    about: About | None = None,
    output: type[O],
) -> O:
    """
    Carry a run out in this process and return its output; it is as durable as any other.

    Raises what `start` raises, what the agent refuses, `RunFailed`, `RunCancelled`.
    """
    _, value = await perform_run(engine, caller, agent, input, about=about)
    return output.model_validate(value)


async def perform_run(
    engine: Engine, caller: Caller, agent: str, input: BaseModel | Mapping[str, Any], *, about: About | None = None
) -> tuple[UUID, dict[str, Any]]:
    """
    Carry a run out in this process and return its id and its output as JSON values.

    Raises what `start` raises, what the agent refuses, `RunFailed`, `RunCancelled`.
    """
    new, worker = _new_run(caller, agent, input, about), _worker(engine)
    async with engine.db.reading() as tx:
        lease = await leases.open_run(tx, caller, new, worker, engine.host.lease)
    ending, failure = await Execution(engine.host, lease, worker, patient=False).run()
    if isinstance(failure, Rendered):
        raise failure
    if ending is None or ending.status == "failed":
        raise RunFailed(run_id=lease.id, reason=(ending and ending.error) or "another worker took it.") from failure
    if ending.status == "cancelled":
        raise RunCancelled(run_id=lease.id)
    if ending.status != "succeeded":
        raise RunPostponed(run_id=lease.id)
    return lease.id, ending.output or {}


def _new_run(caller: Caller, agent: str, input: BaseModel | Mapping[str, Any], about: About | None) -> NewRun:
    spec = registry.get_agent(agent)
    if caller.kind != "system" and ROLES.index(caller.role) < ROLES.index(spec.role):
        raise MayNotRun(agent=agent)
    asked = read_input(spec, input)
    subject = about or spec.about(asked)
    return NewRun(
        agent=agent,
        input=asked.model_dump(mode="json"),
        company_id=subject.company_id,
        contact_id=subject.contact_id,
        deal_id=subject.deal_id,
        communication_id=subject.communication_id,
    )


def read_input(spec: AgentSpec[Any, Any], input: BaseModel | Mapping[str, Any]) -> BaseModel:
    """
    Return the input as the agent's own model.

    Raises `InputInvalid` with a line per field.
    """
    try:
        return spec.input.model_validate(input.model_dump() if isinstance(input, BaseModel) else dict(input))
    except ValidationError as failure:
        errors = failure.errors(include_url=False, include_input=False, include_context=False)
        lines = [f"input.{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in errors]
        raise InputInvalid(*lines, agent=spec.name) from failure


# Working ----------------------------------------------------------------------------------------------------------


async def execute(engine: Engine, run_id: UUID) -> None:
    """
    Work on a run until it is over, or has to wait; do nothing when somebody else holds it or it is over.

    How it ended is in its row; nothing that goes wrong inside is raised.
    """
    worker = _worker(engine)
    async with engine.db.reading() as tx:
        lease = await leases.claim_run(tx, run_id, worker, engine.host.lease)
    if lease is not None:
        await Execution(engine.host, lease, worker, patient=True).run()


def _worker(engine: Engine) -> str:
    """Return a name for one hold: one process may be handed the same run twice."""
    return f"{engine.worker}:{uuid.uuid4().hex[:8]}"


async def sweep(db: Database, settings: Settings) -> int:
    """Look after runs whose worker died, and after money that nobody settled; return how many runs there were."""
    async with db.transaction() as tx:
        swept = await leases.sweep_runs(tx)
    async with db.transaction() as tx:
        await budgets.release_abandoned(tx, older_than=timedelta(seconds=settings.model_timeout_s + 300))
    return swept


async def prune(db: Database, *, older_than: timedelta, limit: int = 200) -> int:
    """Delete the checkpoints of runs that ended long ago, so many at a time; return how many there were."""
    checkpoints = await asyncio.to_thread(_checkpoints)
    async with db.reading() as tx:
        old = await leases.list_prunable(tx, older_than=older_than, limit=limit)
    if old:
        await checkpoints.prune(db, old)
        async with db.transaction() as tx:
            await leases.mark_pruned(tx, old)
    return len(old)


def _checkpoints() -> Any:
    from memory import checkpoints

    return checkpoints


cancel = runs.cancel_run
events_after = runs.list_events
