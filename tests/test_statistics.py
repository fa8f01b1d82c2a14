"""Intervals, tests and corrections against hand arithmetic, SciPy, brute force and made-up data with a known truth."""

import importlib.util
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from segkit.reporting import statistics
from segkit.reporting.statistics import (
    BETTER,
    HIGHER,
    LOWER,
    UNDECIDED,
    WORSE,
    Clusters,
    Estimate,
    Interval,
    Level,
    Sample,
    expected_detectable,
    false_claim,
    holm,
    verdict,
)

SECOND = np.array([-1.0, 1.0])  # the second of two settings less the first
DEEPCRACK = [12, 17, 14, 25, 18, 16, 41, 10, 17, 20, 49, 15]  # crops of each photograph of its test split


@pytest.fixture(scope="module")
def models() -> dict[str, Any]:
    """The models of a module among the benchmarks, which are not a package."""
    path = Path(__file__).parents[1] / "benchmarks" / "null_models.py"
    spec = importlib.util.spec_from_file_location("null_models", path)
    assert spec is not None
    assert spec.loader is not None
    sys.modules["null_models"] = module = importlib.util.module_from_spec(spec)  # where dataclasses look
    spec.loader.exec_module(module)
    found: dict[str, Any] = module.MODELS
    return found


def normal(
    rng: np.random.Generator,
    effect: float = 0.0,
    seeds: int = 3,
    pictures: int = 30,
    between: float = 0.02,
    settings: int = 2,
) -> list[np.ndarray]:
    """Scores of settings: pictures of different difficulty, runs that differ, and an effect in the second setting."""
    difficulty = rng.normal(0.8, 0.1, pictures)
    found = [
        difficulty + rng.normal(0, between, (seeds, 1)) + rng.normal(0, 0.03, (seeds, pictures))
        for _ in range(settings)
    ]
    found[1] += effect
    return found


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5]) == [0.5]
    assert holm([0.6, 0.9]) == [1.0, 1.0]


def test_the_jackknife_by_hand() -> None:
    clusters = Clusters(["a", "a", "b"])
    # the mean of 1, 3 and 8 is 4; without a it is 8, without b it is 2
    assert clusters.level_of_mean(np.array([1.0, 3.0, 8.0])).variance == pytest.approx((8 - 4) ** 2 + (2 - 4) ** 2)
    assert clusters.sums(np.array([[1.0, 3.0, 8.0]])).tolist() == [[4.0, 8.0]]
    alone = Clusters(["a", "a"]).level_of_mean(np.array([1.0, 3.0]))
    assert alone.variance == np.inf  # one cluster shows nothing of how clusters differ
    assert Estimate(1.0, (alone,)).p() == 1
    assert Estimate(1.0, (alone,)).interval() == Interval(1.0, -np.inf, np.inf)


@pytest.mark.parametrize("sizes", [[1, 1, 1, 1], [3, 1, 2], DEEPCRACK, [10, 173, 17]])
def test_it_is_cr3_with_the_degrees_of_freedom_of_bell_and_mccaffrey(sizes: list[int]) -> None:
    """Against both written out as matrices, for a regression on a constant with perfect correlation within clusters."""
    labels, count = np.repeat(np.arange(len(sizes)), sizes), sum(sizes)
    values = np.random.default_rng(0).normal(0.5, 0.2, count)
    residual = np.eye(count) - 1 / count
    lines = []
    for number in range(len(sizes)):
        inside = labels == number
        adjusted = np.linalg.inv(residual[np.ix_(inside, inside)])  # CR3
        lines.append(np.ones(inside.sum()) @ adjusted @ residual[inside] / count)
    rows = np.array(lines)
    within = (labels[:, None] == labels[None, :]).astype(float)
    eigenvalues = np.linalg.eigvalsh(rows @ within @ rows.T)
    found = Clusters(labels.tolist()).level_of_mean(values)
    assert found.variance == pytest.approx(((rows @ values) ** 2).sum())
    assert found.freedom == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


def test_photographs_of_unequal_size_are_fewer_than_they_seem() -> None:
    assert Clusters(range(50)).freedom == pytest.approx(49)
    assert Clusters(np.repeat(range(12), 20).tolist()).freedom == pytest.approx(11)
    assert Clusters(np.repeat(range(12), DEEPCRACK).tolist()).freedom == pytest.approx(4.3, abs=0.05)
    assert Clusters(np.repeat(range(3), [10, 173, 17]).tolist()).freedom == pytest.approx(1, abs=0.02)


def test_of_single_runs_it_is_the_paired_t_test() -> None:
    one, other = normal(np.random.default_rng(0), 0.01, seeds=1)
    expected = stats.ttest_rel(other[0], one[0]).statistic
    found = Sample([one, other]).estimate(SECOND)
    # the jackknife divides by n - 1 where the t test divides by n
    assert found.p() == pytest.approx(2 * stats.t.sf(abs(expected) * np.sqrt(29 / 30), 29), rel=1e-4)


def test_of_pictures_that_do_not_vary_it_is_welchs_test() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0.8, 0.02, (5, 1)), rng.normal(0.82, 0.01, (4, 1))
    expected = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    found = Sample([a * np.ones((1, 40)), b * np.ones((1, 40))]).estimate(SECOND)
    assert found.p() == pytest.approx(expected.pvalue, rel=1e-4)
    low, high = expected.confidence_interval()
    assert (found.interval().low, found.interval().high) == pytest.approx((-high, -low))


def test_both_levels_meet_at_right_angles() -> None:
    levels = Level(0.03**2, 9), Level(0.04**2, 4)
    half = np.hypot(stats.t.ppf(0.975, 9) * 0.03, stats.t.ppf(0.975, 4) * 0.04)
    assert Estimate(0.1, levels).interval().high == pytest.approx(0.1 + half)


def test_interval_and_p_value_never_contradict_each_other() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        found = Estimate(rng.normal(0, 0.1), (Level(rng.uniform(0, 0.01), 7.3), Level(rng.uniform(0, 0.01), 2.5)))
        assert found.quantile(found.p() / 2) == pytest.approx(abs(found.mean), rel=1e-4)
        interval = found.interval()
        assert (found.p() < 0.05) == (not interval.low <= 0 <= interval.high)
    assert Estimate(0.0, (Level(0.0, 1),)).p() == 1
    assert Estimate(0.1, (Level(0.0, 1),)).p() == 0


def test_the_smallest_difference_by_hand() -> None:
    found = Estimate(0.5, (Level(0.01**2, 20),))
    assert found.detectable(1) == pytest.approx(0.01 * (2.086 + 0.860), abs=1e-5)  # of a table of Student's t
    assert found.detectable(10) == pytest.approx(0.01 * (3.153 + 0.860), abs=1e-5)
    # 3 seeds, 25 groups: 0.08 / 5 of groups, 0.01 √(2/3) of seeds
    half, more = (
        (stats.t.ppf(tail, 24) * 0.016, stats.t.ppf(tail, 4) * 0.01 * np.sqrt(2 / 3)) for tail in (0.975, 0.8)
    )
    assert expected_detectable(3, 25, 1) == pytest.approx(np.hypot(*half) + np.hypot(*more))


def test_the_probability_of_a_false_claim_is_that_of_claims_reloaded() -> None:
    a, b = (values[0] for values in normal(np.random.default_rng(0), 0.01, seeds=1, pictures=40))
    spread = np.sqrt(a.var(ddof=1) + b.var(ddof=1) - 2 * np.corrcoef(a, b)[0, 1] * a.std(ddof=1) * b.std(ddof=1))
    expected = stats.t.cdf(np.sqrt(40) * (a.mean() - b.mean()) / spread, 39)
    assert false_claim(b - a) == pytest.approx(expected)
    assert false_claim(a - b) == pytest.approx(expected)
    assert false_claim(np.zeros(5)) == 0.5
    assert false_claim(np.ones(5)) == 0


@pytest.mark.parametrize(
    ("name", "seeds", "clusters"),
    [
        ("skewed on one side", (3, 3), 30),
        ("tied", (3, 5), 12),
        ("ICC 0.1", (3, 3), 12),
        ("ICC 0.6", (5, 5), 30),
        ("seeds of unequal spread", (3, 3), 60),
        ("a run in ten fails", (3, 5), 12),
        ("all of it", (3, 3), 30),
    ],
)
def test_false_alarms_stay_within_five_percent(
    models: dict[str, Any], name: str, seeds: tuple[int, int], clusters: int
) -> None:
    rng = np.random.default_rng(0)
    repeats = 400
    alarms = sum(
        Sample(*models[name].draw(rng, seeds, clusters)).compare([(1, 0)])[0].outcome.verdict != UNDECIDED
        for _ in range(repeats)
    )
    assert alarms <= repeats * (0.05 + 2 * np.sqrt(0.05 * 0.95 / repeats))


def test_without_clusters_there_would_be_false_alarms(models: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    drawn = [models["ICC 0.3"].draw(rng, (1, 1), 12) for _ in range(200)]
    for with_clusters, least, most in ((False, 0.2, 1), (True, 0, 0.08)):
        p = [Sample(scores, cluster if with_clusters else None).estimate(SECOND).p() for scores, cluster in drawn]
        assert least <= np.mean(np.array(p) < 0.05) <= most


def test_intervals_hold_what_they_say(models: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(400):
        found = Sample(*models["ICC 0.3"].draw(rng, (3, 3), 30, effect=0.03)).estimate(SECOND).interval()
        held.append(found.low <= 0.03 <= found.high)
    assert np.mean(held) >= 0.93


def test_the_smallest_difference_is_found_four_times_in_five(models: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    model = models["normal"]
    size = np.mean([Sample(*model.draw(rng, (5, 5), 30)).estimate(SECOND).detectable(1) for _ in range(100)])
    found = [Sample(*model.draw(rng, (5, 5), 30, effect=size)).estimate(SECOND).p() < 0.05 for _ in range(200)]
    assert 0.72 <= np.mean(found) <= 0.92


def test_false_alarms_of_a_whole_report_stay_within_five_percent() -> None:
    rng = np.random.default_rng(0)
    factors = {"model": ["a", "a", "a", "b", "b", "b"], "loss": ["x", "y", "z"] * 2}
    pairs = list(itertools.combinations(range(6), 2))
    wrong = np.zeros(2)
    for _ in range(80):
        sample = Sample(normal(rng, settings=6))
        said = [one.outcome.verdict for one in sample.compare(pairs)]
        effects = [one.verdict for levels in sample.effects(factors).values() for one in levels.values()]
        wrong += [any(one != UNDECIDED for one in said), any(one != UNDECIDED for one in effects)]
    assert (wrong <= 80 * (0.05 + 2.5 * np.sqrt(0.05 * 0.95 / 80))).all()


def test_a_known_effect_is_found() -> None:
    rng = np.random.default_rng(0)
    found = [Sample(normal(rng, 0.08, pictures=50, between=0.01)).compare([(1, 0)])[0].outcome for _ in range(20)]
    assert sum(one.verdict == BETTER for one in found) >= 18
    assert np.mean([one.difference.mean for one in found]) == pytest.approx(0.08, abs=0.01)
    assert Sample(normal(rng, 0.2)).compare([(0, 1)])[0].outcome.verdict == WORSE


def test_with_one_seed_on_a_side_it_is_of_these_runs() -> None:
    first, second = normal(np.random.default_rng(0), 0.1, seeds=4, pictures=50)
    for one, other in ((first[:1], second[:1]), (first[:1], second), (first, second[:1])):
        sample = Sample([one, other])
        assert not sample.has_seeds(SECOND)
        assert sample.compare([(1, 0)])[0].outcome.verdict == HIGHER
        assert sample.compare([(0, 1)])[0].outcome.verdict == LOWER
        assert len(sample.estimate(SECOND).levels) == 1
    assert Sample([first[:2], second[:2]]).has_seeds(SECOND)


def test_several_comparisons_are_corrected_together() -> None:
    rng = np.random.default_rng(0)
    sample = Sample([*normal(rng, 0.1, pictures=60, between=0.005), normal(rng, pictures=60)[0]])
    found = [one.outcome for one in sample.compare([(1, 0), (2, 0), (2, 1)])]
    assert [one.adjusted for one in found] == pytest.approx(holm([one.p for one in found]))
    assert found[0].detectable > sample.compare([(1, 0)])[0].outcome.detectable
    assert sample.compare([]) == []


def test_a_difference_that_is_the_same_in_few_groups_may_be_turned_round_by_a_rare_kind() -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.6, 0.1, 60)
    runs = [difficulty + rng.normal(0, 0.01, (3, 60)) + shift for shift in (0.0, 0.05, 0.4)]
    few = Sample([values[:, :12] for values in runs])
    found = few.compare([(1, 0), (2, 0)])
    assert [one.outcome.uniform for one in found] == [True, False]  # nothing could make up for the larger one
    assert [one.outcome.verdict for one in found] == [UNDECIDED, BETTER]
    share = 1 - 0.05 ** (1 / 12)
    level = few.estimate(np.array([-1.0, 1.0, 0.0])).levels[0]
    assert level.variance == pytest.approx(found[0].outcome.difference.mean ** 2 * (1 - share) / share / 12)
    assert Sample(runs).compare([(1, 0)])[0].outcome.verdict == BETTER  # in 60 pictures it is too rare
    differs = runs[1][:, :12] + rng.normal(0, 0.03, 12)
    assert not Sample([runs[0][:, :12], differs]).compare([(1, 0)])[0].outcome.uniform


def test_gains_that_are_too_rare_to_be_among_the_pictures_are_no_false_alarm(models: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    alarms = [
        Sample(*models["rare gain"].draw(rng, (3, 3), 12)).compare([(1, 0)])[0].outcome.verdict != UNDECIDED
        for _ in range(200)
    ]
    assert np.mean(alarms) <= 0.06  # 27 % without


def test_the_models_that_false_alarms_are_counted_in_have_no_difference(models: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    for name in ("effect grows with the group", "lognormal difference", "exponential seeds on one side", "rare gain"):
        (one, other), cluster = models[name].draw(rng, (400, 400), 4000)
        each = other.mean(axis=0) - one.mean(axis=0)
        error = np.hypot(np.sqrt(Clusters(cluster).level_of_mean(each).variance), 0.03 / np.sqrt(400))
        assert abs(each.mean()) < 3 * error, name


def test_verdicts() -> None:
    assert verdict(0.1, 0.01, True) == BETTER
    assert verdict(-0.1, 0.01, True) == WORSE
    assert verdict(0.1, 0.05, True) == verdict(0.1, 0.05, False) == UNDECIDED
    assert verdict(0.1, 0.01, False) == HIGHER == statistics.OPPOSITE[verdict(-0.1, 0.01, False)]


def test_main_effects_average_over_the_other_factors() -> None:
    rng = np.random.default_rng(0)
    scores = [  # model a, a, b, b × loss x, y
        value + rng.normal(0, 0.004, 10) + rng.normal(0, 0.001, (3, 10)) for value in (0.1, 0.3, 0.2, 0.6)
    ]
    found = Sample(scores).effects({"model": ["a", "a", "b", "b"], "loss": ["x", "y", "x", "y"]})
    assert found["model"]["a"].difference.mean == pytest.approx(0.2 - 0.3, abs=0.005)
    assert found["loss"]["y"].difference.mean == pytest.approx(0.45 - 0.3, abs=0.005)
    one, other = found["model"]["a"], found["model"]["b"]
    assert (one.verdict, other.verdict) == (WORSE, BETTER)
    assert other.difference == Interval(-one.difference.mean, -one.difference.high, -one.difference.low)
    adjusted = holm([found["model"]["a"].p, found["loss"]["x"].p])  # mirrored ones are no tests of their own
    assert [found["model"]["a"].adjusted, found["loss"]["x"].adjusted] == pytest.approx(adjusted)
    three = Sample([*scores[:3]]).effects({"loss": ["x", "y", "z"]})["loss"]
    assert three["y"].difference.mean == pytest.approx(0.3 - 0.2, abs=0.005)
