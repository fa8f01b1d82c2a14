"""Cracks measured: length, width, orientation and branches, in pixels, from a map of probabilities."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit.geometry.centre_lines import Floats, Levels, find_tip, follow, look, measure_profile, refine
from segkit.geometry.skeleton import Branch, Points, Skeleton, find_skeleton

MARGIN = 24  # pixels of the picture around an object that are looked at
DOUBT = 0.05  # share left out at each end of an interval
LEAST_PIXELS = 4  # of a skeleton, below which it has no direction
AVERAGED = 5  # pixels of a centre line over which the width is averaged before the largest is taken, at least
HOLE = 1.0  # of the squared thickness: smaller holes in an object are filled


class Estimate(NamedTuple):
    """A number, and the interval that holds it with a probability of 90 %."""

    value: float
    low: float
    high: float


class CentreLine(NamedTuple):
    """A branch: points (n, 2) as x and y, from 0 at the picture's left and upper edge, and the width at each of them
    (n,), NaN at its ends and near junctions, where there is none."""

    points: Points
    widths: Floats


@dataclass(frozen=True)
class Crack:
    """A connected object. Lengths in pixels, places as x and y from the picture's upper left corner.

    length: of all branches, from tip to tip. width, widest: the mean and the largest width; the largest is that of the
    mean over a stretch as long as the crack is wide, since that of single points is one of noise. widest_at,
    widest_ends: where that is, and the ends of a bar across it. orientation: the mean direction in degrees from 0 to
    180: 0 is level, 90 upright, 45 rises to the right. box: left, top, width and height. confidence: the mean
    probability of its pixels.
    """

    lines: list[CentreLine]
    length: float
    width: Estimate
    widest: Estimate
    widest_at: tuple[float, float]
    widest_ends: tuple[Points, Points]
    orientation: float
    branch_points: int
    area: int
    box: tuple[int, int, int, int]
    confidence: float


def measure_cracks(probability: NDArray[np.float32], mask: NDArray[np.bool_], threshold: float = 0.5) -> list[Crack]:
    """The cracks of a picture, from the left to the right: 8-connected objects of `mask` (H, W).

    probability (H, W): of the class; a pixel in the mask has more than `threshold`. The border of a crack is where the
    probability, interpolated linearly, crosses the threshold. Pixels outside of the picture count as background.
    """
    levels = Levels(threshold, 1 - DOUBT, DOUBT)
    return [measure_crack(*one, levels) for one in cut_out(probability, mask)]


class Piece(NamedTuple):
    """One object cut out of a picture: its probabilities, its mask (h, w), and where its corner lies (row, column)."""

    probability: NDArray[np.float32]
    mask: NDArray[np.bool_]
    corner: tuple[int, int]
    box: tuple[int, int, int, int]


def cut_out(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> Iterator[Piece]:
    """Each object with what is around it; other objects there are set to 0, so that they are background."""
    height, width = mask.shape
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for number in 1 + np.argsort(stats[1:, cv2.CC_STAT_LEFT], kind="stable"):
        left, top, wide, tall = (int(value) for value in stats[number, :4])
        corner = max(top - MARGIN, 0), max(left - MARGIN, 0)
        window = slice(corner[0], min(top + tall + MARGIN, height)), slice(corner[1], min(left + wide + MARGIN, width))
        here = labels[window]
        own = here == number
        yield Piece(np.where(own | (here == 0), probability[window], 0), own, corner, (left, top, wide, tall))


def measure_crack(
    probability: NDArray[np.float32],
    mask: NDArray[np.bool_],
    corner: tuple[int, int],
    box: tuple[int, int, int, int],
    levels: Levels,
) -> Crack:
    area, confidence = int(np.count_nonzero(mask)), float(probability[mask].mean())
    mask, probability = fill_holes(mask, probability)
    skeleton, distance = find_skeleton(mask)
    degrees = skeleton.degrees()
    measured = [measure_branch(one, skeleton, degrees, probability, distance, levels) for one in skeleton.branches]
    if not any(len(one.width) for one in measured):
        measured = [measure_along_axis(probability, mask, levels)]
    width, low, high = (np.concatenate([getattr(one, name) for one in measured]) for name in ("width", "low", "high"))
    points = np.concatenate([one.points[one.first : one.first + len(one.width)] for one in measured])
    wide, widest_low, widest_high = (
        np.concatenate([average(getattr(one, name), float(width.mean())) for one in measured])
        for name in ("width", "low", "high")
    )
    at = int(wide.argmax())
    steps = np.concatenate([np.diff(one.points, axis=0) for one in measured])
    origin = np.array(corner) + 0.5
    middle = (points[at] + origin)[::-1]
    across = np.concatenate([one.normals for one in measured])[at, ::-1] * wide[at] / 2
    return Crack(
        lines=[as_centre_line(one, origin) for one in measured],
        length=float(np.hypot(*steps.T).sum()),
        width=Estimate(float(width.mean()), float(low.mean()), float(high.mean())),
        widest=Estimate(float(wide[at]), float(widest_low.max()), float(widest_high.max())),
        widest_at=(float(middle[0]), float(middle[1])),
        widest_ends=(middle - across, middle + across),
        orientation=mean_direction(steps),
        branch_points=sum(degree > 2 for degree in degrees.values()),
        area=area,
        box=box,
        confidence=confidence,
    )


class Measured(NamedTuple):
    """The points (n, 2) of a branch, row and column; and of those from the `first` on normals (m, 2) and widths
    (m,)."""

    points: Points
    first: int
    normals: Points
    width: Floats
    low: Floats
    high: Floats


def measure_branch(
    branch: Branch,
    skeleton: Skeleton,
    degrees: dict[int, int],
    probability: NDArray[np.float32],
    distance: NDArray[np.float32],
    levels: Levels,
) -> Measured:
    """The branch without what lies within the junctions at its ends, where other branches join and there is no width;
    it goes straight on to their middle, and to its tips."""
    ends = [skeleton.nodes[node] if degrees[node] > 2 else None for node in (branch.start, branch.end)]
    closed = branch.start == branch.end and ends[0] is None
    kept = branch.points
    for junction in ends:
        if junction is not None:
            kept = kept[np.hypot(*(kept - junction.place).T) > junction.reach + 1]
    nothing = np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0)
    if len(kept) < LEAST_PIXELS:
        return Measured(np.stack([skeleton.nodes[node].place for node in (branch.start, branch.end)]), 0, *nothing)
    at = kept.astype(int)
    reach = float(distance[at[:, 0], at[:, 1]].max())
    line, normals, profile = refine(probability, kept, levels, reach, closed)
    if not closed:
        first, last = (
            find_tip(probability, one, levels.threshold, reach) if junction is None else junction.place
            for one, junction in zip((line[::-1], line), ends, strict=True)
        )
        line = np.concatenate([first[None], line, last[None]])
    known = np.flatnonzero(np.isfinite(profile.width))
    if not len(known):
        return Measured(line, 0, *nothing)
    every = np.arange(known[0], known[-1] + 1)
    filled = [np.interp(every, known, values[known]) for values in (profile.width, profile.low, profile.high)]
    return Measured(line, int(known[0]) + (0 if closed else 1), normals[every], *filled)


def measure_along_axis(probability: NDArray[np.float32], mask: NDArray[np.bool_], levels: Levels) -> Measured:
    """An object that is too short to have a centre line: measured along its longest axis."""
    rows, columns = np.nonzero(mask)
    places = np.stack([rows, columns], 1).astype(np.float64)
    middle = places.mean(0)
    spread = np.cov(places.T, bias=True) if len(places) > 1 else np.eye(2)
    direction = np.linalg.eigh(spread)[1][:, 1]
    if look(probability, middle[None])[0] <= levels.threshold:  # hollow: from the most probable pixel
        middle = places[probability[mask].argmax()]
    farthest = float(np.hypot(*np.ptp(places, axis=0))) + 2
    tips = [follow(probability, middle, sign * direction, levels.threshold, farthest) for sign in (-1, 1)]
    count = max(round(float(np.hypot(*(tips[1] - tips[0])))), 2) + 1
    points = tips[0] + (tips[1] - tips[0]) * np.linspace(0, 1, count)[:, None]
    inner = points[1:-1]
    normals = np.broadcast_to(np.array([-direction[1], direction[0]]), inner.shape)
    profile = measure_profile(probability, inner, normals, levels, farthest)
    known = [np.nan_to_num(values) for values in (profile.width, profile.low, profile.high)]
    return Measured(points, 1, normals, *known)


def average(values: Floats, stretch: float) -> Floats:
    """The mean of the values (n,) around each point, over a stretch of so many pixels or AVERAGED."""
    from scipy.ndimage import uniform_filter1d

    return np.asarray(
        uniform_filter1d(values, max(AVERAGED, round(stretch)), mode="nearest") if len(values) else values
    )


def fill_holes(
    mask: NDArray[np.bool_], probability: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Without holes that are smaller than the object's thickness, around which the skeleton would run: a grain, a speck
    of light. Their probability becomes 1."""
    outlines, levels = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    holes = [one for one, level in zip(outlines, levels[0], strict=True) if level[3] >= 0]
    if not holes:
        return mask, probability
    deep = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    thickness = 4 * float(deep[mask].mean())  # of a strip, the mean distance to the border is a quarter of its width
    small = [one for one in holes if cv2.contourArea(one) <= HOLE * thickness**2]
    filled = cv2.drawContours(mask.astype(np.uint8), small, -1, 1, cv2.FILLED) > 0
    return filled, np.where(filled & ~mask, np.float32(1), probability)


def mean_direction(steps: Points) -> float:
    """The axial mean of steps (n, 2), row and column, in degrees from 0 to 180: twice their angles are averaged,
    weighted by their lengths."""
    angles, lengths = np.arctan2(-steps[:, 0], steps[:, 1]), np.hypot(*steps.T)
    mean = np.arctan2((lengths * np.sin(2 * angles)).sum(), (lengths * np.cos(2 * angles)).sum()) / 2
    return float(np.degrees(mean) % 180)


def as_centre_line(one: Measured, origin: NDArray[np.float64]) -> CentreLine:
    widths = np.full(len(one.points), np.nan)
    widths[one.first : one.first + len(one.width)] = one.width
    return CentreLine((one.points + origin)[:, ::-1], widths)
