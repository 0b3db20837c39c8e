"""Runs of evals, their cases and their verdicts, as they are read."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.errors import Forbidden, NotFound
from memory.rows import In, Row

Engine = Literal["rules", "openai"]
Status = Literal["queued", "running", "finished", "failed", "stopped"]
Outcome = Literal["passed", "failed", "error"]
VerdictName = Literal["improved", "same", "regressed", "inconclusive"]


class EvaluationsForAdmins(Forbidden):
    """Evaluations are for admins."""


class EvalRunNotFound(NotFound):
    """Evaluation {run_id} does not exist."""


def check_admin(caller: Caller) -> None:
    """
    Let admins and the service itself pass.

    Raises `EvaluationsForAdmins`.
    """
    if caller.kind != "system" and caller.role != "admin":
        raise EvaluationsForAdmins


class FigureRow(Row):
    """What one scorer found: so many of so many passed, the 95 % interval of that share, and the mean of the scores."""

    name: str
    question: str
    dear: bool
    passed: int
    of: int
    share: float
    low: float
    high: float
    mean: float | None


class Figures(Row):
    """The figures of a run, in the order of the suite's scorers."""

    scorers: list[FigureRow] = []


class EvalRunRow(Row):
    """
    A run: one suite, one engine, one version of a prompt. Times in UTC, cost in USD.

    Runs that one command made together share `batch_id`. Without `prompt_key`, what was active answered. `failed` is a
    run with errors: they are neither passes nor failures. `verdict` is what it found against `against_run_id`.
    """

    id: UUID
    batch_id: UUID
    suite: str
    split: Literal["dev", "held_out", "all"]
    engine: Engine
    model: str | None
    prompt_key: str | None
    prompt_version: int | None
    against_kind: Literal["baseline", "prompt", "file"] | None
    against_key: str | None
    against_version: int | None
    against_run_id: UUID | None
    status: Status
    planned: int
    cases: int
    errors: int
    remembered: int
    tokens: int
    cost_usd: float
    limit_usd: float | None
    figures: Figures
    verdict: VerdictName | None
    has_report: bool
    error: str | None
    started_by: UUID | None
    started_by_name: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EvalRunFilter(In):
    """Which runs, newest first."""

    suite: str | None = Field(default=None, max_length=80)
    status: Status | None = None
    engine: Engine | None = None
    prompt_key: str | None = Field(default=None, max_length=150)
    prompt_version: int | None = Field(default=None, ge=1, le=2**31 - 1)
    batch_id: UUID | None = None
    limit: int = Field(default=50, ge=1, le=200)
    offset: int = Field(default=0, ge=0, le=100_000)


class EvalRunsOut(Row):
    """A page of runs, and how many there are."""

    runs: list[EvalRunRow]
    total: int


class EvalRunOut(Row):
    """One run."""

    run: EvalRunRow


class ScoreRow(Row):
    """What one scorer said of one case."""

    scorer: str
    outcome: Outcome
    score: float | None
    explanation: str


class EvalCaseRow(Row):
    """One case of a run; `answer` is what was left of the answer after the agent's own checks."""

    case_id: str
    why: str
    tags: list[str]
    outcome: Outcome
    error: str | None
    answer: dict[str, Any] | None
    model: str | None
    prompt_key: str | None
    prompt_version: int | None
    cached: bool
    latency_ms: int | None
    scores: list[ScoreRow]


class EvalResultFilter(In):
    """Which cases of a run: by what came of them, or by what one scorer said."""

    outcome: Outcome | None = None
    scorer: str | None = Field(default=None, max_length=80)
    limit: int = Field(default=100, ge=1, le=500)
    offset: int = Field(default=0, ge=0, le=100_000)


class HeldOut(Row):
    """The held-out cases, which are counted and not shown."""

    passed: int = 0
    failed: int = 0
    error: int = 0


class EvalResultsOut(Row):
    """A page of cases, how many there are, and the number of those that are held out."""

    results: list[EvalCaseRow]
    total: int
    held_out: HeldOut


class VerdictRow(Row):
    """
    What a version is against another on one suite. `detail` has the figures of both for every scorer.

    One by the rules says nothing about words: the rules do not read them.
    """

    id: UUID
    run_id: UUID | None
    against_run_id: UUID | None
    prompt_key: str
    prompt_version: int
    against_key: str
    against_version: int
    suite: str
    engine: Engine
    model: str | None
    dataset: str
    verdict: VerdictName
    reason: str
    detail: dict[str, Any]
    created_at: datetime
