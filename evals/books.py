"""
Results in the house's database: a row for each suite of a run, its cases, what each scorer said, and the verdict.

Without the house's database nothing is written here; files are kept in any case.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from evals.results import CaseResult, RunResult, SuiteResult
from evals.run import Plan, model_name, read_jobs, settings_for
from evals.suites import Suite
from evals.verdicts import SuiteVerdict
from evals.versions import Version
from memory.db import Database
from memory.errors import Outage
from memory.settings import Settings
from tools.evaluations import recording
from tools.evaluations import verdicts as kept_verdicts
from tools.evaluations.recording import CaseFound, EndedRun, NewEvalRun, ScoreFound
from tools.evaluations.rows import FigureRow, Figures
from tools.evaluations.verdicts import NewVerdict

HEARTBEAT_S = 1.0


@dataclass
class Entry:
    """The rows of one run: their ids by suite, and how far each is."""

    ids: dict[str, UUID] = field(default_factory=dict[str, UUID])
    done: Counter[str] = field(default_factory=Counter[str])
    errors: Counter[str] = field(default_factory=Counter[str])

    def told(self, suite: Suite, case: CaseResult) -> None:
        """Count one case that is done."""
        self.done[suite.name] += 1
        self.errors[suite.name] += case.error is not None


@dataclass
class Against:
    """What the runs of an entry are held against."""

    kind: str
    version: Version | None = None
    ids: Mapping[str, UUID] = field(default_factory=dict[str, UUID])


@dataclass
class Books:
    """What is written of one command; `batch_id` is that of the request it answers, or a new one."""

    db: Database | None
    batch_id: UUID = field(default_factory=uuid4)

    @asynccontextmanager
    async def open(self, plan: Plan, base: Settings, against: Against | None = None) -> AsyncIterator[Entry]:
        """Write down that the plan's suites begin, then how far they are; a run that breaks off is given up in words."""
        entry = Entry()
        if self.db is None:
            yield entry
            return
        await self._begin(self.db, entry, plan, base, against)
        pulse = asyncio.create_task(self._beat(self.db, entry))
        try:
            yield entry
        except BaseException as failure:
            await self._break_off(self.db, failure)
            raise
        finally:
            pulse.cancel()
            with suppress(asyncio.CancelledError):
                await pulse

    async def _begin(self, db: Database, entry: Entry, plan: Plan, base: Settings, against: Against | None) -> None:
        effective = settings_for(base, plan)
        jobs = read_jobs(plan)
        other = against.version if against else None
        async with db.transaction() as tx:
            for suite in plan.all_suites:
                own = [job.case for job in jobs if job.suite is suite]
                if not own:
                    continue
                new = NewEvalRun.model_validate(
                    {
                        "batch_id": self.batch_id, "suite": suite.name, "split": plan.split or "all",
                        "engine": plan.engine, "model": None if plan.engine == "rules" else model_name(effective),
                        "prompt_key": plan.version.key if plan.version else None,
                        "prompt_version": plan.version.number if plan.version else None,
                        "against_kind": against.kind if against else None,
                        "against_key": other.key if other else None,
                        "against_version": other.number if other else None,
                        "against_run_id": against.ids.get(suite.name) if against else None,
                        "dataset": suite.dataset, "planned": len(own), "limit_usd": plan.limit_usd,
                    }
                )  # fmt: skip
                entry.ids[suite.name] = await recording.open_run(tx, new)

    async def _beat(self, db: Database, entry: Entry) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            # A database that is away for a moment costs a heartbeat, not the run.
            with suppress(Outage, OSError):
                async with db.transaction() as tx:
                    for suite, run_id in entry.ids.items():
                        await recording.record_progress(tx, run_id, cases=entry.done[suite], errors=entry.errors[suite])

    async def _break_off(self, db: Database, failure: BaseException) -> None:
        async with db.transaction() as tx:
            if isinstance(failure, asyncio.CancelledError):
                await recording.end_batch(tx, self.batch_id, "stopped", "It was interrupted.")
            else:
                await recording.end_batch(tx, self.batch_id, "failed", f"It broke off: {failure}"[:2000])

    async def close(self, entry: Entry, done: RunResult, reports: Mapping[str, str]) -> None:
        """Write down what each suite found, with its report."""
        if self.db is None:
            return
        async with self.db.transaction() as tx:
            for suite in done.suites:
                run_id = entry.ids[suite.name]
                await recording.record_results(tx, run_id, [_case(case, suite) for case in suite.cases])
                await recording.end_run(tx, run_id, _ended(done, suite, reports.get(suite.name)))
            gone = set(entry.ids) - {suite.name for suite in done.suites}
            for suite in gone:
                await recording.end_run(tx, entry.ids[suite], _nothing(done))

    async def keep_verdicts(
        self, entry: Entry, against: Against, verdicts: list[SuiteVerdict], done: RunResult, tried: Version
    ) -> None:
        """Write down what a version is against another."""
        if self.db is None or against.version is None:
            return
        datasets = {suite.name: suite.dataset for suite in done.suites}
        async with self.db.transaction() as tx:
            for one in verdicts:
                await kept_verdicts.record_verdict(
                    tx,
                    NewVerdict(
                        run_id=entry.ids[one.suite], against_run_id=against.ids.get(one.suite), prompt_key=tried.key,
                        prompt_version=tried.number, against_key=against.version.key,
                        against_version=against.version.number, suite=one.suite, engine=done.engine,
                        model=None if done.engine == "rules" else done.model, dataset=datasets[one.suite],
                        verdict=one.verdict, reason=one.reason, detail=one.detail,
                    ),
                )  # fmt: skip


# Rows ---------------------------------------------------------------------------------------------------------------


def _case(case: CaseResult, suite: SuiteResult) -> CaseFound:
    key, _, version = case.prompt.rpartition(" v")
    return CaseFound(
        case_id=case.id, digest=case.digest, split=case.split, tags=case.tags, why=case.why, error=case.error,
        answer=case.answer, model=case.model or None, prompt_key=key or None,
        prompt_version=int(version) if version else None, prompt_source=case.prompt_source, cached=case.cached,
        latency_ms=case.latency_ms, tokens=case.tokens, cost_usd=case.cost_usd, scores=_scores(case, suite),
    )  # fmt: skip


def _scores(case: CaseResult, suite: SuiteResult) -> list[ScoreFound]:
    """Return what was said where a question was asked; without an answer every scorer has an error."""
    if case.error is not None:
        return [ScoreFound(scorer=name, outcome="error", explanation=case.error) for name in suite.questions]
    return [
        ScoreFound(
            scorer=name, outcome="passed" if score.passed else "failed", score=score.value,
            explanation=score.explanation, said=score.said, meant=score.meant,
        )
        for name, score in case.scores.items()
        if score.passed is not None
    ]  # fmt: skip


def figures(suite: SuiteResult) -> Figures:
    """Return a suite's figures as they are kept."""
    return Figures(
        scorers=[
            FigureRow(
                name=name, question=suite.questions[name], dear=name == suite.dear, passed=found.passed, of=found.of,
                share=round(found.share.value, 4), low=round(found.share.low, 4), high=round(found.share.high, 4),
                mean=None if found.mean is None else round(found.mean, 4),
            )
            for name in suite.questions
            if (found := suite.figure(name)).of
        ]
    )  # fmt: skip


def _ended(done: RunResult, suite: SuiteResult, page: str | None) -> EndedRun:
    errors = len(suite.errors)
    said = [f"{errors} cases have no answer: {suite.errors[0].error}"] if errors else []
    said += [done.stopped] if done.stopped else []
    said += [f"Not heard: {done.distrusted}."] if done.distrusted else []
    return EndedRun(
        status="stopped" if done.stopped else "failed" if said else "finished",
        cases=len(suite.cases), errors=errors, remembered=sum(case.cached for case in suite.cases),
        tokens=sum(case.tokens for case in suite.cases), cost_usd=round(suite.cost_usd, 6), figures=figures(suite),
        report=page, error=" ".join(said) or None,
    )  # fmt: skip


def _nothing(done: RunResult) -> EndedRun:
    return EndedRun(
        status="stopped", cases=0, errors=0, remembered=0, tokens=0, cost_usd=0.0, figures=Figures(),
        error=done.stopped or "No case was run.",
    )  # fmt: skip
