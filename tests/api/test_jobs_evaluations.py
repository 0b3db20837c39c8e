"""The job that runs evals: a program of its own, its results in the database, its failures in the rows."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from api.jobs import evaluations
from api.jobs.kit import run_due_jobs
from memory.callers import SYSTEM
from memory.db import Database
from memory.settings import Settings, variable
from tests.databases import open_folder
from tools.evaluations import reading, recording, requesting
from tools.evaluations.requesting import RequestEvaluationIn
from tools.evaluations.rows import EvalRunFilter, EvalRunRow


@pytest.fixture
def here() -> Iterator[Settings]:
    """Settings with a data folder of the test's own, and no model."""
    folder = open_folder()
    yield Settings(_env_file=None, data=folder, OPENAI_API_KEY=None, OPENAI_BASE_URL=None)  # pyright: ignore[reportCallIssue]
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openai_api_key", "openai_base_url", "database_url"):
        monkeypatch.delenv(variable(name), raising=False)


async def ask(db: Database, **fields: Any) -> UUID:
    async with db.transaction() as tx:
        asked = RequestEvaluationIn.model_validate(fields)
        return (await requesting.request_evaluation(tx, SYSTEM, asked, configured="rules")).batch_id


async def runs(db: Database, batch_id: UUID) -> list[EvalRunRow]:
    async with db.reading() as tx:
        return (await reading.list_runs(tx, SYSTEM, EvalRunFilter(batch_id=batch_id))).runs


class TestRunEvaluation:
    async def test_leaves_results_and_a_report(self, db: Database, here: Settings):
        batch_id = await ask(db, suite="due_dates")
        assert await run_due_jobs(db, settings=here) == ["evaluations.run"]
        (run,) = await runs(db, batch_id)
        assert (run.status, run.engine, run.errors, run.cases) == ("finished", "rules", 0, run.planned)
        assert {figure.name: figure.dear for figure in run.figures.scorers} == {"due_days": False, "no_wrong_day": True}
        async with db.reading() as tx:
            assert '<h2 id="due_dates">' in await reading.get_report(tx, SYSTEM, run.id)
        assert list((here.data / "evals" / "results").glob("*.json"))
        # The house's own database kept the books: no other one was made.
        assert not (here.data / "evals" / "postgres").exists()

    async def test_is_done_once(self, db: Database, here: Settings):
        batch_id = await ask(db, suite="due_dates")
        async with db.transaction() as tx:
            await recording.end_batch(tx, batch_id, "stopped", "It was interrupted.")
        await run_due_jobs(db, settings=here)
        assert [run.status for run in await runs(db, batch_id)] == ["stopped"]

    async def test_that_ends_early_says_why_in_its_rows(
        self, db: Database, here: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(evaluations, "arguments", lambda *_, **__: ["run", "weather"])
        batch_id = await ask(db, suite="due_dates")
        await run_due_jobs(db, settings=here)
        (run,) = await runs(db, batch_id)
        assert run.status == "failed"
        assert run.error is not None
        assert "there is no suite weather" in run.error

    async def test_that_takes_too_long_is_ended(
        self, db: Database, here: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ):
        started = tmp_path / "pid"
        sleeper = f"import os, time; open({str(started)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
        monkeypatch.setattr(evaluations.tether, "command", lambda _: [sys.executable, "-c", sleeper])
        monkeypatch.setattr(evaluations, "LIMIT", evaluations.LIMIT / 2000)
        batch_id = await ask(db, suite="due_dates")
        await run_due_jobs(db, settings=here)
        (run,) = await runs(db, batch_id)
        assert (run.status, run.error) == ("failed", "It took longer than 0:00:01.350000.")
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)

    def test_tells_the_program_what_was_asked_and_which_model_answers(self, here: Settings):
        batch = recording.Batch(
            suites=["analysis", "injection"], engine="openai", model="m", prompt_key="a", prompt_version=3, against_key="a",
            against_version=2, limit_usd=1.5,
        )  # fmt: skip
        id = UUID(int=1)
        assert evaluations.arguments(batch, id, judge=True) == [
            "run", "analysis", "injection", "--engine", "openai", "--batch", str(id), "--limit-usd", "1.5", "--model", "m",
            "--prompt", "a@3", "--against", "a@2", "--judge",
        ]  # fmt: skip
        local = here.model_copy(update={"openai_base_url": "http://model.test/v1", "model_prices": {"m": (1.0, 2.0)}})
        told = evaluations.environment(local, "postgresql://house")
        assert told["OPENAI_BASE_URL"] == "http://model.test/v1"
        assert told["RAINMAKER_MODEL_PRICES"] == '{"m":[1.0,2.0]}'
        assert told["DATABASE_URL"] == "postgresql://house"
