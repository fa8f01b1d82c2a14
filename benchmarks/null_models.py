"""Made-up experiments in which the truth is known, to try the report's statistics on.

A model draws the scores of two settings, (seeds, pictures) each, and the cluster of every picture. Both have the same
expected score unless `effect` is added to the second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.normal(0, 1, shape)


def skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A long tail of bad scores: mean 0, variance 1, skewness -2.8."""
    return (0.5 - rng.gamma(0.5, 1, shape)) / np.sqrt(0.5)


def lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """A few very good scores: mean 0, variance 1, skewness 6.2."""
    return (np.exp(rng.normal(0, 1, shape)) - np.exp(0.5)) / np.sqrt(np.e * (np.e - 1))


def exponential(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.exponential(1, shape) - 1


def rare(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """One in ten is 9, the others are -1: mean 0, variance 9."""
    return np.where(rng.random(shape) < 0.1, 9.0, -1.0)


def nothing(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.zeros(shape)


@dataclass(frozen=True)
class Model:
    """How the scores of two settings come about.

    A picture's score is its difficulty, the same for both; what a setting makes of it (`spread`, of which the share
    `icc` belongs to its cluster; `noises`, one a setting); what a run does on all pictures (`between`, one a setting,
    distributed as `seeds`, one a setting); and what is left (0.02). `uneven`: clusters of 1 to 100 pictures instead of
    one each. `fails`: the share of runs that find nearly nothing. `tied`: scores of 0, 1 and tenths between. `by_size`:
    how much better the second setting is on a cluster that is e times as large; over all pictures it is no better.
    """

    noises: tuple[Draw, Draw] = (normal, normal)
    difficulty: Draw = normal
    spread: float = 0.05
    between: tuple[float, float] = (0.01, 0.01)
    seeds: tuple[Draw, Draw] = (normal, normal)
    icc: float = 0.0
    uneven: bool = False
    fails: float = 0.0
    tied: bool = False
    by_size: float = 0.0

    def draw(
        self, rng: np.random.Generator, seeds: tuple[int, int], clusters: int, effect: float = 0.0
    ) -> tuple[list[Array], NDArray[np.int64]]:
        sizes = uneven(rng, clusters) if self.uneven else np.ones(clusters, dtype=np.int64)
        cluster = np.repeat(np.arange(clusters), sizes)
        pictures = len(cluster)
        difficulty = 0.75 + 0.1 * self.difficulty(rng, (pictures,))
        scores = []
        shifts = np.zeros(pictures), effect + self.by_size * (np.log(sizes) - MEAN_LOG)[cluster]
        for noise, between, seed, count, shift in zip(
            self.noises, self.between, self.seeds, seeds, shifts, strict=True
        ):
            of_clusters, of_pictures = noise(rng, (clusters,))[cluster], noise(rng, (pictures,))
            setting = np.sqrt(self.icc) * of_clusters + np.sqrt(1 - self.icc) * of_pictures
            runs = between * seed(rng, (count, 1)) + 0.02 * rng.normal(0, 1, (count, pictures))
            found = difficulty + self.spread * setting + shift + runs
            if self.tied:
                found = np.where(found > 0.8, 1.0, np.where(found < 0.5, 0.0, found.round(1)))
            if self.fails:
                found = np.where(rng.random((count, 1)) < self.fails, 0.03 * found, found)
            scores.append(found)
        return scores, cluster


def uneven(rng: np.random.Generator, clusters: int) -> NDArray[np.int64]:
    """Sizes of clusters."""
    return np.exp(rng.normal(2.3, 0.9, clusters)).round().clip(1, 100).astype(np.int64)


def mean_log() -> float:
    """The expected logarithm of the size of a picture's cluster: a size counts as often as it has pictures."""
    sizes, log_sizes = np.arange(1, 101), NormalDist(2.3, 0.9)
    below = np.array([log_sizes.cdf(np.log(size + 0.5)) for size in sizes[:-1]])
    pictures = sizes * np.diff(below, prepend=0, append=1)
    return float((pictures * np.log(sizes)).sum() / pictures.sum())


MEAN_LOG = mean_log()

MODELS = {
    "seeds alike": Model(between=(0.0, 0.0)),
    "normal": Model(),
    "skewed": Model((skewed, skewed), skewed),
    "skewed on one side": Model((skewed, normal)),
    "tied": Model(difficulty=skewed, tied=True),
    "ICC 0.1": Model(icc=0.1, uneven=True),
    "ICC 0.3": Model(icc=0.3, uneven=True),
    "ICC 0.6": Model(icc=0.6, uneven=True),
    "ICC 0.6, skewed on one side": Model((skewed, normal), icc=0.6, uneven=True),
    "seeds of unequal spread": Model(between=(0.003, 0.03)),
    "one side without spread": Model(between=(0.0, 0.015)),
    "a run in ten fails": Model(fails=0.1),
    "effect grows with the group": Model(uneven=True, by_size=0.05),
    "lognormal difference": Model((nothing, lognormal), between=(0.0, 0.0)),
    "exponential seeds on one side": Model(between=(0.0, 0.03), seeds=(normal, exponential)),
    "rare gain": Model((nothing, rare), between=(0.0, 0.0)),
    "all of it": Model((skewed, skewed), skewed, between=(0.003, 0.03), icc=0.3, uneven=True, fails=0.1),
}
HARD = ("effect grows with the group", "lognormal difference", "exponential seeds on one side", "rare gain")
