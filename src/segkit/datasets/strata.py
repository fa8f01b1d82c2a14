"""Splits in which the classes have similar shares in train, val and test."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from math import fsum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX, hardware
from segkit.datasets.findings import DataError
from segkit.datasets.masks import Mask, MaskValues

Numbers = NDArray[np.float64]
Strata = tuple[int, ...]  # of a picture, for each class: its share of the pixels in millionths, and 1 if it is there
MILLION = 10**6
ABSENT = 1000.0  # what a class costs that a part lacks, in squared standard errors
EVEN = 0.01  # squared standard errors, on average, below which parts are alike
TRIES, PASSES = 1000, 20  # units that are looked at for an exchange, and rounds through all of them
PARTNERS = 1000  # of each other part, with which one unit is compared at most

_known: dict[tuple[Path, int, int, str], Strata] = {}


def read_strata(masks: Sequence[Path], values: MaskValues) -> list[Strata]:
    """What each mask shows; each process reads a file once. One that cannot be read, which is reported before
    training, counts as empty."""

    def read(path: Path) -> Strata:
        try:
            status = path.stat()
            key = (path, status.st_size, status.st_mtime_ns, repr(values))
            if key not in _known:
                _known[key] = strata_of(values.read(path), len(values.classes))
            return _known[key]
        except (DataError, OSError):
            return (0, 0) * len(values.classes)

    with ThreadPoolExecutor(min(hardware.cores(), 8)) as pool:
        return list(pool.map(read, masks))


def strata_of(mask: Mask, classes: int) -> Strata:
    """Of each class in a mask (H, W): its share of the pixels that count, in millionths, and whether it is there."""
    counts = np.bincount(mask.ravel(), minlength=IGNORE_INDEX + 1).tolist()
    shown = [counts[1]] if classes == 1 else counts[:classes]
    total = max(sum(counts[:IGNORE_INDEX]), 1)
    return tuple(number for count in shown for number in (count * MILLION // total, int(count > 0)))


def balance(
    parts: Sequence[Sequence[int]],
    fractions: Sequence[float],
    units: Sequence[Sequence[int]],
    strata: Sequence[Strata],
) -> list[list[int]]:
    """Parts of a data set, in which classes have more similar shares than in the given ones; indices in ascending
    order.

    units: pictures that stay together, all of them in one part. Two units of different parts change places, for one
    unit after the other the best exchange, as long as that lowers the sum of:

    - for each part and each number in `strata`, the squared distance of the part's mean from the mean of all, in
      standard errors of a part of its size that is drawn by chance;
    - for each part, the squared distance from its size by `fractions`, in units of usual size;
    - 1000 for each class that a part lacks although enough units show it.

    All sums are exact or made in a fixed order, so that the outcome is the same on every machine.
    """
    place = {index: at for at, part in enumerate(parts) for index in part}
    found = _Parts([place[unit[0]] for unit in units], fractions, units, strata)
    tries = 0
    for _ in range(PASSES):
        before = found.cost
        for unit in range(len(units)):
            if found.where[unit] > 0 and tries < TRIES and not found.is_even:  # each exchange has one of val or test
                found.exchange(unit)
                tries += 1
        if found.cost > 0.95 * before:
            break
    members: list[list[int]] = [[] for _ in parts]
    for part, pictures in zip(found.where.tolist(), units, strict=True):
        members[part].extend(pictures)
    return [sorted(one) for one in members]


class _Parts:
    """Which part each unit is in (`where`), and what that costs. Arrays are (numbers, units): a sum over the first axis
    has the same order on every machine."""

    def __init__(
        self,
        where: Sequence[int],
        fractions: Sequence[float],
        units: Sequence[Sequence[int]],
        strata: Sequence[Strata],
    ) -> None:
        self.where = np.array(where)
        rows = np.array(strata, dtype=np.float64)
        sums: Numbers = np.array([rows[list(unit)].sum(axis=0) for unit in units]).T  # of whole numbers, so exact
        self.sizes: Numbers = np.array([len(unit) for unit in units], dtype=np.float64)
        self.off: Numbers = sums - sums.sum(axis=1, keepdims=True) / len(rows) * self.sizes  # from what is expected
        self.shown: Numbers = (sums[1::2] > 0).astype(np.float64)  # (classes, units)
        self.targets = [len(rows) * fraction for fraction in fractions]
        self.used = [at for at, target in enumerate(self.targets) if target > 0]
        self.usual = fsum((self.sizes**2).tolist()) / len(units)  # size, squared
        spread = np.array([[fsum(row) / len(rows)] for row in (self.off**2).tolist()])  # of a picture, squared
        self.weights: Numbers = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
        self.needed: Numbers = ABSENT * (self.shown.sum(axis=1, keepdims=True) >= len(self.used))
        self.now = [self._sum_up(at) for at in range(len(fractions))]

    def _sum_up(self, part: int) -> tuple[Numbers, Numbers, float]:
        inside = self.where == part
        off = self.off[:, inside].cumsum(axis=1)[:, -1:] if inside.any() else np.zeros((len(self.off), 1))
        return off, self.shown[:, inside].sum(axis=1, keepdims=True), float(self.sizes[inside].sum())

    def cost_of(self, part: int, off: Numbers, shown: Numbers, sizes: Numbers | float) -> Numbers:
        """What a part costs for several contents, (N,): distances `off` (numbers, N), number of units that show each
        class `shown` (classes, N), and sizes (N,)."""
        alike = (off * off * self.weights).sum(axis=0) / self.targets[part]
        absent = ((shown == 0) * self.needed).sum(axis=0)
        return np.asarray(alike + absent + (sizes - self.targets[part]) ** 2 / self.usual)

    @property
    def cost(self) -> float:
        return sum(float(self.cost_of(part, *self.now[part])[0]) for part in self.used)

    @property
    def is_even(self) -> bool:
        return self.cost < EVEN * len(self.used) * len(self.off)

    def exchange(self, unit: int) -> None:
        """Exchange a unit for the one of another part with which that helps most, if it helps."""
        here = int(self.where[unit])
        best, chosen = -1e-9, None
        for there in self.used:
            others = np.flatnonzero(self.where == there)
            others = others[:: len(others) // PARTNERS + 1]
            if there == here or not len(others):
                continue
            off, shown, sizes = (
                values[..., others] - values[..., [unit]] for values in (self.off, self.shown, self.sizes)
            )
            (off_here, shown_here, size_here), (off_there, shown_there, size_there) = self.now[here], self.now[there]
            costs = self.cost_of(here, off_here + off, shown_here + shown, size_here + sizes)
            costs = costs + self.cost_of(there, off_there - off, shown_there - shown, size_there - sizes)
            at = int(costs.argmin())
            gain = float(costs[at]) - sum(float(self.cost_of(part, *self.now[part])[0]) for part in (here, there))
            if gain < best:
                best, chosen = gain, int(others[at])
        if chosen is not None:
            there = int(self.where[chosen])
            self.where[unit], self.where[chosen] = there, here
            self.now[here], self.now[there] = self._sum_up(here), self._sum_up(there)
