"""Which of many pictures may be the same: neighbours by a small descriptor. It proposes, and never accuses.

A descriptor is the coarse texture of a picture, by cosines: local brightness and contrast are taken out first, so that
exposure hardly matters. A crop is looked for as the whole of one picture among windows of the others.
"""

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.datasets.checking.thumbnails import Grey

Described = NDArray[np.float32]  # (N, D)
Numbers = NDArray[np.int64]
Ways = Callable[[slice], Iterator[Described]]  # descriptors of some pictures in every way that is looked for

FINE = 32  # side of what descriptors are computed from
WAVES = 10  # cosines each way
SMOOTH = 8.0  # standard deviation, in pixels of a thumbnail, of what counts as local
ROWS, COLUMNS = 1024, 512  # of a block of likenesses: 2 MB
SYMMETRIES = range(8)
SCALES, STEP = (0.78, 0.86, 0.94), 0.08  # of windows: what lies between is found by its nearest one


class Window(NamedTuple):
    """A part of a picture, in units of its sides."""

    top: float
    left: float
    height: float
    width: float

    def overhang(self) -> tuple[float, float, float, float]:
        """How far it reaches beyond the picture at its top, left, bottom and right; negative inside."""
        return -self.top, -self.left, self.top + self.height - 1, self.left + self.width - 1


WHOLE = Window(0.0, 0.0, 1.0, 1.0)


class Candidate(NamedTuple):
    """Two pictures by number: `part` may be the `way`-th symmetry of `whole`, or its `way`-th window."""

    likeness: float
    part: int
    whole: int
    way: int


def windows() -> list[Window]:
    """All that crops are looked for among."""
    found = []
    for scale in SCALES:
        starts = np.linspace(0, 1 - scale, max(round((1 - scale) / STEP), 1) + 1).tolist()
        found += [Window(top, left, scale, scale) for top in starts for left in starts]
    return found


WINDOWS = windows()


def turned(pictures: NDArray[np.float32], symmetry: int) -> NDArray[np.float32]:
    """(..., S, S) by one of the eight symmetries of a square: 0..3 quarter turns, 4..7 these and mirrored."""
    quarters = np.rot90(pictures, symmetry % 4, axes=(-2, -1))
    return np.ascontiguousarray(quarters[..., ::-1] if symmetry >= 4 else quarters)


def texture(grey: Grey) -> Grey:
    """(FINE, FINE): a thumbnail without its local brightness and contrast."""
    detail = grey - cv2.GaussianBlur(grey, (0, 0), SMOOTH)
    contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), SMOOTH))
    even = detail / (contrast + 0.1 * detail.std() + 0.5)
    return np.asarray(cv2.resize(even, (FINE, FINE), interpolation=cv2.INTER_AREA), np.float32)


def describe(textures: NDArray[np.float32], window: Window = WHOLE) -> NDArray[np.float32]:
    """(N, D) of length 1, of the same window of every texture (N, FINE, FINE)."""
    rows, columns = _cosines(window.top, window.height), _cosines(window.left, window.width)
    waves = (rows @ textures @ columns.T).reshape(len(textures), -1)[:, 1:]
    length = np.linalg.norm(waves, axis=1, keepdims=True)
    return np.asarray(waves / np.maximum(length, 1e-6), np.float32)


@cache
def _cosines(start: float, extent: float) -> NDArray[np.float32]:
    """(WAVES, FINE): takes cosines of a part of a row, sampled between its pixels."""
    samples = 2 * WAVES + 4
    middle = (np.arange(samples) + 0.5) / samples
    at = np.clip((start + extent * middle) * FINE - 0.5, 0, FINE - 1.001)
    before = at.astype(int)
    sample = np.zeros((samples, FINE))
    sample[np.arange(samples), before] = 1 - (at - before)
    sample[np.arange(samples), before + 1] = at - before
    wave = np.arange(WAVES)[:, None]
    return np.asarray(np.cos(np.pi * wave * middle) * np.where(wave, 1, 0.5**0.5) @ sample / samples, np.float32)


def same_size(textures: NDArray[np.float32], least: float, most: int) -> list[Candidate]:
    """Pictures like others as they are, mirrored or turned; every two once."""

    def ways(numbers: slice) -> Iterator[NDArray[np.float32]]:
        return (describe(turned(textures[numbers], symmetry)) for symmetry in SYMMETRIES)

    found: dict[tuple[int, int], Candidate] = {}
    for one in _nearest(describe(textures), ways, least, most):
        two = (min(one.part, one.whole), max(one.part, one.whole))
        if two not in found or (-one.likeness, one) < (-found[two].likeness, found[two]):
            found[two] = one
    return sorted(found.values(), key=lambda one: (-one.likeness, one))


def cropped(textures: NDArray[np.float32], least: float, most: int) -> list[Candidate]:
    """Pictures like a window of another one."""

    def ways(numbers: slice) -> Iterator[NDArray[np.float32]]:
        return (describe(textures[numbers], window) for window in WINDOWS)

    return _nearest(describe(textures), ways, least, most)


def _nearest(own: Described, ways: Ways, least: float, most: int) -> list[Candidate]:
    """For every picture the `most` others that are most like it in any way, if at least `least`; best first."""
    highest = np.full((len(own), most), -2, np.float32)
    nearest = np.zeros((len(own), most), np.int64)
    for start in range(0, len(own), COLUMNS):
        others = list(ways(slice(start, start + COLUMNS)))
        for first in range(0, len(own), ROWS):
            rows = slice(first, min(first + ROWS, len(own)))
            likeness = own[rows] @ others[0].T
            for other in others[1:]:
                np.maximum(likeness, own[rows] @ other.T, out=likeness)
            itself = np.arange(max(first, start), min(rows.stop, start + likeness.shape[1]))
            likeness[itself - first, itself - start] = -2
            best = np.argsort(-likeness, axis=1, kind="stable")[:, :most]
            both = np.hstack([highest[rows], np.take_along_axis(likeness, best, 1)])
            numbers = np.hstack([nearest[rows], best + start])
            order = np.argsort(-both, axis=1, kind="stable")[:, :most]
            highest[rows] = np.take_along_axis(both, order, 1)
            nearest[rows] = np.take_along_axis(numbers, order, 1)
    part, rank = np.nonzero(highest >= least)
    return _with_ways(own, part, nearest[part, rank], ways)


def _with_ways(own: Described, parts: Numbers, wholes: Numbers, ways: Ways) -> list[Candidate]:
    """Say in which way they are alike, which the blocks did not keep."""
    candidates = []
    for whole in np.unique(wholes).tolist():
        some = parts[wholes == whole]
        likeness = np.concatenate(list(ways(slice(whole, whole + 1)))) @ own[some].T
        candidates += [
            Candidate(float(likeness[way, at]), part, whole, way)
            for at, (part, way) in enumerate(zip(some.tolist(), likeness.argmax(0).tolist(), strict=True))
        ]
    return sorted(candidates, key=lambda one: (-one.likeness, one))
