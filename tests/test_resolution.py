"""Whether a split has pictures enough to show a small difference."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import write_run
from scipy import stats

from segkit.configs.moved import update_names
from segkit.files.reading import read_yaml
from segkit.reporting.resolution import (
    ALIKE,
    count_needed,
    describe_resolution,
    expect_difference,
    read_spread,
    summarise_resolution,
)

DATASET = {"root": "/nowhere"}


def names(count: int, each: int = 1) -> list[str]:
    return [str(number // each) for number in range(count * each)]


def test_the_rule_by_hand() -> None:
    found = describe_resolution({"test": names(30)}, DATASET)[0]
    by_hand = (stats.t.ppf(0.975, 29) + stats.t.ppf(0.8, 29)) * 0.08 / 30**0.5
    assert found.detectable == pytest.approx(by_hand)
    assert found.needed == 128  # about (2.8 · 0.08 / 0.02)²
    assert expect_difference(128, 0.08) <= 0.02 < expect_difference(127, 0.08)
    assert not found.is_enough
    assert found.sentence == (
        f"test: 30 pictures, too few for a difference of 0.02 IoU: one of {by_hand:.3f} is found 4 times in 5, and "
        "0.02 takes about 128 pictures (assuming a standard deviation of 0.08 between pictures of the difference of "
        "two settings)"
    )
    enough = describe_resolution({"val": names(128)}, DATASET)[0]
    assert enough.is_enough
    assert "val: 128 pictures, enough to find a difference of 0.02 IoU 4 times in 5" in enough.sentence
    assert describe_resolution({"val": names(30)}, DATASET, wanted=0.05)[0].is_enough


def test_a_line_for_all_splits() -> None:
    few = describe_resolution({"val": ["a"], "test": names(30)}, DATASET)
    found = f"val / test show differences of none / {few[1].detectable:.3f} IoU or more, 0.02 takes 128 pictures"
    assert summarise_resolution(few) == found
    alone = [one._replace(detectable=2.0, needed=10**6) for one in few]
    assert summarise_resolution(alone) == "val / test are too few pictures to show any difference"
    assert "0.02 takes more than 1,000,000 pictures" in alone[1].sentence
    many = describe_resolution({"val": names(130), "test": names(200)}, DATASET)
    assert summarise_resolution(many) == "val and test are large enough for differences of 0.02 IoU"


def test_groups_are_counted_not_pictures() -> None:
    grouped, single = describe_resolution({"val": names(10, 5), "test": names(10)}, DATASET)
    assert (grouped.groups, grouped.pictures, grouped.effective) == (10, 50, 10)
    assert grouped.detectable == single.detectable
    assert grouped.sentence.startswith("val: 10 groups of 50 pictures, too few")
    (uneven,) = describe_resolution({"val": ["a"] * 173 + ["b"] * 20 + ["c"] * 7}, DATASET)
    assert uneven.effective == pytest.approx(200**2 / (173**2 + 20**2 + 7**2))
    assert "3 groups of 200 pictures, which count as 1.3 of equal size, too few" in uneven.sentence
    assert "not even the largest possible, 1, is found" in uneven.sentence
    (alone,) = describe_resolution({"val": ["a"]}, DATASET)
    assert alone.sentence.startswith("val: 1 picture, too few")
    assert describe_resolution({"val": []}, DATASET)[0].effective == 0


def test_the_spread_is_that_of_earlier_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.7, 0.1, 60)
    write_run(tmp_path, "one", difficulty, loss="dice")
    found = read_spread(tmp_path, DATASET)
    assert found is not None
    assert found[0] == pytest.approx(difficulty.std(ddof=1) * (60 / 59 * 2 * (1 - ALIKE)) ** 0.5)  # jackknife
    assert found[1] == f"from the spread of the test scores of {tmp_path / 'one'}"
    for number in range(3):
        write_run(tmp_path / "more", f"run{number}", difficulty + rng.normal(0, 0.03, 60), loss="bce", seed=number)
    found = read_spread(tmp_path, DATASET)
    assert found is not None
    assert found[0] == pytest.approx(0.03 * 2**0.5, abs=0.012)
    (test,) = describe_resolution({"test": names(60)}, DATASET, tmp_path)
    assert (test.spread, test.needed) == (found[0], count_needed(0.02, found[0]))
    assert f"(from the differences of 4 runs in {tmp_path})" in test.sentence
    assert read_spread(tmp_path, DATASET | {"split_seed": 1}) is None
    assert read_spread(tmp_path / "nowhere", DATASET) is None


def test_it_is_light() -> None:
    code = "import sys, segkit.reporting.resolution; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_kept_runs_are_near_the_rule() -> None:
    """0.08 is assumed where nothing is known; PH² has 50 test pictures and seven runs in the repository."""
    runs = Path(__file__).parents[1] / "benchmarks" / "runs"
    dataset = update_names(read_yaml(runs / "ph2" / "ph2_unet_bce-0" / "config.yaml"))["dataset"]
    found = read_spread(runs, dataset)
    assert found is not None
    assert 0.05 < found[0] < 0.09
