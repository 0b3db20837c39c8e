"""
Where the books of a run are kept.

The house's database, when it can be had: the one of DATABASE_URL, or the embedded one while the service runs. Calls are
rows of `ai_calls` there, and results are read in the console. Otherwise an embedded Postgres of the evals' own keeps the
calls, and results are files.
"""

import asyncio
import fcntl
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from memory import embedded, migrate
from memory.db import Database
from memory.errors import Outage
from memory.migrate import DatabaseUnreachable, MigrationChanged, MigrationFromLater
from memory.settings import Settings


class AlreadyRunning(Outage):
    """Another run of evals is under way in {folder}."""


@dataclass(frozen=True)
class Ledger:
    """A database for the books; `house` when it is the house's own, else `why` says why it is not."""

    db: Database
    house: bool
    why: str = ""

    @property
    def shared(self) -> Database | None:
        """The house's database, where results are kept and versions are found."""
        return self.db if self.house else None


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """
    Keep other runs out of the folder for as long as this lasts.

    Raises `AlreadyRunning`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as held:
            raise AlreadyRunning(folder=folder) from held
        yield


@asynccontextmanager
async def ledger(settings: Settings, folder: Path) -> AsyncIterator[Ledger]:
    """
    Open the database for the books; the evals' own is for one run at a time.

    Raises `AlreadyRunning`, `PostgresFailed`, and what `migrate` says about a database of DATABASE_URL.
    """
    url, why = await _house(settings)
    if url is not None:
        async with _opened(url) as db:
            yield Ledger(db, house=True)
        return
    with only_one(folder):
        server = await asyncio.to_thread(_serve, folder)
        try:
            server = await _migrated(server, folder)
            async with _opened(server.url) as db:
                yield Ledger(db, house=False, why=why)
        finally:
            server.stop()


async def _house(settings: Settings) -> tuple[str | None, str]:
    """
    Return the address of the house's database, or why it cannot be had.

    Raises `SchemaBehind` and the like about a database that was named.
    """
    if settings.database_url is not None:
        url = settings.database_url.get_secret_value()
        try:
            await migrate.check(url)
        except DatabaseUnreachable as failure:
            return None, failure.message
        return url, ""
    running = await asyncio.to_thread(embedded.running, settings.data)
    if running is None:
        return None, "DATABASE_URL is not set, and the service does not run here."
    try:
        await migrate.check(running)
    except Outage as failure:
        return None, failure.message
    return running, ""


async def _migrated(server: embedded.Server, folder: Path) -> embedded.Server:
    try:
        await migrate.migrate(server.url)
    except (MigrationChanged, MigrationFromLater):
        # The books of evals are worth nothing to another version: begin new ones.
        await asyncio.to_thread(_forget, server, folder)
        server = await asyncio.to_thread(_serve, folder)
        await migrate.migrate(server.url)
    return server


def _serve(folder: Path) -> embedded.Server:
    return embedded.start(folder, {**embedded.UNSAFE, "shared_buffers": "64MB", "max_connections": "40"})


def _forget(server: embedded.Server, folder: Path) -> None:
    server.stop(at_once=True)
    cluster = folder / "postgres"
    shutil.rmtree(cluster.resolve())
    cluster.unlink() if cluster.is_symlink() else None


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Database]:
    db = await Database.open(url)
    try:
        yield db
    finally:
        await db.close()
