"""Pictures resized, and maps of numbers stretched a band of rows at a time."""

from collections.abc import Iterable, Iterator

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

ROWS = 512  # of a stretched band, at most


def resize_image(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize image (H, W, 3) to `size` = (height, width): by area when it shrinks, linearly when it grows."""
    if image.shape[:2] == size:
        return image
    shrinks = image.shape[0] >= size[0] and image.shape[1] >= size[1]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.uint8)


def scaled(shape: tuple[int, int], scale: float) -> tuple[int, int]:
    """(height, width) times `scale`, one pixel at least."""
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)


def stretch(bands: Iterable[Tensor], height: int, size: tuple[int, int]) -> Iterator[Tensor]:
    """Bands (C, rows, w) of a map of `height` rows, from top to bottom, to bands (C, rows, W) of the same map stretched
    to `size` = (H, W): what `F.interpolate` makes of the whole, linearly and without aligned corners."""
    step = height / size[0]
    done = start = 0  # the next row of the result, and the first of the map that is kept
    kept: Tensor | None = None
    for band in bands:
        kept = band if kept is None else torch.cat([kept, band], 1)
        end = start + kept.shape[1]
        while done < size[0]:
            numbers = torch.arange(done, min(done + ROWS, size[0]), dtype=torch.float64)
            places = ((numbers + 0.5) * step - 0.5).clamp(0, height - 1)
            above = places.long()
            ready = int((torch.clamp(above + 1, max=height - 1) < end).sum())
            if ready == 0:
                break
            places, above = places[:ready], above[:ready]
            below = torch.clamp(above + 1, max=height - 1)
            share = (places - above).to(kept)[:, None]
            rows = kept[:, above - start] * (1 - share) + kept[:, below - start] * share
            same = rows.shape[2] == size[1]
            yield rows if same else F.interpolate(rows[None], (ready, size[1]), mode="bilinear", align_corners=False)[0]
            done += ready
            dropped = int(above[-1]) - start
            kept, start = kept[:, dropped:], start + dropped
