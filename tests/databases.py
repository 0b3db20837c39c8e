"""
One embedded Postgres per test session, one migrated template, and clones of it.

With xdist the controller owns the server and its workers are told the address, so that it lives exactly as long as
the session does. Without xdist it starts with the first test that asks for a database.
"""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from memory import checkpoints, embedded, migrate
from memory.db import Database, Tx, clock

TEMPLATE = "migrated"
FOLDER = "rainmaker-tests-"


@dataclass
class Postgres:
    """The session's server; `server` and `folder` only in the process that owns it."""

    url: str
    server: embedded.Server | None = None
    folder: Path | None = None

    def named(self, database: str) -> str:
        """Return the URL of another database on the same server."""
        return f"{self.url.rpartition('/')[0]}/{database}"

    def run(self, statement: sql.Composed) -> None:
        """Run one statement outside every transaction, beside the databases under test."""
        with psycopg.connect(self.named("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def clone(self, name: str, template: str = TEMPLATE) -> str:
        """Make a database like the template and return its URL."""
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
        self.run(create.format(sql.Identifier(name), sql.Identifier(template)))
        return self.named(name)

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self.run(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Stop the server and remove its files, when they are ours."""
        if self.server is None or self.folder is None:
            return
        self.server.stop(at_once=True)
        shutil.rmtree((self.folder / "postgres").resolve())
        shutil.rmtree(self.folder)


def open_folder() -> Path:
    """Make a folder that the server's user can enter even when the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
    folder.chmod(0o755)
    return folder


def start_postgres() -> Postgres:
    """Start a server that forgets quickly, and migrate its template."""
    _sweep()
    folder = open_folder()
    server = embedded.start(folder, {**embedded.UNSAFE, "shared_buffers": "128MB", "max_connections": "200"})
    postgres = Postgres(server.url, server, folder)
    try:
        asyncio.run(_make_template(postgres))
    except BaseException:
        postgres.close()
        raise
    return postgres


async def _make_template(postgres: Postgres) -> None:
    postgres.run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    await migrate.migrate(postgres.named(TEMPLATE), then=[checkpoints.setup])


def _sweep() -> None:
    """Remove what sessions left behind that were killed; their servers died with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        pid = folder.name.removeprefix(FOLDER).partition("-")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, ValueError):
            continue


# The session --------------------------------------------------------------------------------------------------------

OWNED = pytest.StashKey[Postgres]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the server in the controller of an xdist session."""
    if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
        config.stash[OWNED] = start_postgres()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker where the server is."""
    node.workerinput["postgres"] = node.config.stash[OWNED].url


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the server, whoever started it."""
    if OWNED in config.stash:
        config.stash[OWNED].close()


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Postgres:
    """The server of this session, with its template migrated."""
    config = request.config
    if (told := getattr(config, "workerinput", {}).get("postgres")) is not None:
        return Postgres(told)
    if OWNED not in config.stash:
        config.stash[OWNED] = start_postgres()
    return config.stash[OWNED]


@pytest.fixture(scope="session")
def worker_url(postgres: Postgres) -> Iterator[str]:
    """The database in which this worker rolls back test after test."""
    name = f"worker_{uuid.uuid4().hex[:8]}"
    yield postgres.clone(name)
    postgres.drop(name)


@pytest.fixture
async def tx(worker_url: str) -> AsyncIterator[Tx]:
    """A transaction that is rolled back after the test."""
    connection = await psycopg.AsyncConnection.connect(make_conninfo(worker_url, application_name="tx"))
    try:
        yield Tx(connection, clock())
    finally:
        await connection.rollback()
        await connection.close()


@pytest.fixture
def fresh_url(postgres: Postgres) -> Iterator[str]:
    """A migrated database of this test's own."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    yield postgres.clone(name)
    postgres.drop(name)


@pytest.fixture
async def db(fresh_url: str) -> AsyncIterator[Database]:
    """A pool on a migrated database of this test's own, for work that commits."""
    database = await Database.open(fresh_url)
    yield database
    await database.close()


@pytest.fixture
async def other(fresh_url: str, db: Database) -> AsyncIterator[Database]:
    """Another process on the database of `db`."""
    database = await Database.open(fresh_url)
    yield database
    await database.close()


@pytest.fixture
def unused_port() -> int:
    """A loopback port that nobody listens on."""
    return embedded.free_port()
