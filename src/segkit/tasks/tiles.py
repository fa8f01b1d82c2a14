"""Large pictures in tiles: how they are cut, and what a network finds in them, from top to bottom."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit.geometry.resizing import resize_image, stretch
from segkit.geometry.windows import Canvas, fade, spread_tiles
from segkit.models.presence import probability
from segkit.tasks.segmenter import NOT_FINITE, Light, Segments, is_finite

MARGIN = 3 / 8  # of them, at the end of a tile, count for nothing
AT_ONCE = 2**20  # pixels of tiles in a batch
ROWS = 1024  # that are read at once to measure light


class Tiles(NamedTuple):
    """How large pictures are cut: those of more than `most` pixels, first resized by `scale` (down, across).

    size: of a tile as the network sees it, (height, width). overlap: pixels that neighbours share there. Tiles begin at
    multiples of `stride`. shrink: whether they may be smaller where as many smaller ones cover a picture.
    """

    size: tuple[int, int]
    overlap: int
    stride: int
    scale: tuple[float, float]
    most: int = 0
    shrink: bool = False

    def view(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The size at which the network sees a picture of `shape`."""
        return max(round(shape[0] * self.scale[0]), 1), max(round(shape[1] * self.scale[1]), 1)

    def magnify(self, shape: tuple[int, int]) -> float:
        """How many pixels of a picture of `shape` there are for one that the network sees."""
        return math.prod(shape) / math.prod(self.view(shape))

    def cut(self, shape: tuple[int, int]) -> bool:
        """Whether a picture of `shape` is cut."""
        exceeds = any(side > tile for side, tile in zip(self.view(shape), self.size, strict=True))
        return exceeds and shape[0] * shape[1] > self.most

    def describe(self) -> str:
        """What is done, in a sentence."""
        tall, wide = (round(side / scale) for side, scale in zip(self.size, self.scale, strict=True))
        what = f"pictures of more than {self.most:,} pixels" if self.most else "larger pictures"
        resized = "" if self.scale == (1, 1) else f", which the network sees as {self.size[0]}×{self.size[1]}"
        return f"{what} are predicted in tiles of {tall}×{wide} pixels{resized}"


class Rows(Protocol):
    """A picture of `shape` (height, width) that is read in bands of rows."""

    @property
    def shape(self) -> tuple[int, int]: ...

    def read(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """(bottom - top, width, 3) RGB."""
        ...


class Held:
    """Rows of a picture (H, W, 3) in memory."""

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels, self.shape = pixels, (pixels.shape[0], pixels.shape[1])

    def read(self, top: int, bottom: int) -> NDArray[np.uint8]:
        return self.pixels[top:bottom]


def measure_light(picture: Rows) -> Light:
    """The light of a whole picture, as `Segmenter.normalise` takes it."""
    height = picture.shape[0]
    sums, squares = np.zeros(3), np.zeros(3)
    for top in range(0, height, ROWS):
        pixels = picture.read(top, min(top + ROWS, height))
        mean, std = (values[:, 0] for values in cv2.meanStdDev(pixels))
        sums += mean * len(pixels) / height
        squares += (std**2 + mean**2) * len(pixels) / height
    std = np.sqrt(np.maximum(squares - sums**2, 0))
    return Light(*(torch.from_numpy(values).float().view(1, 3, 1, 1) for values in (sums, std)))


class Band(NamedTuple):
    """Rows of what was found in a picture, from top to bottom: pixel probabilities (C, rows, W), None of a network
    without masks; the highest probability so far that the class is there; and the spread (rows, W) over an ensemble."""

    probabilities: Tensor | None
    presence: float | None
    spread: Tensor | None = None


@torch.no_grad()
def see_tiles(task: Segments, picture: Rows, tiles: Tiles) -> Iterator[Band]:
    """What a network finds in a picture that is cut into tiles, at the size of the picture.

    Probabilities are averaged where tiles overlap, with the weights of `fade`. A network that pools, with a field of
    view that reaches no further than `MARGIN` of the overlap, gives the same as for the whole picture in one pass. The
    class is there if any tile shows it; tiles whose gate is closed do not count, and pixels that are in no other show
    nothing.
    """
    presence: float | None = None

    def maps() -> Iterator[Tensor]:
        nonlocal presence
        for rows, highest in _see_rows(task, view, tiles):
            if highest is not None:
                presence = max(highest, presence or 0.0)
            if rows is not None:
                yield rows

    shape = tiles.view(picture.shape)
    view = picture if shape == picture.shape else Held(resize_image(picture.read(0, picture.shape[0]), shape))
    whole = shape == picture.shape
    empty = True
    for rows in maps() if whole else stretch(maps(), shape[0], picture.shape):
        empty, classes = False, len(task.classes)
        yield Band(rows[:classes], presence, rows[classes] if len(rows) > classes else None)
    if empty or presence is not None:
        yield Band(None, presence)


def _see_rows(task: Segments, view: Rows, tiles: Tiles) -> Iterator[tuple[Tensor | None, float | None]]:
    """One row of tiles after the other, at the size that the network sees: maps of the probabilities and, of an
    ensemble, their spread, (C or C + 1, rows, W); and the presence in these tiles."""
    height, width = view.shape
    sees_light = getattr(task, "standardise", False) or getattr(task.net, "sees_light", False)
    light = {"light": measure_light(view)} if sees_light else {}
    light = {name: Light(*(value.to(task.device) for value in values)) for name, values in light.items()}
    rows, columns = (
        spread_tiles(length, tile, tiles.overlap, tiles.stride, tiles.shrink)
        for length, tile in zip(view.shape, tiles.size, strict=True)
    )
    margin, canvas = round(MARGIN * tiles.overlap), None
    at_once = max(AT_ONCE // math.prod(tiles.size), 1)
    for number, (top, bottom) in enumerate(rows):
        pixels = torch.from_numpy(np.ascontiguousarray(view.read(top, bottom).transpose(2, 0, 1)))
        down, presence = fade((top, bottom), height, margin), None
        for group in _group(columns, at_once):
            out = task.detect(torch.stack([pixels[..., start:end] for start, end in group]).to(task.device), **light)
            if not is_finite(out):
                raise ValueError(NOT_FINITE)
            if out.presence is not None:
                presence = max(float(probability(out.presence).max()), presence or 0.0)
            if out.masks is None:
                continue
            maps = task.activated(out.masks)
            maps = maps if out.spread is None else torch.cat([maps, out.spread], 1)
            canvas = Canvas(maps.shape[1], width, task.device) if canvas is None else canvas
            canvas.open(bottom)
            decoded = [True] * len(group) if out.decoded is None else out.decoded.tolist()
            for (start, end), counted, found in zip(group, decoded, maps, strict=True):
                if counted:
                    weight = down[:, None] * fade((start, end), width, margin)
                    canvas.add(found, top, start, weight.to(task.device))
        closed = rows[number + 1][0] if number + 1 < len(rows) else height
        yield (None if canvas is None else canvas.close(closed)[0]), presence


def _group(columns: Sequence[tuple[int, int]], at_once: int) -> Iterator[Sequence[tuple[int, int]]]:
    """Tiles for one batch, which have one width: the last one may have its own."""
    *others, last = columns
    yield from (others[start : start + at_once] for start in range(0, len(others), at_once))
    yield [last]
