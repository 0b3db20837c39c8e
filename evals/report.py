"""
A run as one page: verdicts, figures, comparison, confusion, failures, quality over versions and against cost. No
scripts, nothing from elsewhere.

Held-out cases are counted and not shown: whoever reads why they fail begins to write for them.
"""

from collections.abc import Sequence
from html import escape

from evals import plots
from evals.comparison import Compared
from evals.results import CaseResult, Figure, RunResult, SuiteResult
from evals.verdicts import SuiteVerdict

STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --soft: #66717f; --line: #d9dee5; --back: #fff; --good: #2b7a4b; --bad: #b3362c; --mark: #2f5fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #97a3b2; --line: #343d49; --back: #14181e; --good: #5fbf87; --bad: #ee7b70; --mark: #7da7f0; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1rem; color: var(--soft); } p.about { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; } .dear { font-weight: 600; } .improved { color: var(--good); } .regressed, .error { color: var(--bad); }
.same, .inconclusive { color: var(--soft); } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg { height: auto; } h1, h2 { overflow-wrap: anywhere; }
svg .axis { stroke: var(--line); } svg .bar { fill: var(--mark); } svg .reach { stroke: var(--ink); } svg .soft { fill: var(--soft); }
svg .was { stroke: var(--soft); stroke-dasharray: 3 2; } svg .path { fill: none; stroke: var(--mark); stroke-width: 1.5; }
svg .other { stroke: var(--soft); stroke-dasharray: 4 3; } svg circle.other { fill: var(--soft); stroke: none; } a { color: var(--mark); }
"""


def render(
    run: RunResult,
    reference: RunResult | None,
    compared: Sequence[Compared],
    history: Sequence[RunResult],
    verdicts: Sequence[SuiteVerdict] = (),
) -> str:
    """Return the page for one run: beside it what it was held against, the verdicts, and the runs before it."""
    parts = [
        f"<h1>Evals: {escape(run.label)}</h1>",
        f"<p>{run.started_at:%Y-%m-%d %H:%M} UTC, {escape(run.split)} cases, {run.seconds:.1f} s, {run.cost_usd:.4f} USD</p>",
        f'<p class="error">Not complete: {escape(run.stopped)}</p>' if run.stopped else "",
        f'<p class="error">{run.errors} cases have no answer.</p>' if run.errors else "",
        f'<p class="error">Not heard: {escape(run.distrusted)}.</p>' if run.distrusted else "",
        _verdicts(verdicts, reference),
        *(_suite(suite, reference, compared) for suite in run.suites),
        _versions(run, reference, history),
        _history(run, history),
        _cost(run, reference, history),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evals: {escape(run.label)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _verdicts(verdicts: Sequence[SuiteVerdict], reference: RunResult | None) -> str:
    """Tell first what the run was made for: what a version is against another, suite by suite."""
    if not verdicts or reference is None:
        return ""
    rows = "".join(
        f'<tr><td><a href="#{escape(one.suite)}">{escape(one.suite)}</a></td>'
        f'<td class="{one.verdict}">{one.verdict}</td><td>{escape(one.reason)}</td></tr>'
        for one in verdicts
    )
    head = "<tr><th>suite</th><th>verdict</th><th>why</th></tr>"
    note = (
        "<p>The rules do not read prompts: these verdicts say nothing about the words.</p>"
        if reference.engine == "rules"
        else ""
    )
    against = escape(reference.prompt or reference.label)
    return f'<h2>Against {against}</h2>{note}<div class="wide"><table>{head}{rows}</table></div>'


def _suite(suite: SuiteResult, reference: RunResult | None, compared: Sequence[Compared]) -> str:
    before = reference.find(suite.name) if reference else None
    own = {one.scorer: one for one in compared if one.suite == suite.name}
    return "\n".join([
        f'<h2 id="{escape(suite.name)}">{escape(suite.name)}</h2>',
        f'<p class="about">{escape(suite.about)} {len(suite.cases)} cases.</p>',
        _drawn(plots.bars([(figure.scorer, figure.share, _was(before, figure.scorer)) for figure in _figures(suite)])),
        _table(suite, own),
        *(_confusion(suite, scorer) for scorer in suite.questions),
        _failures(suite, own),
    ])  # fmt: skip


def _figures(suite: SuiteResult) -> list[Figure]:
    return [figure for scorer in suite.questions if (figure := suite.figure(scorer)).of]


def _was(before: SuiteResult | None, scorer: str) -> float | None:
    figure = before.figure(scorer) if before else None
    return figure.share.value if figure and figure.of else None


def _table(suite: SuiteResult, compared: dict[str, Compared]) -> str:
    rows = [
        "<tr>"
        f"<td{_class('dear', scorer == suite.dear)}>{escape(scorer)}</td><td>{escape(suite.questions[scorer])}</td>"
        f'<td class="n">{figure.passed}/{figure.of}</td>'
        f'<td class="n">{"" if figure.mean is None else f"{figure.mean:.3f}"}</td>{_verdict(compared.get(scorer))}</tr>'
        for scorer in suite.questions
        if (figure := suite.figure(scorer)).of
    ]
    head = "<tr><th>scorer</th><th>question</th><th>passed</th><th>mean</th><th>verdict</th><th>p</th><th>difference</th><th>detectable</th></tr>"
    return f'<div class="wide"><table>{head}{"".join(rows)}</table></div>'


def _class(name: str, given: bool) -> str:
    return f' class="{name}"' if given else ""


def _verdict(compared: Compared | None) -> str:
    if compared is None:
        return "<td>not compared</td><td></td><td></td><td></td>"
    passes = compared.passes
    reach = f"{passes.difference.value:+.1%} ({passes.difference.low:+.1%} to {passes.difference.high:+.1%})"
    changes = f" +{len(compared.won)} -{len(compared.lost)}" if compared.won or compared.lost else ""
    return (
        f'<td class="{compared.verdict}">{compared.verdict}{changes}</td><td class="n">{_p(compared.p)}</td>'
        f'<td class="n">{reach}</td><td class="n">{passes.detectable:.1%}</td>'
    )


def _p(p: float) -> str:
    return "&lt; 0.001" if p < 0.001 else f"{p:.3f}"


def _drawn(plot: str) -> str:
    """Let a plot scroll by itself where the page is narrow: its words stay readable."""
    return f'<div class="wide">{plot}</div>'


def _confusion(suite: SuiteResult, scorer: str) -> str:
    counts = suite.confusion(scorer)
    names = sorted({name for pair in counts for name in pair})
    if len(names) < 2:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    rows = "".join(
        f"<tr><th>{escape(meant)}</th>"
        + "".join(f'<td class="n">{counts[meant, said] or ""}</td>' for said in names)
        + "</tr>"
        for meant in names
    )
    return f'<h3>{escape(scorer)}: should be (rows), is (columns)</h3><div class="wide"><table><tr><th></th>{head}</tr>{rows}</table></div>'


def _failures(suite: SuiteResult, compared: dict[str, Compared]) -> str:
    """List what failed, errors first, then what was lost, the dear mistakes before the others."""
    lost = {(id, scorer) for scorer, one in compared.items() for id in one.lost}
    rows = [
        f'<tr><td>{_name(case)}</td><td class="error">error</td><td>{escape(case.error)}</td></tr>'
        for case in suite.errors
        if case.error
    ]
    failed = [
        (case, scorer)
        for case in suite.cases
        for scorer, score in case.scores.items()
        if score.passed is False and case.split == "dev"
    ]
    failed.sort(key=lambda one: ((one[0].id, one[1]) not in lost, one[1] != suite.dear))
    for case, scorer in failed:
        mark = f'<span class="{_class_of(scorer, suite)}">{escape(scorer)}</span>' + (
            ' <span class="regressed">lost</span>' if (case.id, scorer) in lost else ""
        )
        rows.append(f"<tr><td>{_name(case)}</td><td>{mark}</td><td>{escape(case.scores[scorer].explanation)}</td></tr>")
    held = sum(
        any(score.passed is False for score in case.scores.values()) for case in suite.cases if case.split == "held_out"
    )
    note = f"<p>{held} held-out cases fail; they are counted and not shown.</p>" if held else ""
    if not rows:
        return note
    return f'<h3>Failures</h3><div class="wide"><table><tr><th>case</th><th>scorer</th><th>why</th></tr>{"".join(rows)}</table></div>{note}'


def _class_of(scorer: str, suite: SuiteResult) -> str:
    return "dear" if scorer == suite.dear else ""


def _name(case: CaseResult) -> str:
    return f"<b>{escape(case.id)}</b><br>{escape(case.why)}" if case.split == "dev" else "<i>held out</i>"


# Over versions and runs ----------------------------------------------------------------------------------------------------------


def quality(run: RunResult, suite: str | None = None) -> float | None:
    """Return the share passed over every question asked, of one suite or of all."""
    chosen = [found for found in run.suites if suite in (None, found.name)]
    scores = [score.passed for found in chosen for case in found.cases for score in case.scores.values()]
    asked = [passed for passed in scores if passed is not None]
    return sum(asked) / len(asked) if asked else None


def _versions(run: RunResult, reference: RunResult | None, history: Sequence[RunResult]) -> str:
    """Draw each suite over the versions of its prompts, a line for each who answers; the newest run of each counts."""
    drawn: list[str] = []
    every = [*history, *([reference] if reference else []), run]
    for suite in run.suites:
        points = _points(suite.name, run.split, every)
        if len({words for words, _ in points}) > 1:
            drawn.append(_drawn(plots.versions(suite.name, points)))
    return "<h2>Over versions</h2>\n" + "\n".join(drawn) if drawn else ""


def _points(name: str, split: str, runs: Sequence[RunResult]) -> dict[tuple[str, str], float]:
    """Return the share passed by (versions, who answers), in the order in which the versions were first run."""
    points: dict[tuple[str, str], float] = {}
    for one in runs:
        found = one.find(name)
        share = quality(one, name)
        if found is None or share is None or one.split != split or one.stopped or not found.words:
            continue
        who = one.engine if one.engine == "rules" else one.model
        points[found.words, who] = share
    return points


def _history(run: RunResult, history: Sequence[RunResult]) -> str:
    alike = [one for one in history if (one.label, one.split) == (run.label, run.split) and not one.stopped][-19:]
    runs = [*alike, run]
    lines = [
        (suite.name, [value for one in runs if (value := quality(one, suite.name)) is not None]) for suite in run.suites
    ]
    drawn = [_drawn(plots.line(name, values)) for name, values in lines if len(values) > 1]
    return "<h2>Over runs</h2>\n" + "\n".join(drawn) if drawn else ""


def _cost(run: RunResult, reference: RunResult | None, history: Sequence[RunResult]) -> str:
    """Draw what the newest run of each engine, model and version cost, against what it is worth, on the same suites."""
    names = {suite.name for suite in run.suites}
    every = [_within(one, names) for one in [*([reference] if reference else []), *history, run]]
    alike = [one for one in every if len(one.suites) == len(names) and one.split == run.split and not one.stopped]
    newest = {one.label: one for one in alike}
    points = [
        (label, sum(suite.cost_usd for suite in one.suites), value)
        for label, one in newest.items()
        if (value := quality(one)) is not None
    ]
    return f"<h2>Cost against quality</h2>\n{_drawn(plots.scatter(points))}" if points else ""


def _within(run: RunResult, names: set[str]) -> RunResult:
    return run.model_copy(update={"suites": [suite for suite in run.suites if suite.name in names]})
