"""What a task does with pictures before its network sees them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY
from torch import Tensor

from segkit.configs.composing import compose, to_plain
from segkit.models.unet import UNet
from segkit.runs.build import build
from segkit.tasks.segmentation import SegmentationTask
from segkit.tasks.segmenter import FLAT


def pictures() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(40, 120, (2, 3, 24, 32)).astype(np.uint8))


def test_standardised_pictures_have_no_light_or_colour_cast_of_their_own() -> None:
    image = pictures()
    task = SegmentationTask(
        UNet(1, widths=[2, 4]), ["disc"], mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), standardise=True
    )
    found = task.normalise(image).numpy()
    plain = (image.numpy() / 255 - 0.5) / 0.5
    mean, std = plain.mean((2, 3), keepdims=True), plain.std((2, 3), keepdims=True)
    np.testing.assert_allclose(found, (plain - mean) / (std + FLAT), atol=1e-5)
    warmer = image + torch.tensor([40, 10, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    np.testing.assert_allclose(task.normalise(warmer).numpy(), found, atol=1e-5)
    flat = task.normalise(torch.full((1, 3, 8, 8), 7, dtype=torch.uint8))
    assert float(flat.abs().max()) < 1e-4


def test_pictures_keep_their_light_unless_it_is_asked_for() -> None:
    task = SegmentationTask(UNet(1, widths=[2, 4]), ["disc"])
    torch.testing.assert_close(task.normalise(pictures()), pictures().float() / 255)


def test_weights_of_a_run_that_saw_pictures_otherwise_are_told(
    tiny_run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = [*TINY, f"init_from={tiny_run}", f"run_dir={tmp_path}"]
    build(to_plain(compose(*words)))
    assert "was trained with pictures normalised" not in caplog.text
    build(to_plain(compose(*words, "model.standardise=true")))
    assert "'standardise': False}, this model by" in caplog.text
    assert "set model.mean, model.std and model.standardise to the same" in caplog.text


def test_weights_of_another_model_say_of_which(tiny_run: Path, tmp_path: Path) -> None:
    words = ["model=unet", "model.net.widths=[6,12]", f"init_from={tiny_run}", f"run_dir={tmp_path}"]
    with pytest.raises(ValueError, match=r"have other shapes(.|\n)* It was trained with model=unet_small\.$"):
        build(to_plain(compose(*TINY[:2], *words)))
