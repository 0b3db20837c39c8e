"""
One run in one worker: the graph step by step, its events in batches, the lease in between.

    beat  ─┬─ every second: write what was noted ── every third of the lease: hold on
    drive ─┴─ step, checkpoint, step, checkpoint ... output

The events of a step are written together with its checkpoint, in one statement that also asks whether we still hold the
run and whether somebody wants it cancelled; in a long step the beat writes them before.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, cast

import structlog
from pydantic import BaseModel, ValidationError

from agents import journal, registry
from agents.journal import Journal, Note
from agents.kit import Context
from agents.models import Door
from agents.registry import AgentSpec
from memory import failures, journals
from memory.callers import SYSTEM, Caller
from memory.db import Database
from memory.errors import Outage, Rendered
from memory.failures import Overtaken
from memory.journals import Batch, LeaseLost, NewEvent
from memory.settings import Settings
from tools import leases, runs
from tools.leases import Ending, Lease

if TYPE_CHECKING:
    from langgraph.runtime import RunControl

log = structlog.get_logger(__name__)
BEAT_S = 1.0
RETRY_S = 15.0
GRACE_S = 5.0
ROLES = ("rep", "manager", "admin")
UNEXPECTED = "Something unexpected happened ({kind}); the log of run {run_id} says more."


class NotAllowedNow(Exception):
    """The person the run works for may not do this any more."""


class Host:
    """What runs in one process share: compiled graphs, the checkpointer, and which runs are under way."""

    def __init__(self, settings: Settings, db: Database, door: Door, embedder: Any, lease: timedelta) -> None:
        """LangGraph is loaded by the first run."""
        self.settings = settings
        self.db = db
        self.door = door
        self.embedder = embedder
        self.lease = lease
        self.under_way: set[Execution] = set()
        self._graphs: dict[str, Any] = {}
        self._saver: Any = None

    async def warm(self) -> None:
        """Load and compile every agent's graph."""
        for spec in await asyncio.to_thread(registry.list_agents):
            await self.graph(spec)

    async def graph(self, spec: AgentSpec[Any, Any]) -> Any:
        """Return the agent's compiled graph on our checkpointer."""
        if spec.name not in self._graphs:
            builder = await asyncio.to_thread(registry.build_graph, spec)
            self._graphs[spec.name] = builder.compile(checkpointer=await self.saver(), name=spec.name)
        return self._graphs[spec.name]

    async def saver(self) -> Any:
        """Return the checkpointer of this process."""
        if self._saver is None:
            checkpoints = await asyncio.to_thread(importlib.import_module, "memory.checkpoints")
            self._saver = checkpoints.open_saver(self.db)
        return self._saver

    async def drain(self, patience: float) -> None:
        """Ask every run to stop after its step, and wait until they have let go."""
        waiting = tuple(self.under_way)
        for execution in waiting:
            execution.stop("drained")
        if waiting:
            over = [asyncio.create_task(execution.over.wait()) for execution in waiting]
            await asyncio.wait(over, timeout=patience)
            for execution in tuple(self.under_way):
                execution.abandon()
            await asyncio.wait(over, timeout=GRACE_S)


class Execution:
    """One hold on one run."""

    def __init__(self, host: Host, lease: Lease, worker: str, *, patient: bool) -> None:
        """A patient execution lets the run wait for another worker when something it needs is not there."""
        self._host = host
        self._lease = lease
        self._worker = worker
        self._patient = patient
        self._journal = Journal(where=_present_step, tainted=lease.tainted)
        self._written = lease.last_seq
        self._writing = asyncio.Lock()
        self._began: dict[str, tuple[str, float]] = {}
        self._state: dict[str, Any] = {}
        self._control: RunControl | None = None
        self._stopping: str | None = "cancelled" if lease.cancel_requested else None
        self._lost = False
        self.over = asyncio.Event()
        self._driver: asyncio.Task[dict[str, Any]] | None = None

    async def run(self) -> tuple[Ending | None, BaseException | None]:
        """Work until the run is over or has to wait; return how it ended (None: somebody else has it now) and why."""
        self._host.under_way.add(self)
        token = journal.current.set(self._journal)
        beat = asyncio.create_task(self._beat())
        try:
            return await self._settle()
        except LeaseLost as lost:
            log.warning("lease_lost", run_id=str(self._lease.id))
            return None, lost
        finally:
            beat.cancel()
            with suppress(asyncio.CancelledError):
                await beat
            journal.current.reset(token)
            self._host.under_way.discard(self)
            self.over.set()

    @property
    def _is_resumed(self) -> bool:
        """Whether somebody has held this run before; one that was given back may have its attempt refunded."""
        return self._lease.attempts > 1 or self._lease.last_seq > 0

    def stop(self, reason: str) -> None:
        """Stop after the step that is under way."""
        self._stopping = self._stopping or reason
        if self._control is not None:
            self._control.request_drain(reason)

    def abandon(self) -> None:
        """Stop now; the run goes on behind its last checkpoint, elsewhere."""
        self._stopping = self._stopping or "drained"
        if self._driver is not None:
            self._driver.cancel()

    # Ending -------------------------------------------------------------------------------------------------------

    async def _settle(self) -> tuple[Ending | None, BaseException | None]:
        self._journal.note("run.resumed" if self._is_resumed else "run.started", attempt=self._lease.attempts)
        self._driver = asyncio.create_task(self._drive())
        try:
            output = await self._driver
        except asyncio.CancelledError as stop:
            if self._lost:
                raise LeaseLost from stop
            await asyncio.shield(self._let_go("drained", refund=True))
            if asyncio.current_task() is not None and cast("asyncio.Task[Any]", asyncio.current_task()).cancelling():
                raise
            return None, stop
        except LeaseLost:
            raise
        except Exception as failure:  # noqa: BLE001 - whatever happened, the run's row must say so
            return await self._give_up(failure), failure
        self._journal.note("run.finished", tainted=self._journal.tainted)
        return await self._end(Ending(status="succeeded", output=output, tainted=self._journal.tainted)), None

    async def _give_up(self, failure: Exception) -> Ending:
        """Decide what a failure means for the run."""
        from langgraph.errors import GraphDrained

        if isinstance(failure, GraphDrained):
            if self._stopping == "cancelled":
                self._journal.note("run.cancelled")
                return await self._end(Ending(status="cancelled", tainted=self._journal.tainted))
            return await self._let_go("drained", refund=True)
        self._fail_steps()
        meant = failures.told(failure)
        passing = isinstance(meant, Outage | Overtaken) and self._patient and self._lease.attempts < leases.ATTEMPTS
        if meant is not None and passing:
            return await self._let_go(meant.message, wait=RETRY_S * 2 ** (self._lease.attempts - 1))
        reason = self._reason(meant or failure)
        self._journal.note("run.failed", error=reason)
        return await self._end(Ending(status="failed", error=reason, tainted=self._journal.tainted))

    def _reason(self, failure: Exception) -> str:
        match failure:
            case Rendered():
                return failure.message
            case NotAllowedNow():
                return str(failure)
            case TimeoutError():
                return "It took longer than is allowed."
            case _ if type(failure).__name__ == "GraphRecursionError":
                return "It took more steps than are allowed."
            case _:
                log.error("run_failed", run_id=str(self._lease.id), agent=self._lease.agent, exc_info=failure)
                return UNEXPECTED.format(kind=type(failure).__name__, run_id=self._lease.id)

    async def _let_go(self, reason: str, *, wait: float = 0.0, refund: bool = False) -> Ending:
        """Give the run back, with a promise that somebody takes it up; `refund` when it was not the run's fault."""
        ending = Ending(status="queued", tainted=self._journal.tainted, refund=refund)
        self._journal.note("run.paused", reason=reason)
        async with self.writing() as batch, self._host.db.transaction() as tx:
            await leases.end_run(tx, batch, ending)
            await runs.promise_execution(tx, self._lease.id, at=tx.now + timedelta(seconds=wait))
        return ending

    async def _end(self, ending: Ending) -> Ending:
        async with self.writing() as batch, self._host.db.reading() as tx:
            await leases.end_run(tx, batch, ending)
        return ending

    # Driving ------------------------------------------------------------------------------------------------------

    async def _drive(self) -> dict[str, Any]:
        spec = registry.get_agent(self._lease.agent)
        context = Context(
            db=self._host.db,
            caller=_caller(self._lease, spec),
            run_id=self._lease.id,
            door=self._host.door,
            settings=self._host.settings,
            embedder=self._host.embedder,
            journal=self._journal,
        )
        async with asyncio.timeout(spec.timeout_s):
            await self._steps(spec, context)
        return _output(spec, self._state)

    async def _steps(self, spec: AgentSpec[Any, Any], context: Context) -> None:
        from langgraph.runtime import RunControl

        graph, saver = await self._host.graph(spec), await self._host.saver()
        config = {"configurable": {"thread_id": str(self._lease.id)}, "recursion_limit": spec.recursion_limit}
        self._control = RunControl()
        if self._stopping:
            self._control.request_drain(self._stopping)
        stream = graph.astream(
            await self._input(spec, config),
            config,
            context=context,
            stream_mode=["tasks", "values"],
            durability="sync",
            control=self._control,
        )
        saver.accompany(self._lease.id, self)
        try:
            await self._follow(stream)
        finally:
            saver.leave(self._lease.id)

    async def _follow(self, stream: AsyncIterator[tuple[str, dict[str, Any]]]) -> None:
        async for mode, part in stream:
            if mode == "values":
                self._state = part
            elif "input" in part:
                self._begin_step(part)
            else:
                self._finish_step(part["id"], "step.failed" if part.get("error") else "step.finished")

    async def _input(self, spec: AgentSpec[Any, Any], config: dict[str, Any]) -> dict[str, Any] | None:
        """Return the first state, or None to go on behind the checkpoint that a former attempt left."""
        if self._is_resumed:
            saver = await self._host.saver()
            if await saver.aget_tuple(config) is not None:
                return None
        return dict(spec.input.model_validate(self._lease.input))

    def _begin_step(self, part: dict[str, Any]) -> None:
        self._began[part["id"]] = (part["name"], time.perf_counter())
        self._journal.note("step.started", step=part["name"])

    def _finish_step(self, task_id: str, kind: Literal["step.finished", "step.failed"]) -> None:
        """Note that a task ended; LangGraph says so only after its checkpoint, so the checkpoint may have noted it."""
        if task_id in self._began:
            name, began = self._began.pop(task_id)
            self._journal.note(kind, step=name, ms=round((time.perf_counter() - began) * 1000))

    def _finish_steps(self) -> None:
        for task_id in tuple(self._began):
            self._finish_step(task_id, "step.finished")

    def _fail_steps(self) -> None:
        for task_id in tuple(self._began):
            self._finish_step(task_id, "step.failed")

    # Holding ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def writing(self, *, step_over: bool = False) -> AsyncIterator[Batch]:
        """Give the events that are due, alone until they are written; take them back when that fails."""
        async with self._writing:
            if step_over:
                self._finish_steps()
            notes = self._journal.take()
            batch = Batch(self._lease.id, self._worker, self._written, [_event(note) for note in notes])
            try:
                yield batch
            except BaseException:
                self._journal.notes[:0] = notes
                raise
            self._written += len(notes)
        if batch.cancelled:
            self.stop("cancelled")

    async def _write(self) -> None:
        """Write what was noted since the last checkpoint."""
        if self._journal.notes:
            async with self.writing() as batch, self._host.db.reading() as tx:
                await journals.append(tx, batch)

    async def _beat(self) -> None:
        renewed = time.monotonic()
        every = self._host.lease.total_seconds() / 3
        while True:
            await asyncio.sleep(min(BEAT_S, every))
            try:
                await self._write()
                if time.monotonic() - renewed >= every:
                    async with self._host.db.reading() as tx:
                        wanted = await leases.renew_lease(tx, self._lease.id, self._worker, self._host.lease)
                    renewed = time.monotonic()
                    if wanted:
                        self.stop("cancelled")
            except LeaseLost:
                self._lost = True
                if self._driver is not None:
                    self._driver.cancel()
                return
            except Exception as failure:  # noqa: BLE001 - the database may be back before the lease is over
                log.warning("beat_missed", run_id=str(self._lease.id), reason=str(failure))


# Parts ------------------------------------------------------------------------------------------------------------


def _event(note: Note) -> NewEvent:
    return NewEvent(kind=note.kind, step=note.step, data=note.data, at=datetime.fromtimestamp(note.at, UTC))


def _present_step() -> str | None:
    """Return the node that the present code runs in, as LangGraph's own context has it."""
    from langchain_core.runnables.config import var_child_runnable_config

    config = cast("dict[str, Any]", var_child_runnable_config.get() or {})
    return config.get("metadata", {}).get("langgraph_node")


def _caller(lease: Lease, spec: AgentSpec[Any, Any]) -> Caller:
    """
    Return whom the run works for, with the rights they have now.

    Raises `NotAllowedNow`.
    """
    if lease.caller_kind == "system":
        return replace(SYSTEM, kind="system", run_id=lease.id)
    if lease.role is None or ROLES.index(lease.role) < ROLES.index(spec.role):
        raise NotAllowedNow("The person this was done for may not do it any more.")
    return Caller(
        user_id=lease.user_id,
        role=lease.role,
        name=lease.name or "",
        email=lease.email or "",
        auth_id=lease.auth_id or "",
        kind="ai",
        run_id=lease.id,
    )


class NoOutput(Exception):
    """The graph ended without an output that fits."""


def _output(spec: AgentSpec[Any, Any], state: dict[str, Any]) -> dict[str, Any]:
    """Return the state's output as JSON values. Raises `NoOutput`."""
    found = state.get("output")
    try:
        value: BaseModel = spec.output.model_validate(found.model_dump() if isinstance(found, BaseModel) else found)
    except ValidationError as failure:
        raise NoOutput(str(failure)) from failure
    return value.model_dump(mode="json")
