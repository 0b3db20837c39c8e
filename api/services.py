"""What one API process holds: settings, the database, the gate, and the agents once they are loaded."""

import asyncio
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import structlog

from api.auth import Gate
from api.ratelimit import Limiter
from memory import embeddings
from memory.callers import Caller
from memory.db import Database
from memory.errors import Outage
from memory.settings import Settings
from tools.mail_accounts import Mailboxes

if TYPE_CHECKING:
    from agents.runs import Engine

PATIENCE_S = 5.0
log = structlog.get_logger(__name__)


class AgentsAsleep(Outage):
    """The agents are not available now."""


class Services:
    """Held by `app.state.services`; made once per process, or once per test."""

    def __init__(self, settings: Settings, db: Database) -> None:
        """Nothing is opened here but what costs nothing."""
        self.settings = settings
        self.db = db
        self.limiter = Limiter(db)
        self.gate = Gate(settings, db, self.limiter)
        self.schema_checked = False
        self.numbers_read_at = float("-inf")
        self._engine: asyncio.Task[Any] | None = None
        self._embedder: embeddings.Embedder | None = None
        self._mailboxes: Mailboxes | None = None

    @property
    def agents_state(self) -> str:
        """`not loaded`, `loading`, `ok` or `failed`."""
        if self._engine is None:
            return "not loaded"
        if not self._engine.done():
            return "loading"
        return "failed" if self._engine.cancelled() or self._engine.exception() else "ok"

    def wake_agents(self) -> None:
        """Load the agents beside the running service: importing LangChain takes seconds."""
        if self._engine is None or (self._engine.done() and not self._engine.cancelled() and self._engine.exception()):
            self._engine = asyncio.create_task(self._open_engine())

    async def engine(self) -> "Engine":
        """
        Return the agents' engine, loading it first if need be.

        Raises `AgentsAsleep`.
        """
        self.wake_agents()
        try:
            return await asyncio.shield(cast("asyncio.Task[Engine]", self._engine))
        except asyncio.CancelledError:
            raise
        except Exception as failure:
            log.exception("agents_not_loaded")
            raise AgentsAsleep from failure

    async def perform(self, caller: Caller, agent: str, asked: Mapping[str, Any]) -> dict[str, Any]:
        """
        Have an agent work for the caller now, and return its output; the run is as durable as a worker's.

        Raises `AgentsAsleep`, and what `agents.runs.perform_run` raises.
        """
        engine = await self.engine()
        from agents import runs

        _, output = await runs.perform_run(engine, caller, agent, asked)
        return output

    @property
    def mailboxes(self) -> Mailboxes:
        """The mailboxes that people have connected; nothing is opened before the first letter."""
        if self._mailboxes is None:
            self._mailboxes = Mailboxes(self.settings, self.db.transaction)
        return self._mailboxes

    async def _open_engine(self) -> "Engine":
        runs = await asyncio.to_thread(importlib.import_module, "agents.runs")
        self._embedder = await asyncio.to_thread(embeddings.from_settings, self.settings)
        engine = await runs.Engine.open(self.settings, self.db, embedder=self._embedder)
        try:
            await engine.warm()
        except BaseException:
            await engine.close(patience=0)
            raise
        return engine

    async def close(self) -> None:
        """Close what was opened here, the database last."""
        if self._engine is not None:
            self._engine.cancel()
            (engine,) = await asyncio.gather(self._engine, return_exceptions=True)
            if not isinstance(engine, BaseException):
                await engine.close(patience=PATIENCE_S)
        if self._embedder is not None:
            await self._embedder.close()
        if self._mailboxes is not None:
            await self._mailboxes.close()
        await self.gate.close()
        await self.db.close()
