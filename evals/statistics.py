"""
How sure a difference is. Two runs are compared on the same cases: what counts is what changed, case by case.

Pass and fail: McNemar's exact test. Scores: a bootstrap over cases. Both with fixed seeds, so that the same results give
the same verdict. "Same" is a finding too: the difference lies, as far as the cases can tell, within the margin.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["improved", "same", "regressed", "inconclusive"]
ALPHA = 0.05
MARGIN = 0.05
"""A difference of so many points is too small to matter."""
RESAMPLES = 2000
SEED = 20260301
_Z_ALPHA = 1.959963984540054
_Z_POWER = 0.8416212335729143
"""The quantiles of a two-sided 5 % error and of 80 % power."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    Two runs on the same cases. `lost` passed before and fail now, `won` the other way round; of scores, they fell and rose.

    `detectable` is the smallest true difference that so many cases would find in four of five comparisons.
    """

    verdict: Verdict
    cases: int
    lost: int
    won: int
    p: float
    difference: Interval
    detectable: float
    passed: int = 0


def mcnemar(lost: int, won: int) -> float:
    """Return the two-sided exact p of so many changes one way and the other: a fair coin thrown for each."""
    changes = lost + won
    if changes == 0:
        return 1.0
    tail = sum(math.comb(changes, k) for k in range(min(lost, won) + 1)) / 2**changes
    return min(1.0, 2 * tail)


def wilson(passed: int, of: int) -> Interval:
    """Return a share with its 95 % interval; nothing is known of no cases."""
    if of == 0:
        return Interval(0.0, 0.0, 1.0)
    share, z2 = passed / of, _Z_ALPHA**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    reach = _Z_ALPHA * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return Interval(share, max(0.0, middle - reach), min(1.0, middle + reach))


def paired_shares(lost: int, won: int, of: int) -> Interval:
    """
    Return the difference of two paired shares with its 95 % interval.

    Half a case is added to each cell (Agresti and Min), so that few cases without a change do not look like certainty.
    """
    if of == 0:
        return Interval(0.0, -1.0, 1.0)
    cases, net = of + 2, won - lost
    spread = math.sqrt(max(0.0, lost + won + 1 - net * net / cases)) / cases
    middle = net / cases
    return Interval(net / of, max(-1.0, middle - _Z_ALPHA * spread), min(1.0, middle + _Z_ALPHA * spread))


def bootstrap(differences: Sequence[float], seed: int = SEED, resamples: int = RESAMPLES) -> tuple[Interval, float]:
    """
    Return the mean with its 95 % percentile interval over resampled cases, and the two-sided p of no difference.

    The p is twice the share of resamples on the other side of nothing, one resample added so that it is never 0.
    """
    count = len(differences)
    if count == 0:
        return Interval(0.0, -1.0, 1.0), 1.0
    chance = random.Random(seed)
    means = sorted(sum(chance.choices(differences, k=count)) / count for _ in range(resamples))
    low = means[math.floor(0.025 * (resamples - 1))]
    high = means[math.ceil(0.975 * (resamples - 1))]
    across = min(sum(mean <= 0 for mean in means), sum(mean >= 0 for mean in means))
    return Interval(sum(differences) / count, low, high), min(1.0, 2 * (across + 1) / (resamples + 1))


def holm(ps: Sequence[float]) -> list[float]:
    """Return each p as it counts among its fellows (Holm): that one of many is small by chance is allowed for."""
    adjusted, least = [0.0] * len(ps), 0.0
    for rank, place in enumerate(sorted(range(len(ps)), key=lambda place: ps[place])):
        least = max(least, min(1.0, (len(ps) - rank) * ps[place]))
        adjusted[place] = least
    return adjusted


def detectable_share(cases: int, changed: float) -> float:
    """
    Return the smallest difference of paired shares found with 80 % power, when that share of the cases changes.

    Solves Connor's formula for the size of a paired sample, n = (z_a sqrt(p) + z_b sqrt(p - d^2))^2 / d^2, for d.
    """
    if cases == 0:
        return 1.0
    changed = min(1.0, max(changed, 1 / cases))
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        share = max(changed, middle)  # no more can be gained than changes
        needed = _Z_ALPHA * math.sqrt(share) + _Z_POWER * math.sqrt(max(0.0, share - middle**2))
        enough = needed**2 <= cases * middle**2
        low, high = (low, middle) if enough else (middle, high)
    return high


def detectable_mean(differences: Sequence[float]) -> float:
    """Return the smallest difference of means found with 80 % power, given how the differences spread."""
    count = len(differences)
    if count < 2:
        return 1.0
    mean = sum(differences) / count
    spread = math.sqrt(sum((one - mean) ** 2 for one in differences) / (count - 1))
    return (_Z_ALPHA + _Z_POWER) * spread / math.sqrt(count)


def compare_passes(before: Sequence[bool], after: Sequence[bool]) -> Comparison:
    """Compare two runs by what passed, case by case."""
    lost = sum(was and not now for was, now in zip(before, after, strict=True))
    won = sum(now and not was for was, now in zip(before, after, strict=True))
    cases, p = len(before), mcnemar(lost, won)
    difference = paired_shares(lost, won, cases)
    verdict = _verdict(difference, won - lost, significant=p < ALPHA)
    return Comparison(
        verdict, cases, lost, won, p, difference,
        detectable_share(cases, (lost + won) / cases if cases else 0.0), passed=sum(after),
    )  # fmt: skip


def compare_scores(before: Sequence[float], after: Sequence[float], seed: int = SEED) -> Comparison:
    """Compare two runs by their scores, case by case; `p` is that of the bootstrap."""
    differences = [now - was for was, now in zip(before, after, strict=True)]
    lost, won = sum(one < 0 for one in differences), sum(one > 0 for one in differences)
    interval, p = bootstrap(differences, seed)
    significant = interval.low > 0 or interval.high < 0
    verdict = _verdict(interval, interval.value, significant=significant)
    if verdict == "same" and len(differences) < 1 / MARGIN:
        verdict = "inconclusive"  # a handful of equal cases says little about the next ones
    return Comparison(verdict, len(differences), lost, won, p, interval, detectable_mean(differences))


def _verdict(difference: Interval, net: float, *, significant: bool) -> Verdict:
    if significant:
        return "improved" if net > 0 else "regressed"
    within = difference.low >= -MARGIN and difference.high <= MARGIN
    return "same" if within else "inconclusive"
