"""
What a worker or beat process works with: one event loop in a thread of its own, one pool, one engine.

Celery's processes are synchronous and come by fork. Everything asynchronous lives on this one loop for as long as the
process does, because pools, checkpointers and HTTP clients belong to the loop they were made on.
"""

import asyncio
import importlib
import os
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from memory import heartbeats
from memory.db import Database
from memory.embeddings import Embedder, from_settings
from memory.settings import Settings
from tools.mail_accounts import Mailboxes

if TYPE_CHECKING:
    from agents.runs import Engine

T = TypeVar("T")
HEARTBEAT_S = 5.0
log = structlog.stdlib.get_logger("rainmaker.jobs")


class Loop:
    """An event loop that runs in a thread until it is stopped; other threads hand it coroutines."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], *, timeout: float | None = None) -> T:
        """Carry out the coroutine on the loop and wait for its result."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin the coroutine on the loop, and wait for nothing; signal handlers may do this."""
        asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Cancel what still runs, and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()


class Means:
    """What jobs work with: settings, a pool, and what takes long to make, made when first asked for."""

    def __init__(
        self, db: Database, settings: Settings, *, engine: "Engine | None" = None, embedder: Embedder | None = None
    ) -> None:
        self.db = db
        self.settings = settings
        self._engine = engine
        self._embedder = embedder
        self._mailboxes: Mailboxes | None = None
        self._made: list[Any] = []
        self.closing = False
        """Whether the process is about to end: a long job stops between two batches and promises the rest."""
        self._lock = asyncio.Lock()

    async def engine(self) -> "Engine":
        """Return the agents' engine of this process."""
        async with self._lock:
            if self._engine is None:
                # LangChain takes seconds to import: only processes that run agents pay for it.
                runs = await asyncio.to_thread(importlib.import_module, "agents.runs")
                made: Engine = await runs.Engine.open(self.settings, self.db, embedder=await self._open_embedder())
                # Before the first run holds connections: loading starves the loop, and waiting for a connection times out.
                await made.warm()
                self._engine = made
                self._made.append(made)
            return self._engine

    async def embedder(self) -> Embedder:
        """Return the embedder of this process."""
        async with self._lock:
            return await self._open_embedder()

    async def _open_embedder(self) -> Embedder:
        if self._embedder is None:
            self._embedder = await asyncio.to_thread(from_settings, self.settings)
            self._made.append(self._embedder)
        return self._embedder

    @property
    def mailboxes(self) -> Mailboxes:
        """The mailboxes that people have connected; nothing is opened before the first letter."""
        if self._mailboxes is None:
            self._mailboxes = Mailboxes(self.settings, self.db.transaction)
            self._made.append(self._mailboxes)
        return self._mailboxes

    async def drain(self) -> None:
        """Let agent runs end the step they are in and give them back; the process is about to end."""
        self.closing = True
        if self._engine is not None and self._engine in self._made:
            self._made.remove(self._engine)
            await self._engine.close()

    async def close(self) -> None:
        """Close what was made here; the pool belongs to whoever opened it."""
        while self._made:
            await self._made.pop().close()


def name_of(kind: str) -> str:
    """Return the name under which this process is known: `worker:host:1234`."""
    return f"{kind}:{socket.gethostname()}:{os.getpid()}"


async def show_life(db: Database, name: str, detail: Callable[[], dict[str, Any]] = dict) -> None:
    """Write this process's heartbeat until cancelled, and take it back then."""
    try:
        while True:
            await _beat(db, name, detail())
            await asyncio.sleep(HEARTBEAT_S)
    finally:
        with suppress(Exception):
            async with db.transaction() as tx:
                await heartbeats.forget(tx, name)


async def _beat(db: Database, name: str, detail: dict[str, Any]) -> None:
    try:
        async with db.transaction() as tx:
            await heartbeats.record(tx, name, **detail)
    except Exception:
        log.warning("heartbeat failed", process=name, exc_info=True)
