"""
One run: every case of the chosen suites, several at a time, with a purse and a memory.

What a model has answered stays in the cache, so that a run that was interrupted, or stopped by its purse, goes on where
it was.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from evals import locking
from evals.cases import Case, Split
from evals.judge import TRUSTED
from evals.results import CaseResult, Engine, RunResult, ScoreKept, SuiteResult, digest
from evals.scorers import Score
from evals.subjects.kit import Answered, Asked, Asker, Purse, PurseEmpty
from evals.suites import SUITES, Suite
from evals.versions import Version
from memory.db import Database
from memory.errors import Outage, Rendered
from memory.settings import Settings

Told = Callable[[Suite, CaseResult], None]


class NoModel(Outage):
    """There is no model to evaluate: set OPENAI_API_KEY or OPENAI_BASE_URL, or use --engine rules."""


class NoJudge(Outage):
    """The rules cannot judge: --judge needs --engine openai."""


@dataclass(frozen=True)
class Plan:
    """
    What to run, and how.

    `version` is put in front of the door; then only cases that its words are for are run.
    """

    suites: Sequence[Suite]
    engine: Engine = "rules"
    model: str | None = None
    split: Split | None = None
    limit_usd: float = 5.0
    concurrency: int = 4
    use_cache: bool = True
    with_judge: bool = False
    version: Version | None = None

    @property
    def all_suites(self) -> list[Suite]:
        """The suites that this engine can answer; a judge is always calibrated first."""
        chosen = [suite for suite in self.suites if self.engine != "rules" or not suite.needs_model]
        calibrated = any(suite.name == "judge" for suite in chosen)
        return chosen if calibrated or not self.with_judge else [SUITES["judge"], *chosen]


@dataclass
class Job:
    """One case on its way."""

    suite: Suite
    case: Case[Any, Any]


def settings_for(settings: Settings, plan: Plan) -> Settings:
    """
    Return the settings under which the door answers: the engine and model of the plan, its limit the only budget.

    Raises `NoModel`, `NoJudge`.
    """
    budget = {
        "budget_run_usd": plan.limit_usd, "budget_user_day_usd": max(plan.limit_usd, settings.budget_user_day_usd),
        "budget_org_day_usd": max(plan.limit_usd, settings.budget_org_day_usd),
    }  # fmt: skip
    if plan.with_judge and plan.engine == "rules":
        raise NoJudge
    if plan.engine == "rules":
        return settings.model_copy(update={"openai_api_key": None, "openai_base_url": None})
    if settings.model_engine == "rules":
        raise NoModel
    models = {"model_strong": plan.model, "model_cheap": plan.model} if plan.model else {}
    return settings.model_copy(update=budget | models | {"model_fallback": None})


def model_name(settings: Settings) -> str:
    """Return the models that answer, in a word or two."""
    if settings.model_engine == "rules":
        return "rules"
    return " + ".join(dict.fromkeys((settings.model_strong, settings.model_cheap)))


# The run ------------------------------------------------------------------------------------------------------------


def read_jobs(plan: Plan) -> list[Job]:
    """
    Return every case to run, in order; held-out ones only when they are those that were locked.

    Raises `DatasetBroken`, `HeldOutChanged`.
    """
    jobs: list[Job] = []
    for suite in plan.all_suites:
        if plan.split != "dev":
            locking.check(suite)
        jobs += [Job(suite, case) for case in suite.read(plan.split) if _is_concerned(plan, suite, case)]
    return jobs


def _is_concerned(plan: Plan, suite: Suite, case: Case[Any, Any]) -> bool:
    """Leave out what a version has no say in; the judge is calibrated whatever is tried."""
    calibrates = plan.with_judge and suite.name == "judge"
    return plan.version is None or calibrates or plan.version.concerns(suite.asks(case.input).key)


async def run(
    plan: Plan,
    settings: Settings,
    db: Database,
    *,
    now: datetime,
    cache: Path | None = None,
    told: Told | None = None,
    purse: Purse | None = None,
) -> RunResult:
    """
    Run the plan; `told` hears of each case as it is done. Runs that share a `purse` share the limit.

    Raises `NoModel`, `DatasetBroken`, `HeldOutChanged`.
    """
    effective = settings_for(settings, plan)
    jobs = read_jobs(plan)
    purse = purse or Purse(plan.limit_usd)
    spent_before = purse.spent
    pinned = plan.version.pinned(plan.model) if plan.version else None
    asker = Asker.open(effective, db, purse, cache if plan.use_cache else None, pinned)
    began = time.perf_counter()
    try:
        done, stopped = await _work(asker, jobs, plan, told)
    finally:
        await asker.door.close()
    suites = [_suite_result(suite, jobs, done, with_judge=plan.with_judge) for suite in plan.all_suites]
    suites = [suite for suite in suites if suite.cases or plan.version is None]
    return RunResult(
        started_at=now,
        seconds=round(time.perf_counter() - began, 2),
        engine=plan.engine,
        model=model_name(effective),
        split=plan.split or "all",
        suites=suites,
        prompt=plan.version.name if plan.version else None,
        distrusted=unheard(suites) if plan.with_judge and stopped is None else None,
        cost_usd=round(purse.spent - spent_before, 6),
        remembered=sum(case.cached for suite in suites for case in suite.cases),
        stopped=stopped,
    )


async def _work(
    asker: Asker, jobs: list[Job], plan: Plan, told: Told | None
) -> tuple[dict[int, CaseResult], str | None]:
    """Return what came of each job by its place, and why it was stopped, if it was."""
    waiting = iter(enumerate(jobs))
    done: dict[int, CaseResult] = {}
    stops: list[str] = []

    async def worker() -> None:
        for place, job in waiting:
            try:
                done[place] = await judge(asker, job.suite, job.case, with_judge=plan.with_judge)
            except PurseEmpty as empty:
                stops.append(empty.message)
            if stops:
                return
            if told is not None:
                told(job.suite, done[place])

    async with asyncio.TaskGroup() as group:
        for _ in range(max(1, plan.concurrency)):
            group.create_task(worker())
    return done, stops[0] if stops else None


async def judge(asker: Asker, suite: Suite, case: Case[Any, Any], *, with_judge: bool = False) -> CaseResult:
    """
    Put one case to its subject and every scorer to the answer. What fails is an error of the case, not a verdict on it.

    Raises `PurseEmpty`.
    """
    found = CaseResult(id=case.id, digest=digest(case), split=case.split, tags=case.tags, why=case.why)
    asker = asker.for_case()
    try:
        answered = await suite.answer(asker, case.input)
        scores = {scorer.name: scorer.score(case, answered) for scorer in suite.all_scorers}
        for asked in suite.judged if with_judge else ():
            scores[asked.name] = await asked.score(asker, case, answered)
    except PurseEmpty:
        raise
    except Rendered as failure:
        return found.model_copy(update={"error": failure.message, "scores": {}})
    except Exception as failure:  # noqa: BLE001 - a case that breaks its subject or a scorer must not end the run
        return found.model_copy(update={"error": f"{type(failure).__name__}: {failure}", "scores": {}})
    found.scores = {name: _kept(score) for name, score in scores.items()}
    return _with_origin(found, answered, asker.asked)


def _with_origin(found: CaseResult, answered: Answered[Any], asked: list[Asked]) -> CaseResult:
    """Note who answered, with which words, for what; the first question is the agent's, others are the judge's."""
    origin = answered.origin
    found.model, found.cost_usd = origin.model, sum(one.usd for one in asked)
    found.prompt, found.prompt_source = f"{origin.prompt_key} v{origin.prompt_version}", origin.prompt_source
    found.tokens, found.cached = sum(one.tokens for one in asked), all(one.cached for one in asked)
    found.latency_ms = asked[0].ms if asked else None
    if found.split == "dev" and isinstance(answered.value, BaseModel):
        found.answer = answered.value.model_dump(mode="json")
    return found


def _kept(score: Score) -> ScoreKept:
    return ScoreKept(
        value=score.value, passed=score.passed, explanation=score.explanation, said=score.said, meant=score.meant
    )


def unheard(suites: Sequence[SuiteResult]) -> str | None:
    """Take out what a judge said who agrees with people too seldom, and say so; None when the judge is trusted."""
    calibration = next((suite for suite in suites if suite.name == "judge"), None)
    figure = calibration.figure("agreement") if calibration else None
    if figure is not None and figure.of and figure.share.value >= TRUSTED:
        return None
    for suite in suites:
        names = {asked.name for asked in SUITES[suite.name].judged}
        suite.questions = {name: question for name, question in suite.questions.items() if name not in names}
        for case in suite.cases:
            case.scores = {name: score for name, score in case.scores.items() if name not in names}
    agreed = f"{figure.passed} of {figure.of}" if figure else "none"
    return f"the judge agrees with people on {agreed} calibration cases, which is too few to be heard"


def _suite_result(suite: Suite, jobs: list[Job], done: dict[int, CaseResult], *, with_judge: bool) -> SuiteResult:
    asked = [*suite.all_scorers, *(suite.judged if with_judge else ())]
    return SuiteResult(
        name=suite.name,
        about=suite.about,
        dear=suite.dear.name,
        questions={scorer.name: scorer.question for scorer in asked},
        cases=[done[place] for place, job in enumerate(jobs) if job.suite is suite and place in done],
        dataset=suite.dataset,
    )
