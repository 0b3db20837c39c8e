"""
Celery as the carrier: one generic task, told which promise of the outbox to keep.

Messages are acknowledged after the work; nothing depends on them arriving once, or at all. Each worker process has one
event loop, one pool and one engine for as long as it lives.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from typing import Any

import structlog
from billiard import process as billiard_process
from celery import Celery
from celery import signals as celery_signals
from kombu.entity import Queue as BrokerQueue

from api.jobs import kit
from api.jobs.process import Loop, Means, name_of, show_life
from memory.db import Database
from memory.errors import Outage
from memory.settings import Settings, current, variable

TASK = "rainmaker.job"
POOL_SIZE = 10
STOP_S = 10.0
DRAIN = signal.SIGUSR2
log = structlog.stdlib.get_logger("rainmaker.worker")


class NoAddress(Outage):
    """{variable} is not set."""


def _configuration() -> dict[str, Any]:
    """Read when Celery first needs it, so that importing this module needs no settings."""
    settings = current()
    if settings.broker_url is None:
        raise NoAddress(variable=variable("broker_url"))
    return {
        "broker_url": settings.broker_url.get_secret_value(),
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 5,
        "broker_transport_options": _transport_options(settings),
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_default_queue": "default",
        "task_create_missing_queues": False,
        "task_queues": [BrokerQueue(name) for name in kit.QUEUES],
        "task_routes": (_route,),
        "worker_prefetch_multiplier": 1,
        "worker_concurrency": settings.worker_concurrency,
        "worker_proc_alive_timeout": 60,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "beat_scheduler": "api.jobs.beat:OutboxScheduler",
        "beat_schedule_filename": str(settings.data / "beat-schedule"),
        "beat_max_loop_interval": 5,
        "result_expires": None,
        "timezone": "UTC",
    }


def _transport_options(settings: Settings) -> dict[str, Any]:
    assert settings.broker_url is not None
    if not settings.broker_url.get_secret_value().startswith(("redis", "rediss", "valkey")):
        return {}
    return {
        "visibility_timeout": settings.broker_visibility_s,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
        "health_check_interval": 15,
    }


def _route(name: str, args: Sequence[Any], *_: Any, **__: Any) -> dict[str, str] | None:
    if name != TASK:
        return None
    known = kit.find_job(args[1])
    return {"queue": known.queue if known else "default"}


signals: Any = celery_signals
multiprocessing: Any = billiard_process  # Celery's own variant; its children are not the standard library's
celery: Any = Celery("rainmaker")
celery.add_defaults(_configuration)


@celery.task(name=TASK)
def carry_out(outbox_id: int, job: str) -> None:
    """Keep the promise of this number."""
    process = Process.present()
    process.loop.run(kit.carry_out(process.means, outbox_id, job))


class Process:
    """This worker process: its loop, its means, its heartbeat."""

    _present: "Process | None" = None

    def __init__(self, settings: Settings) -> None:
        if settings.database_url is None:
            raise NoAddress(variable=variable("database_url"))
        self.loop = Loop("jobs")
        self.means = self.loop.run(self._open(settings))

    async def _open(self, settings: Settings) -> Means:
        assert settings.database_url is not None
        database = await Database.open(settings.database_url.get_secret_value(), size=settings.database_pool)
        self._heart = asyncio.create_task(show_life(database, name_of("worker")))
        return Means(database, settings)

    @classmethod
    def present(cls) -> "Process":
        """Return what this process works with; made at the first job when the pool did not announce its start."""
        if cls._present is None:
            cls._present = cls(current())
        return cls._present

    @classmethod
    def end(cls) -> None:
        """Close what this process has opened."""
        process, cls._present = cls._present, None
        if process is None:
            return
        try:
            process.loop.run(process.close(), timeout=STOP_S)
        finally:
            process.loop.stop()

    async def close(self) -> None:
        """Take the heartbeat back and close engine and pool."""
        self._heart.cancel()
        await asyncio.gather(self._heart, return_exceptions=True)
        await self.means.close()
        await self.means.db.close()


@signals.worker_init.connect
def _load_jobs(**_: Any) -> None:
    kit.load()  # before the fork, so that the processes share what is imported


@signals.worker_process_init.connect
def _begin_process(**_: Any) -> None:
    process = Process.present()

    def drain(*_: object) -> None:
        process.loop.start(process.means.drain())

    signal.signal(DRAIN, drain)


@signals.worker_process_shutdown.connect
def _end_process(**_: Any) -> None:
    Process.end()


@signals.worker_shutting_down.connect
def _drain_processes(**_: Any) -> None:
    """Celery lets each process end its job; agent runs, which may be long, end with the step they are in."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, DRAIN)


@signals.setup_logging.connect
def _keep_logging(**_: Any) -> None:
    """Leave logging as the command line has set it up; jobs and beat say themselves what they did."""
    for chatty in ("celery.beat", "celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
