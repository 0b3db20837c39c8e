"""What a run of evals found, as it is kept: case by case, so that two runs can be compared on the cases they share."""

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from evals.cases import Case, Split
from evals.statistics import Interval, wilson

Engine = Literal["rules", "openai"]


class Kept(BaseModel):
    """What is written to a file and read again."""

    model_config = ConfigDict(extra="forbid")


class ScoreKept(Kept):
    """What one scorer said of one case; value and passed are None where the case does not ask."""

    value: float | None = None
    passed: bool | None = None
    explanation: str = ""
    said: str | None = None
    meant: str | None = None


class CaseResult(Kept):
    """
    What came of one case: scores, or an error, which is neither a pass nor a zero.

    `answer` is what was left of it after the agent's own checks; of held-out cases it is not kept.
    """

    id: str
    digest: str
    split: Split
    tags: list[str] = []
    why: str = ""
    scores: dict[str, ScoreKept] = {}
    error: str | None = None
    answer: dict[str, Any] | None = None
    model: str = ""
    prompt: str = ""
    prompt_source: Literal["file", "database"] | None = None
    cost_usd: float = 0.0
    tokens: int = 0
    latency_ms: int | None = None
    cached: bool = False


class SuiteResult(Kept):
    """The cases of one suite that were run. `questions` are those of its scorers, in their order."""

    name: str
    about: str
    dear: str
    questions: dict[str, str]
    cases: list[CaseResult]
    dataset: str = ""

    @property
    def words(self) -> str:
        """The versions of the prompts that its answers were made with."""
        return ", ".join(sorted({case.prompt for case in self.cases if case.prompt}))

    @property
    def cost_usd(self) -> float:
        """What its answers cost, whoever paid for them and when."""
        return sum(case.cost_usd for case in self.cases)

    @property
    def errors(self) -> list[CaseResult]:
        """The cases without an answer."""
        return [case for case in self.cases if case.error is not None]

    def figure(self, scorer: str) -> "Figure":
        """Return what one scorer found over all cases that ask its question."""
        asked = [case.scores[scorer] for case in self.cases if scorer in case.scores]
        asked = [score for score in asked if score.passed is not None]
        passed = sum(score.passed is True for score in asked)
        values = [score.value for score in asked if score.value is not None]
        return Figure(
            scorer, passed, len(asked), wilson(passed, len(asked)), sum(values) / len(values) if values else None
        )

    def confusion(self, scorer: str) -> Counter[tuple[str, str]]:
        """Return how often each class (meant, said) was chosen."""
        scores = [case.scores[scorer] for case in self.cases if scorer in case.scores]
        return Counter((score.meant, score.said) for score in scores if score.meant and score.said)


class Figure:
    """So many of so many passed, with the interval of the share and the mean of the values."""

    def __init__(self, scorer: str, passed: int, of: int, share: Interval, mean: float | None) -> None:
        """`of` counts the cases that ask."""
        self.scorer, self.passed, self.of, self.share, self.mean = scorer, passed, of, share, mean


class RunResult(Kept):
    """
    One run. `stopped` says why it ended before its last case, `distrusted` why its judge is not heard.

    `prompt` is the version that was put in front of the door, `KEY@V`; without it, what was active answered.
    """

    started_at: datetime
    seconds: float
    engine: Engine
    model: str
    split: str
    suites: list[SuiteResult]
    prompt: str | None = None
    cost_usd: float = 0.0
    remembered: int = 0
    stopped: str | None = None
    distrusted: str | None = None

    @property
    def label(self) -> str:
        """The engine, the model where there is one, and the version that was tried."""
        who = self.engine if self.engine == "rules" else f"{self.engine} {self.model}"
        return f"{who}, {self.prompt}" if self.prompt else who

    @property
    def errors(self) -> int:
        """How many cases have no answer."""
        return sum(len(suite.errors) for suite in self.suites)

    @property
    def is_whole(self) -> bool:
        """Whether every case was asked and answered: only then does it say something about a version."""
        return self.split == "all" and not (self.stopped or self.errors or self.distrusted)

    def find(self, suite: str) -> SuiteResult | None:
        """Return the result of one suite."""
        return next((found for found in self.suites if found.name == suite), None)


class Unreadable(Exception):
    """A file of results is not one; the message names it."""


def digest(case: Case[Any, Any]) -> str:
    """Return what changes when what is asked, or what is expected, changes."""
    said = case.model_dump_json(include={"input", "expect"}, exclude_unset=True)
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def write(run: RunResult, path: Path) -> None:
    """Write a run whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_bytes(orjson.dumps(run.model_dump(mode="json", exclude_defaults=True), option=orjson.OPT_INDENT_2))
    draft.replace(path)


def read(path: Path) -> RunResult:
    """
    Read a run.

    Raises `Unreadable`.
    """
    try:
        return RunResult.model_validate_json(path.read_bytes())
    except (OSError, ValueError) as failure:
        raise Unreadable(f"{path} holds no results: {failure}") from failure


def read_history(folder: Path, most: int = 50) -> list[RunResult]:
    """Return the newest runs of a folder, oldest first; files of another shape are passed over."""
    found: list[RunResult] = []
    for path in sorted(folder.glob("*.json"))[-most:]:
        try:
            found.append(read(path))
        except Unreadable:
            continue
    return found


# The baseline -------------------------------------------------------------------------------------------------------

_LEFT_OUT = {"explanation", "said", "meant"}


def write_baseline(run: RunResult, path: Path) -> None:
    """Write what later runs are held against: a line for each case, so that a change is read in a diff."""
    lines: list[str] = []
    for suite in run.suites:
        figures = {
            name: f"{figure.passed}/{figure.of}" for name in suite.questions if (figure := suite.figure(name)).of
        }
        cases = ",\n".join(
            f"   {json.dumps(case.id)}: {json.dumps(_brief(case), sort_keys=True)}"
            for case in sorted(suite.cases, key=lambda one: one.id)
        )
        lines.append(
            f'  {json.dumps(suite.name)}: {{\n   "figures": {json.dumps(figures)},\n   "cases": {{\n{cases}\n  }}}}'
        )
    text = (
        f'{{\n "engine": {json.dumps(run.engine)},\n "model": {json.dumps(run.model)},\n "suites": {{\n'
        + ",\n".join(lines)
        + "\n }\n}\n"
    )
    path.write_text(text, encoding="utf-8")


def _brief(case: CaseResult) -> dict[str, Any]:
    scores = {
        name: [score.passed, _round(score.value)] for name, score in case.scores.items() if score.passed is not None
    }
    return {"digest": case.digest, "split": case.split, "scores": scores}


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def read_reference(path: Path) -> RunResult:
    """
    Return what a run is held against: a baseline, or the results of another run.

    Raises `Unreadable`.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if "started_at" in said:
            return RunResult.model_validate(said)
        return RunResult(
            started_at=datetime(1970, 1, 1, tzinfo=UTC),
            seconds=0,
            engine=said["engine"],
            model=said["model"],
            split="all",
            suites=[_suite(name, suite["cases"]) for name, suite in said["suites"].items()],
        )
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise Unreadable(f"{path} holds neither results nor a baseline: {failure}") from failure


def _suite(name: str, cases: dict[str, Any]) -> SuiteResult:
    found = [
        CaseResult(
            id=id,
            digest=case["digest"],
            split=case["split"],
            scores={
                scorer: ScoreKept(passed=passed, value=value) for scorer, (passed, value) in case["scores"].items()
            },
        )
        for id, case in cases.items()
    ]
    return SuiteResult(name=name, about="", dear="", questions={}, cases=found)
