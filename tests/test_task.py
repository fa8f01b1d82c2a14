"""What a task does with pictures before its network sees them."""

import numpy as np
import torch
from torch import Tensor

from segkit.models.unet import UNet
from segkit.tasks.segmentation import FLAT, SegmentationTask


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
