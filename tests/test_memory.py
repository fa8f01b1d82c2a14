"""What happens when a training does not fit into memory."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, results
from torch import Tensor

from segkit.configs.composing import compose
from segkit.models.unet import UNet
from segkit.train import train
from segkit.training.memory import halve_batch, is_out_of_memory

FITS = 3  # pictures
SINCE = 0  # step from which on it is so


class Heavy(UNet):
    """A U-Net for which memory runs out with more pictures than `FITS`."""

    def forward(self, image: Tensor) -> Tensor:
        self.steps = getattr(self, "steps", 0) + self.training
        if self.training and len(image) > FITS and self.steps > SINCE:
            raise torch.OutOfMemoryError("made-up device out of memory.\nTried to allocate much")
        return super().forward(image)


def test_half_the_batch_is_taken_twice() -> None:
    config: dict[str, Any] = {"dataset": {"batch_size": 5, "size": 8}, "trainer": {"accumulate_grad_batches": 2}}
    smaller = halve_batch(config)
    assert smaller["dataset"] == {"batch_size": 3, "size": 8}
    assert smaller["trainer"] == {"accumulate_grad_batches": 4}
    assert config["dataset"]["batch_size"] == 5


def test_only_a_lack_of_memory_counts() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("x"))
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))


@pytest.mark.parametrize("length", ["trainer.max_epochs=2", "budget=8s"])
def test_a_training_that_does_not_fit_goes_on_with_half_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: str
) -> None:
    monkeypatch.setattr("segkit.models.unet.UNet", Heavy)
    train(compose(*TINY, "dataset.batch_size=8", length, f"run_dir={tmp_path}/run"))
    told = [line for line in (tmp_path / "run" / "train.log").read_text().splitlines() if "out of memory" in line]
    told = [line[line.index("out of memory") :] for line in told if "going on" in line]
    assert told == [
        "out of memory (made-up device out of memory): going on with dataset.batch_size=4 and "
        "trainer.accumulate_grad_batches=2",
        "out of memory (made-up device out of memory): going on with dataset.batch_size=2 and "
        "trainer.accumulate_grad_batches=4",
    ]
    found = results(tmp_path / "run")
    assert found["batch"] == {"size": 2, "accumulated": 4}
    assert found["status"] == "finished"


def test_it_goes_on_from_the_last_epoch_that_did_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segkit.models.unet.UNet", Heavy)
    monkeypatch.setattr("test_memory.SINCE", 4)  # an epoch is three steps
    train(compose(*TINY, "dataset.batch_size=4", "trainer.max_epochs=3", f"run_dir={tmp_path}/run"))
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert [float(row.split(",")[0]) for row in rows[1:]] == [1, 2, 3]
    found = results(tmp_path / "run")
    assert found["batch"] == {"size": 2, "accumulated": 2}
    assert found["train_seconds"] >= sum(float(row.split(",")[1]) for row in rows[1:]) - 0.1


def test_one_picture_that_does_not_fit_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("segkit.models.unet.UNet", Heavy)
    monkeypatch.setattr("test_memory.FITS", 0)
    with pytest.raises(torch.OutOfMemoryError, match="made-up device"):
        train(compose(*TINY, "dataset.batch_size=2", f"run_dir={tmp_path}/run"))
