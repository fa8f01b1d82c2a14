"""Average precision and the area under the ROC curve, with each cluster of samples left out."""

import time
from typing import Any

import numpy as np
import pytest

from segkit.reporting.ranking import auroc, auroc_without_each, average_precision, precision_without_each

BOTH = [(average_precision, precision_without_each), (auroc, auroc_without_each)]


@pytest.mark.parametrize(("score", "without_each"), BOTH)
@pytest.mark.parametrize("draw", ["alone", "small", "few", "one large", "empty ones"])
def test_it_is_what_computing_again_without_each_cluster_gives(score: Any, without_each: Any, draw: str) -> None:
    rng = np.random.default_rng(0)
    for trial in range(40):
        count = int(rng.integers(2, 80))
        cluster = {
            "alone": np.arange(count),
            "small": rng.integers(0, count, count),
            "few": rng.integers(0, 3, count),
            "one large": np.where(rng.random(count) < 0.6, 0, np.arange(count)),
            "empty ones": 5 * rng.integers(0, 4, count),
        }[draw]
        clusters = int(cluster.max()) + 1
        truth = rng.random(count) < rng.choice([0.05, 0.5, 0.95])
        probability = rng.random(count).round(int(trial % 4))  # with ties, many or none
        expected = [score(truth[cluster != one], probability[cluster != one]) for one in range(clusters)]
        assert without_each(truth, probability, cluster, clusters) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("score", "without_each"), BOTH)
@pytest.mark.parametrize("size", [1, 100, 20_000])
def test_many_samples_take_a_second_however_they_belong_together(score: Any, without_each: Any, size: int) -> None:
    rng = np.random.default_rng(0)
    count = 20_000
    cluster = rng.permutation(np.arange(count) // size)
    truth, probability = rng.random(count) < 0.3, rng.random(count).round(4)
    started = time.process_time()
    left_out = without_each(truth, probability, cluster, count // size)
    assert time.process_time() - started < 2
    for one in (0, count // size - 1):
        assert left_out[one] == pytest.approx(score(truth[cluster != one], probability[cluster != one]), nan_ok=True)
