"""What differences between runs carry: intervals, tests, corrections, verdicts, and the effects of factors.

Everything works on scores a picture, one array (seeds, pictures) a setting that was tested on the same pictures, and on
contrasts: sums of the settings' means with a weight each, such as +1 and -1 for the difference of two.

An estimate is a mean over pictures and seeds. Its error has two levels. Pictures: those of one cluster (photograph,
patient, video) belong together, and the estimate moves when a whole cluster is left out (the jackknife). Seeds: the
means of single runs differ. Each level has a variance and its degrees of freedom; half of an interval is the root of
the sum of the squares of both halves (Zou and Donner, 2008). A p-value is the level at which the interval touches 0,
so the two never contradict each other. docs/explanation/statistics.md has the reasons, and what the method is worth in
simulations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

Array = NDArray[np.float64]
Verdict = Literal[
    "better",
    "worse",
    "these runs score higher on these pictures",
    "these runs score lower on these pictures",
    "not distinguishable with these data",
]
BETTER: Verdict = "better"
WORSE: Verdict = "worse"
HIGHER: Verdict = "these runs score higher on these pictures"
LOWER: Verdict = "these runs score lower on these pictures"
OPEN: Verdict = "not distinguishable with these data"
TURNED: dict[Verdict, Verdict] = {BETTER: WORSE, WORSE: BETTER, HIGHER: LOWER, LOWER: HIGHER, OPEN: OPEN}
LEVEL = 0.05  # the share of false alarms, and what intervals leave out
POWER = 0.8  # with which the smallest difference is found
MOST_PAIRS = 15  # settings that are compared each with each: of more, each is compared with one alone
FEW, RARE = 30, 0.05  # clusters of which a rare kind may be missing, and the chance that it is
ALIKE = 0.1  # p-value from which on clusters' differences are alike as far as runs tell
LEAST_P = 1e-12  # p-values are not told more finely


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    mean: float
    low: float
    high: float

    def mirrored(self) -> "Interval":
        return Interval(-self.mean, -self.high, -self.low)

    def within(self) -> "Interval":
        """Of a score that is never below 0 or above 1."""
        return replace(self, low=max(self.low, 0.0), high=min(self.high, 1.0))


@dataclass(frozen=True)
class Level:
    """A part of an estimate's variance, with its degrees of freedom; infinite where one picture or run shows nothing of
    it."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A number and the levels of its error."""

    mean: float
    levels: tuple[Level, ...]
    alike: bool = False  # a difference that is the same in all of few clusters, see `Sample.of_unseen`

    def quantile(self, tail: float) -> float:
        """How far from the mean the error leaves out `tail` on one side."""
        if any(not np.isfinite(level.variance) for level in self.levels):
            return np.inf
        return float(np.sqrt(sum(stats.t.ppf(1 - tail, one.freedom) ** 2 * one.variance for one in self.levels)))

    def interval(self) -> Interval:
        half = self.quantile(LEVEL / 2)
        return Interval(self.mean, self.mean - half, self.mean + half)

    def p(self) -> float:
        """Two-sided: the level at which the interval touches 0."""
        distance = abs(self.mean)
        if distance == 0 or self.quantile(LEVEL / 2) == np.inf:
            return 1.0
        if self.quantile(LEAST_P / 2) <= distance:
            return LEAST_P if self.quantile(LEVEL / 2) else 0.0
        found = optimize.brentq(lambda power: self.quantile(10**power / 2) - distance, np.log10(LEAST_P), 0, xtol=1e-6)
        return float(10**found)

    def detectable(self, tests: int) -> float:
        """The true difference that would be found in 80 % of such experiments, corrected for so many tests; NaN where
        nothing varies, as two models that both paint everything, so that nothing is known of it."""
        if not any(level.variance for level in self.levels):
            return np.nan
        return self.quantile(LEVEL / tests / 2) + self.quantile(1 - POWER)


@dataclass(frozen=True)
class Outcome:
    """A contrast: its estimate, the p-value before and after Holm's correction, and what follows.

    `detectable` and `alike`: see `Estimate`. `false_claim`: see `false_claim`.
    """

    difference: Interval
    p: float
    adjusted: float
    verdict: Verdict
    detectable: float
    false_claim: float
    alike: bool = False

    def mirrored(self) -> "Outcome":
        """Of the contrast with the opposite sign."""
        return replace(self, difference=self.difference.mirrored(), verdict=TURNED[self.verdict])

    @property
    def is_open(self) -> bool:
        return self.verdict == OPEN


@dataclass(frozen=True)
class Comparison:
    """How much higher setting `one` scores than setting `other`; positions in a list of settings."""

    one: int
    other: int
    outcome: Outcome


class Clusters:
    """Pictures that belong together: `index`, the cluster of each picture, `share`, each cluster's share of them."""

    def __init__(self, names: Sequence[object]) -> None:
        place: dict[object, int] = {}
        self.index = np.array([place.setdefault(name, len(place)) for name in names])
        self.sizes: Array = np.bincount(self.index).astype(np.float64)
        self.share: Array = self.sizes / self.sizes.sum()

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: Array, at: NDArray[np.int64] | None = None) -> Array:
        """Values (…, pictures) summed within clusters, (…, clusters); `at`: the cluster of each value where these are
        of something else, such as crops."""
        flat = values.reshape(-1, values.shape[-1])
        index = self.index if at is None else at
        found = [np.bincount(index, weights=row, minlength=len(self)) for row in flat]
        return np.array(found, dtype=np.float64).reshape(*values.shape[:-1], len(self))

    def level_of_mean(self, values: Array) -> Level:
        """Of the mean over pictures (pictures,)."""
        total = self.sums(values)
        return self.level(values.mean(), (total.sum() - total) / np.maximum(self.sizes.sum() - self.sizes, 1))

    def level(self, whole: float, left_out: Array) -> Level:
        """Of any number, from what it is on all pictures and with each cluster left out (clusters,): the jackknife,
        which is the cluster-robust variance CR3 (Bell and McCaffrey, 2002) of a mean."""
        if len(self) < 2 or not np.isfinite(left_out).all():
            return Level(np.inf, 1)
        return Level(float(((left_out - whole) ** 2).sum()), self.freedom)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of that variance, as if a cluster's mean were one observation: few where
        one cluster has most of the pictures.

        With q = (share / (1 - share))² and K the covariance of the clusters' means less the mean of all, it is
        (Σ q K_gg)² / Σ q_g q_h K_gh²; K_gh = A - share_g - share_h, and 1 more where g = h, with A = Σ share².
        """
        share, squares = self.share, float((self.share**2).sum())
        q = (share / np.maximum(1 - share, 1e-12)) ** 2
        diagonal = 1 + squares - 2 * share
        q0, q1, q2 = (float((q * share**power).sum()) for power in (0, 1, 2))
        every = squares**2 * q0**2 + 2 * q0 * q2 - 4 * squares * q0 * q1 + 2 * q1**2
        every += float((q**2 * (diagonal**2 - (squares - 2 * share) ** 2)).sum())
        return float((q * diagonal).sum() ** 2 / every)


def level_of_seeds(means: Sequence[tuple[float, Array]]) -> Level:
    """Of a contrast of settings, from the weight of each and the means of its runs; degrees of freedom as Welch's."""
    parts = [(weight**2 * values.var(ddof=1) / len(values), len(values) - 1) for weight, values in means]
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return Level(float(total), float(total**2 / below) if below > 0 else 1)


class Sample:
    """Scores of settings on the same pictures; `clusters` says which of them belong together, by default none."""

    def __init__(self, scores: Sequence[Array], clusters: Sequence[object] | None = None) -> None:
        self.scores = list(scores)
        self.pictures = scores[0].shape[1]
        self.clusters = Clusters(range(self.pictures) if clusters is None else clusters)

    def differences(self, weights: Array) -> Array:
        """A contrast on each picture, of means over the seeds."""
        return np.asarray(weights @ np.stack([values.mean(axis=0) for values in self.scores]))

    def has_seeds(self, weights: Array) -> bool:
        """Whether each setting of a contrast has more than one, so that something can be said of settings."""
        return all(len(values) > 1 for weight, values in zip(weights, self.scores, strict=True) if weight)

    def estimate(self, weights: Array) -> Estimate:
        """Of a contrast; where a setting has one seed, of these runs alone, and what seeds do is not in it."""
        differences = self.differences(weights)
        mean, level = float(differences.mean()), self.clusters.level_of_mean(differences)
        if not self.has_seeds(weights):
            return Estimate(mean, (level,))
        used = [(float(weight), values) for weight, values in zip(weights, self.scores, strict=True) if weight]
        unseen = self.of_unseen(mean, level, used)
        seeds = level_of_seeds([(weight, values.mean(axis=1)) for weight, values in used])
        return Estimate(mean, (replace(level, variance=max(level.variance, unseen)), seeds), unseen > level.variance)

    def of_unseen(self, mean: float, level: Level, used: Sequence[tuple[float, Array]]) -> float:
        """The least variance that a level of few clusters has where a difference is the same in all of them.

        Then it cannot be told from one that a rare kind of cluster, with a share f of all and none here, turns round:
        they would differ by -mean (1 - f) / f, which is possible up to 1; f: see `unseen_share`. It is the same where
        clusters differ by no more than single runs do on them, by an F test.
        """
        count, total = len(self.clusters), sum(weight for weight, _ in used)
        share = unseen_share(count)
        if count < 2 or count > FEW or abs(total) > 1e-9 or abs(mean) * (1 - share) / share > 1:
            return 0.0
        noise, runs = 0.0, 0
        for weight, values in used:
            rest = values - values.mean(axis=0)  # what single runs do on single pictures
            ways = len(values) - 1
            noise += weight**2 * sum(self.clusters.level_of_mean(row).variance for row in rest) / (ways * (ways + 1))
            runs += ways
        ratio = level.variance / noise if noise > 0 else np.inf
        if level.variance > 1e-18 and stats.f.sf(ratio, level.freedom, level.freedom * runs) < ALIKE:
            return 0.0
        return float(mean**2 * (1 - share) / share / count)

    def tested(self, contrasts: Sequence[Array]) -> list[Outcome]:
        """Contrasts, corrected for their number."""
        found = [self.estimate(weights) for weights in contrasts]
        p = [estimate.p() for estimate in found]
        return [
            Outcome(
                estimate.interval(),
                own,
                adjusted,
                verdict(estimate.mean, adjusted, self.has_seeds(weights)),
                estimate.detectable(len(contrasts)),
                false_claim(self.differences(weights)),
                estimate.alike,
            )
            for weights, estimate, own, adjusted in zip(contrasts, found, p, holm(p), strict=True)
        ]

    def means(self) -> list[Interval]:
        """Of every setting; of scores in [0, 1] not beyond these."""
        found = [self.estimate(row).interval() for row in np.eye(len(self.scores))]
        scores = all(values.min() >= 0 and values.max() <= 1 for values in self.scores)
        return [one.within() for one in found] if scores else found

    def compared(self, pairs: Sequence[tuple[int, int]]) -> list[Comparison]:
        """Pairs of settings. A difference counts where other pictures would not make it, nor other seeds."""
        unit = np.eye(len(self.scores))
        outcomes = self.tested([unit[one] - unit[other] for one, other in pairs])
        return [Comparison(*pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]

    def effects(self, factors: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Outcome]]:
        """For each level of each factor the mean of the settings that have it less the mean of all; `factors` has the
        level of every setting. All are corrected together; of two, one is the other's mirror, and is tested once."""
        levels = {name: list(dict.fromkeys(values)) for name, values in factors.items()}
        asked = [(name, level) for name, found in levels.items() for level in (found[:1] if len(found) == 2 else found)]
        outcomes = dict(
            zip(asked, self.tested([weights_of(factors[name], level) for name, level in asked]), strict=True)
        )
        return {
            name: {
                level: outcomes[name, level] if (name, level) in outcomes else outcomes[name, found[0]].mirrored()
                for level in found
            }
            for name, found in levels.items()
        }


def weights_of(levels: Sequence[str], level: str) -> Array:
    """The mean of the settings with a level less the mean of all."""
    inside = np.array([one == level for one in levels], dtype=np.float64)
    return np.asarray(inside / inside.sum() - 1 / len(levels))


def unseen_share(count: int) -> float:
    """The largest share of a kind of cluster of which none is among so many in one of 20 experiments."""
    return float(1 - RARE ** (1 / count))


def score_interval(whole: Array, left_out: Array, clusters: Clusters) -> Interval:
    """Of a score in [0, 1] of all pictures together, from that of each seed (seeds,), and with each cluster left out
    (seeds, clusters)."""
    mean = float(whole.mean())
    levels = [clusters.level(mean, left_out.mean(axis=0))]
    if len(whole) > 1:
        levels.append(level_of_seeds([(1.0, whole)]))
    return Estimate(mean, tuple(levels)).interval().within()


def false_claim(differences: Array) -> float:
    """P(μA ≤ μB) of Claims Reloaded (Christodoulou et al., 2025): how probable it is that the setting with the higher
    mean is not the better one, as if pictures were independent and the runs all there is.

    With n pictures, means m, standard deviations s and correlation r of the two settings' scores it is the distribution
    function of Student's t with n - 1 degrees of freedom at √n (m_B - m_A) / √(s_A² + s_B² - 2 r s_A s_B); below the
    root is the variance of the differences.
    """
    count, mean = len(differences), abs(float(differences.mean()))
    if mean == 0 or count < 2:
        return 0.5
    spread = float(differences.std(ddof=1))
    return float(stats.t.sf(np.sqrt(count) * mean / spread, count - 1)) if spread > 0 else 0.0


def expected_detectable(
    seeds: int, clusters: float, tests: int, seed_spread: float = 0.01, cluster_spread: float = 0.08
) -> float:
    """Before an experiment: the smallest difference of two settings that it finds in 80 % of cases, from the standard
    deviation between seeds of one setting and that of a difference between clusters."""
    levels = [Level(cluster_spread**2 / clusters, max(clusters - 1, 1))]
    if seeds > 1:
        levels.append(Level(2 * seed_spread**2 / seeds, 2 * (seeds - 1)))
    return Estimate(0.0, tuple(levels)).detectable(tests)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, 1979): the chance of one false alarm or more stays what it was."""
    order = np.argsort(p)
    steps = np.asarray(p)[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def verdict(difference: float, adjusted: float, settings: bool) -> Verdict:
    """`settings`: whether seeds allow to speak of settings, and not of these runs alone."""
    if adjusted >= LEVEL:
        return OPEN
    if settings:
        return BETTER if difference > 0 else WORSE
    return HIGHER if difference > 0 else LOWER
