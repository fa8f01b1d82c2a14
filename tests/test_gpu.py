"""On a GPU: 16-bit numbers, torch.compile, several devices, prediction, and runs that move between devices."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, disc, read_picture, segkit

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA GPU on this machine"),
]
GPU = ["trainer=gpu", "trainer.max_epochs=2"]


def train(run: Path, *words: str) -> dict[str, Any]:
    """Train a tiny network with a command of its own; returns results.json."""
    done = segkit(*TINY, *words, f"hydra.run.dir={run}", alone=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return results(run)


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "32-true"])
def test_trains_in_every_precision(precision: str, tmp_path: Path) -> None:
    found = train(tmp_path / "run", *GPU, f"precision={precision}")
    assert (found["status"], found["precision"], found["device"]) == ("finished", precision, "cuda:0")
    assert np.isfinite(found["metrics"]["test/loss"])


def test_compiles(tmp_path: Path) -> None:
    assert train(tmp_path / "run", *GPU, "compile=true")["status"] == "finished"


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU; this wants two")
def test_trains_on_two_devices(tmp_path: Path) -> None:
    assert train(tmp_path / "run", "trainer=ddp", "trainer.accelerator=gpu", "trainer.devices=2")["epochs"] == 2


def test_predicts_what_the_cpu_predicts(tmp_path: Path) -> None:
    train(tmp_path / "run", *GPU, "precision=32-true")
    (tmp_path / "photos").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), disc((40, 48), number)[0])
    for accelerator in ("cpu", "gpu"):
        words = (f"run={tmp_path / 'run'}", f"input={tmp_path / 'photos'}", f"output={tmp_path / accelerator}")
        done = segkit(*words, f"accelerator={accelerator}", module="predict", alone=True)
        assert done.returncode == 0, done.stderr
    for number in range(3):
        one, other = (read_picture(tmp_path / name / "masks" / f"{number}.png", 0) for name in ("cpu", "gpu"))
        assert (one == other).mean() > 0.995


@pytest.mark.parametrize(("first", "then"), [("gpu", "cpu"), ("cpu", "gpu")])
def test_a_run_goes_on_on_another_device(first: str, then: str, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(run, f"trainer={first}", "trainer.max_epochs=1", "precision=32-true")
    done = segkit(f"resume={run}", f"trainer={then}", "trainer.max_epochs=2", alone=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert results(run)["epochs"] == 2
    assert results(run)["device"] == ("cuda:0" if then == "gpu" else "cpu")
