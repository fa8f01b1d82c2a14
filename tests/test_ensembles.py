"""Several runs that predict together: their mean, its spread, and what does not go together."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import results, segkit

from segkit.inference.predictor import Predictor

NOISE = np.random.default_rng(0).normal(128, 400, (32, 32, 3))  # the size in which the runs see pictures
IMAGE = cv2.GaussianBlur(NOISE, (0, 0), 2.5).clip(0, 255).astype(np.uint8)


def changed(run: Path, folder: Path, change: object) -> Path:
    """A copy of a run whose stored facts and weights `change` has changed."""
    shutil.copytree(run, folder)
    path = folder / "checkpoints" / "best.ckpt"
    stored = torch.load(path, weights_only=True)
    change(stored)  # type: ignore[operator]
    torch.save(stored, path)
    return folder


def disturb(stored: dict[str, dict[str, torch.Tensor]]) -> None:
    torch.manual_seed(0)
    for name, tensor in stored["state_dict"].items():
        if tensor.dtype.is_floating_point and "running" not in name:
            tensor += 0.3 * torch.randn_like(tensor)


@pytest.fixture(scope="module")
def members(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three runs: as it was trained, with noise in its weights, and with other pictures in mind."""
    root = tmp_path_factory.mktemp("members")

    def see_otherwise(stored: dict[str, dict[str, dict[str, object]]]) -> None:
        stored["segkit"]["normalisation"] = {"mean": [0.4, 0.4, 0.4], "std": [0.3, 0.3, 0.3]}
        stored["segkit"]["calibration"] = {"threshold": 0.2, "temperature": 0.1, "smallest": 0.0}

    return [tiny_run, changed(tiny_run, root / "noisy", disturb), changed(tiny_run, root / "other", see_otherwise)]


def probabilities(runs: Path | list[Path]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    found = Predictor.load(runs, accelerator="cpu")(IMAGE).probabilities
    assert found is not None
    return found


def test_an_ensemble_gives_the_mean_of_its_runs_and_their_spread(members: list[Path]) -> None:
    alone = np.stack([probabilities(run) for run in members])
    together = Predictor.load(members, accelerator="cpu")
    found = together(IMAGE)
    assert found.probabilities is not None
    assert found.spread is not None
    np.testing.assert_allclose(found.probabilities, alone.mean(0), atol=0.01)  # bfloat16
    assert np.abs(alone[0] - alone[1]).max() > 0.05
    np.testing.assert_allclose(found.spread, alone.std(0)[0], atol=0.02)
    assert together.task.threshold == pytest.approx((0.5 + 0.5 + 0.2) / 3)
    np.testing.assert_array_equal(found.label, found.probabilities[0] > together.task.threshold)


def test_runs_of_other_sizes_see_pictures_in_their_own(tiny_run: Path, tmp_path: Path) -> None:
    def resized(*size: int) -> Path:
        def resize(stored: dict[str, dict[str, object]]) -> None:
            stored["segkit"]["config"]["dataset"]["size"] = size  # type: ignore[index]
            disturb(stored)  # type: ignore[arg-type]

        return changed(tiny_run, tmp_path / f"run{size[0]}", resize)

    small, large = resized(32, 32), resized(64, 96)
    together = Predictor.load([small, large], accelerator="cpu")
    assert together.how.size == (64, 96)
    found = together(IMAGE).probabilities
    assert found is not None
    assert np.abs(probabilities(small) - probabilities(large)).mean() > 0.03
    mean = (probabilities(small) + probabilities(large)) / 2
    assert np.abs(found - mean).mean() < 0.02  # one is resized twice


def test_an_ensemble_is_evaluated_as_it_predicts(members: list[Path], tmp_path: Path) -> None:
    runs = f"run=[{','.join(map(str, members))}]"
    done = segkit(runs, "pictures=0", "precision=32-true", module="evaluate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = next((tmp_path / "outputs" / "evaluate").iterdir())
    scored = results(folder)
    assert scored["ensemble"] == [str(run) for run in members]
    assert scored["threshold"] == pytest.approx(0.4)
    alone = segkit(f"run={members[1]}", "pictures=0", "hydra.run.dir=alone", module="evaluate", cwd=tmp_path)
    assert alone.returncode == 0, alone.stderr
    assert results(tmp_path / "alone")["metrics"]["test/iou"] != scored["metrics"]["test/iou"]


def test_a_pattern_names_the_runs_of_a_sweep(members: list[Path], tmp_path: Path) -> None:
    for run in members[1:]:
        shutil.copytree(run, tmp_path / "sweep" / run.name)
    (tmp_path / "sweep" / "multirun.yaml").write_text("")
    (tmp_path / "photos").mkdir()
    shutil.copy(Path(__file__).parents[1] / "docs" / "img" / "sheet.png", tmp_path / "photos" / "a.png")
    done = segkit("run=sweep/*", "input=photos", "output=out", module="predict", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "masks" / "a.png").is_file()
    done = segkit("run=sweep", "input=photos", "output=out", module="predict", cwd=tmp_path)
    assert done.returncode == 1
    assert "run=sweep: no run, but a folder of runs. Name one of them, or say run='sweep/*'" in done.stderr
    done = segkit("run=swept/*", "input=photos", "output=out", module="predict", cwd=tmp_path)
    assert done.returncode == 1
    assert "run=swept/*: no run with a checkpoint matches" in done.stderr


def test_what_does_not_go_together_is_told(tiny_run: Path, tmp_path: Path) -> None:
    def rename(stored: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
        stored["segkit"]["config"]["dataset"]["classes"] = ["dent"]

    def cut(stored: dict[str, dict[str, dict[str, dict[str, object]]]]) -> None:
        stored["segkit"]["config"]["dataset"]["crops"] = "five"

    other = changed(tiny_run, tmp_path / "renamed", rename)
    with pytest.raises(ValueError, match=r"renamed knows the classes \['dent'\], and .* \['crack'\]"):
        Predictor.load([tiny_run, other])
    other = changed(tiny_run, tmp_path / "cut", cut)
    with pytest.raises(ValueError, match=r"cut sees pictures in windows of \d+×\d+ at a scale of 1, and .* resized"):
        Predictor.load([tiny_run, other])
    with pytest.raises(ValueError, match="is named twice"):
        Predictor.load([tiny_run, tiny_run])
    done = segkit(f"run=[{tiny_run},{other}]", module="calibrate", cwd=tmp_path)
    assert done.returncode == 1
    assert "expected the path of one run: the probabilities of an ensemble are those of calibrated runs" in done.stderr


def test_runs_of_folds_are_not_scored_on_what_they_were_trained_on(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_run, tmp_path / "fold")
    split = json.loads((tiny_run / "split.json").read_text())
    split["train"], split["val"] = split["val"], split["train"]
    (tmp_path / "fold" / "split.json").write_text(json.dumps(split))
    done = segkit(f"run=[{tiny_run},fold]", "split=val", "pictures=0", module="evaluate", cwd=tmp_path)
    assert done.returncode == 1
    assert f"fold: {len(split['train'])} of {len(split['train'])} pictures were trained on" in done.stderr


def test_an_ensemble_predicts_large_pictures_in_tiles(members: list[Path]) -> None:
    large = cv2.resize(IMAGE, (160, 200), interpolation=cv2.INTER_LINEAR)
    alone = [Predictor.load(run, accelerator="cpu", tile=64)(large).probabilities for run in members]
    found = Predictor.load(members, accelerator="cpu", tile=64)(large)
    assert found.probabilities is not None
    assert found.spread is not None
    assert found.spread.shape == (200, 160)
    mean = np.mean([one for one in alone if one is not None], axis=0)
    np.testing.assert_allclose(found.probabilities, mean, atol=0.01)  # bfloat16
    assert 0.01 < found.spread.max() <= 0.5
