"""Average precision and the area under the ROC curve of samples, and both with each cluster of samples left out.

Both are exact. Naive computation without each cluster takes clusters × samples steps; here the area takes one sort, and
average precision about samples × √samples, however samples are spread over clusters.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Truth = NDArray[np.bool_]
Places = NDArray[np.int64]


def average_precision(truth: Truth, probability: Array) -> float:
    """Σ (R_n - R_(n-1)) P_n over the distinct probabilities from the highest; NaN without a positive sample."""
    if not truth.any():
        return float("nan")
    order = np.argsort(-probability, kind="stable")
    hits = np.cumsum(truth[order])
    last = np.append(np.diff(probability[order]) != 0, True)
    recall, precision = hits[last] / hits[-1], hits[last] / (np.flatnonzero(last) + 1)
    return float((np.diff(recall, prepend=0) * precision).sum())


def auroc(truth: Truth, probability: Array) -> float:
    """The area under the ROC curve: how often a positive sample is above a negative one, ties counting half."""
    pairs = float(truth.sum()) * float((~truth).sum())
    return float(wins(truth, probability)[truth].sum() / pairs) if pairs else float("nan")


def wins(truth: Truth, probability: Array) -> Array:
    """For a positive sample, the number of negatives below it; for a negative one, of positives above it; ties half."""
    _, level = np.unique(probability, return_inverse=True)
    positive, negative = np.bincount(level, truth), np.bincount(level, ~truth)
    below, above = np.cumsum(negative) - negative / 2, positive.sum() - np.cumsum(positive) + positive / 2
    return np.asarray(np.where(truth, below[level], above[level]))


def auroc_without_each(truth: Truth, probability: Array, cluster: Places, clusters: int) -> Array:
    """`auroc` with each of the clusters left out: pairs with one or both samples in it are removed."""
    every = wins(truth, probability)
    _, level = np.unique(probability, return_inverse=True)
    order = np.lexsort((level, cluster))
    inside = np.empty(len(truth))
    inside[order] = wins_inside(truth[order], level[order], cluster[order])
    gone = np.bincount(cluster, every, clusters) - np.bincount(cluster, np.where(truth, inside, 0), clusters)
    positive, negative = (kind.sum() - np.bincount(cluster, kind, clusters) for kind in (truth, ~truth))
    pairs = positive * negative
    return ratio(every[truth].sum() - gone, pairs, np.nan)


def wins_inside(truth: Truth, level: Places, cluster: Places) -> Array:
    """For each positive sample, the number of negatives of its own cluster below it; sorted by cluster and level."""
    negatives: Places = np.cumsum(~truth)
    first_of_cluster, _ = key_bounds(cluster)
    first, last = key_bounds(cluster * (level.max() + 1) + level)
    before: Places = negatives - ~truth  # up to a sample, without it
    return np.asarray((before[first] + negatives[last]) / 2 - before[first_of_cluster])


def ratio(part: Array, whole: Array, nothing: float) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), nothing, dtype=np.float64), where=whole > 0))


def key_bounds(key: Places) -> tuple[Places, Places]:
    """For each sample, the positions of the first and the last sample with its key; equal keys are adjacent."""
    starts = np.flatnonzero(np.append(True, np.diff(key) != 0))
    lengths = np.diff(np.append(starts, len(key)))
    return np.repeat(starts, lengths), np.repeat(starts + lengths - 1, lengths)


def precision_without_each(truth: Truth, probability: Array, cluster: Places, clusters: int) -> Array:
    """`average_precision` with each of the clusters left out.

    For a cluster of more than √samples, the number is computed again without it; there are fewer than √samples of them.
    A smaller cluster of k samples cuts the curve into k + 1 stretches, each of which loses the same counts throughout.
    """
    order = np.argsort(-probability, kind="stable")
    truth, probability, cluster = truth[order], probability[order], cluster[order]
    most = int(np.sqrt(len(truth)))
    sizes = np.bincount(cluster, minlength=clusters)
    found = without_small(truth, probability, cluster, np.where(sizes <= most, sizes, 0))
    for one in np.flatnonzero(sizes > most):
        kept = cluster != one
        found[one] = average_precision(truth[kept], probability[kept])
    return found


def without_small(truth: Truth, probability: Array, cluster: Places, sizes: Places) -> Array:
    """The same for clusters of these sizes; samples are sorted from the highest probability down.

    With h positives at a probability, H at it and above, and N samples there, average precision is Σ h H / N over the
    probabilities, divided by all positives. Between a cluster's kth sample and its next, without the cluster, it is
    Σ h (H - a) / (N - k), with a the positives among the k: two sums along the curve that all clusters share. At its
    own samples, h includes the cluster's positives; these are subtracted.
    """
    last = np.append(np.diff(probability) != 0, True)
    level = np.cumsum(last) - last  # which probability a sample has
    samples = (np.flatnonzero(last) + 1).astype(np.float64)
    above = np.cumsum(truth)[last].astype(np.float64)
    here: Array = np.diff(above, prepend=0)
    order = np.argsort(cluster, kind="stable")
    levels, hits = level[order], np.cumsum(truth[order])
    start = np.cumsum(np.bincount(cluster, minlength=len(sizes))) - np.bincount(cluster, minlength=len(sizes))
    before = np.append(0, hits)
    total = np.zeros(len(sizes))
    for k in range(int(sizes.max()) + 1):
        ones = np.flatnonzero(sizes >= k)
        rate = ratio(here, samples - k, 0)
        sums, weighted = (np.append(0, np.cumsum(values)) for values in (rate, rate * above))
        place = start[ones] + k  # of the next sample
        own = (before[place] - before[start[ones]]).astype(np.float64)
        begin = levels[place - 1] if k else np.zeros(len(ones), dtype=np.int64)
        end = np.where(sizes[ones] > k, levels[np.minimum(place, len(levels) - 1)], len(here))
        total[ones] += weighted[end] - weighted[begin] - own * (sums[end] - sums[begin])
    total -= own_positives(truth[order], levels, cluster[order], above, samples, len(sizes))
    left_positives = truth.sum() - np.bincount(cluster, truth, len(sizes))
    return ratio(total, left_positives, np.nan)


def own_positives(truth: Truth, level: Places, cluster: Places, above: Array, samples: Array, clusters: int) -> Array:
    """What each cluster's own positives add to its sum; sorted by cluster, from the highest probability down."""
    first_of_cluster, _ = key_bounds(cluster)
    _, last = key_bounds(cluster * (level.max() + 1) + level)
    hits: Places = np.cumsum(truth)
    own: Places = hits[last] - (hits - truth)[first_of_cluster]
    left = samples[level] - (last - first_of_cluster + 1)
    precision = ratio(above[level] - own, left, 0)
    return np.asarray(np.bincount(cluster, np.where(truth, precision, 0.0), clusters))
