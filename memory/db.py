"""
Postgres: one pool, transactions, and four verbs.

    async with db.transaction(now=now) as tx:
        flag = await tx.one(FlagRow, "SELECT ... WHERE id = %(flag_id)s", flag_id=flag_id)

`reading()` is for requests that read: each statement is its own snapshot and costs one round trip.
Every connection is in autocommit mode, so that LangGraph's checkpointer can share the pool.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, LiteralString, NamedTuple, TypeVar, cast

import orjson
from psycopg import AsyncConnection, AsyncCursor, DatabaseError, errors
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, TypeAdapter

from memory.errors import Conflict, Invalid, NotFound, Outage, Rendered
from memory.rows import Doc

R = TypeVar("R")
NULL = "\x1e"
_VALUE_END = "\x1f"
Connection = AsyncConnection[Any]
UniqueViolation = errors.UniqueViolation
RaisedByServer = DatabaseError
ForeignKeyViolation = errors.ForeignKeyViolation
RowRefused = (errors.DataError, errors.IntegrityError, errors.ProgramLimitExceeded, UnicodeError)
"""What a row raises that Postgres will never take, however often it is tried."""


def _dumps(value: object) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS)


set_json_dumps(_dumps)
set_json_loads(orjson.loads)


def Json(value: object) -> Jsonb:  # noqa: N802 - reads as the type it makes
    """Return the value as a jsonb parameter; Pydantic models and lists of them included."""
    return Jsonb(_plain(value))


def _plain(value: object) -> object:
    match value:
        case BaseModel():
            return value.model_dump(mode="json")
        case list() | tuple():
            return [_plain(item) for item in cast("Sequence[object]", value)]
        case dict():
            return {str(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
        case _:
            return value


class NoSuchRow(NotFound):
    """There is no such row."""


class RowExists(Conflict):
    """There is such a row already."""


class ForeignRow(Invalid):
    """The request names a row that does not exist."""


class DatabaseDown(Outage):
    """The database is not available now."""


_adapters: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    found = _adapters.get(kind)
    if found is None:
        found = _adapters[kind] = TypeAdapter(kind)
    return found


def _is_record(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


# The open promise is locked until our commit: a worker that began it now would not see what we have written, and our
# promise would be lost. SHARE, because many may lean on one promise. Nothing found and nothing made means that somebody
# else made it meanwhile: ask again.
_PROMISE_ONCE: LiteralString = """
    WITH open AS (
        SELECT id FROM outbox
         WHERE job = %(job)s AND key = %(key)s
           AND (status = 'waiting' AND run_at <= %(at)s OR status = 'handed' AND %(at)s <= %(now)s + interval '1 minute')
         LIMIT 1 FOR SHARE
    ), pulled AS (
        UPDATE outbox SET run_at = %(at)s
         WHERE job = %(job)s AND key = %(key)s AND status = 'waiting' AND run_at > %(at)s
           AND NOT EXISTS (SELECT FROM open)
        RETURNING id
    ), made AS (
        INSERT INTO outbox (job, payload, key, run_at)
        SELECT %(job)s, %(payload)s, %(key)s, %(at)s
         WHERE NOT EXISTS (SELECT FROM open) AND NOT EXISTS (SELECT FROM pulled)
        ON CONFLICT (job, key) WHERE status = 'waiting' AND key IS NOT NULL DO NOTHING
        RETURNING id
    )
    SELECT (SELECT count(*) FROM open) + (SELECT count(*) FROM pulled) + (SELECT count(*) FROM made)
"""


Refused = Callable[[DatabaseError], Exception]
"""Turns what a deferred statement raised into what its caller understands; what it does not know, it returns."""


class Deferred(NamedTuple):
    """
    A statement that goes out in one round trip with the commit, or before the next statement when there is one.

    `sql` has the parameter `last`: whether it is the last of the transaction. When it was not, `finish` is. What it
    raises is turned by `refused` into what the caller understands.
    """

    sql: LiteralString
    params: dict[str, Any]
    finish: LiteralString
    refused: Refused


# A commit that waits for the disk waits for all that was written before it; this one writes one record of its own.
_WAIT_FOR_DISK: LiteralString = "SELECT pg_logical_emit_message(true, 'rainmaker', '')"


def _line(row: Sequence[str]) -> bytes:
    """Return the row as COPY reads it, escaped at once; one with a text that holds our separator value by value."""
    # Row by row, as long as it is in the processor's cache, and as bytes, which are never wider than they need be.
    line = _VALUE_END.join(row).encode()
    if line.count(b"\x1f") == len(row) - 1:
        return line.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return _VALUE_END.join([_escaped(value) for value in row]).encode()


def _escaped(value: str) -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return value.replace(_VALUE_END, f"\\{_VALUE_END}")


class Tx:
    """One unit of work on one connection; `now` is the moment at which it happens (aware, UTC)."""

    __slots__ = ("_deferred", "_finish", "connection", "now")

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self._deferred: Deferred | None = None
        self._finish: LiteralString | None = None

    async def defer(self, deferred: Deferred) -> None:
        """
        Run the statement with the commit, or before the next statement; the commit then waits for the disk behind it.

        For statements that end with a lock everybody needs: it is held as long as the server takes, not this process.
        """
        await self.run_deferred()
        self._deferred = deferred

    async def run_deferred(self) -> None:
        """Run now what was deferred."""
        if self._deferred is not None:
            deferred, self._deferred, self._finish = self._deferred, None, self._deferred.finish
            try:
                await self.connection.execute(deferred.sql, {**deferred.params, "last": False})
            except DatabaseError as failure:
                raise deferred.refused(failure) from failure

    @property
    def has_more_to_write(self) -> bool:
        """Whether a deferred statement has run and left something for the commit."""
        return self._finish is not None

    async def finish(self) -> None:
        """Run now what would run with the commit."""
        await self.run_deferred()
        if self._finish is not None:
            await self.connection.execute(self._finish)

    async def commit(self, transaction: AbstractAsyncContextManager[Any]) -> None:
        """End the transaction; what was deferred, the commit and the wait for the disk go out as one."""
        deferred, finish = self._deferred, self._finish
        if deferred is None and finish is None:
            await transaction.__aexit__(None, None, None)
            return
        try:
            async with self.connection.pipeline():
                if deferred is not None:
                    await self.connection.execute(deferred.sql, {**deferred.params, "last": True})
                elif finish is not None:
                    await self.connection.execute(finish)
                await transaction.__aexit__(None, None, None)
                await self.connection.execute(_WAIT_FOR_DISK)
        except DatabaseError as failure:
            if deferred is None:
                raise
            raise deferred.refused(failure) from failure

    async def _execute(self, sql: LiteralString, params: dict[str, Any], *, records: bool) -> AsyncCursor[Any]:
        if "now" not in params and "%(now)s" in sql:
            params["now"] = self.now
        if self._deferred is not None:
            await self.run_deferred()
        cursor = self.connection.cursor(row_factory=dict_row if records else tuple_row)
        await cursor.execute(sql, params or None)
        return cursor

    async def maybe(self, kind: type[R], sql: LiteralString, /, **params: Any) -> R | None:
        """Return the first row as `kind` (a model, or the type of its first column), or None."""
        records = _is_record(kind)
        cursor = await self._execute(sql, params, records=records)
        row = await cursor.fetchone()
        if row is None or (not records and row[0] is None):
            return None
        return _adapter(kind).validate_python(row if records else row[0])

    async def one(self, kind: type[R], sql: LiteralString, /, missing: Rendered | None = None, **params: Any) -> R:
        """
        Return the first row as `kind`.

        Raises `missing`, or `NoSuchRow`, when there is none.
        """
        row = await self.maybe(kind, sql, **params)
        if row is None:
            raise missing or NoSuchRow
        return row

    async def many(self, kind: type[R], sql: LiteralString, /, **params: Any) -> list[R]:
        """Return every row as `kind`."""
        records = _is_record(kind)
        cursor = await self._execute(sql, params, records=records)
        rows = await cursor.fetchall()
        return _adapter(list[kind]).validate_python(rows if records else [row[0] for row in rows])

    async def tuples(self, sql: LiteralString, /, **params: Any) -> list[tuple[Any, ...]]:
        """Return every row as the driver reads it: for reads so hot that a model would cost more than the query."""
        return await (await self._execute(sql, params, records=False)).fetchall()

    async def run(self, sql: LiteralString, /, **params: Any) -> int:
        """Return how many rows the statement touched."""
        return (await self._execute(sql, params, records=False)).rowcount

    async def run_many(self, sql: LiteralString, rows: Iterable[dict[str, Any]]) -> None:
        """Run one statement over many parameter sets in one pipeline."""
        await self.run_deferred()
        await self.connection.cursor().executemany(sql, rows)

    async def doc(
        self, model: type[R], sql: LiteralString, /, missing: Rendered | None = None, **params: Any
    ) -> Doc[R]:
        """
        Return the JSON text in the first column, unparsed.

        Raises `missing`, or `NoSuchRow`, when there is no row.
        """
        cursor = await self._execute(sql, params, records=False)
        row = await cursor.fetchone()
        if row is None or row[0] is None:
            raise missing or NoSuchRow
        return Doc(model, row[0].encode())

    async def copy(self, table: LiteralString, columns: Sequence[LiteralString], rows: Iterable[Sequence[Any]]) -> None:
        """Write many rows with COPY; values adapt as parameters do."""
        names = SQL(", ").join(map(Identifier, columns))
        statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table), names)
        await self.run_deferred()
        async with self.connection.cursor().copy(statement) as copy:
            for row in rows:
                await copy.write_row(row)

    async def copy_text(
        self, table: LiteralString, columns: Sequence[LiteralString], rows: Sequence[Sequence[str]]
    ) -> None:
        """Write many rows of text as Postgres reads it, `NULL` for null, with COPY: bulk without adapting each value."""
        data = b"\n".join(map(_line, rows))
        names = SQL(", ").join(map(Identifier, columns))
        statement = SQL("COPY {} ({}) FROM STDIN (DELIMITER {}, NULL {})").format(
            Identifier(table), names, Literal(_VALUE_END), Literal(NULL)
        )
        await self.run_deferred()
        async with self.connection.cursor().copy(statement) as copy:
            await copy.write(data)

    async def enqueue(self, job: str, /, *, at: datetime | None = None, key: str | None = None, **payload: Any) -> None:
        """
        Promise a job in this transaction; a worker carries it out after the commit, at `at` or at once.

        A `key` makes it one: while a job with this key has not begun, a second promise is the same promise, at the
        earlier moment of the two. One that is handed over already stands for promises of the next minute.
        """
        promise: dict[str, Any] = {
            "job": job,
            "payload": Json(payload),
            "key": key,
            "at": at or self.now,
            "now": self.now,
        }
        if key is None:
            await self.run("INSERT INTO outbox (job, payload, run_at) VALUES (%(job)s, %(payload)s, %(at)s)", **promise)
        else:
            while not await self.one(int, _PROMISE_ONCE, **promise):
                pass
        await self.run("SELECT pg_notify('outbox', '')")

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """Undo only what happens inside when it raises."""
        await self.run_deferred()
        async with self.connection.transaction():
            try:
                yield
            except BaseException:
                self._deferred = None
                raise
            await self.run_deferred()

    async def lock(self, *names: object) -> None:
        """Hold an advisory lock on these names until the transaction ends."""
        await self.run("SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", name="\x1f".join(map(str, names)))


def escape_like(text: str) -> str:
    """Return the text with the wildcards of LIKE made literal."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


class Database:
    """The pool of one process and one event loop."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str) -> None:
        self.pool = pool
        self.url = url

    @classmethod
    async def open(cls, url: str, *, size: int = 10, patience: float = 10.0) -> "Database":
        """
        Open a pool of at most `size` connections.

        Raises `DatabaseDown` when no connection is to be had within `patience` seconds.
        """
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=patience,
            kwargs={"autocommit": True, "prepare_threshold": 3, "row_factory": tuple_row, "options": "-c timezone=UTC"},
            configure=_configure,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=patience)
        except Exception as failure:
            await pool.close()
            raise DatabaseDown from failure
        return cls(pool, url)

    async def close(self) -> None:
        """Give every connection back and close it."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self, now: datetime | None = None) -> AsyncIterator[Tx]:
        """One transaction: committed and on disk when the block ends well, undone when it raises."""
        async with self.pool.connection() as connection:
            tx = Tx(connection, now or clock())
            transaction = connection.transaction()
            await transaction.__aenter__()
            try:
                yield tx
            except BaseException as failure:
                await transaction.__aexit__(type(failure), failure, failure.__traceback__)
                raise
            await tx.commit(transaction)

    @asynccontextmanager
    async def reading(self, now: datetime | None = None) -> AsyncIterator[Tx]:
        """A connection in autocommit mode, for single statements that read."""
        async with self.pool.connection() as connection:
            yield Tx(connection, now or clock())


def clock() -> datetime:
    """The edge's clock: aware, UTC. Operations get the moment from `tx.now` instead."""
    return datetime.now(UTC)


async def _configure(connection: Connection) -> None:
    connection.prepared_max = 400


__all__ = [
    "NULL",
    "Connection",
    "Database",
    "DatabaseDown",
    "Deferred",
    "ForeignKeyViolation",
    "ForeignRow",
    "Json",
    "NoSuchRow",
    "RaisedByServer",
    "RowExists",
    "RowRefused",
    "Tx",
    "UniqueViolation",
    "clock",
    "escape_like",
]
