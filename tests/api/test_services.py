"""The agents are loaded beside the running service, once, and again after a failure."""

import asyncio
import types
from typing import Any

import pytest

from api import services
from api.services import AgentsAsleep, Services
from memory.db import Tx
from tests.api.conftest import OneTransaction, settings_for_tests


class FakeEngine:
    """Takes its time to warm, and remembers that it was closed."""

    opened = 0

    def __init__(self) -> None:
        self.warmed = asyncio.Event()
        self.closed = False

    async def warm(self) -> None:
        await self.warmed.wait()

    async def close(self, *, patience: float) -> None:
        self.closed = True


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """What `agents.runs` opens, without LangGraph."""
    made = FakeEngine()

    class Engine:
        @staticmethod
        async def open(_settings: Any, _db: Any, *, embedder: Any) -> FakeEngine:
            FakeEngine.opened += 1
            return made

    FakeEngine.opened = 0
    module = types.SimpleNamespace(Engine=Engine)
    monkeypatch.setattr(services.importlib, "import_module", lambda _name: module)
    return made


class TestAgents:
    async def test_are_loaded_once_for_everybody(self, engine: FakeEngine, tx: Tx):
        held = Services(settings_for_tests(), OneTransaction(tx))
        assert held.agents_state == "not loaded"
        held.wake_agents()
        waiting = [asyncio.create_task(held.engine()) for _ in range(3)]
        assert held.agents_state == "loading"
        engine.warmed.set()
        assert await asyncio.gather(*waiting) == [engine] * 3
        assert (held.agents_state, FakeEngine.opened) == ("ok", 1)
        await held.close()
        assert engine.closed

    async def test_are_closed_when_the_service_stops_meanwhile(self, engine: FakeEngine, tx: Tx):
        held = Services(settings_for_tests(), OneTransaction(tx))
        held.wake_agents()
        while not FakeEngine.opened:  # noqa: ASYNC110 - the loading thread has no event to offer
            await asyncio.sleep(0.01)
        await held.close()
        assert engine.closed

    async def test_outlive_a_caller_that_gives_up(self, engine: FakeEngine, tx: Tx):
        held = Services(settings_for_tests(), OneTransaction(tx))
        impatient = asyncio.create_task(held.engine())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        engine.warmed.set()
        assert await held.engine() is engine  # pyright: ignore[reportUnnecessaryComparison]
        await held.close()

    async def test_that_do_not_load_are_an_outage_and_tried_again(
        self, engine: FakeEngine, tx: Tx, monkeypatch: pytest.MonkeyPatch
    ):
        held = Services(settings_for_tests(), OneTransaction(tx))
        import_module = services.importlib.import_module

        def broken(_name: str) -> Any:
            raise ImportError("no such library")

        monkeypatch.setattr(services.importlib, "import_module", broken)
        with pytest.raises(AgentsAsleep):
            await held.engine()
        assert held.agents_state == "failed"
        monkeypatch.setattr(services.importlib, "import_module", import_module)
        engine.warmed.set()
        assert await held.engine() is engine  # pyright: ignore[reportUnnecessaryComparison]
        await held.close()
