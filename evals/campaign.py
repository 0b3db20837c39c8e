"""
What one command carries out: a run, what it is held against, and what is kept of both.

    read versions ─▶ run the reference ─▶ run ─▶ compare ─▶ verdicts ─▶ keep: files, database, report
                     (a prompt only)
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

from evals import comparison, report, results, run, verdicts, versions
from evals.books import Against, Books, Entry
from evals.comparison import Compared
from evals.judge import JUDGE
from evals.ledger import Ledger, ledger
from evals.results import RunResult
from evals.run import Plan, Told
from evals.subjects.kit import Purse
from evals.verdicts import SuiteVerdict
from evals.versions import Version
from memory.errors import Invalid
from memory.settings import Settings

BASELINE = Path(__file__).parent / "baseline.json"
Progress = Callable[[Plan, str], AbstractContextManager[Told]]
"""Shows how far a plan is, under a name."""


class SameVersion(Invalid):
    """{name} cannot be held against itself."""


class AnotherPrompt(Invalid):
    """{name} and {other} do not answer the same question."""


class NotHeld(Invalid):
    """No case of {suites} is answered with {key}."""


@dataclass(frozen=True)
class Order:
    """
    What is asked for: `prompt` is the version to try, `KEY@V`; `against` a version, a file, `baseline` or `none`.

    Without `against`, a version is held against the active one, and anything else against the baseline.
    """

    plan: Plan
    prompt: str | None = None
    against: str | None = None
    batch_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class Held:
    """What the run is held against, and what came of it. `verdicts` are there when it is another version."""

    name: str
    reference: RunResult
    compared: list[Compared]
    verdicts: list[SuiteVerdict] = field(default_factory=list[SuiteVerdict])

    @property
    def regressed(self) -> list[Compared]:
        """What the gate closes on, the dear mistakes first; of a version its verdicts decide."""
        found = [one for one in self.compared if one.regressed]
        return [] if self.verdicts else sorted(found, key=lambda one: not one.dear)


@dataclass(frozen=True)
class Done:
    """What was found, and where it is kept: a page, and the house's database unless `why` says why not."""

    run: RunResult
    held: Held | None
    page: Path
    batch_id: UUID
    why: str


async def conduct(order: Order, base: Settings, folder: Path, progress: Progress) -> Done:
    """
    Carry out the order.

    Raises what `run.run`, `ledger` and `versions.read` raise, `SameVersion`, `AnotherPrompt`, `NotHeld`, `Unreadable`.
    """
    run.settings_for(base, order.plan)
    fixed = _fixed(order)
    async with ledger(base, folder) as kept:
        plan, other = await _resolve(order, kept)
        books = Books(kept.shared, order.batch_id)
        purse = Purse(plan.limit_usd)
        if other is not None:
            against, reference = await _run_reference(
                replace(plan, version=other), base, kept, books, folder, progress, purse
            )
        else:
            against, reference = Against(_kind(order)), fixed
        async with books.open(plan, base, against if reference else None) as entry:
            with progress(plan, plan.version.name if plan.version else "") as told:
                done = await _run(plan, base, kept, folder, _both(told, entry), purse)
            held = _hold(done, reference, other, order) if reference else None
            await _keep(books, entry, done, held, plan, folder)
        if held and plan.version:
            await books.keep_verdicts(entry, against, held.verdicts, done, plan.version)
    return Done(done, held, folder / "report.html", order.batch_id, kept.why)


def _kind(order: Order) -> str:
    return "baseline" if order.against in (None, "baseline") else "file"


def _fixed(order: Order) -> RunResult | None:
    """Read what to compare with before anything is paid for."""
    said = order.against or ("none" if order.prompt else "baseline")
    if said == "none" or "@" in said or (said == "baseline" and not BASELINE.exists()):
        return None
    return results.read_reference(BASELINE if said == "baseline" else Path(said))


async def _resolve(order: Order, kept: Ledger) -> tuple[Plan, Version | None]:
    """Return the plan with the version to try, and the version to hold it against."""
    said = order.against if order.against and "@" in order.against else None
    other = await versions.read(kept.shared, *versions.parse(said)) if said else None
    tried = await versions.read(kept.shared, *versions.parse(order.prompt)) if order.prompt else None
    if tried is None:
        tried = await versions.active(kept.shared, other.key) if other else None
    elif order.against is None:
        other = await versions.active(kept.shared, tried.key)
    if tried is None:
        return order.plan, None
    if other is not None and other.name == tried.name:
        raise SameVersion(name=tried.name)
    if other is not None and other.asked_as != tried.asked_as:
        raise AnotherPrompt(name=tried.name, other=other.name)
    plan = replace(order.plan, version=tried)
    if not run.read_jobs(replace(plan, with_judge=False)):
        raise NotHeld(suites=", ".join(suite.name for suite in plan.suites), key=tried.asked_as)
    return plan, other


async def _run_reference(
    plan: Plan, base: Settings, kept: Ledger, books: Books, folder: Path, progress: Progress, purse: Purse
) -> tuple[Against, RunResult]:
    """Run the version that another is held against, on the same cases."""
    async with books.open(plan, base) as entry:
        with progress(plan, plan.version.name if plan.version else "") as told:
            done = await _run(plan, base, kept, folder, _both(told, entry), purse)
        await _keep(books, entry, done, None, plan, folder)
    return Against("prompt", plan.version, entry.ids), done


async def _run(plan: Plan, base: Settings, kept: Ledger, folder: Path, told: Told, purse: Purse) -> RunResult:
    return await run.run(plan, base, kept.db, now=datetime.now(UTC), cache=folder / "cache", told=told, purse=purse)


def _both(told: Told, entry: Entry) -> Told:
    def hear(suite: run.Suite, case: results.CaseResult) -> None:
        told(suite, case)
        entry.told(suite, case)

    return hear


def _hold(done: RunResult, reference: RunResult, other: Version | None, order: Order) -> Held:
    """Compare; a verdict on a version is given only where every case was answered in both runs."""
    compared = comparison.compare(done, reference)
    name = other.name if other else order.against or "baseline"
    if other is None or not (done.is_whole and reference.is_whole):
        return Held(name, reference, compared)
    settled = [
        verdicts.settle(suite, before, compared)
        for suite in done.suites
        if (before := reference.find(suite.name)) is not None and (suite.name != "judge" or other.asked_as == JUDGE.key)
    ]
    return Held(name, reference, compared, settled)


async def _keep(books: Books, entry: Entry, done: RunResult, held: Held | None, plan: Plan, folder: Path) -> None:
    """Write the run to a file, its pages, and what the house's database shall know of it."""
    history = results.read_history(folder / "results")
    named = f"-{plan.version.name}" if plan.version else ""
    results.write(done, folder / "results" / f"{done.started_at:%Y%m%dT%H%M%S%f}-{done.engine}{named}.json")
    reference, compared = (held.reference, held.compared) if held else (None, [])
    settled = held.verdicts if held else []
    (folder / "report.html").write_text(report.render(done, reference, compared, history, settled), "utf-8")
    pages = {
        suite.name: report.render(
            done.model_copy(update={"suites": [suite], "cost_usd": round(suite.cost_usd, 6)}),
            reference,
            [one for one in compared if one.suite == suite.name],
            history,
            [one for one in settled if one.suite == suite.name],
        )
        for suite in (done.suites if books.db else [])
    }
    await books.close(entry, done, pages)
