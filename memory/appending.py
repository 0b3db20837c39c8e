"""
Commands that are all of their transactions, sent together.

Those that come while others are under way wait, and go out as one round trip with one wait for the disk. Each is still a
transaction of its own, which the server commits before it begins the next; one that is refused leaves the others alone.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, LiteralString, NamedTuple

import orjson
from psycopg import AsyncConnection, DataError
from psycopg_pool import AsyncConnectionPool

MOST = 50
Command = Mapping[str, Any]
Outcome = Mapping[str, str] | None
"""None when it was appended, else what refused it: `sqlstate`, `message` and `constraint`."""
Waiting = tuple[str, asyncio.Future[Outcome]]
"""A command as JSON, and what its sender waits for."""


class Deferred(NamedTuple):
    """
    A statement that goes out in one round trip with the commit, or before the next statement when there is one.

    `sql` has two parameters: `command`, and whether it is the `last` statement of the transaction. When it was not,
    `finish` is. When it is all that the transaction does, the command goes to the `Appender`.

    `refused` gets the SQLSTATE, the message and the constraint of what refused it, and returns what is raised instead.
    """

    sql: LiteralString
    command: Command
    finish: LiteralString
    refused: Callable[[str, str, str], Exception | None]


class Appender:
    """The commands of one process and one event loop."""

    __slots__ = ("_pool", "_sender", "_waiting")

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection[Any]]) -> None:
        self._pool = pool
        self._waiting: list[Waiting] = []
        self._sender: asyncio.Task[None] | None = None

    async def append(self, command: Command) -> Outcome:
        """
        Append, and return when that is on disk, or refused.

        Raises what the driver raises for a text that Postgres cannot keep, and when the database goes away; then it may
        have been appended or not.
        """
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((orjson.dumps(command).decode(), outcome))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())
        return await outcome

    async def _send(self) -> None:
        try:
            while self._waiting:
                try:
                    async with self._pool.connection() as connection:
                        while self._waiting and not connection.closed:
                            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                            await _send(connection, [waiting for waiting in batch if not waiting[1].cancelled()])
                            await asyncio.sleep(0)  # those who waited may have the next command already
                except Exception as failure:  # noqa: BLE001 - it is for those who wait
                    batch, self._waiting = self._waiting, []
                    for waiting in batch:
                        _settle(waiting, failure)
        finally:
            self._sender = None


async def _send(connection: AsyncConnection[Any], batch: Sequence[Waiting]) -> None:
    try:
        outcomes = await _call(connection, [command for command, _ in batch])
    except DataError as failure:
        if len(batch) == 1:
            _settle(batch[0], failure)
        else:  # one of them cannot be read, so none has been begun
            for waiting in batch:
                await _send(connection, [waiting])
    except Exception as failure:  # noqa: BLE001 - it is for those who wait
        for waiting in batch:
            _settle(waiting, failure)
    else:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            _settle(waiting, outcome)


async def _call(connection: AsyncConnection[Any], commands: Sequence[str]) -> list[Outcome]:
    cursor = await connection.execute("CALL append_each(%s::jsonb, NULL)", [f"[{','.join(commands)}]"])
    row: Any = await cursor.fetchone()
    return row[0]


def _settle(waiting: Waiting, outcome: Outcome | Exception) -> None:
    _, future = waiting
    if future.done():  # whoever waited was cancelled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
