"""
The shell door: `python -m evals`.

    run   run suites and hold the results against the baseline; exit 1 on a regression or an error
    list  what suites there are
    lock  lock the held-out cases as they are
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from evals import comparison, locking, report, results, run
from evals.cases import DatasetBroken, Split
from evals.comparison import Compared
from evals.locking import HeldOutChanged
from evals.results import CaseResult, Engine, RunResult, Unreadable
from evals.run import Plan
from evals.suites import SUITES, Suite
from memory import settings
from memory.errors import Rendered
from memory.settings import Settings

BASELINE = Path(__file__).parent / "baseline.json"
console = Console(width=None if sys.stdout.isatty() else 120)
cli = typer.Typer(
    name="evals",
    help="How well the agents judge, on cases written by hand.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


class EngineName(StrEnum):
    """Who answers."""

    rules = "rules"
    openai = "openai"


class SplitName(StrEnum):
    """Which cases."""

    dev = "dev"
    held_out = "held_out"
    all = "all"


@dataclass(frozen=True)
class Against:
    """What the run is held against, and what came of it."""

    name: str
    reference: RunResult
    compared: list[Compared]

    @property
    def regressed(self) -> list[Compared]:
        """What the gate closes on, the dear mistakes first."""
        return sorted((one for one in self.compared if one.regressed), key=lambda one: not one.dear)


@cli.command(name="run")
def run_command(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to run; all when none is named.")] = None,
    engine: Annotated[EngineName, typer.Option(help="Who answers.")] = EngineName.rules,
    model: Annotated[str | None, typer.Option(help="One model for every question.")] = None,
    against: Annotated[str, typer.Option(help="baseline, none, or a file of results.")] = "baseline",
    split: Annotated[SplitName, typer.Option(help="Which cases.")] = SplitName.all,
    limit_usd: Annotated[float, typer.Option(help="Stop before it costs more.", min=0)] = 5.0,
    concurrency: Annotated[int, typer.Option(help="Cases at a time.", min=1, max=64)] = 4,
    cache: Annotated[bool, typer.Option(help="Use what a model has answered before.")] = True,
    judge: Annotated[bool, typer.Option(help="Let a model judge too.")] = False,
    keep_baseline: Annotated[bool, typer.Option(help="Write these results as the new baseline.")] = False,
) -> None:
    """Run suites, print and keep their figures, and fail on a regression."""
    chosen = _chosen(suites or [])
    cases: Split | None = None if split is SplitName.all else ("dev" if split is SplitName.dev else "held_out")
    answers: Engine = "rules" if engine is EngineName.rules else "openai"
    plan = Plan(chosen, answers, model, cases, limit_usd, concurrency, cache, judge)
    folder = settings.current().data.resolve() / "evals"
    reference = _reference(against)
    with run.only_one(folder):
        done = asyncio.run(_run(plan, settings.current(), folder))
        held = Against(against, reference, comparison.compare(done, reference)) if reference else None
        _print(done, held)
        page = _keep(done, held, folder)
    console.print(f"Report: {page}")
    if keep_baseline:
        _keep_baseline(done, chosen)
    sys.exit(_verdict(done, held, is_new_baseline=keep_baseline))


@cli.command(name="list")
def list_command() -> None:
    """Print the suites with their cases and the questions asked of each answer."""
    for suite in SUITES.values():
        found = suite.read()
        held = sum(case.split == "held_out" for case in found)
        console.print(f"[bold]{suite.name}[/]  {suite.about}  {len(found)} cases, {held} held out")
        for scorer in suite.all_scorers:
            console.print(
                f"    {scorer.name:20} {scorer.question}{'  [bold](dear)[/]' if scorer is suite.dear else ''}"
            )


@cli.command(name="lock")
def lock_command() -> None:
    """Lock the held-out cases as they are now."""
    locking.write(list(SUITES.values()))
    console.print(f"Locked in {locking.FILE.name}.")


def main() -> None:
    """Run the command line; what it says about a failure is one sentence, without a traceback."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        cli()
    except Rendered as failure:
        sys.exit(f"evals: {failure}")
    except (DatasetBroken, HeldOutChanged, Unreadable) as failure:
        sys.exit(f"evals: {failure}")


# Running ------------------------------------------------------------------------------------------------------------


def _chosen(names: list[str]) -> list[Suite]:
    if unknown := sorted(set(names) - SUITES.keys()):
        sys.exit(f"evals: there is no suite {unknown[0]}; there are {', '.join(SUITES)}.")
    return [suite for name, suite in SUITES.items() if not names or name in names]


async def _run(plan: Plan, base: Settings, folder: Path) -> RunResult:
    run.settings_for(base, plan)
    with _progress(plan) as told:
        async with run.ledger(base, folder) as db:
            return await run.run(plan, base, db, now=datetime.now(UTC), cache=folder / "cache", told=told)


@contextmanager
def _progress(plan: Plan) -> Iterator[run.Told]:
    columns = (TextColumn("{task.description:14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        counts = {suite.name: 0 for suite in plan.all_suites}
        for job in run.read_jobs(plan):
            counts[job.suite.name] += 1
        bars = {name: shown.add_task(name, total=count) for name, count in counts.items()}
        yield lambda suite, _: shown.advance(bars[suite.name])


# What came of it ----------------------------------------------------------------------------------------------------


def _reference(name: str) -> RunResult | None:
    """Read what to compare with before anything is paid for."""
    if name == "none" or (name == "baseline" and not BASELINE.exists()):
        return None
    return results.read_reference(BASELINE if name == "baseline" else Path(name))


def _print(done: RunResult, held: Against | None) -> None:
    verdicts = {(one.suite, one.scorer): one for one in held.compared} if held else {}
    table = Table(
        title=f"{done.label}, {done.split} cases, {done.seconds:.1f} s, {done.cost_usd:.4f} USD", title_justify="left"
    )
    for name in ("suite", "scorer", "passed", "share", "95 %", f"against {held.name}" if held else "", "detectable"):
        table.add_column(
            name,
            no_wrap=name == "scorer",
            justify="right" if name in ("passed", "share", "95 %", "detectable") else "left",
        )
    for suite in done.suites:
        for scorer in suite.questions:
            figure, compared = suite.figure(scorer), verdicts.get((suite.name, scorer))
            if not figure.of:
                continue
            table.add_row(
                suite.name, f"[bold]{scorer}[/]" if scorer == suite.dear else scorer, f"{figure.passed}/{figure.of}",
                f"{figure.share.value:.0%}", f"{figure.share.low:.0%} to {figure.share.high:.0%}",
                _told(compared) if compared else "", f"{compared.passes.detectable:.0%}" if compared else "",
            )  # fmt: skip
        table.add_section()
    console.print(table)
    for suite in done.suites:
        _print_failures(suite.name, suite.cases)


def _told(compared: Compared) -> str:
    colour = {"improved": "green", "regressed": "red"}.get(compared.verdict, "dim")
    changes = f" (+{len(compared.won)} -{len(compared.lost)})" if compared.won or compared.lost else ""
    return f"[{colour}]{compared.verdict}{changes}[/]"


def _print_failures(suite: str, cases: list[CaseResult]) -> None:
    """Errors are told in full; of failures the report tells more, and of held-out ones it does not."""
    for case in cases:
        if case.error is not None:
            console.print(f"[red]error[/] {suite} {case.id}: {case.error}", highlight=False)


def _keep(done: RunResult, held: Against | None, folder: Path) -> Path:
    history = results.read_history(folder / "results")
    results.write(done, folder / "results" / f"{done.started_at:%Y%m%dT%H%M%S}-{done.engine}.json")
    page = folder / "report.html"
    page.write_text(
        report.render(done, held.reference if held else None, held.compared if held else [], history), "utf-8"
    )
    return page


def _keep_baseline(done: RunResult, chosen: list[Suite]) -> None:
    whole = len(chosen) == len(SUITES) and done.split == "all" and done.engine == "rules"
    if not whole or done.stopped or done.errors:
        sys.exit("evals: a baseline is a run of every suite and case by the rules, without errors.")
    results.write_baseline(done, BASELINE)
    console.print(f"Kept as {BASELINE.name}.")


def _verdict(done: RunResult, held: Against | None, *, is_new_baseline: bool) -> int:
    """Say what is wrong in a line each and return the exit code."""
    wrong = [f"{done.errors} cases have no answer; an error is neither a pass nor a failure."] if done.errors else []
    if done.stopped:
        wrong.append(f"The run is not complete: {done.stopped}")
    if done.distrusted:
        wrong.append(f"Not heard: {done.distrusted}.")
    if held is not None:
        fresh, gone = comparison.unpaired(done, held.reference)
        if fresh or gone:
            console.print(f"Not compared: {fresh} cases are new or changed, {gone} are gone.")
        if not is_new_baseline:
            wrong += [
                f"Regressed: {one.suite} {one.scorer}{' (dear)' if one.dear else ''}, lost {_names(done, one)}"
                for one in held.regressed
            ]
    for line in wrong:
        console.print(f"[red]{line}[/]", highlight=False)
    return 1 if wrong else 0


def _names(done: RunResult, compared: Compared) -> str:
    """Name the dev cases; of the held-out ones only their number."""
    suite = done.find(compared.suite)
    held = {case.id for case in suite.cases if case.split == "held_out"} if suite else set[str]()
    shown = [id for id in compared.lost if id not in held]
    hidden = len(compared.lost) - len(shown)
    return ", ".join([*shown, *([f"{hidden} held-out"] if hidden else [])])


if __name__ == "__main__":
    main()
