"""Windows of a picture: five crops, a grid or tiles, and the whole picture stitched from them."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
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


def spread_tiles(length: int, tile: int, overlap: int, stride: int, shrink: bool = False) -> list[tuple[int, int]]:
    """(start, end) of the fewest tiles that cover `length`, evenly spaced; neighbours share `overlap` or more.

    They start at multiples of `stride`, as tile and overlap are, so that a network that pools in steps of it does so at
    the same places in all of them. All are `tile` long, or with `shrink` as long as so many need to be, but for the
    last, which may be longer by less than a stride."""
    count = 1 + -(-(max(length - tile, 0) // stride) // ((tile - overlap) // stride))
    if shrink and count > 1:
        needed = -(-(length + (count - 1) * overlap) // count)
        tile = min(tile, -(-needed // stride) * stride)
    units = max(length - tile, 0) // stride
    starts = [number * units // max(count - 1, 1) * stride for number in range(count)]
    return [(start, start + tile if start < starts[-1] else length) for start in starts]


def fade(window: tuple[int, int], length: int, margin: int) -> Tensor:
    """Weights (end - start,) of a tile's pixels along one side: Gaussian around its middle with an eighth of it as
    standard deviation, as in nnU-Net; and nothing within `margin` of an end that lies inside the picture, where the
    network cannot see enough of what is around."""
    start, end = window
    side = end - start
    weights = torch.exp(-0.5 * ((torch.arange(side) + 0.5 - side / 2) / (side / 8)) ** 2)
    weights[: margin if start > 0 else 0] = 0
    weights[side - (margin if end < length else 0) :] = 0
    return weights


class Canvas:
    """The weighted mean of windows (C, h, w) that overlap in a picture of `width`, float32. Only the rows that are not
    closed yet are held."""

    def __init__(self, channels: int, width: int, device: torch.device) -> None:
        self.top = 0  # the first row that is not closed
        self.total = torch.zeros(channels, 0, width, device=device)
        self.weight = torch.zeros(0, width, device=device)

    def open(self, bottom: int) -> None:
        """Make room for the rows above `bottom`."""
        more = max(bottom - self.top - len(self.weight), 0)
        self.total = F.pad(self.total, (0, 0, 0, more))
        self.weight = F.pad(self.weight, (0, 0, 0, more))

    def add(self, values: Tensor, top: int, left: int, weight: Tensor) -> None:
        """Add a window whose corner is at (top, left), with the `weight` (h, w) of its pixels."""
        window = slice(top - self.top, top - self.top + values.shape[1]), slice(left, left + values.shape[2])
        self.total[:, *window] += values * weight
        self.weight[window] += weight

    def close(self, bottom: int) -> tuple[Tensor, Tensor]:
        """The mean (C, rows, W) of the rows above `bottom`, and whether any window counts there, (rows, W)."""
        rows = bottom - self.top
        total, weight = self.total[:, :rows], self.weight[:rows]
        self.top, self.total, self.weight = bottom, self.total[:, rows:].clone(), self.weight[rows:].clone()
        counts = weight > 0
        return total / torch.where(counts, weight, 1), counts


def stitch(crops: Tensor, where: Tensor, size: Sequence[int], decoded: Tensor) -> tuple[Tensor, Tensor]:
    """Stitch the logits of a picture's crops (K, C, h, w), at the corners `where` (K, 2), into one map of `size`.

    Overlaps are the mean of the crops that were `decoded` (K,); pixels without such a crop are `UNDECIDED`. Returns the
    logits (C, H, W) in float32 and which pixels lie in any crop, (H, W).
    """
    tall, wide = crops.shape[-2:]
    canvas = Canvas(crops.shape[1], size[1], crops.device)
    canvas.open(size[0])
    covered, alike = torch.zeros(*size, dtype=torch.bool, device=crops.device), torch.ones(tall, wide).to(crops.device)
    for crop, (top, left), counted in zip(crops.float(), where.tolist(), decoded.tolist(), strict=True):
        covered[top : top + tall, left : left + wide] = True
        if counted:
            canvas.add(crop, top, left, alike)
    mean, counts = canvas.close(size[0])
    return torch.where(counts, mean, UNDECIDED), covered
