"""Masks that two pictures have likely exchanged: each fits the other's picture, and not its own.

What masks look like is learnt from the data set itself, on a coarse grid: a ridge regression on random features of
colour, contrast and position predicts every picture's mask from the other pictures and their masks. A few wrong masks
hardly change it. Of two pictures, the difference of the predictions should then look like the difference of the masks;
where it looks like its opposite, the masks are exchanged. What all masks share, such as a place, cancels out.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX

GRID, FINE = 32, 4  # cells each way, and pixels of a cell
HIDDEN, FOLDS, CELLS = 256, 5, 400_000  # CELLS: at most so many are learnt from
RIDGE = 1e-3
FEWEST = 20  # pairs that something can be learnt from
SAMPLE, SUSPECTS = 300, 1000  # pictures that say what is usual, and at most so many that fit worst
SUSPECT_SHARE = 0.3
VALUES = 20_000_000  # of all cells and classes of the pictures that are compared: of many classes, fewer pictures are
# Chosen on CrackForest, PH² and drawn pictures: benchmarks/bench_check.py says what they find elsewhere.
LEARNT = 0.15  # usual agreement below which nothing is said
OPPOSED = 0.46  # share of the usual agreement that must be reached in the opposite sense
UNUSUAL = 5.0  # and at least so many standard deviations from what is usual
EQUAL = 0.01  # share of the largest difference; masks that differ less are the same
SMALL = 0.4  # share of the usual difference; two masks or predictions that differ less say little

Picture = NDArray[np.uint8]  # (H, W, 3) RGB
Mask = NDArray[np.uint8]  # (H, W), class indices and 255
Floats = NDArray[np.float32]


class Exchange(NamedTuple):
    """Two pairs by number, in their order. score: agreement of the differences of masks and predictions, -1..0."""

    first: int
    second: int
    score: float


class Pairs(NamedTuple):
    """All pairs on the grid: features (N, GRID, GRID, F) int8, and 0..254 of each class, 255 where it is unknown."""

    features: NDArray[np.int8]
    shares: NDArray[np.uint8]

    def share(self, numbers: Sequence[int]) -> Floats:
        """(n, cells, C) of the cells' pixels, 0..1; NaN where unknown."""
        some = self.shares[numbers].reshape(len(numbers), GRID**2, -1)
        return np.where(some == 255, np.float32(np.nan), some.astype(np.float32) / np.float32(254))


def find_exchanged(samples: Iterable[tuple[Picture, Mask]], classes: int) -> list[Exchange]:
    """Pairs of samples whose masks are likely exchanged, the surest first; a sample is in one at most.

    samples are gone through once, and 12 KB (and 1 KB a class) kept of each. Of one class, masks are 0 and 1. Nothing
    is said where masks cannot be predicted from colour and contrast, nor of fewer than 20 pairs.
    """
    return find_exchanged_among(read_pairs(samples, classes))


def find_exchanged_among(pairs: Pairs) -> list[Exchange]:
    """`find_exchanged` for pairs that are on the grid already."""
    if len(pairs.features) < FEWEST:
        return []
    model = Model(pairs)
    own = model.fits()
    most = max(VALUES // pairs.shares[0].size, FEWEST)
    count = min(max(round(SUSPECT_SHARE * len(own)), FEWEST), SUSPECTS, most)
    suspects = np.argsort(own, kind="stable")[:count]
    sample = np.linspace(0, len(own) - 1, min(len(own), SAMPLE, most)).round().astype(int)
    usual, spread, scales = _usual(*model.residuals(sample))
    if usual < LEARNT:
        return []
    agreement = agreements(*model.residuals(suspects), scales)
    return _best_pairs(suspects, agreement, min(-OPPOSED * usual, usual - UNUSUAL * spread))


def _usual(said: Floats, true: Floats) -> tuple[float, float, tuple[float, float]]:
    """Median agreement of two pictures with different masks, its spread, and the least differences that count."""
    apart = np.triu_indices(len(said), 1)
    of_said, of_true = _distances(said)[apart], _distances(true)[apart]
    differ = of_true > EQUAL * of_true.max(initial=0)  # many masks may be empty
    if not differ.any():
        return 0.0, 0.0, (0.0, 0.0)
    scales = SMALL * float(np.median(of_said[differ])), SMALL * float(np.median(of_true[differ]))
    found = agreements(said, true, scales)[apart][differ]
    usual = float(np.median(found))
    return usual, 1.4826 * float(np.median(np.abs(found - usual))), scales


def agreements(said: Floats, true: Floats, least: tuple[float, float]) -> Floats:
    """(n, n) cosines between the difference of two predictions and that of the two masks; (n, D) each."""
    cross = said @ true.T
    own = np.diag(cross)
    common = own[:, None] + own[None] - cross - cross.T
    lengths = np.maximum(_distances(said), least[0]) * np.maximum(_distances(true), least[1])
    return np.asarray(common / np.maximum(lengths, 1e-9), np.float32)


def _distances(vectors: Floats) -> Floats:
    products = vectors @ vectors.T
    squares = np.diag(products)
    return np.asarray(np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0)), np.float32)


def _best_pairs(numbers: NDArray[np.int64], agreement: Floats, most: float) -> list[Exchange]:
    """The lowest first; who is in a pair is in no further one."""
    rows, columns = np.nonzero(np.triu(agreement < most, 1))
    order = np.argsort(agreement[rows, columns], kind="stable")
    taken: set[int] = set()
    found = []
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if not taken & {row, column}:
            taken |= {row, column}
            first, second = sorted((int(numbers[row]), int(numbers[column])))
            found.append(Exchange(first, second, float(agreement[row, column])))
    return found


class Model:
    """Predicts the masks of each fold of the pictures from the others."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        rng = np.random.default_rng(0)
        count = len(pairs.features)
        self.fold = rng.permutation(count) % FOLDS
        some = np.linspace(0, count - 1, min(count, SAMPLE)).round().astype(int)
        seen = np.concatenate([inputs(pairs.features[number]) for number in some])
        self.center, self.scale = seen.mean(0), seen.std(0) + 1e-3
        self.weights = (rng.normal(size=(seen.shape[1], HIDDEN)) / seen.shape[1] ** 0.5).astype(np.float32)
        self.offsets = rng.uniform(-1, 1, HIDDEN).astype(np.float32)
        self.mean, self.spread = self._masks()
        self.solutions = self._solve(rng)

    def hidden(self, number: int) -> Floats:
        """(cells, D)"""
        put = np.clip((inputs(self.pairs.features[number]) - self.center) / self.scale, -5, 5)
        bent = np.maximum(put @ self.weights + self.offsets, 0)
        return np.concatenate([bent, put, np.ones((len(put), 1), np.float32)], 1)

    def _masks(self) -> tuple[Floats, Floats]:
        """The mean mask (cells, C), and by how much each class differs from it (C,)."""
        total: NDArray[np.float64] = np.zeros(self.pairs.shares[0].reshape(GRID**2, -1).shape)
        known, squares = np.zeros((len(total), 1)), np.zeros(total.shape)
        for number in range(len(self.fold)):
            share = self.pairs.share([number])[0]
            known += ~np.isnan(share[:, :1])
            total += np.nan_to_num(share)
            squares += np.nan_to_num(share) ** 2
        mean = total / np.maximum(known, 1)
        variance = np.maximum(squares / np.maximum(known, 1) - mean**2, 0).mean(0)
        return mean.astype(np.float32), np.maximum(np.sqrt(variance), 0.02).astype(np.float32)

    def _solve(self, rng: np.random.Generator) -> list[Floats]:
        size = HIDDEN + len(self.center) + 1
        products, targets = np.zeros((FOLDS, size, size)), np.zeros((FOLDS, size, self.mean.shape[1]))
        most = max(CELLS // len(self.fold), 16)
        for number, fold in enumerate(self.fold):
            share = self.pairs.share([number])[0]
            cells = np.flatnonzero(~np.isnan(share[:, 0]))
            cells = rng.choice(cells, most, replace=False) if len(cells) > most else cells
            hidden = self.hidden(number)[cells]
            products[fold] += hidden.T @ hidden
            targets[fold] += hidden.T @ share[cells]
        solutions = []
        for fold in range(FOLDS):
            product = products.sum(0) - products[fold]
            product += np.eye(size) * max(RIDGE * np.trace(product) / size, RIDGE)
            solutions.append(np.linalg.solve(product, targets.sum(0) - targets[fold]).astype(np.float32))
        return solutions

    def residuals(self, numbers: Sequence[int] | NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Predictions and masks (n, cells · C) less the mean mask, each class of the same weight; 0 where unknown."""
        said = np.stack([self.hidden(number) @ self.solutions[self.fold[number]] for number in numbers])
        true = (self.pairs.share(list(numbers)) - self.mean) / self.spread
        said = (said - self.mean) / self.spread
        said[np.isnan(true)] = 0
        return said.reshape(len(said), -1), np.nan_to_num(true).reshape(len(true), -1)

    def fits(self) -> Floats:
        """(N,): how well each mask agrees with its own picture's prediction."""
        found = []
        for number in range(len(self.fold)):
            said, true = self.residuals([number])
            found.append(float((said * true).sum() / max(np.linalg.norm(said) * np.linalg.norm(true), 1e-6)))
        return np.array(found, np.float32)


def read_pairs(samples: Iterable[tuple[Picture, Mask]], classes: int) -> Pairs:
    return join_pairs([(describe(picture), share_out(mask, classes)) for picture, mask in samples])


def join_pairs(described: Sequence[tuple[NDArray[np.int8], NDArray[np.uint8]]]) -> Pairs:
    """Pairs from what `describe` and `share_out` make of each."""
    if not described:
        empty = np.zeros((0, GRID, GRID, 1))
        return Pairs(empty.astype(np.int8), empty.astype(np.uint8))
    return Pairs(np.stack([features for features, _ in described]), np.stack([shares for _, shares in described]))


def describe(picture: Picture) -> NDArray[np.int8]:
    """(GRID, GRID, F): colour, and what is darker or brighter than its surroundings, near and far."""
    side = GRID * FINE
    small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB) / 100
    light = np.ascontiguousarray(lab[..., 0])
    details = [light - cv2.GaussianBlur(light, (0, 0), sigma) for sigma in (1.5, 4.0, 12.0)]
    maps = [lab[..., 0] - 0.5, lab[..., 1], lab[..., 2]]
    maps += [4 * np.maximum(sign * detail, 0) for detail in details for sign in (1, -1)]
    maps += [2 * np.abs(cv2.Sobel(light, cv2.CV_32F, *along)) for along in ((1, 0), (0, 1))]
    cells = [cv2.resize(one, (GRID, GRID), interpolation=cv2.INTER_AREA) for one in maps]
    cells.append(4 * np.maximum(-details[1], 0).reshape(GRID, FINE, GRID, FINE).max((1, 3)))
    return np.asarray(np.round(127 * np.tanh(np.stack(cells, -1))), np.int8)


def inputs(features: NDArray[np.int8]) -> Floats:
    """(cells, D): features, these relative to their picture, these around each cell, and the position."""
    plain = features.astype(np.float32) / 127
    relative = (plain - plain.mean((0, 1))) / (plain.std((0, 1)) + 0.02)
    around = cv2.blur(relative, (5, 5))
    along = np.linspace(-1, 1, GRID, dtype=np.float32)
    down, right = np.meshgrid(along, along, indexing="ij")
    position = np.stack([right, down, right**2, down**2, right * down], -1)
    return np.concatenate([plain, relative, around, position], -1).reshape(GRID**2, -1)


def share_out(mask: Mask, classes: int) -> NDArray[np.uint8]:
    """(GRID, GRID, C) of each class among the known pixels of a cell, 0..254; 255 where most are unknown."""
    side = GRID * FINE * 2
    small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST)

    def share(where: NDArray[np.bool_]) -> Floats:
        return np.asarray(cv2.resize(where.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA), np.float32)

    known = share(small != IGNORE_INDEX)[..., None]
    shown = np.stack([share(small == index) for index in ([1] if classes == 1 else range(classes))], -1)
    return np.where(known > 0.5, np.round(254 * shown / np.maximum(known, 0.5)), 255).astype(np.uint8)
