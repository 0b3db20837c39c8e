"""
Jobs: what workers carry out after the transaction that promised it.

    @job("attention.wake_flag", queue="clock")
    async def wake_flag(run: Run, *, flag_id: UUID, **_: object) -> None:
        async with run.transaction() as tx:
            await attention.wake_flag(tx, SYSTEM, flag_id)

A module `api/jobs/<noun>.py` registers its jobs when it is imported; `load()` imports them all, so what is slow to
import (LangChain) is imported inside the function. A job may begin again at any line: it is carried out at least once,
by one worker at a time, and what must not happen twice goes through the effect ledger.

    tx.enqueue ──commit──> outbox ──relay──> broker (ids only) ──worker──> claim, carry out, finish

Failing: a `Refusal` (what is asked for is not to be had) or a payload of the wrong shape is dead at once; anything else
is tried again with a growing pause, `attempts` times in all, and is dead then. Dead promises stay visible in the outbox.
"""

import asyncio
import importlib
import inspect
import pkgutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

import orjson
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

import api.jobs
from api.jobs.process import Means, name_of
from memory import outbox, tracing
from memory.db import Database, Tx, clock
from memory.embeddings import Embedder
from memory.errors import Refusal, Rendered, TooMany
from memory.settings import Settings, current
from tools.mail_accounts import Mailboxes

if TYPE_CHECKING:
    from agents.runs import Engine

P = ParamSpec("P")
T = TypeVar("T")
INSIST_S = (0.2, 1.0, 3.0)
Queue = Literal["agents", "clock", "mail", "default"]
QUEUES: tuple[Queue, ...] = ("clock", "default", "mail", "agents")
MACHINERY = frozenset({"kit", "process", "worker", "relay", "beat"})
log = structlog.stdlib.get_logger("rainmaker.jobs")


class UnknownJob(LookupError):
    """No module under api/jobs registers a job of this name."""


class Later(Exception):
    """What the job needs is not there yet: try again after `wait`, whatever the growing pause says."""

    def __init__(self, reason: str, *, wait: timedelta) -> None:
        super().__init__(reason)
        self.wait = wait


class TookTooLong(Exception):
    """The job ran longer than it may."""


@dataclass(frozen=True)
class Job:
    """One registered job."""

    name: str
    function: Callable[..., Awaitable[None]]
    payload: type[BaseModel]
    queue: Queue
    attempts: int
    lease: timedelta
    limit: timedelta
    first_pause: timedelta
    final: tuple[type[Exception], ...]

    async def call(self, run: "Run", payload: dict[str, Any]) -> None:
        """
        Carry out the job's function.

        Raises `ValidationError` when the payload does not fit its signature.
        """
        asked = self.payload.model_validate(payload)
        await self.function(run, **{name: getattr(asked, name) for name in type(asked).model_fields})


@dataclass(frozen=True)
class Run:
    """One attempt at one job; `job_id` is None when it is carried out in place."""

    means: Means
    job: str
    job_id: int | None
    attempt: int
    log: structlog.stdlib.BoundLogger

    @property
    def db(self) -> Database:
        """The pool of this process."""
        return self.means.db

    @property
    def settings(self) -> Settings:
        """The settings of this process."""
        return self.means.settings

    @property
    def now(self) -> datetime:
        """The present moment, by the edge's clock."""
        return clock()

    def transaction(self) -> AbstractAsyncContextManager[Tx]:
        """One transaction, committed when the block ends well. No model or network call inside."""
        return self.db.transaction()

    @property
    def mailboxes(self) -> Mailboxes:
        """The mailboxes that people have connected."""
        return self.means.mailboxes

    async def engine(self) -> "Engine":
        """Return the agents' engine of this process; the first call takes seconds."""
        return await self.means.engine()

    async def embedder(self) -> Embedder:
        """Return the embedder of this process; the first call may load its weights."""
        return await self.means.embedder()


# Registering --------------------------------------------------------------------------------------------------------

_jobs: dict[str, Job] = {}


def job(
    name: str,
    *,
    queue: Queue = "default",
    attempts: int = 5,
    lease: timedelta = timedelta(seconds=60),
    limit: timedelta = timedelta(minutes=15),
    first_pause: timedelta = timedelta(seconds=5),
    final: tuple[type[Exception], ...] = (),
) -> Callable[[Callable[Concatenate[Run, P], Awaitable[None]]], Callable[Concatenate[Run, P], Awaitable[None]]]:
    """
    Register the function as the job of this name.

    The lease is renewed while the job runs, so it only says how soon another worker takes over from a dead one;
    `limit` is how long one attempt may take; `final` are exceptions that no second attempt would help.
    """

    def register(
        function: Callable[Concatenate[Run, P], Awaitable[None]],
    ) -> Callable[Concatenate[Run, P], Awaitable[None]]:
        known = _jobs.get(name)
        if known is not None and known.function is not function:
            raise ValueError(f"there are two jobs called {name}")
        _jobs[name] = Job(name, function, _payload_of(function), queue, attempts, lease, limit, first_pause, final)
        return function

    return register


def _payload_of(function: Callable[..., Any]) -> type[BaseModel]:
    """Make the model of a job's payload from the keyword arguments of its function."""
    parameters = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    fields: dict[str, Any] = {
        parameter.name: (parameter.annotation, ... if parameter.default is parameter.empty else parameter.default)
        for parameter in parameters
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    config = ConfigDict(extra="ignore" if open_ended else "forbid", arbitrary_types_allowed=False)
    return create_model(f"{function.__name__}_payload", __config__=config, **fields)


@cache
def load() -> None:
    """Import every module of jobs."""
    for module in pkgutil.iter_modules(api.jobs.__path__):
        if module.name not in MACHINERY:
            importlib.import_module(f"api.jobs.{module.name}")


def list_jobs() -> list[Job]:
    """Return every job there is, by name."""
    load()
    return [_jobs[name] for name in sorted(_jobs)]


def find_job(name: str) -> Job | None:
    """Return the job of this name, or None."""
    load()
    return _jobs.get(name)


def get_job(name: str) -> Job:
    """
    Return the job of this name.

    Raises `UnknownJob`.
    """
    found = find_job(name)
    if found is None:
        raise UnknownJob(name)
    return found


# Carrying out -------------------------------------------------------------------------------------------------------


async def carry_out(means: Means, outbox_id: int, name: str) -> bool:
    """Carry out the promise, when it is to be had; tell whether this was the attempt that kept it."""
    known = find_job(name)
    if known is None:
        log.warning("no such job", job=name, job_id=outbox_id)
        return False
    claimed = await _insist(
        means.db,
        lambda tx: outbox.claim(tx, outbox_id, worker=name_of("worker"), lease=known.lease, attempts=known.attempts),
    )
    if claimed is None:
        return False
    run = Run(means, name, outbox_id, claimed.attempt, log.bind(job=name, job_id=outbox_id, attempt=claimed.attempt))
    try:
        with tracing.span("job", job=name, attempt=claimed.attempt):
            await _within_lease(means.db, known, claimed, known.call(run, claimed.payload))
    except asyncio.CancelledError:
        run.log.warning("job interrupted")
        raise
    except Exception as failure:  # noqa: BLE001 - whatever a job raises is recorded on its promise
        await _record_failure(run, known, claimed, failure)
        return False
    kept = await _insist(means.db, lambda tx: outbox.finish(tx, claimed))
    run.log.info("job done", kept=kept)
    return kept


async def _insist(db: Database, act: Callable[[Tx], Awaitable[T]]) -> T:
    """Do what may be repeated in a transaction, trying again while the database comes back from a restart."""
    for pause_s in INSIST_S:
        try:
            async with db.transaction() as tx:
                return await act(tx)
        except Exception:
            log.warning("database away; trying again", exc_info=True)
            await asyncio.sleep(pause_s)
    async with db.transaction() as tx:
        return await act(tx)


async def _within_lease(db: Database, job: Job, claimed: outbox.ClaimRow, work: Awaitable[None]) -> None:
    """Renew the lease while the work goes on; stop the work when it is lost or takes too long."""
    task = asyncio.ensure_future(work)
    lost = asyncio.Event()
    keeper = asyncio.create_task(_keep_lease(db, job.lease, claimed, task, lost))
    limit = asyncio.timeout(job.limit.total_seconds())
    try:
        async with limit:
            await task
    except TimeoutError:
        if limit.expired():
            raise TookTooLong(f"It took longer than {job.limit}.") from None
        raise
    except asyncio.CancelledError:
        if lost.is_set():
            raise LeaseLost from None
        raise
    finally:
        keeper.cancel()
        task.cancel()


class LeaseLost(Exception):
    """Another worker has taken the job over."""


async def _keep_lease(
    db: Database, lease: timedelta, claimed: outbox.ClaimRow, task: "asyncio.Future[None]", lost: asyncio.Event
) -> None:
    while True:
        await asyncio.sleep(lease.total_seconds() / 3)
        try:
            async with db.transaction() as tx:
                kept = await outbox.renew(tx, claimed, lease=lease)
        except Exception:
            # A database that is away for a moment does not cost the lease.
            log.warning("lease not renewed", job_id=claimed.id, exc_info=True)
            continue
        if not kept:
            lost.set()
            task.cancel()
            return


async def _record_failure(run: Run, job: Job, claimed: outbox.ClaimRow, failure: Exception) -> None:
    """Give the promise up or put it back, and say why in the log and on the row."""
    said = failure.message if isinstance(failure, Rendered) else f"{type(failure).__name__}: {failure}"
    refused = isinstance(failure, Refusal) and not isinstance(failure, TooMany)
    hopeless = refused or isinstance(failure, (ValidationError, *job.final))
    if isinstance(failure, LeaseLost):
        run.log.warning("job taken over by another worker")
        return
    gives_up = hopeless or claimed.attempt >= job.attempts

    async def record(tx: Tx) -> bool:
        if gives_up:
            return await outbox.bury(tx, claimed, said)
        return await outbox.put_back(tx, claimed, said, wait=_pause_after(failure, job, claimed.attempt))

    await _insist(run.db, record)
    report = run.log.error if gives_up else run.log.warning
    report("job failed", error=said, given_up=gives_up, exc_info=None if isinstance(failure, Rendered) else failure)


def _pause_after(failure: Exception, job: Job, attempt: int) -> timedelta:
    if isinstance(failure, Later):
        return failure.wait
    asked = getattr(failure, "retry_after", None)
    pause = outbox.pause(attempt, first=job.first_pause.total_seconds())
    return max(pause, timedelta(seconds=float(asked))) if isinstance(asked, (int, float)) else pause


# In place -----------------------------------------------------------------------------------------------------------


async def run_job_inline(
    db: Database, name: str, payload: dict[str, Any] | None = None, *, settings: Settings | None = None
) -> None:
    """
    Carry out a job in this process, now, without a promise; what it raises is raised here.

    Raises `UnknownJob`.
    """
    async with _means(db, settings) as means:
        known = get_job(name)
        run = Run(means, name, None, 1, log.bind(job=name))
        # Through JSON and back, as a promise would go.
        await known.call(run, orjson.loads(orjson.dumps(payload or {}, default=str)))


async def run_due_jobs(db: Database, *, settings: Settings | None = None, rounds: int = 100) -> list[str]:
    """Carry out in this process what is due in the outbox, and what that promises, and return the jobs kept."""
    kept: list[str] = []
    async with _means(db, settings) as means:
        for _ in range(rounds):
            async with db.transaction() as tx:
                due = await outbox.hand_over(tx, [known.name for known in list_jobs()], window=1000)
            if not due:
                break
            kept += [row.job for row in due if await carry_out(means, row.id, row.job)]
    return kept


@asynccontextmanager
async def _means(db: Database, settings: Settings | None) -> AsyncIterator[Means]:
    means = Means(db, settings or current())
    try:
        yield means
    finally:
        await means.close()


def __getattr__(name: str) -> Any:
    # Celery is imported by whoever starts a worker or beat, not by every test of a job.
    if name == "celery":
        from api.jobs.worker import celery

        return celery
    raise AttributeError(name)
