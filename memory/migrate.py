"""
The schema, brought up to date: `migrations/NNNN_noun.sql` in order, each in a transaction of its own.

One process migrates at a time. The others ask for the lock again and again instead of waiting in the server: a
waiting statement would hold a snapshot, and `CREATE INDEX CONCURRENTLY` in a follow-up step waits for all of those.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, Error, OperationalError, conninfo, errors

from memory.errors import Outage

FOLDER = Path(__file__).parent / "migrations"
LOCK = 7_245_110_396
LOCK_TIMEOUT_S = 60.0
TABLE_TIMEOUT = "10s"
SERVER = 15
EXTENSION = b"vector"
VECTOR = (0, 8)

Step = Callable[[str], Awaitable[None]]
"""What else prepares a database once its tables stand; it gets the URL."""


class DatabaseUnreachable(Outage):
    """The database at {place} does not answer: {reason}"""


class DatabaseUrlUnreadable(Outage):
    """DATABASE_URL is not a Postgres address; it looks like postgresql://user:password@host:5432/database."""


class ServerTooOld(Outage):
    """The database runs Postgres {found}; Rainmaker needs {needed} or newer."""


class VectorMissing(Outage):
    """The database has no pgvector; install pgvector {needed} or newer on its server, or unset DATABASE_URL."""


class VectorTooOld(Outage):
    """The database has pgvector {found}; Rainmaker needs {needed} or newer."""


class MayNotMigrate(Outage):
    """The database does not let this user prepare it: {reason}"""


class MigrationChanged(Outage):
    """Migration {name} has been changed since this database applied it; put it back and add a new one instead."""


class MigrationFromLater(Outage):
    """The database has applied {name}, which this version of Rainmaker does not know; run the newer version."""


class SchemaBehind(Outage):
    """The database lacks {count} migrations, beginning with {first}; run `python -m api migrate`."""


class MigrationMisnamed(Outage):
    """Migration {name} is not called NNNN_noun.sql with a number of its own."""


class MigrationBlocked(Outage):
    """Migration {name} waited too long for a table that is in use; try again when less is going on."""


class MigrationFailed(Outage):
    """Migration {name} failed and was undone: {reason}"""


class MigrationRunning(Outage):
    """Another process has been migrating this database for more than a minute."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file."""

    name: str
    body: bytes

    @property
    def checksum(self) -> str:
        """What tells whether the file is still what it was when it was applied."""
        return hashlib.sha256(self.body).hexdigest()


async def migrate(url: str, *, folder: Path = FOLDER, then: Sequence[Step] = ()) -> list[str]:
    """
    Apply what the database does not have yet, run the steps after it, and return the names applied.

    Raises a subclass of `Outage` whose message is for the operator.
    """
    migrations = read_migrations(folder)
    connection = await _connect(url)
    async with connection:
        await _check_server(connection)
        await _take_lock(connection)
        await _prepare(connection)
        pending = _pending(migrations, await _applied(connection))
        for migration in pending:
            await _apply(connection, migration)
        for step in then:
            await step(url)
    return [migration.name for migration in pending]


async def check(url: str, *, folder: Path = FOLDER) -> None:
    """
    Tell whether the database has every migration of this version.

    Raises `SchemaBehind`, and whatever `migrate` would say about the database.
    """
    async with await _connect(url) as connection:
        known = await _scalar(connection, b"SELECT to_regclass('schema_migrations')")
        pending = _pending(read_migrations(folder), await _applied(connection) if known else {})
    if pending:
        raise SchemaBehind(count=len(pending), first=pending[0].name)


def read_migrations(folder: Path = FOLDER) -> list[Migration]:
    """
    Return the migrations of the folder in their order.

    Raises `MigrationMisnamed`.
    """
    found = [Migration(path.name, path.read_bytes()) for path in sorted(folder.glob("*.sql"))]
    numbers: set[str] = set()
    for migration in found:
        number = migration.name[:4]
        if not re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", migration.name) or number in numbers:
            raise MigrationMisnamed(name=migration.name)
        numbers.add(number)
    return found


async def _connect(url: str) -> AsyncConnection[Any]:
    try:
        return await AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
    except (Error, ValueError) as failure:
        if (place := _place(url)) is None:
            raise DatabaseUrlUnreadable from None
        reason = " ".join(str(failure).split()).removeprefix("connection failed: ")
        raise DatabaseUnreachable(place=place, reason=reason) from failure


def _place(url: str) -> str | None:
    """Name the database without its password, or None when the URL cannot be read."""
    with suppress(Error):
        parts = conninfo.conninfo_to_dict(url)
        return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
    return None


async def _scalar(connection: AsyncConnection[Any], query: bytes) -> str | None:
    row = await (await connection.execute(query)).fetchone()
    return None if row is None or row[0] is None else str(row[0])


async def _check_server(connection: AsyncConnection[Any]) -> None:
    if connection.info.server_version < SERVER * 10_000:
        raise ServerTooOld(found=connection.info.server_version // 10_000, needed=SERVER)
    needed = ".".join(map(str, VECTOR))
    offered = await _scalar(
        connection, b"SELECT default_version FROM pg_available_extensions WHERE name = '%s'" % EXTENSION
    )
    if offered is None:
        raise VectorMissing(needed=needed)
    if _version(offered) < VECTOR:
        raise VectorTooOld(found=offered, needed=needed)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:2])


async def _take_lock(connection: AsyncConnection[Any]) -> None:
    """Released with the connection, at the latest."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while await _scalar(connection, b"SELECT pg_try_advisory_lock(%d)" % LOCK) != "True":
        if time.monotonic() > deadline:
            raise MigrationRunning
        await asyncio.sleep(0.1)


async def _prepare(connection: AsyncConnection[Any]) -> None:
    try:
        await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        installed = await _scalar(connection, b"SELECT extversion FROM pg_extension WHERE extname = 'vector'")
        if installed is not None and _version(installed) < VECTOR:
            await connection.execute("ALTER EXTENSION vector UPDATE")
        await connection.execute(
            """
            CREATE TABLE IF NOT EXISTS schema_migrations (
                name text PRIMARY KEY,
                checksum text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT now()
            )
            """
        )
    except errors.InsufficientPrivilege as failure:
        raise MayNotMigrate(reason=failure.diag.message_primary) from failure


async def _applied(connection: AsyncConnection[Any]) -> dict[str, str]:
    rows = await (await connection.execute("SELECT name, checksum FROM schema_migrations")).fetchall()
    return dict(rows)


def _pending(migrations: Sequence[Migration], applied: dict[str, str]) -> list[Migration]:
    known = {migration.name: migration for migration in migrations}
    for name, checksum in sorted(applied.items()):
        if name not in known:
            raise MigrationFromLater(name=name)
        if known[name].checksum != checksum:
            raise MigrationChanged(name=name)
    return [migration for migration in migrations if migration.name not in applied]


async def _apply(connection: AsyncConnection[Any], migration: Migration) -> None:
    try:
        async with connection.transaction():
            await connection.execute(b"SET LOCAL lock_timeout = '%s'" % TABLE_TIMEOUT.encode())
            await connection.execute(migration.body)
            await connection.execute(
                "INSERT INTO schema_migrations (name, checksum) VALUES (%s, %s)",
                (migration.name, migration.checksum),
            )
    except errors.LockNotAvailable as failure:
        raise MigrationBlocked(name=migration.name) from failure
    except OperationalError as failure:
        if "No space left on device" in str(failure):
            raise MigrationFailed(name=migration.name, reason="there is no space left on the disk.") from failure
        raise MigrationFailed(name=migration.name, reason=str(failure).strip()) from failure
    except Error as failure:
        raise MigrationFailed(name=migration.name, reason=str(failure).strip()) from failure
