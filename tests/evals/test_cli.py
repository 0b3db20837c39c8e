"""The shell door of the evals: what it prints, what it keeps, and when it fails."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals import __main__ as cli
from evals import results
from tests.databases import open_folder

BASELINE = Path(results.__file__).parent / "baseline.json"


def evals(*words: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    hidden = ("DATABASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= {"RAINMAKER_DATA": str(data)} if data else {}
    return subprocess.run(
        [sys.executable, "-m", "evals", *words], capture_output=True, text=True, check=False, env=env, timeout=120
    )


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that the embedded server's user can enter."""
    folder = open_folder()
    yield folder
    shutil.rmtree((folder / "evals" / "postgres").resolve())
    shutil.rmtree(folder)


class TestRun:
    def test_fails_where_the_baseline_was_better_and_keeps_a_report(self, tmp_path: Path, data: Path):
        said = json.loads(BASELINE.read_text())
        lost = "due_days"
        for case in said["suites"]["due_dates"]["cases"].values():
            case["scores"][lost] = [True, 1.0]
        better = tmp_path / "better.json"
        better.write_text(json.dumps(said))

        done = evals("run", "due_dates", "--against", str(better), data=data)

        assert done.returncode == 1, done.stderr
        assert "Regressed: due_dates due_days, lost" in done.stdout
        assert "due_dates no_wrong_day" not in done.stdout
        assert (data / "evals" / "report.html").read_text().startswith("<!doctype html>")
        (kept,) = results.read_history(data / "evals" / "results")
        assert (kept.engine, [suite.name for suite in kept.suites]) == ("rules", ["due_dates"])

    @pytest.mark.parametrize(
        ("words", "complaint"),
        [
            (("run", "weather"), "evals: there is no suite weather; there are matching, analysis"),
            (("run", "--engine", "openai"), "evals: There is no model to evaluate: set OPENAI_API_KEY"),
            (("run", "matching", "--against", "nowhere.json"), "nowhere.json"),
        ],
    )
    def test_says_what_is_wrong_in_one_sentence(self, tmp_path: Path, words: tuple[str, ...], complaint: str):
        done = evals(*words, data=tmp_path)
        assert done.returncode == 1
        assert complaint in done.stderr
        assert "Traceback" not in done.stderr


class TestExitCode:
    def found(self, **fields: object) -> results.RunResult:
        plain = {
            "started_at": "2026-03-03T00:00:00Z",
            "seconds": 1,
            "engine": "rules",
            "model": "rules",
            "split": "all",
            "suites": [],
        }
        return results.RunResult.model_validate(plain | fields)

    def test_is_one_for_an_error_a_stop_and_a_judge_that_is_not_heard(self):
        suite = {
            "name": "matching",
            "about": "",
            "dear": "x",
            "questions": {},
            "cases": [{"id": "a", "digest": "d", "split": "dev", "error": "down"}],
        }
        assert cli._verdict(self.found(suites=[suite]), None, is_new_baseline=False) == 1
        assert cli._verdict(self.found(stopped="The limit is reached."), None, is_new_baseline=False) == 1
        assert cli._verdict(self.found(distrusted="it agrees too seldom"), None, is_new_baseline=False) == 1

    def test_is_zero_otherwise(self):
        assert cli._verdict(self.found(), None, is_new_baseline=False) == 0
