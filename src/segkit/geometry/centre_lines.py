"""Centre lines of cracks and the widths along them, in fractions of a pixel, on a map of probabilities."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.geometry.skeleton import Points

Floats = NDArray[np.floating]

STEP = 0.5  # pixels between the samples along a normal
AT_ONCE = 2**20  # samples that are looked at together
LEAST_SMOOTHING = 2.0  # standard deviation along a centre line, in pixels
SMOOTHING = 0.5  # of the distance to the border: standard deviation along the centre line of a wide crack


class Levels(NamedTuple):
    """Probabilities: the threshold that decides, and those that the interval's lower and upper width exceed."""

    threshold: float
    low: float
    high: float


class Profile(NamedTuple):
    """At each point of a centre line (n,): the way along the normal to the border on the left and on the right, and
    the least and the largest width; NaN where the point lies outside of the object."""

    left: Floats
    right: Floats
    low: Floats
    high: Floats

    @property
    def width(self) -> Floats:
        return self.left + self.right


def resample(points: Points, spacing: float = 1.0) -> Points:
    """Points about `spacing` apart along a polyline, its ends included."""
    along = np.concatenate([[0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
    count = max(round(along[-1] / spacing), 1) + 1
    wanted = np.linspace(0, along[-1], count)
    return np.stack([np.interp(wanted, along, points[:, axis]) for axis in (0, 1)], 1)


def smooth(points: Points, deviation: float, closed: bool) -> Points:
    """Points smoothed along the line; both ends stay where they are."""
    from scipy.ndimage import gaussian_filter1d  # here, since prediction without measurements can do without it

    if closed:
        around = gaussian_filter1d(points[:-1], deviation, axis=0, mode="wrap")
        return np.concatenate([around, around[:1]])
    margin = min(int(4 * deviation) + 1, len(points) - 1)
    padded = np.pad(points, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    smoothed: Points = gaussian_filter1d(padded, deviation, axis=0)[margin:-margin]
    return smoothed


def find_normals(points: Points, closed: bool) -> Points:
    """Unit vectors (n, 2) across a line."""
    if closed:
        tangents = np.roll(points[:-1], -1, 0) - np.roll(points[:-1], 1, 0)
        tangents = np.concatenate([tangents, tangents[:1]])
    else:
        tangents = np.gradient(points, axis=0)
    tangents = tangents / np.maximum(np.hypot(*tangents.T), 1e-9)[:, None]
    return np.stack([-tangents[:, 1], tangents[:, 0]], 1)


def look(probability: NDArray[np.float32], points: Points) -> Floats:
    """The probability at points (…, 2), interpolated linearly; 0 outside of the picture, whose border lies half a pixel
    beyond the last centres."""
    from scipy.ndimage import map_coordinates

    last = np.array(probability.shape) - 0.5
    inside = ((points >= -0.5) & (points <= last)).all(-1)
    found = map_coordinates(probability, np.moveaxis(points, -1, 0), np.float64, 1, mode="nearest")
    return np.where(inside, found, 0.0)


def measure_profile(
    probability: NDArray[np.float32], points: Points, normals: Points, levels: Levels, reach: float
) -> Profile:
    """The widths at points of a line: along the normal, from where the probability crosses the threshold on one side
    to where it crosses it on the other. Up to `reach` on each side is looked at."""
    half = int(np.ceil(reach / STEP))
    ways = np.arange(-half, half + 1) * STEP
    rows = max(AT_ONCE // len(ways), 1)
    parts = [slice(start, start + rows) for start in range(0, len(points), rows)]
    found = [_measure_part(probability, points[part], normals[part], levels, ways) for part in parts]
    return Profile(*(np.concatenate(values) for values in zip(*found, strict=True)))


def _measure_part(
    probability: NDArray[np.float32], points: Points, normals: Points, levels: Levels, ways: Floats
) -> Profile:
    values = look(probability, points[:, None] + normals[:, None] * ways[:, None])
    near = np.abs(ways) <= 2
    inside = values > levels.threshold
    ranks = np.where(inside & near, np.abs(ways), np.inf)
    start = ranks.argmin(1)
    left, right = find_run(values, start, levels.threshold, ways)
    highest = np.where((ways >= left[:, None]) & (ways <= right[:, None]), values, -1).argmax(1)
    least, most = (np.subtract(*find_run(values, highest, level, ways)[::-1]) for level in levels[1:])
    rows = np.arange(len(points))
    width = right - left
    least = np.where(values[rows, highest] > levels.low, np.minimum(least, width), 0.0)
    missing = ~np.isfinite(ranks[rows, start])
    return Profile(*(np.where(missing, np.nan, one) for one in (-left, right, least, np.maximum(most, width))))


def find_run(values: Floats, start: NDArray[np.intp], level: float, ways: Floats) -> tuple[Floats, Floats]:
    """Where values (n, m), seen from an index `start` (n,) outwards, first fall to a level on either side; the ends of
    `ways` (m,) where they do not."""
    count = values.shape[1]
    index = np.arange(count)
    outside = values <= level
    rows = np.arange(len(values))
    before = np.maximum.accumulate(np.where(outside, index, -1), 1)[rows, start]
    after = np.minimum.accumulate(np.where(outside, index, count)[:, ::-1], 1)[:, ::-1][rows, start]
    return _crossing(values, before, before + 1, level, ways), _crossing(values, after, after - 1, level, ways)


def _crossing(values: Floats, outer: NDArray[np.intp], inner: NDArray[np.intp], level: float, ways: Floats) -> Floats:
    """Between an outer index (n,), at which values are at most a level, and an inner one, where the level lies."""
    rows, last = np.arange(len(values)), values.shape[1] - 1
    out, into = np.clip(outer, 0, last), np.clip(inner, 0, last)
    low, high = values[rows, out], values[rows, into]
    share = np.clip((level - low) / np.maximum(high - low, 1e-12), 0, 1)
    return np.asarray(ways[out] + share * (ways[into] - ways[out]), np.float64)


def refine(
    probability: NDArray[np.float32], points: Points, levels: Levels, reach: float, closed: bool
) -> tuple[Points, Points, Profile]:
    """A line of skeleton pixels moved to the middle between the borders, its normals, and the widths along it. reach:
    the largest distance to the border."""
    deviation = max(LEAST_SMOOTHING, SMOOTHING * reach)
    line = smooth(resample(points), deviation, closed)
    range_ = 2 * reach + 4
    for _ in range(2):
        normals = find_normals(line, closed)
        profile = measure_profile(probability, line, normals, levels, range_)
        shift = np.clip(np.nan_to_num((profile.right - profile.left) / 2), -reach - 1, reach + 1)
        line = smooth(resample(line + normals * shift[:, None]), LEAST_SMOOTHING, closed)
    line = smooth(line, deviation, closed) if deviation > LEAST_SMOOTHING else line
    normals = find_normals(line, closed)
    return line, normals, measure_profile(probability, line, normals, levels, range_)


def find_tip(probability: NDArray[np.float32], line: Points, threshold: float, reach: float) -> Points:
    """Where a crack ends beyond the end of its line (n, 2), straight on. A skeleton ends before the tip, by about half
    the width; more where spurs were removed. reach: the largest distance to the border."""
    back = min(max(int(reach), 4), len(line) - 1)
    direction = line[-1] - line[-1 - back]
    direction = direction / max(float(np.hypot(*direction)), 1e-9)
    return follow(probability, line[-1], direction, threshold, 4 * reach + 6)


def follow(
    probability: NDArray[np.float32], start: Points, direction: Points, threshold: float, farthest: float
) -> Points:
    """The first point from `start` (2,) in a direction (2,) at which the probability falls to the threshold."""
    ways = np.arange(0, farthest + STEP, STEP)
    values = look(probability, start + direction * ways[:, None])[None]
    if values[0, 0] <= threshold:
        return start
    _, way = find_run(values, np.zeros(1, np.intp), threshold, ways)
    tip: Points = start + direction * way[0]
    return tip
