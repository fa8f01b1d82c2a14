"""Is the class there? Scores of presence logits, one per sample, and the gate for a given recall."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_average_precision, binary_precision_recall_curve
from torchmetrics.utilities.data import dim_zero_cat


class Answers(NamedTuple):
    """The samples seen, sorted by their index `sample`: labels 0 or 1 and probabilities, (n,) each, on the CPU."""

    sample: Tensor
    label: Tensor
    probability: Tensor

    def precision(self, threshold: float = 0.5, label: int = 1) -> float:
        truth, found = self.label == label, (self.probability > threshold) == bool(label)
        return ratio(truth & found, found, truth, found)

    def recall(self, threshold: float = 0.5, label: int = 1) -> float:
        truth, found = self.label == label, (self.probability > threshold) == bool(label)
        return ratio(truth & found, truth, truth, found)


class PresenceMetrics(Metric):
    """Scores of a data set from presence logits (N,) and labels (N,), in [0, 1], computed once over all samples.

    A sample is positive if its probability exceeds `threshold`. `compute()` returns, for class 0 (absent) and 1
    (present), `precision/0`, `precision/1` and likewise `recall`, `f1` and `fbeta` (with `beta`); under the plain names
    the mean of both classes; `accuracy`; and for class 1 over all thresholds `ap`, average precision Σ (R_n − R_{n−1})
    P_n, and `auroc`. 0/0 is 1 if neither truth nor prediction has the class, else 0. `ap` needs a positive sample and
    `auroc` one of each class; otherwise they are left out. A repeated index counts once, a negative one never.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    rows: list[Tensor]
    logits: list[Tensor]

    def __init__(self, threshold: float = 0.5, beta: float = 1.0) -> None:
        super().__init__()
        self.threshold, self.beta = threshold, beta
        self.add_state("rows", default=[], dist_reduce_fx="cat")  # index and label
        self.add_state("logits", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, label: Tensor, index: Tensor) -> None:
        if not logits.shape == label.shape == index.shape or logits.ndim != 1:
            raise ValueError(
                f"presence logits have shape {tuple(logits.shape)}, labels {tuple(label.shape)}, index "
                f"{tuple(index.shape)}; expected (N,) each"
            )
        self.rows.append(torch.stack([index, label], dim=1).to(logits.device))
        self.logits.append(logits.detach().float())

    def compute(self) -> dict[str, float]:
        answers = self.answers()
        if not len(answers.label):
            return {}
        truth, found = answers.label == 1, answers.probability > self.threshold
        result: dict[str, float] = {}
        for name, beta in (("f1", 1.0), ("fbeta", self.beta)):
            result |= both_classes(name, [f_beta(truth == bool(k), found == bool(k), beta) for k in (0, 1)])
        result |= both_classes("precision", [answers.precision(self.threshold, label) for label in (0, 1)])
        result |= both_classes("recall", [answers.recall(self.threshold, label) for label in (0, 1)])
        result["accuracy"] = float((truth == found).double().mean())
        if truth.any():
            result["ap"] = float(binary_average_precision(answers.probability, answers.label))
        if truth.any() and not truth.all():
            result["auroc"] = float(binary_auroc(answers.probability, answers.label))
        return result

    def answers(self) -> Answers:
        """The samples seen by this process, or by all of them inside `compute()`; each sample once."""
        if isinstance(self.rows, list) and not self.rows:
            nothing = torch.zeros(0)
            return Answers(nothing.long(), nothing.long(), nothing.double())
        rows, logits = dim_zero_cat(self.rows).cpu(), dim_zero_cat(self.logits).cpu()
        order = torch.argsort(rows[:, 0], stable=True)
        rows, logits = rows[order], logits[order]
        first = rows[:, 0] >= 0
        first[1:] &= rows[1:, 0] != rows[:-1, 0]
        return Answers(rows[first, 0], rows[first, 1], logits[first].double().sigmoid())

    def confusion(self) -> Tensor:
        """Counts (2, 2): truth by row, prediction (above the threshold) by column."""
        answers = self.answers()
        truth, found = answers.label, (answers.probability > self.threshold).long()
        return torch.bincount(2 * truth + found, minlength=4).view(2, 2)

    def precision_over_recall(self) -> tuple[Tensor, Tensor] | None:
        """Recall and precision, (n,) each, over all thresholds; None if no sample has the class."""
        answers = self.answers()
        if not answers.label.any():
            return None
        precision, recall, _ = binary_precision_recall_curve(answers.probability, answers.label)
        return recall, precision


def both_classes(name: str, values: Sequence[float]) -> dict[str, float]:
    return {name: (values[0] + values[1]) / 2, f"{name}/0": values[0], f"{name}/1": values[1]}


def ratio(part: Tensor, whole: Tensor, truth: Tensor, found: Tensor) -> float:
    """Count of `part` over that of `whole`; 1 if neither truth nor prediction has the class, 0 for any other 0/0."""
    if not whole.any():
        return float(not truth.any() and not found.any())
    return float(part.sum().double() / whole.sum())


def f_beta(truth: Tensor, found: Tensor, beta: float) -> float:
    """(1 + β²) TP / ((1 + β²) TP + β² FN + FP) for samples (n,) bool; 1 for 0/0."""
    tp, fp, fn = (int(hit.sum()) for hit in (truth & found, ~truth & found, truth & ~found))
    whole = (1 + beta**2) * tp + beta**2 * fn + fp
    return (1 + beta**2) * tp / whole if whole else 1.0


def gate_for_recall(answers: Answers, recall: float) -> float:
    """The gate that keeps `recall` of class 1: half-way between the lowest probability that has to pass and the next
    one below.

    Raises ValueError for a recall outside (0, 1], and if no sample is positive.
    """
    if not 0 < recall <= 1:
        raise ValueError(f"gate=recall:{recall:g}: expected a recall above 0 and at most 1, such as recall:0.99.")
    positive = answers.probability[answers.label == 1].sort(descending=True).values
    if not len(positive):
        raise ValueError(f"gate=recall:{recall:g}: no validation sample shows the class, so no recall can be measured.")
    needed = -int(-recall * len(positive) // 1)  # ⌈recall · n⌉ of the positive samples pass
    lowest = positive[needed - 1]
    below = answers.probability[answers.probability < lowest]
    return float((lowest + below.max()) / 2) if len(below) else float(lowest) / 2
