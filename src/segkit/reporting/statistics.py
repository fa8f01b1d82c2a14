"""Are differences between runs real? Intervals, tests, corrections, verdicts, and the effects of factors.

Everything works on scores per picture, one array (seeds, pictures) for each setting, all on the same pictures, and on
contrasts: weighted sums of the settings' means, such as +1 and -1 for the difference of two.

An estimate is a mean over pictures and seeds. Its error has two levels. Pictures: those of one cluster (photograph,
patient, video) belong together, and the estimate moves when a whole cluster is left out (the jackknife). Seeds: the
means of single runs differ. Each level has a variance and its degrees of freedom; half of an interval is the root of
the sum of the squares of both halves (Zou and Donner, 2008). A p-value is the level at which the interval touches 0,
so the two never contradict each other. docs/explanation/statistics.md gives the reasons, and how well the method does
in simulations.
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
UNDECIDED: Verdict = "not distinguishable with these data"
OPPOSITE: dict[Verdict, Verdict] = {BETTER: WORSE, WORSE: BETTER, HIGHER: LOWER, LOWER: HIGHER, UNDECIDED: UNDECIDED}
LEVEL = 0.05  # the share of false alarms, and what intervals leave out
POWER = 0.8  # the chance that the smallest difference is found
MOST_PAIRS = 15  # settings up to which all pairs are compared; beyond, each is compared with one setting only
FEW, RARE = 30, 0.05  # up to so many clusters, a rare kind may be missing; the chance that it is
UNIFORM_P = 0.1  # p-value from which clusters' differences count as the same, as far as runs can tell
SMALLEST_P = 1e-12  # smaller p-values are not resolved


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    mean: float
    low: float
    high: float

    def mirror(self) -> "Interval":
        return Interval(-self.mean, -self.high, -self.low)

    def clip(self) -> "Interval":
        """The interval of a score that is never below 0 or above 1."""
        return replace(self, low=max(self.low, 0.0), high=min(self.high, 1.0))


@dataclass(frozen=True)
class Level:
    """One part of an estimate's variance, with its degrees of freedom; the variance is infinite where a single picture
    or run cannot show it."""

    variance: float
    freedom: float


@dataclass(frozen=True)
class Estimate:
    """A number and the levels of its error."""

    mean: float
    levels: tuple[Level, ...]
    uniform: bool = False  # the difference is the same in all of a few clusters, see `Sample.unseen_variance`

    def quantile(self, tail: float) -> float:
        """The distance from the mean beyond which the error leaves out `tail` on one side."""
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
        if self.quantile(SMALLEST_P / 2) <= distance:
            return SMALLEST_P if self.quantile(LEVEL / 2) else 0.0
        found = optimize.brentq(
            lambda power: self.quantile(10**power / 2) - distance, np.log10(SMALLEST_P), 0, xtol=1e-6
        )
        return float(10**found)

    def detectable(self, tests: int) -> float:
        """The true difference that would be found in 80 % of such experiments, corrected for so many tests; NaN where
        nothing varies, as with two models that both paint everything, because it is then unknown."""
        if not any(level.variance for level in self.levels):
            return np.nan
        return self.quantile(LEVEL / tests / 2) + self.quantile(1 - POWER)


@dataclass(frozen=True)
class Outcome:
    """A contrast: its estimate, its p-value before and after Holm's correction, and the verdict.

    `detectable` and `uniform`: see `Estimate`. `false_claim`: see `false_claim`.
    """

    difference: Interval
    p: float
    adjusted: float
    verdict: Verdict
    detectable: float
    false_claim: float
    uniform: bool = False

    def mirror(self) -> "Outcome":
        """The outcome of the contrast with the opposite sign."""
        return replace(self, difference=self.difference.mirror(), verdict=OPPOSITE[self.verdict])

    @property
    def is_undecided(self) -> bool:
        return self.verdict == UNDECIDED


@dataclass(frozen=True)
class Comparison:
    """How much higher setting `one` scores than setting `other`; positions in a list of settings."""

    one: int
    other: int
    outcome: Outcome


class Clusters:
    """Pictures that belong together: `index` is each picture's cluster, `share` each cluster's share of pictures."""

    def __init__(self, names: Sequence[object]) -> None:
        place: dict[object, int] = {}
        self.index = np.array([place.setdefault(name, len(place)) for name in names])
        self.sizes: Array = np.bincount(self.index).astype(np.float64)
        self.share: Array = self.sizes / self.sizes.sum()

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, values: Array, at: NDArray[np.int64] | None = None) -> Array:
        """Values (…, pictures) summed within clusters, (…, clusters); `at`: the cluster of each value if the values are
        not of pictures but, for example, of crops."""
        flat = values.reshape(-1, values.shape[-1])
        index = self.index if at is None else at
        found = [np.bincount(index, weights=row, minlength=len(self)) for row in flat]
        return np.array(found, dtype=np.float64).reshape(*values.shape[:-1], len(self))

    def level_of_mean(self, values: Array) -> Level:
        """The level of the mean over pictures (pictures,)."""
        total = self.sums(values)
        return self.level(values.mean(), (total.sum() - total) / np.maximum(self.sizes.sum() - self.sizes, 1))

    def level(self, whole: float, left_out: Array) -> Level:
        """The level of any number, from its value on all pictures and with each cluster left out (clusters,).

        This is the jackknife; for a mean, it is the cluster-robust variance CR3 (Bell and McCaffrey, 2002).
        """
        if len(self) < 2 or not np.isfinite(left_out).all():
            return Level(np.inf, 1)
        return Level(float(((left_out - whole) ** 2).sum()), self.freedom)

    @property
    def freedom(self) -> float:
        """Satterthwaite's degrees of freedom of that variance, as if a cluster's mean were one observation: few if one
        cluster has most of the pictures.

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
    """The level of a contrast of settings, from each one's weight and its runs' means; Welch's degrees of freedom."""
    parts = [(weight**2 * values.var(ddof=1) / len(values), len(values) - 1) for weight, values in means]
    total = sum(variance for variance, _ in parts)
    below = sum(variance**2 / freedom for variance, freedom in parts)
    return Level(float(total), float(total**2 / below) if below > 0 else 1)


class Sample:
    """Scores of settings on the same pictures; `clusters` says which pictures belong together, by default none."""

    def __init__(self, scores: Sequence[Array], clusters: Sequence[object] | None = None) -> None:
        self.scores = list(scores)
        self.pictures = scores[0].shape[1]
        self.clusters = Clusters(range(self.pictures) if clusters is None else clusters)

    def differences(self, weights: Array) -> Array:
        """A contrast of means over the seeds, for each picture."""
        return np.asarray(weights @ np.stack([values.mean(axis=0) for values in self.scores]))

    def has_seeds(self, weights: Array) -> bool:
        """Whether each setting of a contrast has more than one seed, so that settings can be judged."""
        return all(len(values) > 1 for weight, values in zip(weights, self.scores, strict=True) if weight)

    def estimate(self, weights: Array) -> Estimate:
        """The estimate of a contrast; if a setting has one seed, of these runs only, without the error from seeds."""
        differences = self.differences(weights)
        mean, level = float(differences.mean()), self.clusters.level_of_mean(differences)
        if not self.has_seeds(weights):
            return Estimate(mean, (level,))
        used = [(float(weight), values) for weight, values in zip(weights, self.scores, strict=True) if weight]
        unseen = self.unseen_variance(mean, level, used)
        seeds = level_of_seeds([(weight, values.mean(axis=1)) for weight, values in used])
        return Estimate(mean, (replace(level, variance=max(level.variance, unseen)), seeds), unseen > level.variance)

    def unseen_variance(self, mean: float, level: Level, used: Sequence[tuple[float, Array]]) -> float:
        """The least variance of the cluster level if a difference is the same in all of a few clusters.

        Such a difference could be reversed by a rare kind of cluster, with a share f of all but none in the sample:
        those clusters would differ by -mean (1 - f) / f, which is possible up to 1; f: see `unseen_share`. "The same"
        means that clusters differ by no more than single runs do on them, by an F test.
        """
        count, total = len(self.clusters), sum(weight for weight, _ in used)
        share = unseen_share(count)
        if count < 2 or count > FEW or abs(total) > 1e-9 or abs(mean) * (1 - share) / share > 1:
            return 0.0
        noise, runs = 0.0, 0
        for weight, values in used:
            rest = values - values.mean(axis=0)  # how single runs vary on single pictures
            free = len(values) - 1
            noise += weight**2 * sum(self.clusters.level_of_mean(row).variance for row in rest) / (free * (free + 1))
            runs += free
        ratio = level.variance / noise if noise > 0 else np.inf
        if level.variance > 1e-18 and stats.f.sf(ratio, level.freedom, level.freedom * runs) < UNIFORM_P:
            return 0.0
        return float(mean**2 * (1 - share) / share / count)

    def test(self, contrasts: Sequence[Array]) -> list[Outcome]:
        """Test contrasts, corrected for their number."""
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
                estimate.uniform,
            )
            for weights, estimate, own, adjusted in zip(contrasts, found, p, holm(p), strict=True)
        ]

    def means(self) -> list[Interval]:
        """The mean of every setting with its interval; for scores in [0, 1], the interval stays within."""
        found = [self.estimate(row).interval() for row in np.eye(len(self.scores))]
        scores = all(values.min() >= 0 and values.max() <= 1 for values in self.scores)
        return [one.clip() for one in found] if scores else found

    def compare(self, pairs: Sequence[tuple[int, int]]) -> list[Comparison]:
        """Compare pairs of settings. A difference counts if neither other pictures nor other seeds explain it."""
        unit = np.eye(len(self.scores))
        outcomes = self.test([unit[one] - unit[other] for one, other in pairs])
        return [Comparison(*pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]

    def effects(self, factors: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Outcome]]:
        """For each level of each factor, the mean of the settings that have it less the mean of all; `factors` has the
        level of every setting. All are corrected together; of two levels, one mirrors the other and is tested once."""
        levels = {name: list(dict.fromkeys(values)) for name, values in factors.items()}
        asked = [(name, level) for name, found in levels.items() for level in (found[:1] if len(found) == 2 else found)]
        outcomes = dict(zip(asked, self.test([weights_of(factors[name], level) for name, level in asked]), strict=True))
        return {
            name: {
                level: outcomes[name, level] if (name, level) in outcomes else outcomes[name, found[0]].mirror()
                for level in found
            }
            for name, found in levels.items()
        }


def weights_of(levels: Sequence[str], level: str) -> Array:
    """The contrast: the mean of the settings with a level less the mean of all."""
    inside = np.array([one == level for one in levels], dtype=np.float64)
    return np.asarray(inside / inside.sum() - 1 / len(levels))


def unseen_share(count: int) -> float:
    """The largest share of all clusters that a kind can have and still be absent from `count` clusters in one of 20
    experiments."""
    return float(1 - RARE ** (1 / count))


def score_interval(whole: Array, left_out: Array, clusters: Clusters) -> Interval:
    """The interval of a score in [0, 1] over all pictures together, from each seed's score (seeds,), and its scores
    with each cluster left out (seeds, clusters)."""
    mean = float(whole.mean())
    levels = [clusters.level(mean, left_out.mean(axis=0))]
    if len(whole) > 1:
        levels.append(level_of_seeds([(1.0, whole)]))
    return Estimate(mean, tuple(levels)).interval().clip()


def false_claim(differences: Array) -> float:
    """P(μA ≤ μB) of Claims Reloaded (Christodoulou et al., 2025): the probability that the setting with the higher mean
    is not the better one, as if pictures were independent and these runs were all there is.

    With n pictures, means m, standard deviations s and correlation r of the two settings' scores, it is the
    distribution function of Student's t with n - 1 degrees of freedom at √n (m_B - m_A) / √(s_A² + s_B² - 2 r s_A s_B);
    under the root is the variance of the differences.
    """
    count, mean = len(differences), abs(float(differences.mean()))
    if mean == 0 or count < 2:
        return 0.5
    spread = float(differences.std(ddof=1))
    return float(stats.t.sf(np.sqrt(count) * mean / spread, count - 1)) if spread > 0 else 0.0


def expected_detectable(
    seeds: int, clusters: float, tests: int, seed_spread: float = 0.01, cluster_spread: float = 0.08
) -> float:
    """The smallest difference of two settings that a planned experiment finds in 80 % of cases, from the standard
    deviation between seeds of one setting and that of a difference between clusters."""
    levels = [Level(cluster_spread**2 / clusters, max(clusters - 1, 1))]
    if seeds > 1:
        levels.append(Level(2 * seed_spread**2 / seeds, 2 * (seeds - 1)))
    return Estimate(0.0, tuple(levels)).detectable(tests)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, 1979): the chance of at least one false alarm stays the same."""
    order = np.argsort(p)
    steps = np.asarray(p)[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def verdict(difference: float, adjusted: float, settings: bool) -> Verdict:
    """The verdict on a difference. `settings`: whether seeds suffice to judge settings, not just these runs."""
    if adjusted >= LEVEL:
        return UNDECIDED
    if settings:
        return BETTER if difference > 0 else WORSE
    return HIGHER if difference > 0 else LOWER
