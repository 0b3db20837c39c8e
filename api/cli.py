"""
The shell door: `python -m api`.

What takes seconds to import (LangChain, Celery) is imported by the command that needs it.
"""

import asyncio
import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from memory import embedded, settings
from memory import migrate as schema
from memory.errors import NotFound, Outage, Rendered

GRACE_S = 5
"""Seconds that open requests and event streams get at the end."""

cli = typer.Typer(
    name="rainmaker",
    help="Rainmaker: agents, tools and memory for a CRM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class Role(StrEnum):
    """Whose token it is."""

    rep = "rep"
    manager = "manager"
    admin = "admin"


class NothingRuns(Outage):
    """{variable} is not set and nothing runs in {data}; set it, or start everything with `python -m api run`."""


class NobodySuch(NotFound):
    """The workspace has no active user {who}."""


class DiskFull(Outage):
    """There is no space left on the disk."""


def main() -> None:
    """Run the command line; what it says about a failure is one sentence, without a traceback."""
    try:
        cli()
    except Rendered as failure:
        sys.exit(f"rainmaker: {failure}")
    except OSError as failure:
        if failure.errno == errno.ENOSPC:
            sys.exit(f"rainmaker: {DiskFull()}")
        raise


@cli.command()
def run(
    demo: Annotated[bool, typer.Option(help="Load the demo workspace into an empty database.")] = True,
) -> None:
    """Start everything on this machine and keep it running until Ctrl-C."""
    from api.supervisor import run as supervisor

    supervisor.run(settings.current(), Console(), with_demo=demo)


@cli.command()
def serve() -> None:
    """Serve API and console."""
    _point_at_running()
    import uvicorn

    chosen = settings.current()
    uvicorn.run(
        "api.app:create_app",
        factory=True,
        host=chosen.host,
        port=chosen.port,
        log_config=None,  # the application's own logs name the request
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )


@cli.command()
def work() -> None:
    """Carry out jobs."""
    _point_at_running()
    from api import telemetry
    from api.jobs.kit import celery

    telemetry.configure_logging(settings.current())
    telemetry.start_tracing(settings.current(), "rainmaker-worker")
    celery.worker_main(["worker", "--without-gossip", "--without-mingle"])


@cli.command()
def beat() -> None:
    """Hand out what is due by the clock."""
    _point_at_running()
    from api import telemetry
    from api.jobs.kit import celery

    telemetry.configure_logging(settings.current())
    celery.start(["beat", "--pidfile="])


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date."""
    from api.supervisor.run import follow_up_steps

    with _database_url() as url:
        applied = asyncio.run(schema.migrate(url, then=follow_up_steps()))
    typer.echo(f"{len(applied)} applied" + (f", up to {applied[-1]}" if applied else "; the schema is up to date"))


@cli.command()
def token(
    role: Annotated[Role, typer.Option(help="The first user with this role.")] = Role.rep,
    auth_id: Annotated[str | None, typer.Option(help="A certain user, as the sign-in names them.")] = None,
) -> None:
    """Print a bearer token."""
    from api import auth
    from memory.db import Database
    from tools import users

    async def issue(url: str) -> str:
        database = await Database.open(url, size=2)
        try:
            async with database.reading() as tx:
                named = users.find_caller(tx, [auth_id]) if auth_id else users.find_caller_by_role(tx, role.value)
                if (caller := await named) is None:
                    raise NobodySuch(who=f"called {auth_id}" if auth_id else f"with the role {role}")
                return auth.issue_token(settings.current(), caller.auth_id)
        finally:
            await database.close()

    with _migrated_url() as url:
        typer.echo(asyncio.run(issue(url)))


@cli.command()
def openapi() -> None:
    """Print the API's schema; starts nothing."""
    import orjson

    from api.app import create_app

    chosen = settings.read_settings(make_secrets=False)
    typer.echo(orjson.dumps(create_app(chosen).openapi(), option=orjson.OPT_INDENT_2).decode())


@cli.command("demo")
def load_demo() -> None:
    """Load the demo workspace into an empty database."""
    from api.commands import demo

    with _migrated_url() as url:
        counts = demo.load(url)
    typer.echo(f"{'Loaded' if counts.loaded else 'Loaded before'}: {demo.describe(counts)}")


@cli.command("ingest")
def read_mailbox(
    path: Annotated[Path, typer.Argument(help="An mbox, an .eml file, Microsoft Graph JSON, or a folder of them.")],
    mailbox: Annotated[
        str | None, typer.Option(help="Address of the user whose mailbox it is; else the first rep's.")
    ] = None,
) -> None:
    """Read a mailbox; interrupted, it goes on where it was when it is run again."""
    from api.commands import ingest

    with _migrated_url() as url:
        ingest.read(url, path, mailbox, Console())


@cli.command("rebuild")
def rebuild_memory() -> None:
    """Compute vector memory with the configured embedding model, and let that one answer."""
    from api.commands import rebuild

    with _migrated_url() as url:
        rebuild.rebuild(url, Console())


@contextmanager
def _database_url() -> Iterator[str]:
    """Yield the database: the given one, the one that runs here, or one started for this command."""
    chosen = settings.current()
    if chosen.database_url is not None:
        yield chosen.database_url.get_secret_value()
        return
    with embedded.serving(chosen.data) as url:
        yield url


@contextmanager
def _migrated_url() -> Iterator[str]:
    """Yield the database once it is known to have the schema of this version; raises `SchemaBehind`."""
    with _database_url() as url:
        asyncio.run(schema.check(url))
        yield url


def _point_at_running() -> None:
    """
    Let this process use what `run` has started, when it has no addresses of its own.

    Raises `NothingRuns`, and whatever `migrate.check` says about the database.
    """
    from api.supervisor import broker

    chosen = settings.current()
    for field, find in (("database_url", embedded.running), ("broker_url", broker.running)):
        if getattr(chosen, field) is None:
            name = settings.variable(field)
            if (url := find(chosen.data)) is None:
                raise NothingRuns(variable=name, data=chosen.data)
            os.environ[name] = url
    settings.current.cache_clear()
    found = settings.current().database_url
    assert found is not None
    asyncio.run(schema.check(found.get_secret_value()))
