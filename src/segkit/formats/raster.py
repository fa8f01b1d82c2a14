"""Drawing shapes as pixels. **A pixel is inside a polygon if its centre is.** A centre on an edge belongs to the area
to the right of it or below it, so that two polygons with a common edge share no pixel and leave none out. Where a
polygon crosses itself, an area enclosed twice is outside (even-odd). The method is scan conversion: the centre line of
each row is cut by the edges, and a pixel is inside if it lies behind an odd number of cuts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from segkit.formats.model import FormatError, Pixels, Points, Polygon, Shape, Size, Stamp

FARTHEST = 1e6  # pixels from the corner of a picture
MOST_CUTS = 10_000_000  # of a polygon's edges by rows
FLATTEST = 0.01  # pixels that the polygon of an ellipse may lie inside of it


class Drawn(NamedTuple):
    """The pixels of a part that are in the picture, with the position of their corner."""

    top: int
    left: int
    pixels: Pixels


def rectangle(box: Sequence[float], degrees: float = 0, about: str = "corner") -> Points:
    """The corners of [x, y, width, height], turned clockwise about its top left `corner` or its `centre`."""
    x, y, width, height = box if all(map(math.isfinite, box)) else [FARTHEST * 2] * 4  # which `check_points` refuses
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    pivot = np.array([width, height]) / 2 if about == "centre" else np.zeros(2)
    return (corners - pivot) @ _turn(degrees) + pivot + [x, y]


def ellipse(axes: Sequence[float], degrees: float = 0) -> Points:
    """An ellipse of [x, y, half width, half height] about its centre as a polygon, turned clockwise."""
    x, y, width, height = axes
    radius = max(abs(width), abs(height), 1.0)
    if not all(map(math.isfinite, axes)) or radius > FARTHEST:
        return np.array([axes[:2], axes[2:], axes[:2]], float)  # which `check_points` refuses
    count = math.ceil(math.pi * math.sqrt(radius / (2 * FLATTEST)))
    angles = np.arange(count) * (2 * math.pi / count)
    points: Points = np.stack([width * np.cos(angles), height * np.sin(angles)], axis=1) @ _turn(degrees) + [x, y]
    return points


def _turn(degrees: float) -> Points:
    angle = math.radians(degrees) if math.isfinite(degrees) else math.nan  # which `check_points` refuses
    return np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])


def check_points(points: Points) -> None:
    """FormatError for coordinates that are not finite, or far outside of any picture."""
    if not np.isfinite(points).all():
        raise FormatError("a coordinate is not a finite number")
    if points.size and (farthest := float(np.abs(points).max())) > FARTHEST:
        raise FormatError(f"a coordinate is {farthest:g}; expected at most {FARTHEST:,.0f} pixels")


def fill(points: Points, top: int, left: int, height: int, width: int) -> Pixels:
    """The pixels inside a polygon, in a window of the picture."""
    flips = np.zeros((height, width + 1), np.uint8)
    first, second = points - [left, top], np.roll(points, -1, axis=0) - [left, top]
    down = (first[:, 1] <= second[:, 1])[:, None]
    upper, lower = np.where(down, first, second), np.where(down, second, first)
    begin = np.clip(np.ceil(upper[:, 1] - 0.5), 0, height).astype(np.int64)  # the first row whose centre is cut
    cuts = np.clip(np.ceil(lower[:, 1] - 0.5), 0, height).astype(np.int64) - begin
    if cuts.sum() > MOST_CUTS:  # such as 1,000 edges from top to bottom of a picture of 10,000 rows
        raise FormatError(f"its {len(points):,} points cross {cuts.sum():,} rows; expected at most {MOST_CUTS:,}")
    each = np.repeat(np.arange(len(cuts)), cuts)
    rows = np.arange(len(each)) - np.repeat(np.cumsum(cuts) - cuts, cuts) + begin[each]
    slope = (lower[each, 0] - upper[each, 0]) / (lower[each, 1] - upper[each, 1])
    at = upper[each, 0] + (rows + 0.5 - upper[each, 1]) * slope
    columns = np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)  # the first centre at the cut or behind it
    places, counts = np.unique(rows * (width + 1) + columns, return_counts=True)
    flips.flat[places] = counts & 1
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :width].astype(bool)


def draw_polygon(polygon: Polygon, size: Size) -> Drawn | None:
    """The pixels of a polygon without its holes; None if it contains no pixel's centre."""
    drawn = draw_ring(polygon.outer, size)
    for hole in polygon.holes:
        cut = draw_ring(hole, size)
        if drawn is None or cut is None:
            continue
        top, left = max(cut.top, drawn.top), max(cut.left, drawn.left)
        inner = cut.pixels[top - cut.top :, left - cut.left :]
        outer = drawn.pixels[top - drawn.top :, left - drawn.left :]
        height, width = min(len(inner), len(outer)), min(inner.shape[1], outer.shape[1])
        outer[:height, :width] &= ~inner[:height, :width]
    return drawn if drawn is not None and drawn.pixels.any() else None


def draw_ring(points: Points, size: Size) -> Drawn | None:
    """The pixels in the picture that a closed line encloses; None if it lies outside or has no area."""
    check_points(points)
    if len(points) < 3:
        return None
    low, high = np.floor(points.min(axis=0)), np.ceil(points.max(axis=0))
    left, top = (int(max(value, 0)) for value in low)
    right, bottom = int(min(high[0], size[1])), int(min(high[1], size[0]))
    if right <= left or bottom <= top:
        return None
    return Drawn(top, left, fill(points, top, left, bottom - top, right - left))


def draw_stamp(stamp: Stamp, size: Size) -> Drawn | None:
    """The pixels of a stamp that are in the picture; None if there are none."""
    pixels = stamp.decode(size)
    top, left = max(stamp.top, 0), max(stamp.left, 0)
    bottom, right = max(size[0], top), max(size[1], left)  # a stamp may lie outside
    pixels = pixels[top - stamp.top : bottom - stamp.top, left - stamp.left : right - stamp.left]
    return Drawn(top, left, pixels) if pixels.any() else None


def draw(shape: Shape, size: Size) -> list[Drawn]:
    """The parts of an object that have pixels in the picture."""
    drawn = [draw_polygon(part, size) if isinstance(part, Polygon) else draw_stamp(part, size) for part in shape.parts]
    return [one for one in drawn if one is not None]


def reaches_out(shape: Shape, size: Size) -> bool:
    """Whether an object extends more than a pixel beyond the picture."""
    outers = [part.outer for part in shape.parts if isinstance(part, Polygon) and len(part.outer)]
    return any((points < -1).any() or (points > [size[1] + 1, size[0] + 1]).any() for points in outers)


def scale_shapes(shapes: Sequence[Shape], size: Size) -> list[Shape]:
    """Shapes in pixels, from coordinates that are fractions of the picture's width and height."""
    by = np.array([size[1], size[0]], float)
    found = []
    for shape in shapes:
        polygons = (part for part in shape.parts if isinstance(part, Polygon))
        parts = tuple(Polygon(part.outer * by, tuple(hole * by for hole in part.holes)) for part in polygons)
        found.append(Shape(shape.label, parts, shape.where, shape.order))
    return found
