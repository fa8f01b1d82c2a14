"""Whether a split has pictures enough to show a small difference. Light: no torch, and no picture is decoded."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from segkit.console import format_count
from segkit.reporting import collect
from segkit.reporting.foresight import CLUSTER_SPREAD, pictures_of
from segkit.reporting.groups import Run
from segkit.reporting.statistics import Clusters, expected_detectable

WANTED = 0.02  # difference in IoU
ALIKE = 0.6  # correlation of two settings' scores of a picture: 0.45 to 0.77 in the runs of benchmarks/runs
MOST_RUNS = 40  # runs that are read, the latest
MOST_GROUPS = 10**6
RULE = f"assuming a standard deviation of {CLUSTER_SPREAD:g} between {{}} of the difference of two settings"


class Resolution(NamedTuple):
    """How small a difference in IoU between two settings a split can show.

    groups: how many; effective: how many of equal size would say as much; unit: "groups" or "pictures"; spread: the
    standard deviation, between groups, of the difference of two settings, from `source`; detectable: the true
    difference that is found 4 times in 5, infinite for a single group; needed: how many groups of equal size would show
    `wanted`.
    """

    split: str
    pictures: int
    groups: int
    effective: float
    unit: str
    spread: float
    source: str
    detectable: float
    wanted: float
    needed: int

    @property
    def is_enough(self) -> bool:
        return self.detectable <= self.wanted

    @property
    def sentence(self) -> str:
        size = format_count(self.groups, self.unit.removesuffix("s"))
        size += f" of {self.pictures} pictures" if self.unit == "groups" else ""
        uneven = f", which count as {self.effective:.1f} of equal size" if self.effective < 0.9 * self.groups else ""
        if self.is_enough:
            found = f"enough to find a difference of {self.wanted:g} IoU 4 times in 5"
        else:
            least = (
                f"one of {self.detectable:.3f} is" if self.detectable <= 1 else "not even the largest possible, 1, is"
            )
            found = f"too few for a difference of {self.wanted:g} IoU: {least} found 4 times in 5, and {self.wanted:g} "
            about = f"about {self.needed}" if self.needed < MOST_GROUPS else f"more than {MOST_GROUPS:,}"
            found += f"takes {about} {self.unit}"
        return f"{self.split}: {size}{uneven}, {found} ({self.source})"


def summarise_resolution(found: Sequence[Resolution]) -> str:
    """The smallest differences that splits show, briefly: `val / test show differences of 0.10 / 0.05 IoU or more`."""
    if all(one.is_enough for one in found):
        return f"{' and '.join(one.split for one in found)} are large enough for differences of {found[0].wanted:g} IoU"
    names = " / ".join(one.split for one in found)
    shown = [f"{one.detectable:.3f}" if one.detectable <= 1 else "none" for one in found]
    if {*shown} == {"none"}:
        return f"{names} are too few pictures to show any difference"
    needed = f", {found[0].wanted:g} takes {found[0].needed} {found[0].unit}" if found[0].needed < MOST_GROUPS else ""
    return f"{names} show differences of {' / '.join(shown)} IoU or more{needed}"


def describe_resolution(
    groups: Mapping[str, Sequence[str]],
    dataset: Mapping[str, Any],
    runs: Path | None = None,
    wanted: float = WANTED,
) -> list[Resolution]:
    """Whether splits can show a difference of `wanted` in IoU between two settings, as far as pictures decide it: the
    spread between seeds comes on top.

    groups: of each split, the group of each picture, or its name if pictures are independent. dataset: the settings of
    the data set. runs: a folder of earlier runs; if they were tested on the same pictures, their spread counts.

    The smallest difference is (t₀.₉₇₅ + t₀.₈) · s / √n, with Student's quantiles for n - 1 degrees of freedom, as in
    `statistics.expected_detectable`. n is the number of groups of equal size that would say as much: 1 / Σ share²,
    where a group's share is its part of the pictures (Kish, Survey Sampling, 1965). For a mean over pictures, 100 of
    one group and 10 of another are little more than one group. s is, in this order:

    - the median over pairs of earlier runs;
    - from a single run, the spread of its scores times √(2 (1 - 0.6)), as two settings' scores correlate by about 0.6;
    - 0.08, to which the pairs of the runs in benchmarks/runs come close (0.05 to 0.09).
    """
    earlier = read_spread(runs, dataset) if runs is not None else None
    found = []
    for split, names in groups.items():
        sizes = Counter(names)
        unit = "groups" if len(sizes) < len(names) else "pictures"
        spread, source = earlier or (CLUSTER_SPREAD, RULE.format(unit))
        effective = len(names) ** 2 / sum(size**2 for size in sizes.values()) if names else 0.0
        detectable = expect_difference(effective, spread)
        needed = count_needed(wanted, spread)
        found.append(
            Resolution(split, len(names), len(sizes), effective, unit, spread, source, detectable, wanted, needed)
        )
    return found


def expect_difference(groups: float, spread: float) -> float:
    """The smallest true difference that so many groups show 4 times in 5; infinite for fewer than two."""
    return expected_detectable(1, groups, 1, cluster_spread=spread) if groups >= 2 else float("inf")


def count_needed(wanted: float, spread: float) -> int:
    """The smallest number of groups that show a difference, at most a million."""
    low, high = 2, MOST_GROUPS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if expect_difference(middle, spread) <= wanted else (middle + 1, high)
    return low


def read_spread(folder: Path, dataset: Mapping[str, Any]) -> tuple[float, str] | None:
    """The standard deviation between groups of the difference of two settings, and where it comes from: the latest
    finished runs in a folder, or in folders in it, that were tested on this data set's test pictures; None if there are
    none."""
    paths = [path for pattern in ("*/results.json", "*/*/results.json") for path in folder.glob(pattern)]
    latest = sorted(paths, key=lambda path: (path.stat().st_mtime, path), reverse=True)[:MOST_RUNS]
    found = [run for path in latest if isinstance(run := collect.read(path.parent), Run)]
    wanted = pictures_of(dict(dataset))
    runs = [run for run in found if pictures_of(run.config["dataset"]) == wanted and "iou" in run.images]
    runs = [run for run in runs if runs[0].same_pictures(run) and np.isfinite(run.images["iou"]).all()]
    if not runs or len({*(runs[0].clusters or runs[0].names)}) < 2:
        return None
    clusters = Clusters(runs[0].clusters or runs[0].names)
    if len(runs) == 1:
        spread = _between(clusters, runs[0].images["iou"]) * (2 * (1 - ALIKE)) ** 0.5
        return spread, f"from the spread of the test scores of {runs[0].folder}"
    pairs = islice(combinations(runs, 2), MOST_RUNS)
    spreads = [_between(clusters, one.images["iou"] - other.images["iou"]) for one, other in pairs]
    return float(np.median(spreads)), f"from the differences of {len(runs)} runs in {folder}"


def _between(clusters: Clusters, values: NDArray[np.float64]) -> float:
    """The standard deviation between groups of the means of values (pictures,), as many of equal size would have."""
    effective = 1 / float((clusters.share**2).sum())
    return float(np.sqrt(clusters.level_of_mean(values).variance * effective))
