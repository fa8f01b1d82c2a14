"""Calibrated runs: what is chosen is stored, checked, and used by every command."""

import io
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import results, segkit

from segkit.files.reading import read_checkpoint
from segkit.inference.predictor import Predictor
from segkit.models.presence import Detection
from segkit.runs.checkpoints import store_calibration
from segkit.runs.folder import lock_folder
from segkit.runs.loading import load
from segkit.tasks.deciding import set_calibration


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


def write_set(root: Path, blank: bool) -> None:
    """Discs on noise in three folders; in validation one mask is all 255, or all of them are."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 6), ("test", 4)):
        for number in range(count):
            image, mask = draw.integers(0, 80, (32, 32, 3), dtype=np.uint8), np.zeros((32, 32), np.uint8)
            cv2.circle(mask, (8 + 2 * number, 16), 6, 1, -1)
            image[mask == 1] += 120
            if split == "val" and (blank or number == 0):
                mask[:] = 255
            for kind, pixels in (("images", image), ("masks", mask)):
                path = root / split / kind / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), pixels)


IGNORING = ["dataset=folder", "dataset.root=data", "dataset.ignore_values=[255]", "dataset.threshold=0", "recipe=none"]
IGNORING += ["dataset.size=32", "model.net.widths=[4,8]", "trainer.max_epochs=3", "monitor=epoch", "calibrate=true"]


@pytest.mark.parametrize("blank", [False, True])
def test_pictures_without_a_labelled_pixel_tell_nothing(tmp_path: Path, blank: bool) -> None:
    write_set(tmp_path / "data", blank)
    done = segkit(*IGNORING, "model=unet_small", "loss=bce", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = results(tmp_path / "run")["calibration"]
    assert found["pictures"] == (0 if blank else 5)
    if blank:
        assert "nothing is calibrated: the validation masks do not show the class" in done.stderr
        assert (found["threshold"], found["temperature"], found["smallest"]) == (0.5, 1.0, 0.0)
        return
    done = segkit("run=run", "goal=recall:0.9", "pooled=false", module="calibrate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = segkit("run=run", "split=val", "pictures=0", module="evaluate", cwd=tmp_path)
    scored = results(next((tmp_path / "outputs" / "evaluate").iterdir()))
    assert scored["metrics"]["val/recall_image"] >= 0.9 - 2e-3  # there in 16-bit logits


def test_small_objects_are_left_out_by_every_command(tiny_run: Path, tmp_path: Path) -> None:
    """Evaluate scores, and predict writes, what the network finds without objects of fewer than 12 pixels."""
    shutil.copytree(tiny_run, tmp_path / "run")
    store_calibration(tmp_path / "run" / "checkpoints" / "best.ckpt", {"threshold": 0.3, "smallest": 12.0})
    predictor = Predictor.load(tmp_path / "run")
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    prediction = predictor(image)
    assert prediction.probabilities is not None
    values = np.unique(prediction.probabilities)
    at = int(np.searchsorted(values, np.quantile(prediction.probabilities, 0.75)))
    threshold = float(values[at] + values[at + 1]) / 2  # so that there are objects of many sizes
    predictor.task.decide_by(threshold, 12.0)
    label = predictor(image).label
    plain = prediction.probabilities[0] > threshold
    number, objects = cv2.connectedComponents(plain.astype(np.uint8), connectivity=8)
    sizes = np.bincount(objects.ravel())
    assert number > 2
    assert sizes[1:].min() < 12 <= sizes[1:].max()
    expected = plain & (sizes[objects] >= 12)
    np.testing.assert_array_equal(label, expected)
    scores = load(str(tmp_path / "run")).scores("test")
    scores.decide_by(threshold, 12.0)
    logits = torch.logit(torch.from_numpy(prediction.probabilities))[None]
    batch = {"mask": torch.from_numpy(plain.astype(np.uint8))[None], "index": torch.tensor([0])}
    scores.update(Detection(None, logits, None), batch)
    assert scores.compute()["recall"] == pytest.approx(expected.sum() / plain.sum())


def test_a_calibration_of_another_weight_is_not_kept_by_chance(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    with lock_folder(tmp_path / "run"):
        done = segkit("run=run", module="calibrate", cwd=tmp_path)
    assert done.returncode != 0
    assert "another process is training in this run folder" in done.stderr


def test_pictures_that_were_trained_on_do_not_calibrate(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "run")
    split = json.loads((tiny_run / "split.json").read_text())
    split["train"].append(split["val"][1])
    (tmp_path / "run" / "split.json").write_text(json.dumps(split))
    before = (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes()
    done = segkit("run=run", module="calibrate", cwd=tmp_path)
    assert done.returncode == 1
    count = len(split["val"])
    assert f"run: 1 of {count} pictures were trained on ({split['val'][1]}, for one)" in done.stderr
    assert "the data changed since. Restore them as split.json lists them" in done.stderr
    assert (tmp_path / "run" / "checkpoints" / "best.ckpt").read_bytes() == before


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
        (
            ["calibrate=true", "model=vgg_classifier", "loss=presence", "dataset.presence_threshold=0.01"],
            "and VGGClassifier gives none",
        ),
    ],
)
def test_settings_that_do_not_go_together(words: list[str], message: str, tmp_path: Path) -> None:
    done = segkit("dataset.size=32", "dataset.counts=[4,2,2]", *words, cwd=tmp_path)
    assert done.returncode != 0
    assert message in done.stderr
