"""Crashes, on order: the server's side of a connection dies just before a statement of its choice."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest


@asynccontextmanager
async def dying_at(nth: int, url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[[], bool]]:
    """Kill the server's side of the connection just before its nth statement; tell whether it came to that."""
    execute = psycopg.AsyncCursor.execute
    count = 0

    async def counted(self: psycopg.AsyncCursor[Any], *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        if count == nth:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as other:
                with monkeypatch.context() as plain:
                    plain.setattr(psycopg.AsyncCursor, "execute", execute)
                    await other.execute("SELECT pg_terminate_backend(%s, 5000)", [self.connection.info.backend_pid])
        return await execute(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.AsyncCursor, "execute", counted)
        yield lambda: count >= nth
