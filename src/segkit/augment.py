"""Augmentation of picture and mask together. The only module that knows albumentations."""

from collections.abc import Sequence

import albumentations as A
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


class Augment:
    """A chain of albumentations transforms whose result depends on its seed alone.

    albumentations ignores the global seeds and each worker would draw its own numbers, so the chain is seeded anew
    for every sample: the same (seed, epoch, index) gives the same picture whatever the workers.
    """

    def __init__(self, transforms: Sequence[A.BasicTransform]) -> None:
        self.pipeline = A.Compose(list(transforms))

    def __call__(self, image: Pixels, mask: Pixels, seed: int) -> tuple[Pixels, Pixels]:
        """image (H, W, 3) and mask (H, W), both uint8, to a changed copy of each; `seed` in 0 … 2³²−1."""
        if not self.pipeline.transforms:
            return image, mask
        self.pipeline.set_random_seed(seed)
        result = self.pipeline(image=image, mask=mask)
        turned, turned_mask = result["image"], result["mask"]
        if turned.shape != image.shape and turned.shape[:2] == image.shape[1::-1]:
            turned, turned_mask = np.rot90(turned), np.rot90(turned_mask)  # a quarter turn on to the half: sizes stay
        return turned, turned_mask
