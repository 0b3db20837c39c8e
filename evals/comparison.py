"""
A run held against another, scorer by scorer, on the cases that both have and that have not been changed since.

The rules have no luck: asked the same, they answer the same, so a scorer that passes fewer cases than before has become
worse, and the gate closes. Models are compared by statistics, and the gate closes on what is beyond chance.
"""

from dataclasses import dataclass

from evals.results import CaseResult, RunResult, ScoreKept, SuiteResult
from evals.statistics import Comparison, compare_passes, compare_scores


@dataclass(frozen=True)
class Compared:
    """One scorer in both runs. `scores` compares the values where they are more than pass and fail."""

    suite: str
    scorer: str
    dear: bool
    passes: Comparison
    scores: Comparison | None
    lost: list[str]
    won: list[str]
    exact: bool

    @property
    def p(self) -> float:
        """How easily chance would do as much: by the scores where they are more than pass and fail."""
        return self.scores.p if self.scores else self.passes.p

    @property
    def net(self) -> float:
        """Which way it went: below nothing is worse."""
        return self.scores.difference.value if self.scores else float(len(self.won) - len(self.lost))

    @property
    def regressed(self) -> bool:
        """Whether the gate closes on this."""
        if self.exact:
            return len(self.lost) > len(self.won)
        return "regressed" in (self.passes.verdict, self.scores.verdict if self.scores else "")

    @property
    def verdict(self) -> str:
        """The verdict in a word; an exact loss or gain is one, however few the cases."""
        if self.exact:
            net = len(self.won) - len(self.lost)
            return "regressed" if net < 0 else "improved" if net > 0 else "same"
        return "regressed" if self.regressed else self.passes.verdict


def compare(run: RunResult, reference: RunResult) -> list[Compared]:
    """Return the comparison of every scorer that both runs have answers of."""
    exact = run.engine == reference.engine == "rules"
    found: list[Compared] = []
    for suite in run.suites:
        before = reference.find(suite.name)
        if before is not None:
            found += [
                compared for scorer in suite.questions if (compared := _compared(suite, before, scorer, exact=exact))
            ]
    return found


def _compared(suite: SuiteResult, before: SuiteResult, scorer: str, *, exact: bool) -> Compared | None:
    known = {case.id: case for case in before.cases}
    pairs: list[tuple[str, ScoreKept, ScoreKept]] = []
    for case in suite.cases:
        was, now = _asked(known.get(case.id), case, scorer), case.scores.get(scorer)
        if was is not None and now is not None and now.passed is not None:
            pairs.append((case.id, was, now))
    if not pairs:
        return None
    passes = compare_passes([bool(was.passed) for _, was, _ in pairs], [bool(now.passed) for _, _, now in pairs])
    values = [(was.value, now.value) for _, was, now in pairs if was.value is not None and now.value is not None]
    graded = any(value not in (0.0, 1.0) for pair in values for value in pair)
    return Compared(
        suite=suite.name,
        scorer=scorer,
        dear=scorer == suite.dear,
        passes=passes,
        scores=compare_scores([was for was, _ in values], [now for _, now in values]) if graded else None,
        lost=[id for id, was, now in pairs if was.passed and not now.passed],
        won=[id for id, was, now in pairs if now.passed and not was.passed],
        exact=exact,
    )


def _asked(before: CaseResult | None, case: CaseResult, scorer: str) -> ScoreKept | None:
    """Return the score of before, if it was for the same question."""
    if before is None or before.digest != case.digest:
        return None
    score = before.scores.get(scorer)
    return score if score is not None and score.passed is not None else None


def unpaired(run: RunResult, reference: RunResult) -> tuple[int, int]:
    """Return how many cases are new or changed, and how many of the same suites and splits are gone."""
    fresh = gone = 0
    for suite in run.suites:
        before = reference.find(suite.name)
        known = {case.id: case.digest for case in before.cases} if before else {}
        fresh += sum(known.get(case.id) != case.digest for case in suite.cases)
        here, splits = {case.id for case in suite.cases}, {case.split for case in suite.cases}
        gone += sum(case.id not in here for case in (before.cases if before else []) if case.split in splits)
    return fresh, gone
