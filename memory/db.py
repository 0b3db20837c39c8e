"""
Postgres: one pool, transactions, and four verbs.

    async with db.transaction(now=now) as tx:
        flag = await tx.one(FlagRow, "SELECT ... WHERE id = %(flag_id)s", flag_id=flag_id)

`reading()` is for requests that read: each statement is its own snapshot and costs one round trip.
`decide()` is for commands on aggregates that are remembered (memory/recall.py): often one round trip altogether.
Every connection is in autocommit mode, so that LangGraph's checkpointer can share the pool.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from typing import Any, LiteralString, TypeVar, cast

import orjson
from psycopg import AsyncConnection, AsyncCursor, DatabaseError, errors
from psycopg.rows import dict_row, tuple_row
from psycopg.sql import SQL, Identifier, Literal
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, TypeAdapter

from memory.appending import Appender, Deferred
from memory.copying import NULL, VALUE_END, write_lines
from memory.errors import Conflict, Invalid, NotFound, Outage, Refusal, Rendered
from memory.recall import Recall
from memory.rows import Doc

R = TypeVar("R")
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


class Tx:
    """
    One unit of work on one connection; `now` is the moment at which it happens (aware, UTC).

    Without a connection it takes one of the database, and begins a transaction, with its first statement.
    """

    __slots__ = ("_connection", "_database", "_deferred", "_finish", "_learnt", "_transaction", "now", "relies")

    def __init__(self, connection: Connection | None, now: datetime, database: "Database | None" = None) -> None:
        self.now = now
        self.relies: bool | None = None
        """Whether something was decided on what is remembered; None when nothing may be."""
        self._connection = connection
        self._database = database
        self._transaction: AbstractAsyncContextManager[Any] | None = None
        self._deferred: Deferred | None = None
        self._finish: LiteralString | None = None
        self._learnt: list[tuple[Hashable, object]] = []

    @property
    def connection(self) -> Connection:
        """The driver's connection, for what the verbs do not do; `begin` comes before it."""
        if self._connection is None:
            raise RuntimeError("this transaction has not begun")
        return self._connection

    async def begin(self) -> None:
        """Begin the transaction now, unless it has begun."""
        if self._connection is None and self._database is not None:
            self._connection = await self._database.pool.getconn()
            transaction = self._connection.transaction()
            await transaction.__aenter__()
            self._transaction = transaction

    def recall(self, key: Hashable) -> Any:
        """Return what is remembered under this key, if it may be relied on here, or None."""
        if self.relies is None or self._database is None:
            return None
        found = self._database.recall.find(key)
        self.relies = self.relies or found is not None
        return found

    def remember(self, key: Hashable, value: object) -> None:
        """Remember this once it is committed and on disk; nobody may change it any more."""
        self._learnt.append((key, value))

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
            await self.begin()
            try:
                await self._run(deferred, last=False)
            except DatabaseError as failure:
                raise _refused(deferred, failure) from failure

    async def _run(self, deferred: Deferred, *, last: bool) -> None:
        params = {"command": Jsonb(deferred.command, orjson.dumps), "last": last}
        await self.connection.execute(deferred.sql, params)

    @property
    def has_more_to_write(self) -> bool:
        """Whether a deferred statement has run and left something for the commit."""
        return self._finish is not None

    async def finish(self) -> None:
        """Run now what would run with the commit."""
        await self.run_deferred()
        if self._finish is not None:
            await self.connection.execute(self._finish)

    async def end(self, failure: BaseException | None = None) -> None:
        """Commit, or undo everything because of this failure."""
        try:
            if failure is None:
                await self._commit()
            elif self._transaction is not None:
                await self._transaction.__aexit__(type(failure), failure, failure.__traceback__)
        finally:
            if self._database is not None and self._connection is not None:
                await self._database.pool.putconn(self._connection)
        if failure is None and self._database is not None:
            for key, value in self._learnt:
                self._database.recall.keep(key, value)

    async def _commit(self) -> None:
        deferred = self._deferred
        if deferred is not None and self._connection is None and self._database is not None:
            outcome = await self._database.appender.append(deferred.command)
            if outcome is None:
                return
            if outcome["sqlstate"] != errors.LockNotAvailable.sqlstate:
                said = outcome["sqlstate"], outcome["message"], outcome["constraint"]
                raise deferred.refused(*said) or _raised(*said[:2])
            await self.begin()  # and wait for the lock where nobody waits behind us
        if self._transaction is None:
            return
        if deferred is None and self._finish is None:
            await self._transaction.__aexit__(None, None, None)
            return
        try:
            # What was deferred, the commit and the wait for the disk go out as one.
            async with self.connection.pipeline():
                if deferred is not None:
                    await self._run(deferred, last=True)
                elif self._finish is not None:
                    await self.connection.execute(self._finish)
                await self._transaction.__aexit__(None, None, None)
                await self.connection.execute("SELECT wait_for_disk()")
        except DatabaseError as failure:
            if deferred is None:
                raise
            raise _refused(deferred, failure) from failure

    async def _execute(self, sql: LiteralString, params: dict[str, Any], *, records: bool) -> AsyncCursor[Any]:
        if "now" not in params and "%(now)s" in sql:
            params["now"] = self.now
        if self._connection is None:
            await self.begin()
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
        await self.begin()
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
        await self.begin()
        await self.run_deferred()
        async with self.connection.cursor().copy(statement) as copy:
            for row in rows:
                await copy.write_row(row)

    async def copy_text(
        self, table: LiteralString, columns: Sequence[LiteralString], rows: Sequence[Sequence[str]]
    ) -> None:
        """Write many rows of text as Postgres reads it, `NULL` for null, with COPY: bulk without adapting each value."""
        data = write_lines(rows)
        names = SQL(", ").join(map(Identifier, columns))
        statement = SQL("COPY {} ({}) FROM STDIN (DELIMITER {}, NULL {})").format(
            Identifier(table), names, Literal(VALUE_END), Literal(NULL)
        )
        await self.begin()
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
        await self.begin()
        await self.run_deferred()
        learnt = len(self._learnt)
        async with self.connection.transaction():
            try:
                yield
            except BaseException:
                self._deferred = None
                del self._learnt[learnt:]
                raise
            await self.run_deferred()

    async def lock(self, *names: object) -> None:
        """Hold an advisory lock on these names until the transaction ends."""
        await self.run("SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))", name="\x1f".join(map(str, names)))


def _raised(sqlstate: str, message: str) -> Exception:
    try:
        return errors.lookup(sqlstate)(message)
    except KeyError:  # a code of somebody's own
        return DatabaseError(message)


def _refused(deferred: Deferred, failure: DatabaseError) -> Exception:
    said = failure.diag
    return deferred.refused(failure.sqlstate or "", said.message_primary or "", said.constraint_name or "") or failure


def escape_like(text: str) -> str:
    """Return the text with the wildcards of LIKE made literal."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


class Database:
    """The pool of one process and one event loop."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str, recall: Recall) -> None:
        self.pool = pool
        self.url = url
        self.recall = recall
        self.appender = Appender(pool)

    @classmethod
    async def open(cls, url: str, *, size: int = 10, patience: float = 10.0) -> "Database":
        """
        Open a pool of at most `size` connections.

        Raises `DatabaseDown` when no connection is to be had within `patience` seconds.
        """
        recall = Recall()

        async def configure(connection: Connection) -> None:
            connection.prepared_max = 400
            # A server that crashed and came back has new connections only; it may have lost what others had shown us.
            recall.clear()

        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=size,
            timeout=patience,
            kwargs={"autocommit": True, "prepare_threshold": 3, "row_factory": tuple_row, "options": "-c timezone=UTC"},
            configure=configure,
            open=False,
        )
        try:
            await pool.open(wait=True, timeout=patience)
        except Exception as failure:
            await pool.close()
            raise DatabaseDown from failure
        return cls(pool, url, recall)

    async def close(self) -> None:
        """Give every connection back and close it."""
        await self.pool.close()

    @asynccontextmanager
    async def transaction(self, now: datetime | None = None) -> AsyncIterator[Tx]:
        """One transaction: committed and on disk when the block ends well, undone when it raises."""
        tx = Tx(None, now or clock(), self)
        try:
            yield tx
        except BaseException as failure:
            await tx.end(failure)
            raise
        await tx.end()

    async def decide(self, work: Callable[[Tx], Awaitable[R]], now: datetime | None = None) -> R:
        """
        Do the work in a transaction of its own: on what is remembered, and when that is refused, on what the store says.

        So the work may be done twice; it has no effects but those of its transaction.
        """
        relied = False
        try:
            async with self.transaction(now) as tx:
                tx.relies = False
                try:
                    return await work(tx)
                finally:
                    relied = tx.relies
        except Refusal:
            if not relied:
                raise
        async with self.transaction(now) as tx:
            return await work(tx)

    @asynccontextmanager
    async def reading(self, now: datetime | None = None) -> AsyncIterator[Tx]:
        """A connection in autocommit mode, for single statements that read."""
        async with self.pool.connection() as connection:
            yield Tx(connection, now or clock())


def clock() -> datetime:
    """The edge's clock: aware, UTC. Operations get the moment from `tx.now` instead."""
    return datetime.now(UTC)


__all__ = [
    "NULL",
    "Connection",
    "Database",
    "DatabaseDown",
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
