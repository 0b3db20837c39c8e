"""Checkpoints on our pool: written with a run's events, read by the library's own saver, closed to strange types."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import add
from typing import Annotated, Any, TypedDict
from uuid import UUID, uuid4

import pytest
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel

from memory import checkpoints, journals
from memory.db import Database
from memory.journals import Batch, LeaseLost, NewEvent

NOW = datetime(2026, 3, 1, tzinfo=UTC)


class Found(BaseModel):
    topic: str
    ids: list[UUID]


class State(TypedDict, total=False):
    number: int
    text: str
    found: Found
    seen: Annotated[list[str], add]


@dataclass
class Writer:
    """A run in somebody's hands: one event per checkpoint."""

    run_id: UUID
    worker: str = "me"
    written: int = 0
    overs: list[bool] = field(default_factory=list[bool])
    cancelled: bool = False

    @asynccontextmanager
    async def writing(self, *, step_over: bool) -> AsyncIterator[Batch]:
        self.overs.append(step_over)
        batch = Batch(self.run_id, self.worker, self.written, [NewEvent(kind="step.finished", step="s", at=NOW)])
        yield batch
        self.written += 1
        self.cancelled = batch.cancelled


def graph(*failing: str) -> Any:
    """START ▶ first ▶ (left, right) ▶ last ▶ END."""
    made: Any = StateGraph(State)

    def node(name: str) -> Any:
        async def work(state: State) -> dict[str, Any]:
            if name in failing:
                raise RuntimeError(name)
            return {"seen": [name], "number": len(name)} if name in {"first", "last"} else {"seen": [name]}

        return work

    for name in ("first", "left", "right", "last"):
        made.add_node(name, node(name))
    made.add_edge(START, "first").add_edge("first", "left").add_edge("first", "right")
    made.add_edge(["left", "right"], "last").add_edge("last", END)
    return made


async def hold(db: Database, worker: str = "me") -> UUID:
    async with db.transaction() as tx:
        return await tx.one(
            UUID,
            """
            INSERT INTO agent_runs (agent, status, worker, lease_until)
            VALUES ('a', 'running', %(worker)s, now() + interval '1 min') RETURNING id
            """,
            worker=worker,
        )


def config_of(run_id: UUID) -> Any:
    return {"configurable": {"thread_id": str(run_id)}, "recursion_limit": 10}


async def count(db: Database, table: str) -> int:
    async with db.reading() as tx:
        return await tx.one(int, f"SELECT count(*) FROM {table}")  # type: ignore[arg-type]


class TestAccompanied:
    async def test_is_written_with_its_events_and_read_as_any_other(self, db: Database) -> None:
        run_id = await hold(db)
        saver, writer = checkpoints.open_saver(db), Writer(run_id)
        saver.accompany(run_id, writer)
        begin: State = {"found": Found(topic="price", ids=[run_id]), "text": "ü\\x", "seen": []}
        compiled = graph().compile(checkpointer=saver)
        state = await compiled.ainvoke(begin, config_of(run_id), durability="sync")
        assert state == {**begin, "seen": ["first", "left", "right", "last"], "number": 4}
        assert writer.overs == [True] * 4, "the input alone is no checkpoint"
        assert (await count(db, "agent_run_events"), await count(db, "checkpoints")) == (4, 4)
        assert await count(db, "checkpoint_writes") == 0, "every step's writes are in the checkpoint behind it"
        plain: Any = graph().compile(checkpointer=AsyncPostgresSaver(db.pool))  # type: ignore[arg-type]
        snapshot = await plain.aget_state(config_of(run_id))
        assert (snapshot.values, snapshot.next) == (state, ())
        history = [past.values.get("seen") async for past in plain.aget_state_history(config_of(run_id))]
        assert history[:3] == [["first", "left", "right", "last"], ["first", "left", "right"], ["first"]]

    async def test_nothing_is_written_once_the_lease_is_lost(self, db: Database) -> None:
        run_id = await hold(db, "somebody else")
        saver = checkpoints.open_saver(db)
        saver.accompany(run_id, Writer(run_id))
        with pytest.raises(LeaseLost):
            await graph().compile(checkpointer=saver).ainvoke({"seen": []}, config_of(run_id), durability="sync")
        assert (await count(db, "agent_run_events"), await count(db, "checkpoints")) == (0, 0)
        assert await count(db, "checkpoint_blobs") == 0

    async def test_what_a_finished_task_wrote_survives_its_sister(self, db: Database) -> None:
        run_id = await hold(db)
        saver, writer = checkpoints.open_saver(db), Writer(run_id)
        saver.accompany(run_id, writer)
        with pytest.raises(RuntimeError, match="right"):
            await graph("right").compile(checkpointer=saver).ainvoke({"seen": []}, config_of(run_id), durability="sync")
        assert await count(db, "checkpoint_writes") > 0
        resumed: Any = graph("left").compile(checkpointer=saver)
        state = await resumed.ainvoke(None, config_of(run_id), durability="sync")
        assert state["seen"] == ["first", "left", "right", "last"], "left is not done again"

    async def test_learns_that_it_shall_stop(self, db: Database) -> None:
        run_id = await hold(db)
        async with db.transaction() as tx:
            await tx.run("UPDATE agent_runs SET cancel_requested = true")
        saver, writer = checkpoints.open_saver(db), Writer(run_id)
        saver.accompany(run_id, writer)
        await graph().compile(checkpointer=saver).ainvoke({"seen": []}, config_of(run_id), durability="sync")
        assert writer.cancelled is True

    async def test_left_alone_it_is_written_as_the_library_does(self, db: Database) -> None:
        run_id = await hold(db)
        saver = checkpoints.open_saver(db)
        saver.accompany(run_id, Writer(run_id))
        saver.leave(run_id)
        await graph().compile(checkpointer=saver).ainvoke({"seen": []}, config_of(run_id), durability="sync")
        assert (await count(db, "agent_run_events"), await count(db, "checkpoints")) == (0, 5)
        assert await count(db, "checkpoint_writes") > 0


class TestAppend:
    async def test_numbers_go_on(self, db: Database) -> None:
        run_id = await hold(db)
        events = [NewEvent(kind="tool.called", data={"n": number, "text": 'a\\b"c'}, at=NOW) for number in range(3)]
        async with db.reading() as tx:
            await journals.append(tx, Batch(run_id, "me", 0, events[:2]))
            await journals.append(tx, Batch(run_id, "me", 2, events[2:]))
            rows = await tx.many(str, "SELECT seq || ':' || (data ->> 'n') || (data ->> 'text') FROM agent_run_events")
        assert rows == ['1:0a\\b"c', '2:1a\\b"c', '3:2a\\b"c']


class TestSetup:
    async def test_several_at_once_and_again(self, fresh_url: str) -> None:
        await asyncio.gather(*(checkpoints.setup(fresh_url) for _ in range(4)))
        await checkpoints.setup(fresh_url)


class TestPrune:
    async def test_deletes_these_and_no_others(self, db: Database) -> None:
        saver = checkpoints.open_saver(db)
        first, second = uuid4(), uuid4()
        for run_id in (first, second):
            await graph().compile(checkpointer=saver).ainvoke({"seen": []}, config_of(run_id), durability="sync")
        await checkpoints.prune(db, [first])
        await checkpoints.prune(db, [])
        async with db.reading() as tx:
            for table in ("checkpoints", "checkpoint_writes"):
                threads = await tx.many(str, f"SELECT DISTINCT thread_id FROM {table}")  # type: ignore[arg-type]
                assert threads == [str(second)]


class TestSerializer:
    async def test_strange_types_do_not_come_back_to_life(self, db: Database) -> None:
        serializer = checkpoints.open_saver(db).serde
        back = serializer.loads_typed(serializer.dumps_typed({"at": NOW, "found": Found(topic="x", ids=[])}))
        assert back["at"] == NOW
        assert not isinstance(back["found"], Found)
