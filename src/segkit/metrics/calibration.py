"""How far probabilities can be trusted: temperature, reliability, and the threshold that decides best."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from segkit.metrics.ratios import RATIOS

BINS = 15  # of confidence (Guo et al., 2017)
TEMPERATURES = 10 ** np.linspace(-1, 1, 81)  # those that are tried, 6 % apart
LEAST_GAIN = 1e-3  # of a score, below which a candidate is not better

Floats = NDArray[np.floating]


def measure_losses(logits: Floats, truth: NDArray[np.integer]) -> Floats:
    """The negative log-likelihood, summed over P pixels, under each of TEMPERATURES (K,), by which logits (C, P) are
    divided. truth (P,): class numbers; C = 1: 1 is the foreground."""
    if len(logits) == 1:
        signed = logits[0] * (1 - 2 * truth)
        return np.array([np.logaddexp(0, signed / temperature).sum() for temperature in TEMPERATURES])
    apart = logits - np.take_along_axis(logits, truth[None].astype(np.int64), 0)
    return np.array([logsumexp(apart / temperature, axis=0).sum() for temperature in TEMPERATURES])


def choose_temperature(losses: Floats, pixels: Floats, groups: Sequence[int]) -> float:
    """The temperature (Guo et al., 2017, "On calibration of modern neural networks") with the least negative
    log-likelihood (N, K) of N pictures with so many pixels (N,); or one nearer to 1 that these pictures cannot tell
    from it: see `choose_default`."""
    each, counts = _sum_by(losses, groups), _sum_by(pixels, groups)
    whole = -each.sum(0) / max(counts.sum(), 1)
    without = (each - each.sum(0)) / np.maximum(counts.sum() - counts, 1)[:, None]
    least = LEAST_GAIN * abs(float(whole.max()))
    return float(TEMPERATURES[choose_default(whole, without, np.abs(np.log(TEMPERATURES)), least)])


class Reliability(NamedTuple):
    """Of pixels sorted by confidence into equal bins, (…, BINS) each: their number, the sum of their confidence, and
    how many are right."""

    pixels: Floats
    confidence: Floats
    right: Floats

    def sum(self) -> "Reliability":
        """Of all pictures together."""
        return Reliability(*(values.reshape(-1, BINS).sum(0) for values in self))

    def error(self) -> Floats:
        """The expected calibration error (…,): the mean over all pixels of their bin's |confidence − accuracy|."""
        gaps = np.abs(self.confidence - self.right)
        total: Floats = gaps.sum(-1) / np.maximum(self.pixels.sum(-1), 1)
        return total

    def error_above(self, threshold: float) -> float:
        """The error of all pictures' pixels in bins whose mean confidence exceeds a threshold: of those that are called
        foreground, which a certain background hides in the error of all pixels."""
        above = self.confidence > threshold * self.pixels
        return float(np.abs(self.confidence - self.right)[above].sum() / max(self.pixels[above].sum(), 1))


def sort_by_confidence(probabilities: Floats, truth: NDArray[np.integer]) -> Reliability:
    """The reliability of probabilities (C, P) of P pixels. One class: of the foreground's probability, and a pixel is
    right if it is foreground; several: of the most probable class's."""
    if len(probabilities) == 1:
        confidence, right = probabilities[0], truth == 1
    else:
        confidence, right = probabilities.max(0), probabilities.argmax(0) == truth
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    sums = (np.bincount(number, weights, BINS).astype(float) for weights in (None, confidence, right))
    return Reliability(*sums)


def error_interval(each: Reliability, groups: Sequence[int], draws: int = 1000) -> tuple[float, float]:
    """A 95 % interval of the calibration error of pictures (N, BINS), by drawing their groups with replacement."""
    sums = _sum_by(np.stack(each, 1), groups)
    times = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), draws)
    drawn = np.tensordot(times.astype(float), sums, 1)
    low, high = np.percentile(Reliability(*drawn.transpose(1, 0, 2)).error(), [2.5, 97.5])
    return float(low), float(high)


class Counts(NamedTuple):
    """Pixels of N pictures under K candidates: tp and fp (N, K), and those of the truth (N,)."""

    tp: Floats
    fp: Floats
    truth: Floats

    def sum_by(self, groups: Sequence[int]) -> "Counts":
        """Of each group together; groups: a number from 0 for each picture."""
        return Counts(*(_sum_by(values, groups) for values in self))


def rates_of(counts: Counts, pooled: bool) -> dict[str, Floats]:
    """iou, dice, precision and recall (K,) of K candidates, of all pixels together or as the mean over pictures."""
    some = Counts(*(values.sum(0, keepdims=True) for values in counts)) if pooled else counts
    return {name: rate_of(some, name).mean(0) for name in ("iou", "dice", "precision", "recall")}


def rate_of(counts: Counts, name: str) -> Floats:
    """One of RATIOS (…, K); no true negatives are counted."""
    missed = counts.truth[..., None] - counts.tp
    return RATIOS[name](counts.tp, counts.fp, missed, np.zeros_like(missed))


def choose_threshold(
    counts: Counts, groups: Sequence[int], rate: str, share: float | None, pooled: bool, distance: Floats
) -> int:
    """The candidate for a goal: see `choose_candidate`; with a wanted share of precision or recall, the one that
    reaches it with the most of the other, ValueError if there is none."""
    if share is None:
        return choose_candidate(counts, groups, rate, pooled, distance)
    rates = rates_of(counts, pooled)
    reached, other = rates[rate], rates["recall" if rate == "precision" else "precision"]
    enough = np.flatnonzero(reached >= share)
    if not len(enough):
        raise ValueError(
            f"no threshold gives a {rate} of {share:g} on the validation pictures, {reached.max():.3f} at most: ask "
            "for less."
        )
    return int(enough[other[enough].argmax()])


def choose_candidate(counts: Counts, groups: Sequence[int], rate: str, pooled: bool, distance: Floats) -> int:
    """`choose_default` among K candidates by their iou or dice, of all pixels together or as the mean over pictures."""
    each = counts.sum_by(groups) if pooled else counts
    whole = Counts(*(values.sum(0) for values in each))
    if pooled:
        rest = Counts(*(total - values for total, values in zip(whole, each, strict=True)))
        return choose_default(rate_of(whole, rate), rate_of(rest, rate), distance)
    scores, sizes = rate_of(counts, rate), np.bincount(groups)
    sums = _sum_by(scores, groups)
    without = (sums.sum(0) - sums) / np.maximum(len(scores) - sizes, 1)[:, None]
    return choose_default(scores.mean(0), without, distance)


def choose_default(whole: Floats, without: Floats, distance: Floats, least: float = LEAST_GAIN) -> int:
    """Of K candidates that the best one does not clearly beat, the one with the least `distance` (K,) from the default.

    Clearly means by more than a standard error and `least`: among candidates that a few pictures cannot tell apart, the
    default is a safer choice than the luckiest (the rule of one standard error, Breiman et al., 1984). whole (K,): the
    scores on all pictures, the highest is the best. without (G, K): those without each of G groups, for the standard
    error by the jackknife, as in reports; one group tells nothing.
    """
    best = int(whole.argmax())
    behind, left_out = whole[best] - whole, without[:, [best]] - without
    error = np.sqrt(((left_out - behind) ** 2).sum(0)) if len(without) > 1 else np.inf
    close = behind <= np.maximum(error, least)
    return int(np.where(close, distance, np.inf).argmin())


def _sum_by(values: Floats, groups: Sequence[int]) -> Floats:
    """Values of pictures (N, …) summed by their groups (G, …)."""
    numbers = np.asarray(groups)
    total: Floats = np.zeros((numbers.max() + 1, *values.shape[1:]))
    np.add.at(total, numbers, values)
    return total
