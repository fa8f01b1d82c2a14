"""Pixels to polygons: outlines of a mask's objects, so that filling them gives the mask again."""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.formats.model import Outline, Pixels, Points, Polygon

# Right, down, left, up: the edges of a pixel, clockwise, with the pixel on the right hand.
STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


def find_outlines(pixels: Pixels, label: str, tolerance: float = 0.35) -> list[Outline]:
    """The objects of a mask, from top to bottom: pixels that touch at a side or a corner are one.

    A polygon runs through the middles of the pixels' sides, and has only the points that keep it within `tolerance`
    pixels of that line. A pixel's centre is 0.35 from it or more: up to there, no pixel changes sides.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(pixels.astype(np.uint8), connectivity=8)
    outers: dict[int, Points] = {}
    holes: dict[int, list[Points]] = {}
    for points, x, y in trace(pixels):
        number = int(labels[y, x])
        ring = simplify(points, tolerance)
        if signed_area(points) > 0:
            outers[number] = ring
        else:
            holes.setdefault(number, []).append(ring)
    found = []
    for number in sorted(outers):
        left, top, width, height = (int(value) for value in stats[number, :4])
        own = labels[top : top + height, left : left + width] == number
        found.append(Outline(label, Polygon(outers[number], tuple(holes.get(number, ()))), own, left, top))
    return found


def trace(pixels: Pixels) -> Iterator[tuple[Points, int, int]]:
    """Each closed line around pixels: the middles of the pixels' sides along it, and a pixel at it (x, y). Clockwise
    around an object, counterclockwise around a hole."""
    x, y, way = sides_of(pixels)
    if not len(x):
        return
    wide = pixels.shape[1] + 2
    start = (y * wide + x) * 4 + way
    order = np.argsort(start)
    x, y, way, start = x[order], y[order], way[order], start[order]
    following = follow(x + STEPS[way, 0], y + STEPS[way, 1], way, start, wide).tolist()
    middles = np.stack([x, y], axis=1) + STEPS[way] / 2
    # The pixel on the right hand of a side that starts at (x, y).
    inside = np.stack([x - np.isin(way, (1, 2)), y - np.isin(way, (2, 3))], axis=1)
    seen = bytearray(len(following))
    for first in range(len(following)):
        if seen[first]:
            continue
        ring, at = [], first
        while not seen[at]:
            seen[at] = 1
            ring.append(at)
            at = following[at]
        yield middles[ring], int(inside[first, 0]), int(inside[first, 1])


def sides_of(pixels: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """The sides between a pixel of the mask and one that is not in it: where each starts (x, y), and its way."""
    framed = np.pad(pixels, 1)
    middle = framed[1:-1, 1:-1]
    neighbours = (framed[:-2, 1:-1], framed[1:-1, 2:], framed[2:, 1:-1], framed[1:-1, :-2])  # above, right, below, left
    corners = ((0, 0), (1, 0), (1, 1), (0, 1))  # of the pixel, where the side starts
    found = [np.nonzero(middle & ~other) for other in neighbours]
    x = np.concatenate([columns + dx for (_, columns), (dx, _) in zip(found, corners, strict=True)])
    y = np.concatenate([rows + dy for (rows, _), (_, dy) in zip(found, corners, strict=True)])
    return x, y, np.repeat(np.arange(4), [len(rows) for rows, _ in found])


def follow(
    x: NDArray[np.int64], y: NDArray[np.int64], way: NDArray[np.int64], start: NDArray[np.int64], wide: int
) -> NDArray[np.int64]:
    """Which side follows each that ends at (x, y): the one on the left, else straight on, else on the right. With the
    left first, pixels that touch at a corner are one object. start: of all sides, sorted."""
    following = np.full(len(x), -1, np.int64)
    for turn in (3, 0, 1):
        wanted = (y * wide + x) * 4 + (way + turn) % 4
        at = np.minimum(np.searchsorted(start, wanted), len(start) - 1)
        fits = (following < 0) & (start[at] == wanted)
        following[fits] = at[fits]
    return following


def simplify(points: Points, tolerance: float) -> Points:
    """The polygon with fewer points, none of the old ones further than `tolerance` from it (Douglas and Peucker)."""
    fewer = cv2.approxPolyDP(points.astype(np.float32)[:, None], tolerance, True)[:, 0].astype(np.float64)
    return fewer if len(fewer) >= 3 and signed_area(fewer) != 0 else points


def signed_area(points: Points) -> float:
    """The area inside a polygon: above 0 for one that runs clockwise on the screen."""
    x, y = points.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
