"""Tracing the outlines of objects in a mask, so that filling them gives the mask again."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.formats.model import NO_OBJECT, Outline, Pixels, Points, Polygon

# Right, down, left, up: along the sides of a pixel, clockwise, with the pixel on the right-hand side.
STEPS = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])


def outline_classes(mask: NDArray[np.uint8], classes: Sequence[str], tolerance: float = 0.35) -> list[Outline]:
    """The objects of each class in a mask of class numbers, or of 0 and 1 for one class; background has none."""
    return [
        outline
        for number, title in enumerate(classes, start=1 if len(classes) == 1 else 0)
        if title.casefold() not in NO_OBJECT
        for outline in find_outlines(mask == number, title, tolerance)
    ]


def find_outlines(pixels: Pixels, label: str, tolerance: float = 0.35) -> list[Outline]:
    """The objects in a mask, from top to bottom: pixels that touch at a side or a corner belong to one object.

    A polygon runs through the midpoints of the pixels' sides, simplified to within `tolerance` pixels of that line. All
    pixel centres are at least 0.35 away from it, so that up to 0.35 no pixel changes sides.
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
    """Each closed line around pixels: the midpoints of the pixels' sides along it, and one of these pixels (x, y).
    Clockwise around an object, counterclockwise around a hole."""
    x, y, way = sides_of(pixels)
    if not len(x):
        return
    wide = pixels.shape[1] + 2
    start = (y * wide + x) * 4 + way
    order = np.argsort(start)
    x, y, way, start = x[order], y[order], way[order], start[order]
    following = follow(x + STEPS[way, 0], y + STEPS[way, 1], way, start, wide).tolist()
    middles = np.stack([x, y], axis=1) + STEPS[way] / 2
    # The pixel on the right-hand side of what starts at (x, y)
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
    """The sides between a pixel in the mask and one outside: the start (x, y) of each, and its direction."""
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
    """The side that follows each side ending at (x, y): the one to the left, else straight on, else to the right. Left
    comes first so that pixels that touch at a corner are one object. start: the keys of all sides, sorted."""
    following = np.full(len(x), -1, np.int64)
    for turn in (3, 0, 1):
        wanted = (y * wide + x) * 4 + (way + turn) % 4
        at = np.minimum(np.searchsorted(start, wanted), len(start) - 1)
        fits = (following < 0) & (start[at] == wanted)
        following[fits] = at[fits]
    return following


def simplify(points: Points, tolerance: float) -> Points:
    """The polygon with fewer points: none of the old ones is further than `tolerance` away (Douglas and Peucker)."""
    fewer = cv2.approxPolyDP(points.astype(np.float32)[:, None], tolerance, True)[:, 0].astype(np.float64)
    return fewer if len(fewer) >= 3 and signed_area(fewer) != 0 else points


def signed_area(points: Points) -> float:
    """The area inside a polygon, positive if it runs clockwise on the screen."""
    x, y = points.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)
