"""The IoU of centre lines: by hand, against its published code, and as a metric of runs."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from conftest import TINY, segkit
from numpy.typing import NDArray
from skimage.morphology import disk, skeletonize
from torch import Tensor

from segkit.files.reading import read_json
from segkit.files.tables import read_rows
from segkit.metrics.centre_lines import CentreLineMetrics, count_pixels


def line(row: int, start: int = 0, end: int = 40) -> NDArray[np.uint8]:
    """A picture (30, 40) with a level line one pixel thick."""
    picture = np.zeros((30, 40), np.uint8)
    picture[row, start:end] = 1
    return picture


def logits_of(*masks: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.stack(masks)).float()[:, None] * 20 - 10


@pytest.mark.parametrize(
    ("found", "counts"),
    [
        (line(10), (40, 0, 0)),
        (line(14), (40, 0, 0)),  # 4 pixels away
        (line(15), (0, 40, 40)),  # 5
        (line(10, 0, 20), (24, 0, 16)),  # pixels 20 to 23 of the true line are within 4 of the predicted one's end
        (line(29) | line(10), (40, 40, 0)),
        (line(0, 0, 0), (0, 0, 40)),
    ],
)
def test_pixels_by_hand(found: NDArray[np.uint8], counts: tuple[int, int, int]) -> None:
    assert count_pixels(found > 0, line(10), 4) == counts


def test_thickness_does_not_count() -> None:
    thick = np.maximum.reduce([line(row) for row in (8, 9, 10, 11, 12)])
    tp, fp, fn = count_pixels(thick > 0, line(10), 1)
    assert (fp, fn) == (0, 40 - tp)
    assert tp >= 36  # thinning shortens the ends


def test_pixels_that_do_not_count_are_left_out() -> None:
    mask = line(10)
    mask[:, 30:] = 255
    assert count_pixels(line(20) > 0, mask, 4) == (0, 30, 30)


def published(true: NDArray[np.bool_], found: NDArray[np.bool_], tolerance: int) -> float:
    """By dilation with a disc, as its authors compute it."""
    import cv2

    thin, round_ = cast(Any, skeletonize), cast(Any, disk)  # without types
    lines = [np.asarray(thin(one), np.uint8) for one in (true, found)]
    near = [cv2.dilate(one, round_(tolerance)) for one in lines]
    tp = int((lines[0] * near[1]).sum())
    fp = int((lines[1] * (1 - near[0])).sum())
    return tp / (int(lines[0].sum()) + fp)


def test_random_masks_as_published() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        true, found = (
            torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(int(rng.integers(999)))) for _ in "ab"
        )
        true, found = (torch.nn.functional.interpolate(one, (60, 60), mode="bilinear") > 0.6 for one in (true, found))
        metric = CentreLineMetrics(0.5, 4)
        metric.update(found.float() * 20 - 10, true[:, 0].long(), torch.zeros(1, dtype=torch.int64))
        assert metric.compute()["cliou"] == pytest.approx(published(true[0, 0].numpy(), found[0, 0].numpy(), 4))


def test_sums_means_and_empty_pictures() -> None:
    nothing = line(0, 0, 0)
    ignored = np.full((30, 40), 255, np.uint8)
    found = logits_of(line(10), line(10, 0, 16), nothing, line(3), line(5))
    truth = torch.from_numpy(np.stack([line(12), line(10), nothing, nothing, ignored])).long()
    index = torch.tensor([3, 0, 1, 2, 4])
    whole = CentreLineMetrics(0.5, 4)
    whole.update(found, truth, index)
    parts = CentreLineMetrics(0.5, 4)
    for at in ([4, 2], [1], [0, 3, 1]):  # in another order, one of them twice
        parts.update(found[at], truth[at], index[at])
    # 40 of 40, 20 of 40, neither line, 40 wrong pixels; the last has no labelled pixel
    assert whole.compute() == parts.compute() == {"cliou": 60 / 120, "cliou_image": (1 + 0.5 + 1 + 0) / 4}
    assert [row["cliou"] for row in whole.per_image()] == [0.5, 1, 0, 1, None]


def test_nothing_to_score() -> None:
    assert CentreLineMetrics(0.5, 4).compute() == {}


@pytest.mark.slow
def test_a_run_and_its_evaluation_score_centre_lines(tmp_path: Path, tiny_run: Path) -> None:
    assert "test/cliou" not in read_json(tiny_run / "results.json")["metrics"]
    done = segkit(f"run={tiny_run}", "cliou=4", "pictures=0", f"hydra.run.dir={tmp_path}/out", module="evaluate")
    assert done.returncode == 0, done.stderr
    metrics = read_json(tmp_path / "out" / "results.json")["metrics"]
    rows = read_rows(tmp_path / "out" / "per_image.csv")
    assert 0 <= metrics["test/cliou"] <= 1
    assert metrics["test/cliou_image"] == pytest.approx(np.mean([float(row["cliou"]) for row in rows]))
    assert "cliou (pooled)" in done.stdout


@pytest.mark.slow
def test_the_epoch_may_be_chosen_by_centre_lines(tmp_path: Path) -> None:
    done = segkit(*TINY, "model.cliou=4", "monitor=val/cliou_image", f"hydra.run.dir={tmp_path}/run")
    assert done.returncode == 0, done.stderr
    assert "the best by val/cliou_image" in done.stdout + done.stderr
    stored = read_json(tmp_path / "run" / "results.json")["metrics"]
    assert {"val/cliou", "test/cliou", "test/cliou_image"} <= stored.keys()
