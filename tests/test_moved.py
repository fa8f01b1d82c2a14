"""A run folder from before modules moved: `run_of_before`, a U-Net of 2, 4 and 8 channels."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import segkit

from segkit.configs.moved import MOVED, update_names
from segkit.runs import load
from segkit.runs.making import make

BEFORE = Path(__file__).parent / "run_of_before"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(BEFORE, tmp_path / "run"))


def test_it_has_every_name_that_moved() -> None:
    text = (BEFORE / "config.yaml").read_text()
    assert not [name for name in MOVED if name not in text]


def test_names_that_moved_are_there() -> None:
    for name in MOVED.values():
        make({"_target_": "hydra.utils.get_object", "path": name})
    nested = {"a": [{"_target_": "segkit.augment.Augment", "x": "segkit.augment.Augment"}], "_target_": 3}
    found = update_names(nested)
    assert found == {
        "a": [{"_target_": "segkit.datasets.augment.Augment", "x": "segkit.augment.Augment"}],
        "_target_": 3,
    }


def test_its_weights_predict(run: Path, tmp_path: Path) -> None:
    task = load(str(run))
    assert sum(value.numel() for value in task.net.parameters()) > 1000
    with torch.inference_mode():
        masks = task.detect(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).masks
        assert masks is not None
        assert masks.shape == (1, 1, 32, 32)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((32, 32, 3), np.uint8))
    done = segkit(f"run={run}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", module="predict")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "masks" / "a.png").is_file()


def test_it_is_evaluated_as_before(run: Path, tmp_path: Path) -> None:
    done = segkit(f"run={run}", f"hydra.run.dir={tmp_path / 'scores'}", "precision=32-true", module="evaluate")
    assert done.returncode == 0, done.stderr
    before = json.loads((BEFORE / "results.json").read_text())["metrics"]
    found = json.loads((tmp_path / "scores" / "results.json").read_text())["metrics"]
    assert found["test/iou"] == pytest.approx(before["test/iou"], abs=1e-6)
    assert found["test/loss"] == pytest.approx(before["test/loss"], abs=1e-4)


def test_it_goes_on_and_is_reported(run: Path, tmp_path: Path) -> None:
    segkit(f"resume={run}", "trainer.max_epochs=3")
    results = json.loads((run / "results.json").read_text())
    assert (results["status"], results["epochs"]) == ("finished", 3)
    shutil.copytree(BEFORE, tmp_path / "runs" / "other")
    done = segkit(f"runs={tmp_path}/runs/**", f"output={tmp_path / 'report'}", module="report")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report" / "report.html").is_file()
