"""Durable runs: what is written, who may, what survives a kill -9, and what ends a run."""

import asyncio
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from agents import runs
from agents.registry import UnknownAgent
from agents.runs import Engine, InputInvalid, MayNotRun
from memory import journals
from memory.callers import SYSTEM, Caller
from memory.db import Database
from memory.journals import Batch, LeaseLost, NewEvent
from memory.settings import Settings
from prompts import registry as prompts
from tools import leases
from tools import runs as books
from tools.runs import OtherRequest, RunFilter, RunNotFound, RunOver

from . import errands
from .conftest import Wire, hire

WORKER = Path(__file__).parent / "worker.py"
STEPS = ["load", "judge", "settle"]


@pytest.fixture(autouse=True)
def own_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "shelf", lambda: errands.SHELF)
    errands.gate, errands.reached = asyncio.Event(), asyncio.Event()


async def ask(db: Database, caller: Caller, key: str | None = None, **input: Any) -> UUID:
    async with db.transaction() as tx:
        return (await runs.start(tx, caller, "errand", input, key=key)).id


async def shown(db: Database, run_id: UUID, caller: Caller = SYSTEM) -> dict[str, Any]:
    async with db.reading() as tx:
        return json.loads((await books.show_run(tx, caller, run_id)).body)


async def events(db: Database, run_id: UUID) -> list[tuple[str, str | None]]:
    async with db.reading() as tx:
        rows = await books.list_events(tx, run_id)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return [(row.kind, row.step) for row in rows]


async def writes(db: Database, run_id: UUID) -> list[str]:
    """The rows that the steps of a run have written."""
    async with db.reading() as tx:
        return await tx.many(
            str,
            "SELECT split_part(name, ':', 2) FROM heartbeats WHERE name LIKE %(like)s ORDER BY 1",
            like=f"{run_id}:%",
        )


async def promised(db: Database) -> int:
    async with db.reading() as tx:
        return await tx.one(int, "SELECT count(*) FROM outbox WHERE job = 'runs.execute' AND status = 'waiting'")


async def change(db: Database, run_id: UUID, assignment: str) -> None:
    async with db.transaction() as tx:
        await tx.begin()
        await tx.connection.execute(f"UPDATE agent_runs SET {assignment} WHERE id = '{run_id}'")  # type: ignore[arg-type]


class TestStart:
    async def test_writes_the_run_down_and_promises_it(self, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep, mail="Price?")
        run = (await shown(db, run_id, rep))["run"]
        assert (run["status"], run["agent"], run["user_id"]) == ("queued", "errand", str(rep.user_id))
        assert run["input"] == {"company_id": None, "mail": "Price?", "trouble": "", "steps": 3}
        assert await promised(db) == 1

    async def test_one_key_is_one_run(self, db: Database, rep: Caller) -> None:
        first = await ask(db, rep, key="k", mail="a")
        assert await ask(db, rep, key="k", mail="a") == first
        with pytest.raises(OtherRequest):
            await ask(db, rep, key="k", mail="b")
        other = await hire(db, "Olga Other")
        assert await ask(db, other, key="k", mail="a") != first
        assert await promised(db) == 2

    async def test_refuses_what_does_not_fit(self, db: Database, rep: Caller) -> None:
        async with db.transaction() as tx:
            with pytest.raises(UnknownAgent, match="no agent nobody"):
                await runs.start(tx, rep, "nobody", {})
            with pytest.raises(InputInvalid) as invalid:
                await runs.start(tx, rep, "errand", {"steps": "many"})
            assert invalid.value.details[0].startswith("input.steps: ")
            with pytest.raises(MayNotRun):
                await runs.start(tx, rep, "managers_errand", {})

    async def test_a_rep_sees_only_their_own(self, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep)
        other, boss = await hire(db, "Olga Other"), await hire(db, "Mona Manager", "manager")
        async with db.reading() as tx:
            with pytest.raises(RunNotFound):
                await books.show_run(tx, other, run_id)
            assert (await books.list_runs(tx, other, RunFilter())).parse().total == 0
            assert (await books.list_runs(tx, boss, RunFilter())).parse().total == 1
            mine = (await books.list_runs(tx, rep, RunFilter(agent="errand", status="queued"))).parse()
            assert [run.id for run in mine.runs] == [run_id]
            assert (await books.list_runs(tx, rep, RunFilter(agent="other"))).parse().total == 0


class TestExecute:
    async def test_goes_through_every_step(self, db: Database, engine: Engine, rep: Caller) -> None:
        run_id = await ask(db, rep, mail="Pricing, please")
        await runs.execute(engine, run_id)
        page = await shown(db, run_id)
        run = page["run"]
        assert (run["status"], run["output"]) == ("succeeded", {"topic": "pricing,", "writes": 3, "tainted": True})
        assert (run["engine"], run["tainted"], run["attempts"], run["error"]) == ("rules", True, 1, None)
        assert [(step["step"], step["status"]) for step in page["steps"]] == [(step, "finished") for step in STEPS]
        assert all(step["ms"] >= 0 for step in page["steps"])
        assert [(call["prompt_key"], call["engine"]) for call in page["calls"]] == [("errand_judge", "rules")]
        assert page["sources"] == [
            {"record": "communication", "id": str(run_id), "title": "The mail", "third_party": True}
        ]
        assert await events(db, run_id) == [
            ("run.started", None), ("step.started", "load"), ("source.read", "load"), ("step.finished", "load"),
            ("step.started", "judge"), ("tool.called", "judge"), ("model.called", "judge"), ("step.finished", "judge"),
            ("step.started", "settle"), ("step.finished", "settle"), ("run.finished", None),
        ]  # fmt: skip

    async def test_counts_what_a_model_used(
        self, db: Database, settings_with_model: Settings, rep: Caller, wire: Wire
    ) -> None:
        wire.says({"topic": "price"})
        engine = await Engine.open(settings_with_model, db)
        run_id = await ask(db, rep)
        await runs.execute(engine, run_id)
        await engine.close()
        run = (await shown(db, run_id))["run"]
        assert (run["engine"], run["input_tokens"], run["output_tokens"]) == ("openai", 100, 20)
        assert run["cost_usd"] == pytest.approx(0.00016)

    async def test_a_finished_run_is_left_alone(self, db: Database, engine: Engine, rep: Caller) -> None:
        run_id = await ask(db, rep)
        await runs.execute(engine, run_id)
        before = await events(db, run_id)
        await runs.execute(engine, run_id)
        assert await events(db, run_id) == before
        assert await writes(db, run_id) == sorted(STEPS)

    async def test_two_workers_do_it_once(self, db: Database, engine: Engine, settings: Settings, rep: Caller) -> None:
        other = await Engine.open(settings, db)
        run_id = await ask(db, rep)
        await asyncio.gather(*(runs.execute(worker, run_id) for worker in (engine, other, engine, other)))
        assert await writes(db, run_id) == sorted(STEPS)
        assert [kind for kind, _ in await events(db, run_id)].count("run.started") == 1

    async def test_works_with_the_rights_of_now(self, db: Database, engine: Engine, rep: Caller) -> None:
        run_id = await ask(db, rep)
        async with db.transaction() as tx:
            await tx.run("UPDATE users SET is_active = false WHERE id = %(user_id)s", user_id=rep.user_id)
        await runs.execute(engine, run_id)
        run = (await shown(db, run_id))["run"]
        assert (run["status"], run["error"]) == ("failed", "The person this was done for may not do it any more.")
        assert await writes(db, run_id) == []

    async def test_a_role_that_was_lost_is_lost(self, db: Database, engine: Engine) -> None:
        boss = await hire(db, "Mona Manager", "manager")
        async with db.transaction() as tx:
            run = await runs.start(tx, boss, "managers_errand", {})
            await tx.run("UPDATE users SET role = 'rep' WHERE id = %(user_id)s", user_id=boss.user_id)
        await runs.execute(engine, run.id)
        assert (await shown(db, run.id))["run"]["status"] == "failed"

    async def test_the_service_itself_may_run(self, db: Database, engine: Engine) -> None:
        run_id = await ask(db, SYSTEM)
        await runs.execute(engine, run_id)
        assert (await shown(db, run_id))["run"]["status"] == "succeeded"


class TestPerform:
    async def test_returns_the_output(self, engine: Engine, db: Database, rep: Caller) -> None:
        out = await runs.perform(engine, rep, "errand", errands.ErrandIn(mail="Hello"), output=errands.ErrandOut)
        assert out == errands.ErrandOut(topic="hello", writes=3)
        assert await promised(db) == 0

    async def test_raises_what_the_agent_refuses(self, engine: Engine, db: Database, rep: Caller) -> None:
        with pytest.raises(errands.TooHot):
            await runs.perform(engine, rep, "errand", {"trouble": "refuse"}, output=errands.ErrandOut)
        with pytest.raises(errands.Elsewhere):
            await runs.perform(engine, rep, "errand", {"trouble": "outage"}, output=errands.ErrandOut)
        async with db.reading() as tx:
            failed = await books.list_runs(tx, rep, RunFilter(status="failed"))
        assert sorted(run.error or "" for run in failed.parse().runs) == [
            "This errand is too hot.", "What this needs is elsewhere.",
        ]  # fmt: skip


class TestFailure:
    async def test_is_recorded_without_internals(self, engine: Engine, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep, trouble="bug")
        await runs.execute(engine, run_id)
        run = (await shown(db, run_id))["run"]
        assert run["status"] == "failed"
        assert "secret detail" not in run["error"]
        assert "ZeroDivisionError" in run["error"]
        kinds = await events(db, run_id)
        assert kinds[-2:] == [("step.failed", "judge"), ("run.failed", None)]

    async def test_an_outage_is_tried_again_later_and_not_for_ever(
        self, engine: Engine, db: Database, rep: Caller
    ) -> None:
        run_id = await ask(db, rep, trouble="outage")
        for _ in range(leases.ATTEMPTS - 1):
            await runs.execute(engine, run_id)
            assert (await shown(db, run_id))["run"]["status"] == "queued"
        await runs.execute(engine, run_id)
        run = (await shown(db, run_id))["run"]
        assert (run["status"], run["error"], run["attempts"]) == ("failed", "What this needs is elsewhere.", 5)
        assert await writes(db, run_id) == ["judge", "load"]

    async def test_a_database_that_is_away_for_a_moment_fails_no_run(
        self, engine: Engine, db: Database, rep: Caller
    ) -> None:
        run_id = await ask(db, rep, trouble="database")
        await runs.execute(engine, run_id)
        assert (await shown(db, run_id))["run"]["status"] == "queued"

    async def test_too_many_steps(self, engine: Engine, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep, steps=0)
        await runs.execute(engine, run_id)
        assert (await shown(db, run_id))["run"]["error"] == "It took more steps than are allowed."


class TestCancel:
    async def test_a_waiting_run_is_over_at_once(self, engine: Engine, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep)
        async with db.transaction() as tx:
            assert (await books.cancel_run(tx, rep, run_id)).status == "cancelled"
        await runs.execute(engine, run_id)
        assert await writes(db, run_id) == []
        assert await events(db, run_id) == [("run.cancelled", None)]
        async with db.transaction() as tx:
            with pytest.raises(RunOver):
                await books.cancel_run(tx, rep, run_id)

    async def test_a_running_one_stops_after_its_step(self, engine: Engine, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep, trouble="wait")
        working = asyncio.create_task(runs.execute(engine, run_id))
        await errands.reached.wait()
        async with db.transaction() as tx:
            assert (await books.cancel_run(tx, rep, run_id)).status == "running"
        (execution,) = engine.host.under_way
        execution._journal.note("tool.called", tool="something to write")
        await execution._write()
        errands.gate.set()
        await working
        assert (await shown(db, run_id))["run"]["status"] == "cancelled"
        assert await writes(db, run_id) == ["judge", "load"]
        assert (await events(db, run_id))[-1] == ("run.cancelled", None)

    async def test_a_wish_that_a_dead_worker_left_behind_is_kept(
        self, engine: Engine, db: Database, rep: Caller
    ) -> None:
        run_id = await ask(db, rep)
        await change(
            db,
            run_id,
            "status = 'running', attempts = 1, cancel_requested = true, lease_until = now() - interval '1 s'",
        )
        await runs.execute(engine, run_id)
        assert (await shown(db, run_id))["run"]["status"] == "cancelled"
        assert await writes(db, run_id) == []

    async def test_strangers_may_not(self, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep)
        other = await hire(db, "Olga Other")
        async with db.transaction() as tx:
            with pytest.raises(RunNotFound):
                await books.cancel_run(tx, other, run_id)


class TestLease:
    async def test_one_that_lost_it_writes_nothing(self, db: Database, rep: Caller) -> None:
        run_id = await ask(db, rep)
        async with db.reading() as tx:
            first = await leases.claim_run(tx, run_id, "first", timedelta(seconds=60))
            assert first is not None
            assert await leases.claim_run(tx, run_id, "second", timedelta(seconds=60)) is None
        await change(db, run_id, "lease_until = now() - interval '1 s'")
        event = NewEvent(kind="tool.called", at=tx.now)
        async with db.reading() as tx:
            assert await leases.claim_run(tx, run_id, "second", timedelta(seconds=60)) is not None
            with pytest.raises(LeaseLost):
                await journals.append(tx, Batch(run_id, "first", 0, [event]))
            with pytest.raises(LeaseLost):
                await leases.renew_lease(tx, run_id, "first", timedelta(seconds=60))
            with pytest.raises(LeaseLost):
                await leases.end_run(tx, Batch(run_id, "first", 0, [event]), leases.Ending(status="succeeded"))
        assert await events(db, run_id) == []
        assert (await shown(db, run_id))["run"]["status"] == "running"

    async def test_a_worker_whose_run_was_taken_stops(self, db: Database, engine: Engine, rep: Caller) -> None:
        run_id = await ask(db, rep, trouble="wait")
        working = asyncio.create_task(runs.execute(engine, run_id))
        await errands.reached.wait()
        await change(db, run_id, "worker = 'somebody else'")
        (execution,) = engine.host.under_way
        execution._journal.note("tool.called", tool="something to write")
        await asyncio.wait_for(working, 10)
        assert (await shown(db, run_id))["run"]["status"] == "running"
        assert await writes(db, run_id) == ["judge", "load"]

    async def test_is_renewed_while_a_step_is_long(self, db: Database, settings: Settings, rep: Caller) -> None:
        engine = await Engine.open(settings, db, lease=timedelta(seconds=0.6))
        run_id = await ask(db, rep, trouble="wait")
        working = asyncio.create_task(runs.execute(engine, run_id))
        await errands.reached.wait()
        async with db.reading() as tx:
            before = await tx.one(str, "SELECT lease_until::text FROM agent_runs")
            async with asyncio.timeout(10):
                while await tx.one(str, "SELECT lease_until::text FROM agent_runs") == before:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        errands.gate.set()
        await working
        assert (await shown(db, run_id))["run"]["status"] == "succeeded"


class TestShutdown:
    async def test_gives_the_run_back_after_its_step(self, db: Database, settings: Settings, rep: Caller) -> None:
        engine = await Engine.open(settings, db)
        run_id = await ask(db, rep, trouble="wait")
        working = asyncio.create_task(runs.execute(engine, run_id))
        await errands.reached.wait()
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        errands.gate.set()
        await asyncio.gather(closing, working)
        run = (await shown(db, run_id))["run"]
        assert (run["status"], run["attempts"]) == ("queued", 0)
        assert await writes(db, run_id) == ["judge", "load"]
        successor = await Engine.open(settings, db)
        await runs.execute(successor, run_id)
        assert (await shown(db, run_id))["run"]["output"] == {"topic": "please", "writes": 3, "tainted": True}
        assert [step for kind, step in await events(db, run_id) if kind == "step.started"] == STEPS

    async def test_does_not_wait_for_ever(self, db: Database, settings: Settings, rep: Caller) -> None:
        engine = await Engine.open(settings, db)
        run_id = await ask(db, rep, trouble="wait")
        working = asyncio.create_task(runs.execute(engine, run_id))
        await errands.reached.wait()
        await engine.close(patience=0.05)
        await working
        assert (await shown(db, run_id))["run"]["status"] == "queued"
        errands.gate.set()
        successor = await Engine.open(settings, db)
        await runs.execute(successor, run_id)
        assert await writes(db, run_id) == sorted(STEPS)


class TestKill:
    @pytest.mark.parametrize(
        ("step", "written", "repeated"),
        [("load", [], STEPS), ("judge", ["judge", "load"], ["judge", "settle"]), ("settle", sorted(STEPS), ["settle"])],
    )
    async def test_a_killed_worker_loses_and_doubles_nothing(
        self, db: Database, settings: Settings, rep: Caller, fresh_url: str, step: str, written: list[str],
        repeated: list[str],
    ) -> None:  # fmt: skip
        run_id = await ask(db, rep, trouble=f"die in {step}", mail="Survive this")
        worker = await asyncio.create_subprocess_exec(
            sys.executable, str(WORKER), fresh_url, str(run_id), env=os.environ | {"ERRAND_MAY_DIE": "1"}
        )
        assert await worker.wait() == -signal.SIGKILL
        assert (await shown(db, run_id))["run"]["status"] == "running"
        assert await writes(db, run_id) == written
        async with db.transaction() as tx:
            await tx.run("DELETE FROM outbox")
        assert await runs.sweep(db, settings) == 0, "its lease still holds"
        await change(db, run_id, "lease_until = now() - interval '1 s'")
        assert await runs.sweep(db, settings) == 1
        assert await promised(db) == 1
        engine = await Engine.open(settings, db)
        await runs.execute(engine, run_id)
        page = await shown(db, run_id)
        assert (page["run"]["status"], page["run"]["attempts"], page["run"]["tainted"]) == ("succeeded", 2, True)
        assert page["run"]["output"] == {"topic": "survive", "writes": 3, "tainted": True}
        assert await writes(db, run_id) == sorted(STEPS)
        kinds = await events(db, run_id)
        assert [
            name for kind, name in kinds[kinds.index(("run.resumed", None)) :] if kind == "step.started"
        ] == repeated


class TestSweep:
    async def test_a_worker_that_died_before_its_first_step_leaves_nothing_undone(
        self, db: Database, engine: Engine, rep: Caller
    ) -> None:
        run_id = await ask(db, rep)
        await change(
            db, run_id, "status = 'running', attempts = 1, worker = 'dead', lease_until = now() - interval '1 s'"
        )
        await runs.execute(engine, run_id)
        run = (await shown(db, run_id))["run"]
        assert (run["status"], run["attempts"]) == ("succeeded", 2)
        assert await writes(db, run_id) == sorted(STEPS)

    async def test_fails_a_run_that_kills_its_workers(self, db: Database, settings: Settings, rep: Caller) -> None:
        run_id = await ask(db, rep)
        await change(
            db, run_id, "status = 'running', attempts = 5, worker = 'dead', lease_until = now() - interval '1 s'"
        )
        await runs.sweep(db, settings)
        run = (await shown(db, run_id))["run"]
        assert (run["status"], run["error"]) == ("failed", "Its worker ended 5 times before it was done.")
        assert await events(db, run_id) == [("run.failed", None)]

    async def test_cancels_what_a_dead_worker_should_have(self, db: Database, settings: Settings, rep: Caller) -> None:
        run_id = await ask(db, rep)
        await change(
            db,
            run_id,
            "status = 'running', attempts = 1, worker = 'dead', cancel_requested = true,"
            " lease_until = now() - interval '1 s'",
        )
        await runs.sweep(db, settings)
        assert (await shown(db, run_id))["run"]["status"] == "cancelled"

    async def test_promises_again_what_was_forgotten(self, db: Database, settings: Settings, rep: Caller) -> None:
        run_id = await ask(db, rep)
        async with db.transaction() as tx:
            await tx.run("DELETE FROM outbox")
        assert await runs.sweep(db, settings) == 0
        await change(db, run_id, "updated_at = now() - interval '10 min'")
        assert await runs.sweep(db, settings) == 1
        for status in ("waiting", "handed", "running"):
            async with db.transaction() as tx:
                await tx.run("UPDATE outbox SET status = %(status)s", status=status)
            assert await runs.sweep(db, settings) == 0, "it is promised already"


class TestPrune:
    async def test_takes_checkpoints_and_leaves_the_run(self, db: Database, engine: Engine, rep: Caller) -> None:
        old, young = await ask(db, rep), await ask(db, rep)
        for run_id in (old, young):
            await runs.execute(engine, run_id)
        await change(db, old, "finished_at = now() - interval '40 days'")
        assert await runs.prune(db, older_than=timedelta(days=30)) == 1
        assert await runs.prune(db, older_than=timedelta(days=30)) == 0
        async with db.reading() as tx:
            assert await tx.many(str, "SELECT DISTINCT thread_id FROM checkpoints") == [str(young)]
        assert (await shown(db, old))["run"]["status"] == "succeeded"
        assert len(await events(db, old)) == 11


class TestUnknownRun:
    async def test_is_nothing_to_do(self, engine: Engine) -> None:
        await runs.execute(engine, uuid4())
