"""Statistics against values known from elsewhere, and verdicts on effects known beforehand."""

import random

import pytest

from evals import statistics


class TestMcNemar:
    @pytest.mark.parametrize(
        ("lost", "won", "p"),
        [
            (0, 0, 1.0),
            (0, 5, 0.0625),
            (5, 0, 0.0625),
            (0, 6, 0.03125),
            (1, 9, 22 / 1024),
            (4, 4, 1.0),
            (10, 25, 0.0166738),
        ],
    )
    def test_is_the_exact_binomial(self, lost: int, won: int, p: float):
        assert statistics.mcnemar(lost, won) == pytest.approx(p, abs=1e-7)


class TestIntervals:
    def test_wilson_is_that_of_the_textbook(self):
        share = statistics.wilson(8, 10)
        assert (share.value, share.low, share.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)

    def test_wilson_knows_nothing_of_no_cases(self):
        assert statistics.wilson(0, 0) == statistics.Interval(0.0, 0.0, 1.0)

    def test_a_paired_difference_without_changes_is_not_certain(self):
        few, many = statistics.paired_shares(0, 0, 10), statistics.paired_shares(0, 0, 1000)
        assert few.low < -0.1
        assert few.high > 0.1
        assert -0.01 < many.low < 0 < many.high < 0.01

    def test_a_bootstrap_repeats_itself(self):
        differences = [0.1, -0.2, 0.3, 0.0, 0.4] * 8
        assert statistics.bootstrap(differences) == statistics.bootstrap(differences)

    def test_a_bootstrap_comes_close_to_the_normal_interval(self):
        chance = random.Random(1)
        differences = [chance.gauss(0.2, 0.5) for _ in range(400)]
        interval, _ = statistics.bootstrap(differences)
        mean = sum(differences) / 400
        spread = (sum((one - mean) ** 2 for one in differences) / 399) ** 0.5 / 20
        assert interval.low == pytest.approx(mean - 1.96 * spread, abs=0.012)
        assert interval.high == pytest.approx(mean + 1.96 * spread, abs=0.012)


class TestDetectableDifference:
    def test_solves_connors_formula(self):
        # 100 pairs of which 20 % change: (1.95996 * sqrt(.2) + .84162 * sqrt(.2 - d^2))^2 / d^2 = 100 at d = .1238
        assert statistics.detectable_share(100, 0.2) == pytest.approx(0.1238, abs=1e-4)

    def test_shrinks_with_more_cases(self):
        assert statistics.detectable_share(400, 0.2) < statistics.detectable_share(100, 0.2) / 1.9

    def test_is_everything_without_cases(self):
        assert (statistics.detectable_share(0, 0.0), statistics.detectable_mean([])) == (1.0, 1.0)

    def test_of_means_is_2_8_standard_errors(self):
        assert statistics.detectable_mean([1.0, -1.0] * 50) == pytest.approx(2.8016 * (100 / 99) ** 0.5 / 10, abs=1e-4)

    def test_is_found_about_four_times_in_five(self):
        cases, changed = 200, 0.2
        gain = statistics.detectable_share(cases, changed)
        chance, found = random.Random(7), 0
        for _ in range(300):
            throws = [chance.random() for _ in range(cases)]
            won = sum(throw < (changed + gain) / 2 for throw in throws)
            lost = sum((changed + gain) / 2 <= throw < changed for throw in throws)
            found += statistics.mcnemar(lost, won) < statistics.ALPHA
        assert 0.68 < found / 300 < 0.88


class TestManyAtOnce:
    def test_holm_multiplies_the_smallest_by_their_number_and_keeps_their_order(self):
        assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
        assert statistics.holm([0.5, 0.6]) == [1.0, 1.0]
        assert statistics.holm([]) == []

    def test_false_alarms_stay_rare_among_eight_scorers_of_equal_runs(self):
        chance, alarms = random.Random(11), 0
        for _ in range(200):
            ps: list[float] = []
            for _ in range(8):
                changes = [chance.random() < 0.5 for _ in range(20)]
                ps.append(statistics.mcnemar(sum(changes), 20 - sum(changes)))
            alarms += any(p < statistics.ALPHA for p in statistics.holm(ps))
        assert alarms / 200 <= 0.05

    def test_the_bootstraps_p_agrees_with_its_interval(self):
        chance = random.Random(5)
        for shift in (-0.1, -0.02, 0.0, 0.02, 0.1):
            interval, p = statistics.bootstrap([shift + chance.gauss(0, 0.1) for _ in range(50)])
            assert (p < 0.05) == (interval.low > 0 or interval.high < 0) or 0.03 < p < 0.07


class TestVerdicts:
    @pytest.mark.parametrize(
        ("before", "after", "verdict"),
        [
            ([True] * 60, [True] * 60, "same"),
            ([True] * 50 + [False] * 10, [True] * 40 + [False] * 20, "regressed"),
            ([True] * 40 + [False] * 20, [True] * 50 + [False] * 10, "improved"),
            ([True] * 8, [True] * 8, "inconclusive"),
            ([True] * 40, [True] * 37 + [False] * 3, "inconclusive"),
        ],
    )
    def test_on_passes(self, before: list[bool], after: list[bool], verdict: str):
        assert statistics.compare_passes(before, after).verdict == verdict

    def test_on_scores_find_a_small_steady_effect_that_passes_do_not_show(self):
        chance = random.Random(3)
        before = [chance.uniform(0.3, 0.7) for _ in range(60)]
        after = [value - 0.04 + chance.gauss(0, 0.02) for value in before]
        assert statistics.compare_scores(before, after).verdict == "regressed"
        assert statistics.compare_scores(after, before).verdict == "improved"

    def test_on_scores_call_noise_the_same(self):
        chance = random.Random(4)
        before = [chance.uniform(0.3, 0.7) for _ in range(200)]
        after = [value + chance.gauss(0, 0.02) for value in before]
        assert statistics.compare_scores(before, after).verdict == "same"

    def test_on_a_handful_of_equal_scores_is_not_given(self):
        assert statistics.compare_scores([0.5] * 5, [0.5] * 5).verdict == "inconclusive"
