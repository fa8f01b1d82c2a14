"""Calibration: threshold, temperature and smallest object, chosen on validation."""

import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import results, segkit

from segkit.evaluation.calibration import (
    AREAS,
    STEPS,
    Goal,
    Seen,
    choose_threshold,
    count_areas,
    count_thresholds,
    measure_reliability,
)
from segkit.files.reading import read_checkpoint
from segkit.geometry.objects import find_small
from segkit.inference.predictor import Predictor
from segkit.metrics.calibration import (
    BINS,
    TEMPERATURES,
    Counts,
    Reliability,
    choose_candidate,
    choose_temperature,
    error_interval,
    iou_of,
    measure_surprise,
    rates_of,
    sort_by_confidence,
)
from segkit.runs.loading import load
from segkit.tasks.deciding import set_calibration


def draw_logits(temperature: float, classes: int, pixels: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are so many times too large for the truth that is drawn from them."""
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (classes, pixels))
    if classes == 1:
        truth = (draw.random(pixels) < 1 / (1 + np.exp(-logits[0]))).astype(int)
    else:
        truth = (logits + draw.gumbel(size=logits.shape)).argmax(0)  # a draw from the softmax
    return temperature * logits, truth


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_with_which_logits_were_made_is_found(temperature: float, classes: int) -> None:
    logits, truth = draw_logits(temperature, classes)
    parts = np.split(logits, 10, 1), np.split(truth, 10)
    surprise = np.stack([measure_surprise(*part) for part in zip(*parts, strict=True)])
    assert choose_temperature(surprise, np.full(10, 4000.0), range(10)) == pytest.approx(temperature, rel=0.07)
    assert choose_temperature(surprise, np.full(10, 4000.0), [0] * 10) == 1.0  # one group tells nothing


@pytest.mark.parametrize("classes", [1, 4])
def test_surprise_is_the_cross_entropy(classes: int) -> None:
    logits, truth = draw_logits(1.0, classes, 50)
    at = int(np.abs(TEMPERATURES - 2).argmin())
    scaled = torch.from_numpy(logits / TEMPERATURES[at])
    if classes == 1:
        expected = F.binary_cross_entropy_with_logits(scaled[0], torch.from_numpy(truth).double(), reduction="sum")
    else:
        expected = F.cross_entropy(scaled.T, torch.from_numpy(truth), reduction="sum")
    assert measure_surprise(logits, truth)[at] == pytest.approx(float(expected))


def test_a_calibration_error_by_hand() -> None:
    # 2 pixels of 0.9, one of them foreground; 2 of 0.1, none: |0.9 − 0.5| · 2/4 + |0.1 − 0| · 2/4
    found = sort_by_confidence(np.array([[0.9, 0.9, 0.1, 0.1]]), np.array([1, 0, 0, 0]))
    assert found.pixels.sum() == 4
    assert np.flatnonzero(found.pixels).tolist() == [int(0.1 * BINS), int(0.9 * BINS)]
    assert found.sum().error() == pytest.approx(0.25)
    several = sort_by_confidence(np.array([[0.6, 0.2], [0.4, 0.8]]), np.array([0, 0]))
    assert several.sum().error() == pytest.approx((0.4 + 0.8) / 2)


def test_the_foreground_is_not_hidden_by_a_certain_background() -> None:
    probabilities = np.concatenate([np.full(980, 0.001), np.full(20, 0.9)])[None]
    truth = np.concatenate([np.zeros(980, int), np.ones(10, int), np.zeros(10, int)])
    found = sort_by_confidence(probabilities, truth).sum()
    assert found.error() == pytest.approx(0.4 * 0.02 + 0.001 * 0.98)
    assert found.error_above(0.5) == pytest.approx(0.4)


def test_rates_by_hand() -> None:
    counts = Counts(np.array([[2.0], [0.0]]), np.array([[2.0], [0.0]]), np.array([4.0, 0.0]))
    pooled = {name: float(value[0]) for name, value in rates_of(counts, True).items()}
    assert pooled == pytest.approx({"iou": 2 / 6, "dice": 0.5, "precision": 0.5, "recall": 0.5})
    each = {name: float(value[0]) for name, value in rates_of(counts, False).items()}
    assert each == pytest.approx({"iou": (2 / 6 + 1) / 2, "dice": 0.75, "precision": 0.75, "recall": 0.75})


def test_cooling_lowers_the_error_of_overconfident_pixels() -> None:
    logits, truth = draw_logits(3.0, 1)
    one = Seen(logits.reshape(1, 200, 200).astype(np.float16), truth.reshape(200, 200).astype(np.uint8), 0)
    before, after = (measure_reliability([one], heat).sum().error() for heat in (1.0, 3.0))
    assert after < 0.2 * before


def test_the_interval_of_the_error_is_that_of_its_groups() -> None:
    """Four pictures of one group that are half wrong, and four single ones that are right: the error is 0.25 if each
    picture counts alone, and 0 to 0.5 if groups are drawn."""
    probabilities, mask = np.full((1, 100), 0.9999), np.ones(100, int)
    wrong, right = mask * (np.arange(100) % 2), mask
    each = [sort_by_confidence(probabilities, truth) for truth in [wrong] * 4 + [right] * 4]
    stacked = Reliability(*(np.stack(values) for values in zip(*each, strict=True)))
    assert stacked.sum().error() == pytest.approx(0.25, abs=1e-3)
    low, high = error_interval(stacked, [0] * 4 + [1, 2, 3, 4])
    assert low == pytest.approx(0, abs=1e-3)
    assert high == pytest.approx(0.46, abs=0.05)
    narrow = error_interval(stacked, range(8))
    assert narrow[1] - narrow[0] < high - low


def picture(rows: list[list[float]], mask: list[list[int]], group: int = 0) -> Seen:
    return Seen(np.array([rows], dtype=np.float16), np.array(mask, dtype=np.uint8), group)


def test_thresholds_are_counted_by_hand() -> None:
    half = picture([[0.0, 2.0, -2.0, 5.0]], [[1, 1, 0, 255]])  # 0.5, 0.88, 0.12, and one that does not count
    counts = count_thresholds([half], 1.0)
    assert counts.truth.tolist() == [2]
    assert counts.tp[0, [10, 49, 50, 88, 89]].tolist() == [2, 2, 1, 1, 0]  # above, so 0.5 is not found at 0.5
    assert counts.fp[0, [10, 11, 12]].tolist() == [1, 1, 0]
    cooled = count_thresholds([half], 2.0)  # 0.5, 0.73, 0.27
    assert cooled.tp[0, [50, 73, 74]].tolist() == [1, 1, 0]


def test_the_best_threshold_is_taken_if_the_pictures_agree() -> None:
    """Foreground at 0.31 and background at 0.29 and below: 0.3 alone separates them, in every picture."""
    high, low = np.log(0.31 / 0.69), np.log(0.29 / 0.71)
    agree = [picture([[high, low, -9.0]], [[1, 0, 0]], group) for group in range(8)]
    counts = count_thresholds(agree, 1.0)
    assert choose_threshold(counts, range(8), Goal()) == 30
    assert choose_threshold(counts, range(8), Goal(pooled=False)) == 30
    assert choose_threshold(counts, [0] * 8, Goal()) == STEPS // 2  # one group cannot tell


def test_a_threshold_that_is_better_by_luck_is_not_taken() -> None:
    """One picture of eight is better at 0.3, and another one worse: the mean gains less than its standard error."""
    gain = picture([[np.log(0.4 / 0.6)] * 30 + [9.0] * 70], [[1] * 100], 0)
    loss = picture([[np.log(0.4 / 0.6)] * 20 + [9.0] * 80], [[0] * 20 + [1] * 80], 1)
    same = [picture([[9.0] * 100], [[1] * 100], group) for group in range(2, 8)]
    assert choose_threshold(count_thresholds([gain, loss, *same], 1.0), range(8), Goal()) == STEPS // 2


def test_wanted_precision_and_recall() -> None:
    logits = [np.log(p / (1 - p)) for p in (0.905, 0.705, 0.505, 0.305, 0.105)]
    counts = count_thresholds([picture([logits], [[1, 1, 0, 1, 0]])], 1.0)
    at = choose_threshold(counts, [0], Goal(precision=0.7))
    assert counts.tp[0, at] == 3  # 3 of 4 found are right, and none is missed
    at = choose_threshold(counts, [0], Goal(precision=0.9))
    assert (counts.tp[0, at], counts.fp[0, at]) == (2, 0)
    at = choose_threshold(counts, [0], Goal(recall=0.6))
    assert (counts.tp[0, at], counts.fp[0, at]) == (2, 0)
    worse = count_thresholds([picture([[3.0, 2.0]], [[0, 1]])], 1.0)
    with pytest.raises(ValueError, match=r"no threshold gives a precision of 0\.9 .*, 0\.500 at most: ask for less"):
        choose_threshold(worse, [0], Goal(precision=0.9))


def test_small_objects_are_counted_and_left_out() -> None:
    mask = np.zeros((12, 40), np.uint8)
    mask[2:10, 2:10] = 1  # 64 pixels
    logits = np.where(mask > 0, 5.0, -5.0)
    logits[2:4, 20:23] = 5.0  # 6 pixels that are wrong
    logits[8, 30] = 5.0
    counts = count_areas([Seen(logits[None].astype(np.float16), mask, 0)], 1.0, 0.5)
    assert counts.tp[0].tolist() == [64 if area <= 64 else 0 for area in AREAS]
    assert counts.fp[0].tolist() == [{0: 7, 4: 6}.get(area, 0) for area in AREAS]
    found = torch.from_numpy(logits[None] > 0)
    assert (found & ~find_small(found, 8))[0].sum() == 64
    assert not find_small(found, 1).any()


def test_of_equal_ways_the_usual_one_is_chosen() -> None:
    counts = Counts(np.full((3, 4), 5.0), np.zeros((3, 4)), np.full(3, 5.0))
    assert choose_candidate(counts, [0, 1, 2], iou_of, True, np.array([3.0, 1.0, 0.0, 2.0])) == 2


def test_a_training_calibrates_and_every_later_command_knows(tmp_path: Path) -> None:
    drawn = ["dataset=synthetic", "dataset.size=32", "dataset.counts=[8,8,4]", "model.net.widths=[4,8]"]
    done = segkit(*drawn, "trainer.max_epochs=2", "calibrate=true", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "calibrated on 8 validation pictures: a pixel is " in done.stderr
    found = results(tmp_path / "run")["calibration"]
    assert found["chosen"]["iou"] >= found["at_half"]["iou"] - 1e-6
    task = load(str(tmp_path / "run"))
    assert (task.threshold, task.temperature) == (found["threshold"], found["temperature"])
    done = segkit("run=run", "split=val", module="evaluate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scored = results(next((tmp_path / "outputs" / "evaluate").iterdir()))
    assert scored["threshold"] == found["threshold"]
    assert scored["metrics"]["val/iou"] == pytest.approx(found["chosen"]["iou"], abs=2e-3)  # there in 16-bit logits


def test_a_run_is_calibrated_for_a_goal(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    before = (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes()
    done = segkit("run=run", "goal=recall:0.9", module="calibrate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = re.search(r"above [\d.]+ \(precision [\d.]+, [\d.]+ at 0\.5, recall ([\d.]+), [\d.]+ at 0\.5\)", done.stderr)
    assert said is not None, done.stderr
    assert float(said[1]) >= 0.9
    assert "python -m segkit.evaluate run=run" in done.stdout
    found = json.loads((tmp_path / "run" / "checkpoints" / "best.calibration.json").read_text())
    assert (tmp_path / "run" / "checkpoints" / "best.reliability.png").stat().st_size > 1000
    assert found["smallest"] == 0
    done = segkit("run=run", "split=val", "pictures=0", module="evaluate", cwd=tmp_path)
    scored = results(next((tmp_path / "outputs" / "evaluate").iterdir()))
    assert scored["metrics"]["val/recall"] >= 0.9
    assert scored["threshold"] == found["threshold"]
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes() != before


def test_several_classes_have_no_threshold(tmp_path: Path) -> None:
    words = [
        "dataset=synthetic_shapes",
        "dataset.size=32",
        "dataset.counts=[4,4,2]",
        "model.net.widths=[4,8]",
        "loss=ce",
    ]
    assert segkit(*words, "trainer.max_epochs=1", "hydra.run.dir=run", cwd=tmp_path).returncode == 0
    done = segkit("run=run", "goal=recall:0.9", module="calibrate", cwd=tmp_path)
    assert done.returncode != 0
    assert "which share a temperature alone: leave goal out" in done.stderr
    done = segkit("run=run", module="calibrate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"4 validation pictures: temperature [\d.]+ \(calibration error [\d.]+ → [\d.]+\)", done.stderr)


@pytest.mark.parametrize("goal", ["f1", "recall:0", "precision:1.2", "recall"])
def test_an_unknown_goal_is_told(tiny_run: Path, tmp_path: Path, goal: str) -> None:
    done = segkit(f"run={tiny_run}", f"goal={goal}", module="calibrate", cwd=tmp_path)
    assert done.returncode != 0
    assert f"goal={goal}: expected iou or dice, or precision:0.9 or recall:0.95" in done.stderr


def test_a_picture_of_another_size_keeps_objects_of_the_same_share(tiny_run: Path) -> None:
    """32² pixels are seen; in a picture of 64², the smallest object has four times the pixels."""
    task = load(str(tiny_run))
    set_calibration(task, {"threshold": 0.5, "smallest": 5.0})
    probabilities = torch.zeros(1, 1, 64, 64)
    probabilities[..., 10:14, 10:14] = 1  # 16 pixels, 4 as seen
    probabilities[..., 30:35, 30:35] = 1  # 25 pixels, 6 as seen
    assert task.label(probabilities, 4.0).sum() == 25
    assert task.label(probabilities, 1.0).sum() == 41


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"threshold": 7.0}, "calibration.threshold is 7.0; expected a number from"),
        ({"temperature": float("nan")}, "calibration.temperature is nan; expected a number from"),
        ({"smallest": "x"}, "calibration.smallest is 'x'; expected a number from"),
        ({"run": "x"}, "calibration.run"),
    ],
)
def test_a_strangers_calibration_is_checked(
    tiny_run: Path, tmp_path: Path, wrong: dict[str, object], message: str
) -> None:
    path = tmp_path / "best.ckpt"
    shutil.copy(tiny_run / "checkpoints" / "best.ckpt", path)
    checkpoint = read_checkpoint(path)
    checkpoint["segkit"]["calibration"] = wrong
    content = io.BytesIO()
    torch.save(checkpoint, content)
    path.write_bytes(content.getvalue())
    with pytest.raises(ValueError) as error:
        Predictor.load(path)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["calibrate=true", "model.threshold=0.3"], "calibrate=true chooses the threshold, and model.threshold=0.3"),
        (["predict_ms=50"], "predict_ms=50: only a plan chooses what keeps to it, and this training has none"),
        (["predict_ms=0", "recipe=auto"], "predict_ms=0: expected milliseconds, a number above 0"),
        (["tta=turns"], "tta=turns: expected none, mirror, flips or d4"),
        (["calibrate=true", "model=vgg_classifier", "loss=presence", "dataset.presence_threshold=0.01"], "gives none"),
    ],
)
def test_settings_that_do_not_go_together(words: list[str], message: str, tmp_path: Path) -> None:
    done = segkit("dataset.size=32", "dataset.counts=[4,2,2]", *words, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
