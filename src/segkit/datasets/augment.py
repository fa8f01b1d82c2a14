"""Augmentation of pictures together with their masks. The only module that knows albumentations."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]
Rng = np.random.Generator
MOST_PIXELS = 2**24  # to which augmentation may enlarge a smaller picture
MOST_IN_BATCH = 2**28  # pixels of a batch: the limit of `segkit.security.built`


class Photometric:
    """Brightness, contrast and colour of a whole batch, on its device: albumentations' RandomBrightnessContrast with
    probability `p`, then its HueSaturationValue with probability `p_color`, by the same formulas.

    brightness: the most that is added, as a share of 255. contrast: the most by which the factor differs from 1. hue,
    saturation, value: the most that is added in OpenCV's 8-bit HSV (hue 0..179). The loader draws the numbers from a
    sample's own seed, so that they do not depend on device or batch.
    """

    def __init__(
        self,
        brightness: float = 0.2,
        contrast: float = 0.2,
        p: float = 0.5,
        hue: float = 8,
        saturation: float = 15,
        value: float = 10,
        p_color: float = 0.3,
    ) -> None:
        self.limits = np.array([contrast, brightness, hue, saturation, value], np.float32)
        self.p, self.p_color = p, p_color

    def draw(self, rng: Rng) -> Tensor:
        """(5,) float32: what `__call__` does to one picture; zeros leave it as it is."""
        drawn = rng.uniform(-1, 1, 5).astype(np.float32) * self.limits
        lit, colored = rng.random(2) < (self.p, self.p_color)
        drawn[:2] *= lit
        drawn[2:] *= colored
        return torch.from_numpy(drawn)

    def __call__(self, image: Tensor, drawn: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8 and drawn (N, 5), to uint8."""
        contrast, brightness, hue, saturation, value = drawn.T[:, :, None, None]
        pixels = image.float() * (1 + contrast[:, None]) + 255 * brightness[:, None]
        red, green, blue = pixels.round_().clamp_(0, 255).unbind(1)
        top = torch.maximum(torch.maximum(red, green), blue)
        chroma = top - torch.minimum(torch.minimum(red, green), blue)
        span = chroma.clamp(min=1)
        sixth = torch.where(top == green, 2 + (blue - red) / span, 4 + (red - green) / span)
        sixth = torch.where(top == red, (green - blue) / span, sixth) + hue / 30  # a sixth of the colour circle is 1
        share = (chroma / top.clamp(min=1) + saturation / 255).clamp(0, 1)
        top = (top + value).clamp(0, 255)
        corners = [(sixth + corner) % 6 for corner in (5, 3, 1)]
        back = [top - top * share * torch.minimum(at, 4 - at).clamp(0, 1) for at in corners]
        return torch.stack(back, dim=1).round_().to(torch.uint8)


class Augment:
    """Mirroring and quarter turns, then a chain of albumentations transforms; the result depends on the seed alone.

    horizontal, vertical: probability that left and right, or top and bottom, are swapped. turns: one of the four
    quarter turns, or one of the two half turns if the picture is not square. transforms: albumentations ignores the
    global seeds and each worker would draw its own numbers, so the chain is seeded anew for every sample: the same
    (seed, epoch, index) gives the same picture whatever the workers. on_device: what the device does to a whole batch.
    """

    def __init__(
        self,
        horizontal: float = 0.0,
        vertical: float = 0.0,
        turns: bool = False,
        transforms: Sequence[Any] = (),
        on_device: Photometric | None = None,
    ) -> None:
        self.horizontal, self.vertical, self.turns, self.on_device = horizontal, vertical, turns, on_device
        self.pipeline = None
        self.most = self.largest = MOST_PIXELS
        if transforms:
            import albumentations as A  # half a second

            self.pipeline = A.Compose(list(transforms))
            for transform in find_leaves(self.pipeline):
                transform.apply_with_params = partial(apply_bounded, self, transform)

    @property
    def fills(self) -> list[str]:
        """The transforms that give class 0 to pixels from outside the picture."""
        found: list[Any] = [] if self.pipeline is None else [*self.pipeline.transforms]
        names = []
        while found:
            one = found.pop()
            found += getattr(one, "transforms", [])  # OneOf and the like
            constant = getattr(one, "fill_mask", None) == 0 and getattr(one, "border_mode", None) == cv2.BORDER_CONSTANT
            if constant and getattr(one, "pad_if_needed", True):
                names.append(type(one).__name__)
        return sorted(names)

    def __call__(self, image: Pixels, mask: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """Augment image (H, W, 3) and mask (H, W), both uint8; returns changed copies or the arrays themselves.
        `seed`: 0 … 2³²−1."""
        rng = np.random.default_rng([seed, 0])
        mirrored = rng.random() < self.horizontal, rng.random() < self.vertical
        quarters = int(rng.integers(4)) if self.turns else 0
        if quarters % 2 and image.shape[0] != image.shape[1]:
            quarters = 2 * (quarters // 2)
        image, mask = flip_and_turn(image, *mirrored, quarters), flip_and_turn(mask, *mirrored, quarters)
        if self.pipeline is None:
            return image, mask
        self.pipeline.set_random_seed(seed)
        self.largest = max(self.most, image.shape[0] * image.shape[1])
        result = self.pipeline(image=image.copy(), mask=mask.copy())  # a user's transform may work in place
        if result["image"].shape != image.shape and result["image"].shape[:2] == image.shape[1::-1]:
            return np.rot90(result["image"]), np.rot90(result["mask"])  # one more quarter turn keeps the size
        return result["image"], result["mask"]

    @property
    def colors(self) -> bool:
        """Whether the pipeline changes colours, which the device could do instead."""
        if self.pipeline is None or self.on_device is not None:
            return False
        import albumentations as A

        return any(isinstance(transform, A.ImageOnlyTransform) for transform in self.pipeline.transforms)

    def draw(self, seed: int) -> Tensor | None:
        """Draw what the device does to a sample, or None."""
        return None if self.on_device is None else self.on_device.draw(np.random.default_rng([seed, 1]))


def find_leaves(chain: Any) -> Iterator[Any]:
    """The transforms of a chain that are not chains themselves."""
    for one in chain.transforms:
        yield from find_leaves(one) if hasattr(one, "transforms") else (one,)


def apply_bounded(
    augment: Augment, transform: Any, params: dict[str, Any], *words: Any, **targets: Any
) -> dict[str, Any]:
    """Apply a transform to a picture and its mask; ValueError if they grow so large that a chain of transforms, or a
    batch, could take all memory."""
    result: dict[str, Any] = type(transform).apply_with_params(transform, params, *words, **targets)
    tall, wide = result["image"].shape[:2]
    if tall * wide > augment.largest:
        raise ValueError(
            f"augment: {type(transform).__name__} makes a picture of {tall}×{wide} pixels; expected at most "
            f"{augment.largest:,} pixels. Let it grow less, or choose a smaller dataset.batch_size."
        )
    return result


def flip_and_turn(pixels: Pixels, across: bool, down: bool, quarters: int) -> Pixels:
    """Mirror `pixels` (H, W, …) left to right and top to bottom, then turn it counterclockwise by quarter turns."""
    result: Any = pixels
    if quarters % 2:
        result, across, down = cv2.transpose(result), down, across
    across, down = across != (quarters in (2, 3)), down != (quarters in (1, 2))
    if across or down:
        result = cv2.flip(result, -1 if across and down else int(across))  # four times as fast as copying a view
    return result  # type: ignore[no-any-return]
