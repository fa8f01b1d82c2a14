"""Windows of a picture: five crops or a grid, and the whole picture stitched from its crops."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from segkit import UNDECIDED

Crops = Literal["none", "five", "grid"]


def corners(shape: tuple[int, int], size: tuple[int, int], crops: Crops, name: str = "") -> list[tuple[int, int]]:
    """Top-left corners of the windows of `size` in a picture of `shape`, both (height, width).

    five: the four corners and the centre, in that order (as torchvision's five_crop). grid: as few as cover the
    picture, evenly spaced, overlapping if they do not divide it. Raises ValueError for a smaller picture.
    """
    (height, width), (tall, wide) = shape, size
    if height < tall or width < wide:
        raise ValueError(
            f"dataset.crops={crops} takes windows of {tall}×{wide}, but picture {name} is only {height}×{width}. "
            f"Choose a dataset.size of at most {min(height, width)}, or dataset.crops=none."
        )
    bottom, right = height - tall, width - wide
    if crops == "five":
        return [(0, 0), (0, right), (bottom, 0), (bottom, right), (round(bottom / 2), round(right / 2))]
    return [(top, left) for top in _spread(height, tall) for left in _spread(width, wide)]


def is_covered_by_five(shape: tuple[int, int], size: tuple[int, int]) -> bool:
    """Whether five crops of `size` cover a picture of `shape` completely."""
    return shape[0] <= 2 * size[0] and shape[1] <= 2 * size[1]


def _spread(length: int, window: int) -> list[int]:
    """Starts of the fewest windows that cover `length`, evenly spaced."""
    count = -(-length // window)
    return [round(number * (length - window) / max(count - 1, 1)) for number in range(count)]


def stitch(crops: Tensor, where: Tensor, size: Sequence[int], decoded: Tensor) -> tuple[Tensor, Tensor]:
    """Stitch the logits of a picture's crops (K, C, h, w), at the corners `where` (K, 2), into one map of `size`.

    Overlaps are the mean of the crops that were `decoded` (K,); pixels without such a crop are `UNDECIDED`. Returns the
    logits (C, H, W) in float32 and which pixels lie in any crop, (H, W).
    """
    tall, wide = crops.shape[-2:]
    total = torch.zeros(crops.shape[1], *size, device=crops.device)
    count, covered = total.new_zeros(*size), total.new_zeros(*size, dtype=torch.bool)
    for crop, (top, left), counted in zip(crops.float(), where.tolist(), decoded.tolist(), strict=True):
        window = slice(top, top + tall), slice(left, left + wide)
        covered[window] = True
        if counted:
            total[:, *window] += crop
            count[window] += 1
    return torch.where(count > 0, total / count.clamp(min=1), UNDECIDED), covered
