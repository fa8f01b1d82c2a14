"""The forecast of what a grid can find, before it starts."""

from pathlib import Path

import numpy as np
import pytest
from conftest import write_pair
from made_up import write_run

from segkit.reporting import foresight
from segkit.reporting.statistics import expected_detectable

NOWHERE = Path("nowhere")


def test_the_sentence_has_the_figure_of_its_seeds_settings_and_groups() -> None:
    size = expected_detectable(3, 20, 3)
    text = foresight.describe_grid(3, 3, {"counts": [80, 10, 20]}, NOWHERE)
    assert text == (
        f"3 settings with 3 seeds on 20 independent groups of test pictures: a difference of {size:.3f} between two "
        "would be found 4 times in 5 (assuming standard deviations of 0.01 between seeds and 0.08 between groups)."
    )
    assert "on perhaps 30 independent groups" in foresight.describe_grid(3, 3, {"root": "/nowhere"}, NOWHERE)
    assert "with seed=0,1,2 it can judge settings" in foresight.describe_grid(1, 3, {}, NOWHERE)
    assert foresight.describe_grid(5, 1, {}, NOWHERE) == ""
    assert expected_detectable(5, 20, 3) < size < expected_detectable(3, 20, 10)


def test_groups_are_counted_by_names_alone(tmp_path: Path) -> None:
    for number in range(12):
        write_pair(tmp_path / "a/images", tmp_path / "a/masks", f"IMG{number // 3}-{number}", number)
        write_pair(tmp_path / "b/test/images", tmp_path / "b/test/masks", f"IMG{number // 3}-{number}", number)
        (tmp_path / "ph2" / "PH2 Dataset images" / f"IMD{number:03}").mkdir(parents=True)
    pattern = r"(IMG\d+)-"
    assert foresight.count_clusters({"root": str(tmp_path / "a"), "fractions": [0.5, 0.25, 0.25]}) == 3
    assert foresight.count_clusters({"root": str(tmp_path / "a"), "fractions": [0.5, 0, 0.5], "groups": pattern}) == 2
    assert foresight.count_clusters({"root": str(tmp_path / "b"), "groups": pattern}) == 4
    assert foresight.count_clusters({"root": str(tmp_path / "ph2"), "fractions": [0.5, 0.25, 0.25]}) == 3
    assert foresight.count_clusters({"root": "???"}) is None


def test_spreads_are_those_of_finished_runs(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.7, 0.05, 40)
    for loss in ("bce", "dice"):
        setting = difficulty + rng.normal(0, 0.03, 40)
        for seed in range(8):
            write_run(tmp_path, f"{loss}{seed}", setting + rng.normal(0, 0.02), seed=seed, loss=loss)
    elsewhere = {"dataset": {"root": "/other", "classes": ["object"]}}
    for seed in range(3):  # of other pictures, and of no other seed
        write_run(tmp_path, f"other{seed}", difficulty, seed=seed, loss="focal", config=elsewhere)
    write_run(tmp_path, "alone", difficulty, loss="focal")
    dataset = {"root": "/nowhere"}
    found = foresight.read_earlier_spreads(tmp_path, dataset)
    assert found is not None
    spreads, clusters = found
    assert clusters == 40
    assert spreads.seeds == pytest.approx(0.02, abs=0.008)
    assert spreads.clusters == pytest.approx(0.03 * np.sqrt(2), abs=0.01)
    assert f"(from the spreads of 16 finished runs in {tmp_path})" in foresight.describe_grid(3, 2, dataset, tmp_path)
    assert foresight.read_earlier_spreads(tmp_path / "bce0", dataset) is None
    assert foresight.read_earlier_spreads(tmp_path, dataset | {"split_seed": 1}) is None
