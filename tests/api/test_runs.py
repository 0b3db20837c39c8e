"""Runs over HTTP: who may start, see, follow and stop what."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import pytest

from agents import runs
from api.app import Rainmaker
from memory.db import Database, Tx
from memory.settings import Settings
from prompts import registry as prompts
from tests.agents import errands
from tools import runs as books

from .conftest import Client, SignIn

URL = "/api/agents/runs"


@pytest.fixture(autouse=True)
def own_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompts, "shelf", lambda: errands.SHELF)


async def start(client: Client, **input: Any) -> str:
    answer = await client.post(URL, json={"agent": "errand", "input": input})
    assert answer.status_code == 202, answer.text
    return answer.json()["run"]["id"]


def events_of(text: str) -> list[tuple[int, str]]:
    messages = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n") if block]
    assert all(json.loads(message["data"])["seq"] == int(message["id"]) for message in messages)
    return [(int(message["id"]), message["event"]) for message in messages]


class TestStart:
    async def test_answers_at_once(self, rep: Client, tx: Tx) -> None:
        answer = await rep.post(URL, json={"agent": "errand", "input": {"mail": "Hello"}})
        assert answer.status_code == 202
        run = answer.json()["run"]
        assert (run["status"], run["agent"], run["user_id"]) == ("queued", "errand", str(rep.caller.user_id))
        assert await tx.many(str, "SELECT payload ->> 'run_id' FROM outbox WHERE job = 'runs.execute'") == [run["id"]]

    async def test_one_key_is_one_run(self, rep: Client, tx: Tx) -> None:
        asked: dict[str, Any] = {
            "json": {"agent": "errand", "input": {"mail": "a"}},
            "headers": {"Idempotency-Key": "k1"},
        }
        first, second = await rep.post(URL, **asked), await rep.post(URL, **asked)
        assert first.json() == second.json()
        assert await tx.one(int, "SELECT count(*) FROM agent_runs") == 1

    @pytest.mark.parametrize(
        ("body", "status", "said"),
        [
            ({"agent": "nobody"}, 400, "There is no agent nobody"),
            ({"agent": "errand", "input": {"steps": "x"}}, 400, "input does not fit"),
            ({"agent": "errand", "input": {}, "extra": 1}, 400, ""),
            ({"agent": "errand", "input": {"mail": "a\u0000b"}}, 400, ""),
            ({"agent": "errand", "input": []}, 400, ""),
            ({"agent": "managers_errand"}, 403, "not for your role"),
        ],
    )
    async def test_refuses(self, rep: Client, tx: Tx, body: Any, status: int, said: str) -> None:
        answer = await rep.post(URL, json=body)
        assert answer.status_code == status
        assert said in answer.json()["error"]
        assert await tx.one(int, "SELECT count(*) FROM agent_runs") == 0


class TestLook:
    async def test_strangers_see_nothing(
        self, rep: Client, manager: Client, client: Client, sign_in: SignIn, tx: Tx
    ) -> None:
        run_id = await start(rep)
        await tx.run("INSERT INTO users (auth_id, email, name, role) VALUES ('o', 'o@ours.example', 'O', 'rep')")
        other = await sign_in("o")
        for path in (f"{URL}/{run_id}", f"{URL}/{run_id}/events"):
            assert (await other.get(path)).status_code == 404
            assert (await client.get(path)).status_code == 401
        assert (await other.post(f"{URL}/{run_id}/cancel")).status_code == 404
        assert (await other.get(URL)).json() == {"runs": [], "total": 0}
        assert (await manager.get(f"{URL}/{run_id}")).json()["run"]["id"] == run_id
        assert (await rep.get(f"{URL}/{uuid4()}")).status_code == 404

    async def test_lists_what_fits(self, rep: Client) -> None:
        ids = [await start(rep, mail=str(number)) for number in range(3)]
        page = (await rep.get(URL, params={"agent": "errand", "status": "queued", "limit": 2})).json()
        assert page["total"] == 3
        assert len(page["runs"]) == 2
        assert {run["id"] for run in page["runs"]} <= set(ids)
        assert (await rep.get(URL, params={"status": "failed"})).json()["total"] == 0
        for wrong in ({"limit": 201}, {"status": "lost"}, {"unknown": 1}, {"offset": -1}):
            assert (await rep.get(URL, params=wrong)).status_code == 400

    async def test_says_which_agents_there_are(self, rep: Client) -> None:
        agents = {agent["name"]: agent for agent in (await rep.get(f"{URL}/agents")).json()["agents"]}
        assert agents["errand"]["input"]["properties"].keys() == {"company_id", "mail", "trouble", "steps"}


class TestCancel:
    async def test_stops_a_waiting_run_once(self, rep: Client) -> None:
        run_id = await start(rep)
        assert (await rep.post(f"{URL}/{run_id}/cancel")).json()["run"]["status"] == "cancelled"
        assert (await rep.post(f"{URL}/{run_id}/cancel")).status_code == 409
        assert events_of((await rep.get(f"{URL}/{run_id}/events")).text) == [(1, "run.cancelled")]


class TestFollow:
    async def test_shows_a_run_and_its_steps_to_the_end(self, live: Client, live_app: Rainmaker, db: Database) -> None:
        run_id = await start(live, mail="Pricing")
        engine = await runs.Engine.open(live_app.state.services.settings, db)
        await runs.execute(engine, run_id)  # type: ignore[arg-type]
        await engine.close()
        page = (await live.get(f"{URL}/{run_id}")).json()
        assert page["run"]["output"] == {"topic": "pricing", "writes": 3, "tainted": True}
        assert [step["step"] for step in page["steps"]] == ["load", "judge", "settle"]
        answer = await live.get(f"{URL}/{run_id}/events")
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = events_of(answer.text)
        assert seen[0] == (1, "run.started")
        assert seen[-1] == (11, "run.finished")
        rest = await live.get(f"{URL}/{run_id}/events", headers={"Last-Event-ID": "9"})
        assert events_of(rest.text) == [(10, "step.finished"), (11, "run.finished")]
        assert (await live.get(f"{URL}/{run_id}/events", headers={"Last-Event-ID": "11"})).status_code == 204
        assert (await live.get(f"{URL}/{run_id}/events", headers={"Last-Event-ID": "x"})).status_code == 400

    async def test_waits_for_what_is_to_come(
        self, db: Database, app_settings: Settings, live: Client, live_app: Rainmaker
    ) -> None:
        from api.routes.runs import _follow

        run_id = await start(live, mail="Pricing")
        async with db.reading() as tx:
            run = await books.get_run(tx, live.caller, run_id)  # type: ignore[arg-type]
        stream = _follow(live_app.state.services, live.caller, run.id, 0)

        async def listen() -> str:
            return "".join([piece.decode() async for piece in stream])

        listening = asyncio.create_task(listen())
        engine = await runs.Engine.open(app_settings, db)
        await runs.execute(engine, run.id)
        await engine.close()
        assert [kind for _, kind in events_of(await listening)][::10] == ["run.started", "run.finished"]


class TestJobs:
    async def test_carry_a_run_out(self, live: Client, live_app: Rainmaker, db: Database) -> None:
        from api.jobs import kit

        run_id = await start(live, mail="Pricing")
        settings = live_app.state.services.settings
        await kit.run_job_inline(db, "runs.execute", {"run_id": run_id}, settings=settings)
        assert (await live.get(f"{URL}/{run_id}")).json()["run"]["status"] == "succeeded"

    async def test_look_after_a_run_whose_worker_died(self, live: Client, live_app: Rainmaker, db: Database) -> None:
        from api.jobs import kit

        await start(live)
        async with db.transaction() as tx:
            await tx.run("DELETE FROM outbox")
            await tx.run(
                "UPDATE agent_runs SET status = 'running', worker = 'dead', lease_until = now() - interval '1 s'"
            )
        settings = live_app.state.services.settings
        await kit.run_job_inline(db, "runs.sweep", settings=settings)
        await kit.run_job_inline(db, "runs.prune", settings=settings)
        async with db.reading() as tx:
            assert await tx.many(str, "SELECT job FROM outbox WHERE status = 'waiting'") == ["runs.execute"]
