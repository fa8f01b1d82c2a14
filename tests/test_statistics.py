"""Intervals, tests and corrections against hand arithmetic, SciPy and made-up data with a known truth."""

import numpy as np
import pytest
from scipy import stats

from segkit.reporting import statistics
from segkit.reporting.statistics import Interval, Sample, holm, least_p, p_of_pictures, pooled_interval, verdict

SECOND = np.array([-1.0, 1.0])  # the second of two groups less the first
NOTHING = "not distinguishable with these data"


def made_up(rng, effect=0.0, seeds=3, pictures=30, between=0.02, noise=0.03, groups=2):
    """Groups' scores: pictures of different difficulty, runs that differ, and an effect of the second."""
    difficulty = rng.normal(0.8, 0.1, pictures)
    found = [
        difficulty + rng.normal(0, between, (seeds, 1)) + rng.normal(0, noise, (seeds, pictures)) for _ in range(groups)
    ]
    found[1] += effect
    return found


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_the_paired_permutation_test_is_exact_for_few_pictures():
    assert p_of_pictures(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)  # of 8 signings two are as extreme
    assert least_p(3) == 2 / 8
    assert p_of_pictures(np.zeros(3)) == 1.0
    assert p_of_pictures(np.ones(1)) == 1.0  # one picture tells nothing


def test_of_many_pictures_the_permutation_test_is_the_t_test():
    rng = np.random.default_rng(0)
    few = rng.normal(0.01, 0.1, statistics.PERMUTED_PICTURES)
    many = np.append(few, few.mean())
    assert p_of_pictures(many) == pytest.approx(p_of_pictures(few), abs=0.01)


def test_the_test_of_runs_is_welchs_where_pictures_do_not_vary():
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.8, 0.02, (5, 1)), rng.normal(0.82, 0.01, (4, 1))
    pictures = np.ones((1, 40))
    expected = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).pvalue
    assert Sample([a * pictures, b * pictures]).p_of_runs(SECOND) == pytest.approx(expected)
    # with a group of one run: Student's, whose variance is that of the other group
    single = stats.ttest_ind(a[:1, 0], b[:, 0], equal_var=True).pvalue
    assert Sample([a[:1] * pictures, b * pictures]).p_of_runs(SECOND) == pytest.approx(single)
    assert not Sample([a[:1] * pictures, b[:1] * pictures]).has_seeds(SECOND)


def test_a_run_alone_varies_like_the_others_in_the_interval_as_well():
    rng = np.random.default_rng(1)
    lone, several = rng.normal(0.8, 0.02, (1, 1)), rng.normal(0.82, 0.02, (30, 1))
    found = Sample([lone * np.ones((1, 40)), several * np.ones((1, 40))]).interval(SECOND)
    error = stats.t.ppf(0.975, 29) * several.std(ddof=1) * np.sqrt(1 + 1 / 30)  # Student's, of one against thirty
    assert found.high - found.mean == pytest.approx(error, rel=0.08)
    assert found.mean - found.low == pytest.approx(error, rel=0.08)
    # where pictures vary too
    first, second = made_up(np.random.default_rng(2), seeds=8, pictures=200)
    sample = Sample([first[:1], second])
    variance, freedom, _ = sample.spread(SECOND)
    found = sample.interval(SECOND)
    assert found.high - found.low == pytest.approx(2 * stats.t.ppf(0.975, freedom) * np.sqrt(variance), rel=0.08)


def test_intervals_are_those_of_theory():
    rng = np.random.default_rng(0)
    scores = rng.normal(0.8, 0.1, (1, 400))
    (found,) = Sample([scores]).means()
    error = stats.t.ppf(0.975, 399) * scores.std(ddof=1) / 20
    assert found.mean == pytest.approx(scores.mean())
    assert (found.low, found.high) == pytest.approx((scores.mean() - error, scores.mean() + error), abs=0.001)
    runs = np.repeat(rng.normal(0.8, 0.02, (50, 1)), 400, axis=1)  # no difference between pictures: of seeds alone
    error = stats.t.ppf(0.975, 49) * runs[:, 0].std(ddof=1) / np.sqrt(50)
    assert Sample([runs]).means()[0].high == pytest.approx(runs.mean() + error, abs=0.001)


@pytest.mark.parametrize(("seeds", "between"), [(2, 0.05), (3, 0.05), (5, 0.02), (1, 0.0)])
def test_intervals_hold_what_they_say_with_few_seeds(seeds, between, monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLES", 400)
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        first, second = made_up(rng, 0.03, seeds=seeds, between=between)
        found = Sample([first, second]).interval(SECOND)
        held += found.low <= 0.03 <= found.high
    assert held >= 300 * (0.95 - 2.5 * np.sqrt(0.05 * 0.95 / 300))


def test_pooled_iou_and_its_interval():
    hits, either = np.array([[10.0, 0.0], [20.0, 10.0]]), np.array([[20.0, 20.0], [40.0, 20.0]])
    found = pooled_interval(hits, either)
    assert found.mean == pytest.approx((10 / 40 + 30 / 60) / 2)
    assert 0 <= found.low < found.mean < found.high <= 1
    assert pooled_interval(np.zeros((1, 3)), np.zeros((1, 3))) == Interval(1, 1, 1)  # nothing there, nothing claimed


NULLS = [(1, 0.0), (3, 0.0), (3, 0.02), (2, 0.03), (5, 0.02)]


@pytest.mark.parametrize(("seeds", "between"), NULLS)
def test_false_alarms_stay_within_five_percent(seeds, between, quick):
    rng = np.random.default_rng(seeds)
    alarms = sum(
        Sample(made_up(rng, seeds=seeds, between=between)).compared([(1, 0)])[0].outcome.verdict != NOTHING
        for _ in range(1000)
    )
    assert alarms <= 50 + 2 * np.sqrt(1000 * 0.05 * 0.95)  # two standard errors of a thousand


@pytest.mark.parametrize(("seeds", "between"), [(1, 0.0), (3, 0.02)])
def test_false_alarms_of_a_whole_report_stay_within_five_percent(seeds, between, quick):
    rng = np.random.default_rng(seeds)
    factors = {"model": ["a", "a", "a", "b", "b", "b"], "loss": ["x", "y", "z"] * 2}
    pairs = [(one, other) for one in range(6) for other in range(one)]
    wrong = np.zeros(2)
    for _ in range(300):
        sample = Sample(made_up(rng, seeds=seeds, between=between, groups=6))
        said = [one.outcome.verdict for one in sample.compared(pairs)]
        effects = [one.verdict for levels in sample.effects(factors).values() for one in levels.values()]
        wrong += [any(one != NOTHING for one in said), any(one != NOTHING for one in effects)]
    assert (wrong <= 300 * (0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 300))).all()


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(statistics, "SAMPLES", 400)
    monkeypatch.setattr(statistics, "p_of_pictures", quick_permutation)


def quick_permutation(differences, tests=1, count=999):
    """The same test in one product, so that thousands take seconds; that it is the same is tested below."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (count, len(differences)))
    extreme = (np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12).sum()
    return (extreme + 1) / (count + 1)


def test_the_quick_permutation_is_scipys():
    rng = np.random.default_rng(3)
    for effect in (0.0, 0.01, 0.03):
        one, other = made_up(rng, effect, seeds=1)
        assert quick_permutation((one - other)[0], count=9999) == pytest.approx(
            p_of_pictures((one - other)[0]), abs=0.015
        )


def test_a_known_effect_is_found():
    rng = np.random.default_rng(0)
    found = [Sample(made_up(rng, 0.08, pictures=50, between=0.01)).compared([(1, 0)])[0].outcome for _ in range(20)]
    assert sum(one.verdict == "better" for one in found) >= 18
    assert np.mean([one.difference.mean for one in found]) == pytest.approx(0.08, abs=0.01)
    assert Sample(made_up(rng, 0.2)).compared([(0, 1)])[0].outcome.verdict == "worse"


def test_several_comparisons_are_corrected_together():
    rng = np.random.default_rng(0)
    sample = Sample([*made_up(rng, 0.1, pictures=60, between=0.005), made_up(rng, pictures=60)[0]])
    found = [one.outcome for one in sample.compared([(1, 0), (2, 0), (2, 1)])]
    assert [one.adjusted for one in found] == pytest.approx(holm([one.p for one in found]))
    assert sample.compared([]) == []


def test_a_verdict_needs_the_interval_and_the_test():
    assert verdict(Interval(0.1, 0.05, 0.15), 0.01) == "better"
    assert verdict(Interval(-0.1, -0.15, -0.05), 0.01) == "worse"
    assert verdict(Interval(0.1, -0.01, 0.2), 0.01) == verdict(Interval(0.1, 0.05, 0.15), 0.05)
    assert verdict(Interval(0.1, 0.05, 0.15), 0.05) == NOTHING


def test_main_effects_average_over_the_other_factors():
    rng = np.random.default_rng(0)
    scores = [value + rng.normal(0, 0.001, (2, 10)) for value in (0.1, 0.3, 0.2, 0.6)]  # model a, a, b, b × loss x, y
    found = Sample(scores).effects({"model": ["a", "a", "b", "b"], "loss": ["x", "y", "x", "y"]})
    assert found["model"]["a"].difference.mean == pytest.approx(0.2 - 0.3, abs=0.002)
    assert found["loss"]["y"].difference.mean == pytest.approx(0.45 - 0.3, abs=0.002)
    one, other = found["model"]["a"], found["model"]["b"]
    assert (one.verdict, other.verdict) == ("worse", "better")
    assert other.difference == Interval(-one.difference.mean, -one.difference.high, -one.difference.low)
    adjusted = holm([found["model"]["a"].p, found["loss"]["x"].p])  # mirrored ones are no tests of their own
    assert [found["model"]["a"].adjusted, found["loss"]["x"].adjusted] == pytest.approx(adjusted)
    three = Sample([*scores[:3]]).effects({"loss": ["x", "y", "z"]})["loss"]
    assert three["y"].difference.mean == pytest.approx(0.3 - 0.2, abs=0.002)
