"""What differences between runs carry: intervals, tests, corrections, verdicts, and the effects of factors.

Everything works on scores a picture, one array (seeds, pictures) a group of runs that were tested on the same pictures,
and on contrasts: sums of the groups' means with a weight each, such as +1 and -1 for the difference of two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]
Verdict = Literal["better", "worse", "not distinguishable with these data"]
TURNED: dict[Verdict, Verdict] = {"better": "worse", "worse": "better"}
SAMPLES = 2000  # of a bootstrap
LEVEL = 0.05  # the share of false alarms, and what intervals leave out
PERMUTED_PICTURES = 500  # of more pictures the mean difference is normal enough for a t test instead of permutations


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """A contrast: its estimate, the p-value before and after Holm's correction, and what follows."""

    difference: Interval
    p: float
    adjusted: float
    verdict: Verdict

    def mirrored(self) -> "Outcome":
        """Of the contrast with the opposite sign."""
        mean, low, high = self.difference.mean, self.difference.low, self.difference.high
        return replace(self, difference=Interval(-mean, -high, -low), verdict=TURNED.get(self.verdict, self.verdict))


@dataclass(frozen=True)
class Comparison:
    """How much higher group `one` scores than group `other`; positions in a list of groups."""

    one: int
    other: int
    outcome: Outcome


class Sample:
    """Scores of groups, with their means in bootstrap samples: of pictures, the same for all, and of each group's
    seeds."""

    def __init__(self, scores: Sequence[Array]) -> None:
        self.scores = list(scores)
        self.pictures = scores[0].shape[1]
        chosen = resampled(self.pictures, np.random.default_rng(0))
        self.samples = np.stack([
            (resampled(len(values), np.random.default_rng([1, place])) * (chosen @ values.T)).sum(axis=1)
            for place, values in enumerate(scores)
        ])  # fmt: skip

    def interval(self, weights: Array) -> Interval:
        """Of a contrast; as much wider than what was drawn as groups of one seed, which vary like the others, add."""
        variance, freedom, drawn = self.spread(weights)
        wider = np.sqrt(variance / drawn) if drawn > 0 else 1.0
        return widened(float(self.differences(weights).mean()), weights @ self.samples, freedom, wider)

    def differences(self, weights: Array) -> Array:
        """A contrast on each picture, of means over the seeds."""
        return np.asarray(weights @ np.stack([values.mean(axis=0) for values in self.scores]))

    def spread(self, weights: Array) -> tuple[float, float, float]:
        """The variance of a contrast, between pictures and between seeds, with Satterthwaite's degrees of freedom, and
        as much of it as a bootstrap sees: a group of one seed has the mean variance of the others' seeds. Where all
        have one, what seeds do is not in it."""
        used = [(weight**2, values.mean(axis=1)) for weight, values in zip(weights, self.scores, strict=True) if weight]
        several = [(square, means) for square, means in used if len(means) > 1]
        alone = sum(square for square, means in used if len(means) == 1)
        parts = [
            ((square / len(means) + alone / len(several)) * means.var(ddof=1), len(means) - 1)
            for square, means in several
        ]
        if self.pictures > 1:
            parts.append((self.differences(weights).var(ddof=1) / self.pictures, self.pictures - 1))
        total = sum(variance for variance, _ in parts)
        below = sum(variance**2 / degrees for variance, degrees in parts)
        drawn = total - sum(alone / len(several) * means.var(ddof=1) for _, means in several)
        return float(total), float(total**2 / below) if below > 0 else np.inf, float(drawn)

    def has_seeds(self, weights: Array) -> bool:
        """Whether any group of a contrast has more than one."""
        return any(weight and len(values) > 1 for weight, values in zip(weights, self.scores, strict=True))

    def p_of_runs(self, weights: Array) -> float:
        """Two-sided t test of a contrast, by its variance between seeds and between pictures together."""
        mean, (variance, freedom, _) = self.differences(weights).mean(), self.spread(weights)
        if variance == 0:
            return 1.0 if mean == 0 else 0.0
        return float(2 * stats.t.sf(abs(mean) / np.sqrt(variance), freedom))

    def p(self, weights: Array, tests: int) -> float:
        """The larger p-value: over pictures, and over runs where a group has several."""
        of_pictures = p_of_pictures(self.differences(weights), tests)
        return max(of_pictures, self.p_of_runs(weights)) if self.has_seeds(weights) else of_pictures

    def tested(self, contrasts: Sequence[Array]) -> list[Outcome]:
        """Contrasts, corrected for their number."""
        found = [self.p(weights, len(contrasts)) for weights in contrasts]
        outcomes = []
        for weights, p, adjusted in zip(contrasts, found, holm(found), strict=True):
            difference = self.interval(weights)
            outcomes.append(Outcome(difference, p, adjusted, verdict(difference, adjusted)))
        return outcomes

    def means(self) -> list[Interval]:
        """Of every group; of scores in [0, 1] not beyond these."""
        found = [self.interval(row) for row in np.eye(len(self.scores))]
        if all(values.min() >= 0 and values.max() <= 1 for values in self.scores):
            found = [within(one) for one in found]
        return found

    def compared(self, pairs: Sequence[tuple[int, int]]) -> list[Comparison]:
        """Pairs of groups. A difference counts where other pictures would not make it, nor other seeds."""
        unit = np.eye(len(self.scores))
        outcomes = self.tested([unit[one] - unit[other] for one, other in pairs])
        return [Comparison(*pair, outcome) for pair, outcome in zip(pairs, outcomes, strict=True)]

    def effects(self, factors: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Outcome]]:
        """For each level of each factor the mean of the groups that have it less the mean of all; `factors` has the
        level of every group. All are corrected together; of two, one is the other's mirror, and is tested once."""
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
    """The mean of the groups with a level less the mean of all."""
    inside = np.array([one == level for one in levels], dtype=np.float64)
    return np.asarray(inside / inside.sum() - 1 / len(levels))


def resampled(count: int, rng: np.random.Generator) -> Array:
    """Weights of `count` items in bootstrap samples, (samples, count), rows of sum 1; stretched by √(n/(n - 1)),
    without which the variance of a mean comes out too small by (n - 1)/n."""
    drawn = rng.multinomial(count, np.full(count, 1 / count), SAMPLES) / count
    return np.asarray(1 / count + (drawn - 1 / count) * np.sqrt(count / max(count - 1, 1)))


def widened(mean: float, samples: Array, freedom: float, wider: float = 1.0) -> Interval:
    """Percentiles of bootstrap samples, as much further from the mean as Student's distribution is wider than the
    normal, where seeds are few, times `wider`."""
    wider *= stats.t.ppf(1 - LEVEL / 2, freedom) / stats.norm.ppf(1 - LEVEL / 2)
    low, high = mean + wider * (np.quantile(samples, [LEVEL / 2, 1 - LEVEL / 2]) - mean)
    return Interval(mean, float(low), float(high))


def within(found: Interval) -> Interval:
    """Of a score that is never below 0 or above 1."""
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def pooled_interval(hits: Array, either: Array) -> Interval:
    """Of the IoU over all pixels, from true positives and TP + FP + FN, (seeds, pictures) each; two levels as above."""
    seeds, pictures = hits.shape
    chosen = np.random.default_rng(0).multinomial(pictures, np.full(pictures, 1 / pictures), SAMPLES)
    each = ratio((chosen @ hits.T), (chosen @ either.T))
    found = ratio(hits.sum(axis=1), either.sum(axis=1))
    of_pictures, of_seeds = each.mean(axis=1).var(), found.var(ddof=1) / seeds if seeds > 1 else 0.0
    below = of_seeds**2 / max(seeds - 1, 1) + of_pictures**2 / max(pictures - 1, 1)
    freedom = (of_pictures + of_seeds) ** 2 / below if below > 0 else np.inf
    return within(
        widened(float(found.mean()), (resampled(seeds, np.random.default_rng(1)) * each).sum(axis=1), freedom)
    )


def ratio(hits: Array, either: Array) -> Array:
    """IoU; 1 where there is neither the class nor a claim of it, as in the metrics."""
    return np.divide(hits, either, out=np.ones_like(hits, dtype=np.float64), where=either > 0)


def p_of_pictures(differences: Array, tests: int = 1) -> float:
    """Two-sided paired permutation test: the signs of the pictures' differences are exchanged. `tests`: how many are
    corrected for together; of many, finer p-values are needed."""
    if len(differences) < 2 or not differences.any():
        return 1.0
    if len(differences) > PERMUTED_PICTURES:
        return float(stats.ttest_1samp(differences, 0).pvalue)
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=max(9999, 200 * tests),
        batch=max(2_000_000 // len(differences), 1), rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.pvalue)


def least_p(pictures: int) -> float:
    """The smallest p-value that so few pictures can have."""
    return 2.0 ** (1 - pictures)


def holm(p: Sequence[float]) -> list[float]:
    """p-values adjusted for their number (Holm, 1979): the chance of one false alarm or more stays what it was."""
    order = np.argsort(p)
    steps = np.asarray(p)[order] * (len(p) - np.arange(len(p)))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted.tolist()


def verdict(difference: Interval, adjusted: float) -> Verdict:
    if adjusted >= LEVEL or difference.low <= 0 <= difference.high:
        return "not distinguishable with these data"
    return "better" if difference.mean > 0 else "worse"
