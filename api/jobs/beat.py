"""
What is due by the clock: Celery's beat keeps the time, and what is due becomes a promise in the outbox.

A job whose last promise is not kept yet is not promised again, so nothing piles up while workers are away. The table
is remembered in the data folder: what fell due while beat was down is promised once when it is back.

The process has two threads: the main one runs Celery's clock, the other one a loop with the pool and the relay.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import structlog
from celery import beat
from celery.schedules import crontab

from api.jobs import kit
from api.jobs.process import HEARTBEAT_S, Loop, name_of, show_life
from api.jobs.relay import Relay
from memory import heartbeats, outbox
from memory.db import Database
from memory.settings import Settings, current, variable

KEY = "beat"
ANSWER_S = 10.0
log = structlog.stdlib.get_logger("rainmaker.beat")


@dataclass(frozen=True)
class Entry:
    """One line of the table: which job, when, with which payload."""

    job: str
    when: Any
    payload: Mapping[str, Any] = field(default_factory=dict[str, Any])


def every(**how_often: float) -> timedelta:
    """Return the schedule of a job that is due again so long after it was due."""
    return timedelta(**how_often)


TABLE: tuple[Entry, ...] = (
    Entry("communications.analyze_pending", every(minutes=1)),
    Entry("knowledge.collect", every(seconds=30)),
    Entry("runs.sweep", every(seconds=30)),
    Entry("evaluations.sweep", every(minutes=5)),
    Entry("projections.catch_up", every(seconds=5)),
    Entry("cases.scan_clocks", every(minutes=5)),
    Entry("lifecycle.scan_stages", every(minutes=15)),
    Entry("health.evaluate_changed", every(minutes=15)),
    Entry("promises.mark_overdue", every(minutes=5)),
    Entry("attention.wake_snoozed", every(minutes=5)),
    Entry("summaries.refresh_stale", every(minutes=10)),
    Entry("signals.detect", crontab(minute="7")),
    Entry("attention.raise_stalls", crontab(minute="23")),
    Entry("outbox.forget_silent", every(minutes=10)),
    Entry("requests.forget_old", crontab(minute="41")),
    Entry("outbox.prune", crontab(hour="3", minute="17")),
    Entry("runs.prune", crontab(hour="3", minute="37")),
    Entry("vault.reseal", crontab(hour="3", minute="57")),
)


def schedule() -> dict[str, dict[str, Any]]:
    """
    Return the table as Celery wants it.

    Raises `UnknownJob` when it names a job that does not exist.
    """
    return {entry.job: {"task": kit.get_job(entry.job).name, "schedule": entry.when, "kwargs": dict(entry.payload)}
            for entry in TABLE}  # fmt: skip


class Clockwork:
    """The asynchronous half of the beat process."""

    def __init__(self, settings: Settings) -> None:
        from api.jobs.worker import NoAddress

        if settings.database_url is None:
            raise NoAddress(variable=variable("database_url"))
        self._loop = Loop("relay")
        self._running = True
        self._db = self._loop.run(self._open(settings.database_url.get_secret_value()))

    async def _open(self, url: str) -> Database:
        db = await Database.open(url, size=4)
        self._relay = Relay(db)
        self._tasks = [
            asyncio.create_task(self._relay.run()),
            asyncio.create_task(show_life(db, name_of("relay"), self._relay_state)),
        ]
        return db

    def _relay_state(self) -> dict[str, Any]:
        return {"broker": "away" if self._relay.broker_away else "ok"}

    def promise(self, job: str, payload: Mapping[str, Any]) -> bool:
        """Promise the job unless it is open; tell whether it was promised."""
        return self._loop.run(self._promise(job, payload), timeout=ANSWER_S)

    async def _promise(self, job: str, payload: Mapping[str, Any]) -> bool:
        async with self._db.transaction() as tx:
            return await outbox.promise_unless_open(tx, job, KEY, **payload)

    def beat(self) -> None:
        """Write beat's heartbeat; that the clock ticks is what it says."""
        self._loop.run(self._beat(), timeout=ANSWER_S)

    async def _beat(self) -> None:
        async with self._db.transaction() as tx:
            await heartbeats.record(tx, name_of("beat"), entries=len(TABLE))

    def stop(self) -> None:
        """End relay and pool; repeated calls do nothing."""
        if self._running:
            self._running = False
            self._loop.run(self._close(), timeout=ANSWER_S)
            self._loop.stop()

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        async with self._db.transaction() as tx:
            await heartbeats.forget(tx, name_of("beat"))
        await self._db.close()


_Scheduler: Any = beat.PersistentScheduler  # Celery is not typed


class OutboxScheduler(_Scheduler):
    """Celery's persistent scheduler, which promises instead of sending."""

    producer: Any = None  # nothing is sent: no connection to the broker is opened for it
    _clockwork: Clockwork | None = None
    _beaten_at = float("-inf")
    _tasks_since_sync: int = 0

    def setup_schedule(self) -> None:
        """Check the table, start the relay, and read when what was due last."""
        settings = current()
        settings.data.mkdir(parents=True, exist_ok=True)
        self.app.conf.beat_schedule = schedule()
        self._clockwork = Clockwork(settings)
        celery: Any = super()
        celery.setup_schedule()

    def install_default_entries(self, data: Any) -> None:
        """Add nothing to the table: there are no results to clean up."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Promise what is due; return the seconds until something is."""
        if time.monotonic() - self._beaten_at >= HEARTBEAT_S:
            self._show_life()
        celery: Any = super()
        return min(celery.tick(*args, **kwargs), HEARTBEAT_S)

    def _show_life(self) -> None:
        assert self._clockwork is not None
        try:
            self._clockwork.beat()
            self._beaten_at = time.monotonic()
        except Exception:
            log.warning("heartbeat failed", exc_info=True)

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **_: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Promise the entry's job."""
        assert self._clockwork is not None
        entry = self.reserve(entry) if advance else entry
        try:
            made = self._clockwork.promise(entry.task, entry.kwargs)
            log.debug("due", job=entry.task, promised=made)
        finally:
            self._tasks_since_sync += 1
            if self.should_sync():
                self._do_sync()

    def close(self) -> None:
        """Remember the table and end the relay."""
        celery: Any = super()
        celery.close()
        if self._clockwork is not None:
            self._clockwork.stop()
