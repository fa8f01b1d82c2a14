"""Ratios of pixel counts, or of any others, as NumPy arrays."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ratio(part: Array, whole: Array, nothing: Array) -> Array:
    """part / whole; 0/0 is 1 if the class is neither there nor predicted (`nothing` = 0), else 0, as in the metrics."""
    return np.asarray(np.divide(part, whole, out=(nothing == 0).astype(np.float64), where=whole > 0))


RATIOS: dict[str, Callable[..., Array]] = {  # of true and false positives, false and true negatives
    "iou": lambda tp, fp, fn, tn: ratio(tp, tp + fp + fn, tp + fp + fn),
    "dice": lambda tp, fp, fn, tn: ratio(2 * tp, 2 * tp + fp + fn, tp + fp + fn),
    "f1": lambda tp, fp, fn, tn: ratio(2 * tp, 2 * tp + fp + fn, tp + fp + fn),
    "precision": lambda tp, fp, fn, tn: ratio(tp, tp + fp, tp + fp + fn),
    "recall": lambda tp, fp, fn, tn: ratio(tp, tp + fn, tp + fp + fn),
    "accuracy": lambda tp, fp, fn, tn: ratio(tp + tn, tp + fp + fn + tn, tp + fp + fn + tn),
}
