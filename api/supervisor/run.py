"""
From nothing to a healthy Rainmaker, and back.

    checks -> Postgres -> schema -> Redis -> demo (once) -> API, worker, beat -> healthy -> watch until told to stop
"""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from types import FrameType

import httpx
from pydantic import SecretStr
from rich.console import Console

from api.commands import demo
from api.supervisor import broker, checks, welcome
from api.supervisor.parts import Crew, PartFailed, Postgres, Program
from memory import heartbeats, migrate
from memory.db import Database, clock
from memory.settings import Settings
from prompts import registry
from tools import ai_prompts
from tools.demo import WorkspaceInUse

HEALTHY_S = 120.0
GRACE_S = 12.0
LOOK_EVERY_S = 0.25
ENTRY = (sys.executable, "-m", "api")


class Stopped(BaseException):
    """Somebody asked the supervisor to stop."""


def run(settings: Settings, console: Console, *, with_demo: bool = True) -> None:
    """
    Run everything until SIGINT or SIGTERM.

    Raises an `Outage` whose message is for the operator when something cannot be started.
    """
    settings = settings.model_copy(update={"data": settings.data.resolve()})
    say = welcome.Narrator(console)
    with checks.only_one(settings.data), _stoppable():
        crew = Crew(say.note)
        try:
            settings = _prepare(settings, crew, say, with_demo=with_demo)
            _start(settings, crew, say)
            _watch(crew)
        except Stopped:
            say.note("Stopping.")
        finally:
            say.quiet()
            _stop(crew)


def _prepare(settings: Settings, crew: Crew, say: welcome.Narrator, *, with_demo: bool) -> Settings:
    """Check the machine and start what the processes stand on; return the settings that point at it."""
    checks.check_port(settings.host, settings.port)
    checks.check_disk(settings.data)
    if settings.model_engine != "rules":
        say.step("Asking the model server")
    if warning := checks.check_model(settings):
        say.note(warning)
    if settings.database_url is None:
        say.step("Starting Postgres")
        postgres = Postgres(settings.data)
        crew.start(postgres)
        settings = settings.model_copy(update={"database_url": SecretStr(postgres.url)})
    say.step("Preparing the database")
    asyncio.run(migrate.migrate(_database_url(settings), then=follow_up_steps()))
    if settings.broker_url is None:
        say.step("Starting Redis")
        redis = broker.prepare(settings.data)
        crew.start(redis)
        settings = settings.model_copy(update={"broker_url": SecretStr(redis.url)})
    if with_demo:
        say.step("Loading the demo workspace")
        _load_demo(settings, say)
    return settings


def _start(settings: Settings, crew: Crew, say: welcome.Narrator) -> None:
    """Start the three processes, wait for each, and say where they are."""
    started_at = clock()
    programs = [_program(settings, name, command) for name, command in PROGRAMS]
    for program in programs:
        crew.start(program)
    say.step("Waiting for API, worker and beat")
    with asyncio.Runner() as runner:
        database = runner.run(Database.open(_database_url(settings), size=2))
        try:
            _await_health(programs, {
                "API": lambda: _api_ready(settings),
                "Worker": lambda: runner.run(_has_beaten(database, "worker", started_at)),
                "Beat": lambda: runner.run(_has_beaten(database, "beat", started_at)),
            })  # fmt: skip
            say.quiet()
            welcome.show(say.console, settings, runner.run(welcome.issue_tokens(settings, database)))
        finally:
            runner.run(database.close())


PROGRAMS = (("API", "serve"), ("Worker", "work"), ("Beat", "beat"))


def _program(settings: Settings, name: str, command: str) -> Program:
    assert settings.broker_url is not None
    return Program(
        name=name,
        command=[*ENTRY, command],
        log=settings.data / "logs" / f"{name.lower()}.log",
        environment={
            "DATABASE_URL": _database_url(settings),
            "CELERY_BROKER_URL": settings.broker_url.get_secret_value(),
            "RAINMAKER_DATA": str(settings.data),
            "RAINMAKER_HOST": settings.host,
            "RAINMAKER_PORT": str(settings.port),
            "PYTHONUNBUFFERED": "1",
        },
    )


def _await_health(programs: Sequence[Program], probes: dict[str, Callable[[], bool]]) -> None:
    """
    Wait until every program answers its probe.

    Raises `PartFailed` when one ends, or takes too long.
    """
    deadline = time.monotonic() + HEALTHY_S
    waiting = {program.name: program for program in programs}
    while waiting:
        for name, program in list(waiting.items()):
            if program.ended() is not None or time.monotonic() > deadline:
                raise PartFailed(part=f"The {name}", reason=program.last_words(), log=program.log)
            if probes[name]():
                del waiting[name]
        time.sleep(0.1 if waiting else 0)


def _api_ready(settings: Settings) -> bool:
    host = settings.url if settings.public_url is None else f"http://127.0.0.1:{settings.port}"
    try:
        return httpx.get(f"{host}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


async def _has_beaten(database: Database, kind: str, since: datetime) -> bool:
    async with database.reading() as tx:
        return any(row.beat_at >= since for row in await heartbeats.list_alive(tx, kind))


def follow_up_steps() -> tuple[migrate.Step, ...]:
    """What prepares a database after its tables: LangGraph's own, and the shipped prompts as versions."""
    from memory import checkpoints

    return (checkpoints.setup, _keep_shipped_prompts)


async def _keep_shipped_prompts(url: str) -> None:
    db = await Database.open(url, size=1)
    try:
        async with db.transaction() as tx:
            await ai_prompts.sync_shipped(tx, registry.shelf())
    finally:
        await db.close()


def _load_demo(settings: Settings, say: welcome.Narrator) -> None:
    """Load the demo workspace once; a database that holds somebody's data is left alone."""
    with suppress(WorkspaceInUse):
        counts = demo.load(_database_url(settings))
        if counts.loaded:
            say.note(f"Demo workspace: {demo.describe(counts)}")


def _database_url(settings: Settings) -> str:
    assert settings.database_url is not None
    return settings.database_url.get_secret_value()


def _watch(crew: Crew) -> None:
    while True:
        crew.tend()
        time.sleep(LOOK_EVERY_S)


@contextmanager
def _stoppable() -> Iterator[None]:
    """Turn SIGINT, SIGTERM and SIGHUP into `Stopped`, wherever the supervisor is."""

    def stop(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - of signal.signal
        raise Stopped

    former = {signum: signal.signal(signum, stop) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for signum, handler in former.items():
            signal.signal(signum, handler)


def _stop(crew: Crew) -> None:
    """Stop in order; asked a second time, stop at once."""
    try:
        crew.stop(GRACE_S)
    except Stopped:
        crew.stop(0)
