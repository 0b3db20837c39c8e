"""
The shell door: `python -m evals`.

    run   run suites and hold the results against the baseline or another version; exit 1 on a regression or an error
    list  what suites there are
    lock  lock the held-out cases as they are, and tell the house which prompts the suites hold
"""

import asyncio
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated
from uuid import UUID, uuid4

import structlog
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from evals import campaign, catalogue, comparison, locking, results, run
from evals.campaign import BASELINE, Done, Held, Order
from evals.cases import DatasetBroken, Split
from evals.comparison import Compared
from evals.locking import HeldOutChanged
from evals.results import CaseResult, Engine, RunResult, Unreadable
from evals.run import Plan
from evals.suites import SUITES, Suite
from memory import settings
from memory.errors import Rendered

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


@cli.command(name="run")
def run_command(
    suites: Annotated[list[str] | None, typer.Argument(help="Suites to run; all when none is named.")] = None,
    engine: Annotated[EngineName, typer.Option(help="Who answers.")] = EngineName.rules,
    model: Annotated[str | None, typer.Option(help="One model for every question.")] = None,
    prompt: Annotated[str | None, typer.Option(help="A version to try, KEY@V; only its cases are run.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="baseline, none, a file of results, or a version KEY@V. By default the baseline, of a version to try the active one."
        ),
    ] = None,
    split: Annotated[SplitName, typer.Option(help="Which cases.")] = SplitName.all,
    limit_usd: Annotated[float, typer.Option(help="Stop before it costs more.", min=0)] = 5.0,
    concurrency: Annotated[int, typer.Option(help="Cases at a time.", min=1, max=64)] = 4,
    cache: Annotated[bool, typer.Option(help="Use what a model has answered before.")] = True,
    judge: Annotated[bool, typer.Option(help="Let a model judge too.")] = False,
    keep_baseline: Annotated[bool, typer.Option(help="Write these results as the new baseline.")] = False,
    batch: Annotated[
        UUID | None, typer.Option(help="The request in the database that this answers.", hidden=True)
    ] = None,
) -> None:
    """Run suites, print and keep their figures, and fail on a regression."""
    chosen = _chosen(suites or [])
    cases: Split | None = None if split is SplitName.all else ("dev" if split is SplitName.dev else "held_out")
    answers: Engine = "rules" if engine is EngineName.rules else "openai"
    plan = Plan(chosen, answers, model, cases, limit_usd, concurrency, cache, judge)
    base = settings.current()
    order = Order(plan, prompt, against, batch or uuid4())
    done = asyncio.run(campaign.conduct(order, base, base.data.resolve() / "evals", _progress))
    _print(done.run, done.held)
    _print_verdicts(done)
    if done.why:
        console.print(f"Kept as files only. {done.why}", highlight=False)
    console.print(f"Report: {done.page}")
    if keep_baseline:
        _keep_baseline(done.run, chosen)
    sys.exit(_verdict(done.run, done.held, is_new_baseline=keep_baseline))


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
    """Lock the held-out cases as they are now, and write which prompts the suites hold."""
    locking.write(list(SUITES.values()))
    catalogue.write(list(SUITES.values()))
    console.print(f"Locked in {locking.FILE.name}, written to {catalogue.FILE.name}.")


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


@contextmanager
def _progress(plan: Plan, name: str) -> Iterator[run.Told]:
    if name:
        console.print(f"Running {name}", highlight=False)
    columns = (TextColumn("{task.description:14}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as shown:
        counts = {suite.name: 0 for suite in plan.all_suites}
        for job in run.read_jobs(plan):
            counts[job.suite.name] += 1
        bars = {name: shown.add_task(name, total=count) for name, count in counts.items()}
        yield lambda suite, _: shown.advance(bars[suite.name])


# What came of it ----------------------------------------------------------------------------------------------------


def _print(done: RunResult, held: Held | None) -> None:
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


def _print_verdicts(done: Done) -> None:
    """Tell what a version is against another, suite by suite."""
    for one in done.held.verdicts if done.held else []:
        colour = {"improved": "green", "regressed": "red"}.get(one.verdict, "dim")
        console.print(f"[{colour}]{one.verdict:12}[/] {one.suite}: {one.reason}", highlight=False)
    if done.run.prompt and done.run.engine == "rules":
        console.print("The rules do not read prompts: this says nothing about the words.")


def _keep_baseline(done: RunResult, chosen: list[Suite]) -> None:
    whole = len(chosen) == len(SUITES) and done.split == "all" and done.engine == "rules"
    if not whole or done.stopped or done.errors:
        sys.exit("evals: a baseline is a run of every suite and case by the rules, without errors.")
    results.write_baseline(done, BASELINE)
    console.print(f"Kept as {BASELINE.name}.")


def _verdict(done: RunResult, held: Held | None, *, is_new_baseline: bool) -> int:
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
        if done.prompt and not held.reference.is_whole:
            wrong.append(f"{held.name} was not answered in full: there is no verdict.")
        wrong += [f"Regressed: {one.suite}. {one.reason}" for one in held.verdicts if one.verdict == "regressed"]
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
