"""Evaluations over HTTP: for admins, as the operations say, and reports that can do nothing."""

from typing import Any
from uuid import uuid4

from memory.db import Tx
from tests.tools.eval_runs import KEY, ended, found, kept, new_run, say
from tools.evaluations import recording

PATHS = ("suites", "runs", f"runs/{uuid4()}", f"runs/{uuid4()}/results", f"runs/{uuid4()}/report")


class TestAccess:
    async def test_is_for_admins(self, client: Any, manager: Any) -> None:
        versions = f"verdicts?key={KEY}&version=2&against_version=1"
        compare = f"compare?run_id={uuid4()}&against_run_id={uuid4()}"
        for path in (*PATHS, versions, compare):
            assert (await client.get(f"/api/evals/{path}")).status_code == 401
            assert (await manager.get(f"/api/evals/{path}")).status_code == 403
        assert (await manager.post("/api/evals/runs", json={})).status_code == 403


class TestRuns:
    async def test_are_listed_and_read_with_their_cases(self, admin: Any, tx: Tx) -> None:
        run_id = await kept(
            tx, found("good", "passed"), found("bad", "failed"), found("held", "failed", split="held_out")
        )
        listed = (await admin.get("/api/evals/runs", params={"suite": "analysis"})).json()
        assert (listed["total"], [run["id"] for run in listed["runs"]]) == (1, [str(run_id)])
        run = (await admin.get(f"/api/evals/runs/{run_id}")).json()["run"]
        assert (run["status"], run["figures"]["scorers"][0]["of"]) == ("finished", 2)
        results = (await admin.get(f"/api/evals/runs/{run_id}/results")).json()
        assert [case["case_id"] for case in results["results"]] == ["bad", "good"]
        assert results["held_out"] == {"passed": 0, "failed": 1, "error": 0}
        assert "held" not in str(results["results"])

    async def test_that_are_not_there_are_not_found(self, admin: Any) -> None:
        for path in PATHS[2:]:
            assert (await admin.get(f"/api/evals/{path}")).status_code == 404

    async def test_are_compared(self, admin: Any, tx: Tx) -> None:
        before, after = await kept(tx, found("a", "passed")), await kept(tx, found("a", "failed"))
        params = {"run_id": str(after), "against_run_id": str(before)}
        told = (await admin.get("/api/evals/compare", params=params)).json()
        assert [(case["before"], case["after"]) for case in told["cases"]] == [("passed", "failed")]

    async def test_bring_a_report_that_can_neither_run_nor_leave(self, admin: Any, tx: Tx) -> None:
        run_id = await recording.open_run(tx, new_run())
        await recording.end_run(tx, run_id, ended(report="<!doctype html><title>Evals</title>"))
        answer = await admin.get(f"/api/evals/runs/{run_id}/report")
        assert answer.text == "<!doctype html><title>Evals</title>"
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "script" not in policy


class TestRequests:
    async def test_answer_at_once_and_promise_a_job(self, admin: Any, tx: Tx) -> None:
        answer = await admin.post("/api/evals/runs", json={"suite": "due_dates"})
        assert answer.status_code == 202
        (run,) = answer.json()["runs"]
        assert (run["suite"], run["status"], run["engine"]) == ("due_dates", "queued", "rules")
        assert await tx.one(int, "SELECT count(*) FROM outbox WHERE job = 'evaluations.run'") == 1
        assert (await admin.post("/api/evals/runs", json={"suite": "due_dates"})).json()["batch_id"] == run["batch_id"]

    async def test_for_a_prompt_need_a_model(self, admin: Any) -> None:
        answer = await admin.post("/api/evals/runs", json={"prompt_key": KEY, "prompt_version": 1})
        assert (answer.status_code, "do not read prompts" in answer.json()["error"]) == (409, True)

    async def test_that_contradict_themselves_are_refused(self, admin: Any) -> None:
        for body in ({"prompt_key": KEY}, {"against_version": 1}, {"suite": "weather"}, {"limit_usd": 0}):
            assert (await admin.post("/api/evals/runs", json=body)).status_code == 400


class TestVerdicts:
    async def test_are_listed_with_what_they_come_to(self, admin: Any, tx: Tx) -> None:
        await say(tx, "analysis", "regressed")
        params = {"key": KEY, "version": 2, "against_version": 1}
        told = (await admin.get("/api/evals/verdicts", params=params)).json()
        assert [(one["suite"], one["verdict"]) for one in told["verdicts"]] == [("analysis", "regressed")]
        assert (told["evidence"]["regressed"], told["evidence"]["releasable"]) == (["analysis"], False)
