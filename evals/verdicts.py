"""
A verdict on a version of a prompt: one per suite, of all its scorers and of every case as a whole.

    regressed      the dear scorer, asked by itself, or another one, allowing for their number (Holm), is worse beyond chance
    improved       one of them is better beyond chance, and none is worse
    same           cases pass as wholes as often as before within the margin, and no dear mistake more is made
    inconclusive   the cases cannot tell
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from evals.comparison import Compared
from evals.results import CaseResult, SuiteResult
from evals.statistics import ALPHA, Comparison, Verdict, compare_passes, holm


class SuiteVerdict(BaseModel):
    """What one suite says, why in a sentence, and the figures it stands on."""

    suite: str
    verdict: Verdict
    reason: str
    detail: dict[str, Any]


def settle(after: SuiteResult, before: SuiteResult, compared: Sequence[Compared]) -> SuiteVerdict:
    """Return the verdict of one suite on what changed between two complete runs of it."""
    own = [one for one in compared if one.suite == after.name]
    others = [one for one in own if not one.dear]
    adjusted = {one.scorer: one.p for one in own if one.dear}
    adjusted |= dict(zip((one.scorer for one in others), holm([one.p for one in others]), strict=True))
    moved = {one.scorer: one for one in own if adjusted[one.scorer] < ALPHA and one.net}
    together = _together(after, before)
    worse = [one for one in moved.values() if one.net < 0]
    better = [one for one in moved.values() if one.net > 0]
    verdict = _verdict(worse, better, own, together)
    detail = {
        "scorers": [_detail(one, adjusted[one.scorer], after, before) for one in own],
        "together": _figures(together, "all scorers of a case", dear=False) | {"adjusted_p": together.p},
        "cost_usd": round(after.cost_usd, 6),
        "against_cost_usd": round(before.cost_usd, 6),
    }
    return SuiteVerdict(
        suite=after.name, verdict=verdict, reason=_reason(verdict, worse or better, own, together), detail=detail
    )


def _verdict(
    worse: Sequence[Compared], better: Sequence[Compared], own: Sequence[Compared], together: Comparison
) -> Verdict:
    if worse:
        return "regressed"
    if better:
        return "improved"
    dear_lost = any(len(one.lost) > len(one.won) for one in own if one.dear)
    return "same" if together.verdict == "same" and not dear_lost else "inconclusive"


def _together(after: SuiteResult, before: SuiteResult) -> Comparison:
    """Compare cases as wholes: one passes when every scorer that asks says so."""
    known = {case.id: case for case in before.cases}
    pairs = [
        (_passes(was), _passes(case))
        for case in after.cases
        if (was := known.get(case.id)) is not None and was.digest == case.digest and not (was.error or case.error)
    ]
    return compare_passes([was for was, _ in pairs], [now for _, now in pairs])


def _passes(case: CaseResult) -> bool:
    return all(score.passed is not False for score in case.scores.values())


def _detail(one: Compared, adjusted: float, after: SuiteResult, before: SuiteResult) -> dict[str, Any]:
    verdict = "regressed" if one.net < 0 else "improved"
    passes = _figures(one.passes, one.scorer, dear=one.dear) | {
        "p": round(one.p, 6),
        "adjusted_p": round(adjusted, 6),
        "verdict": verdict if adjusted < ALPHA and one.net else one.passes.verdict,
    }
    if one.scores is not None:
        mean, was = after.figure(one.scorer).mean, before.figure(one.scorer).mean
        passes["scores"] = _figures(one.scores, one.scorer, dear=one.dear) | {"mean": mean, "against_mean": was}
    return passes


def _figures(compared: Comparison, name: str, *, dear: bool) -> dict[str, Any]:
    return {
        "name": name,
        "dear": dear,
        "cases": compared.cases,
        "passed": compared.passed,
        "against_passed": compared.passed - compared.won + compared.lost,
        "lost": compared.lost,
        "won": compared.won,
        "p": round(compared.p, 6),
        "difference": {
            "value": round(compared.difference.value, 4),
            "low": round(compared.difference.low, 4),
            "high": round(compared.difference.high, 4),
        },
        "detectable": round(compared.detectable, 4),
        "verdict": compared.verdict,
    }


def _reason(verdict: Verdict, moved: Sequence[Compared], own: Sequence[Compared], together: Comparison) -> str:
    if verdict in ("regressed", "improved"):
        told = sorted(moved, key=lambda one: not one.dear)
        return f"{'; '.join(map(_told, told))}."
    dear = next((one for one in own if one.dear), None)
    counted = f"Of {together.cases} cases {together.lost} pass no longer and {together.won} pass now"
    mistakes = f"; {_told(dear)}" if dear is not None and (dear.lost or dear.won) else ""
    if verdict == "same":
        return f"{counted}{mistakes}: no difference that matters."
    return (
        f"{counted}{mistakes}: so few changes cannot be told from chance; "
        f"a difference of {together.detectable:.0%} would be found in four of five runs."
    )


def _told(one: Compared) -> str:
    dear = " (dear)" if one.dear else ""
    passed, cases = one.passes.passed, one.passes.cases
    before = passed - one.passes.won + one.passes.lost
    return f"{one.scorer}{dear} passes {passed} of {cases}, {before} before (p = {one.p:.3g})"
