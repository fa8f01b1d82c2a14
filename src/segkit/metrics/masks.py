"""Scores of predicted masks: integer counts per picture, from which the scores are computed once."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities.data import dim_zero_cat
from torchmetrics.utilities.distributed import gather_all_tensors

from segkit import IGNORE_INDEX

# Probabilities are summed as integer multiples of this fraction: integer sums do not depend on their order,
# hence not on batch size, processes or threads. Rounding moves a picture's mean by less than 3e-8.
UNIT = 2**24
ImageRow = dict[str, float | int | None]


class Counts(NamedTuple):
    """Pixels of each class, all int64 (..., K); ignored pixels are in none of them."""

    tp: Tensor
    fp: Tensor
    fn: Tensor
    tn: Tensor
    soft_overlap: Tensor  # Σ p·t in units of 1 / UNIT
    soft_prediction: Tensor  # Σ p in units of 1 / UNIT

    @property
    def occurs(self) -> Tensor:
        """Which classes occur in truth or prediction."""
        return (self.tp + self.fp + self.fn) > 0

    @property
    def truth(self) -> Tensor:
        return self.tp + self.fn

    @property
    def labelled(self) -> Tensor:
        return self.tp + self.fp + self.fn + self.tn

    def sum(self, dim: int) -> "Counts":
        return Counts(*(count.sum(dim) for count in self))


class SegmentationMetrics(Metric):
    """Pooled and per-image scores of a data set, in [0, 1]; from logits (N, C, H, W) and masks (N, H, W).

    One class (C = 1, mask 0/1): a pixel is foreground if sigmoid(logit) > `threshold`, and the class scored
    is the foreground. Several (C = number of classes): the class with the largest logit. Mask pixels with 255
    are ignored everywhere.

    State: one row of integer counts per picture, so every score is the same for every batch size and number
    of processes. A repeated data-set index (a distributed sampler pads with repeated pictures, also within one process)
    counts once, the first time.

    `compute()` returns:

    * pooled over the pixels of the data set: `iou`, `dice` (= F1), `precision`, `recall`, `fbeta` (with
      `beta`), `accuracy` (share of labelled pixels that are right);
    * the mean of per-image values: the same names with `_image`, and `score` (PH² school): the share of the ten
      thresholds 0.5, 0.55 … 0.95 that the picture's IoU exceeds, ceil(clip(20·(IoU − 0.5), 0, 10)) / 10;
    * on probabilities, with sums over the data set: `soft_dice` = (2Σpt + 1) / (Σp + Σt + 1) and `soft_iou` =
      (Σpt + 1) / (Σp + Σt − Σpt + 1). The crack thesis took these sums over each batch and averaged the
      batches;
    * `empty_images`: pictures whose truth has no class: no foreground for one class, no labelled pixel for several.

    Empty masks: if truth is empty, an empty prediction scores 1 and any other 0, in every ratio, pooled or per picture.
    If truth is not empty, an empty prediction scores 0, in precision too.

    Several classes: `iou/<class>` and likewise dice, precision, recall and fbeta; the plain names (also soft_dice and
    soft_iou, not accuracy) are the mean over the classes that occur in truth or prediction anywhere in the data set; a
    class that does not occur has no `iou/<class>` either. Per-image values are the mean over the
    classes that occur in that picture. `iou_micro` is the IoU of all classes' pixels together.

    A picture without a labelled pixel is in no per-image mean. Without any labelled pixel, or without an update, there
    is nothing to score and `compute()` returns {}.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    rows: list[Tensor]
    confusion: Tensor

    def __init__(self, classes: Sequence[str], threshold: float = 0.5, beta: float = 1.0) -> None:
        if isinstance(classes, str) or not classes or len(set(classes)) != len(classes):
            raise ValueError(f"classes is {classes!r}, expected a list of one or more different names")
        if not 0 < threshold < 1:
            raise ValueError(f"threshold is {threshold}, expected a probability between 0 and 1, both excluded")
        if not beta > 0:
            raise ValueError(f"beta is {beta}, expected a number above 0 (above 1 recall weighs more)")
        width = 2 + len(classes) * len(Counts._fields)
        super().__init__(dist_sync_fn=partial(gather_rows, width))
        self.classes = tuple(classes)
        self.threshold = threshold
        self.beta = beta
        # Each row: data-set index, number of pixels with an invalid value, then the counts of each class.
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        # For several classes, pixels of all pictures by truth (rows) and prediction (columns).
        size = len(classes) if len(classes) > 1 else 0
        self.add_state("confusion", default=torch.zeros(size, size, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, logits: Tensor, mask: Tensor, index: Tensor) -> None:
        """Count a batch. logits (N, C, H, W) of any float dtype, mask (N, H, W) int64, index (N,) int64: the
        pictures' positions in their data set. Waits for nothing on the device."""
        images, channels = logits.shape[:2]
        if mask.shape != (images, *logits.shape[2:]) or index.shape != (images,) or channels != len(self.classes):
            raise ValueError(
                f"logits have shape {tuple(logits.shape)}, the mask {tuple(mask.shape)}, index "
                f"{tuple(index.shape)}; expected (N, {len(self.classes)}, H, W) for the classes "
                f"{', '.join(self.classes)}, (N, H, W) and (N,)"
            )
        known = (mask >= 0) & (mask < max(2, channels))
        strange = ((mask != IGNORE_INDEX) & ~known).flatten(1).sum(1)
        logits = logits.detach()
        if channels == 1:
            counts = count_binary(logits, mask, known, self.threshold)
        else:
            counts, confusion = count_multiclass(logits, mask, known)
            self.confusion += confusion[index.to(logits.device) >= 0].sum(0)
        row = [index.to(logits.device)[:, None], strange[:, None], torch.stack(counts, dim=2).flatten(1)]
        self.rows.append(torch.cat(row, dim=1))

    def compute(self) -> dict[str, float]:
        """Compute all scores by name, without the split's prefix; {} if no labelled pixel was seen."""
        _, images = self._table()
        labelled = images.labelled[:, 0] > 0
        if not labelled.any():
            return {}
        pooled = images.sum(0)
        scored = Counts(*(count[labelled] for count in images))
        result = self._pooled_scores(pooled)
        for name, values in self._image_scores(scored).items():
            result[name if name == "score" else f"{name}_image"] = values.mean()
        result["empty_images"] = (images.truth.sum(1) == 0).sum()
        return {name: float(value) for name, value in result.items()}

    def per_image(self) -> list[ImageRow]:
        """One row per picture, sorted by data-set index; with several processes, all of them must call this.

        index, iou, dice, precision, recall, fbeta, accuracy, score as in the per-image means; tp, fp, fn, tn pixels
        (several classes: their sum over the classes, so tp + fn is the number of labelled pixels); several classes:
        iou/<class>. None means that there is nothing to score: for a class that does not occur in the picture, and for
        all scores of a picture without a labelled pixel.
        """
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync, should_unsync=self._should_unsync
        ):
            index, images = self._table()
        occurs = self._occurs(images)
        nothing = images.labelled[:, 0] == 0
        columns: dict[str, list[Any]] = {"index": index.tolist()}
        for name, values in self._image_scores(images).items():
            columns[name] = _optional(values, nothing)
        for name in ("tp", "fp", "fn", "tn"):
            columns[name] = getattr(images, name).sum(1).tolist()
        if len(self.classes) > 1:
            for k, name in enumerate(self.classes):
                columns[f"iou/{name}"] = _optional(iou(images)[:, k], ~occurs[:, k])
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def _table(self) -> tuple[Tensor, Counts]:
        """Index (n,) and counts (n, K) of the different pictures seen, sorted by index, on the CPU."""
        fields = len(Counts._fields)
        rows = unique_rows(self.rows, 2 + len(self.classes) * fields)
        if rows[:, 1].any():
            last = max(1, len(self.classes) - 1)
            raise ValueError(
                f"the masks of {int((rows[:, 1] > 0).sum())} pictures (data-set index "
                f"{rows[rows[:, 1] > 0, 0][:5].tolist()} …) hold values other than 0..{last} and "
                f"{IGNORE_INDEX}; map them to classes in the data set's settings"
            )
        return rows[:, 0], Counts(*rows[:, 2:].view(len(rows), len(self.classes), fields).unbind(2))

    def _occurs(self, counts: Counts) -> Tensor:
        """The classes that means run over: the foreground always; of several classes, those that occur."""
        return counts.occurs if len(self.classes) > 1 else torch.ones_like(counts.occurs)

    def _pooled_scores(self, pooled: Counts) -> dict[str, Tensor]:
        """Scores of counts (K,) of the whole data set."""
        occurs = self._occurs(pooled)
        ratios = self._ratios(pooled)
        means = ratios | {"soft_dice": soft_dice(pooled), "soft_iou": soft_iou(pooled)}
        result = {name: _class_mean(values, occurs) for name, values in means.items()}
        result["accuracy"] = self._accuracy(pooled)
        if len(self.classes) == 1:
            return result
        result["iou_micro"] = iou(pooled.sum(0))
        for name, values in ratios.items():
            result |= {f"{name}/{self.classes[k]}": values[k] for k in occurs.nonzero()[:, 0].tolist()}
        return result

    def _image_scores(self, images: Counts) -> dict[str, Tensor]:
        """Scores (n,) of the counts (n, K) of n pictures: the mean over the classes that occur in each."""
        occurs = self._occurs(images)
        result = {name: _class_mean(values, occurs) for name, values in self._ratios(images).items()}
        return result | {
            "accuracy": self._accuracy(images),
            "score": _class_mean(score_steps(images), occurs) / 10,
        }

    def _ratios(self, counts: Counts) -> dict[str, Tensor]:
        return {
            "iou": iou(counts),
            "dice": f_beta(counts),
            "precision": _ratio(counts.tp, counts.tp + counts.fp, counts),
            "recall": _ratio(counts.tp, counts.tp + counts.fn, counts),
            "fbeta": f_beta(counts, self.beta),
        }

    def _accuracy(self, counts: Counts) -> Tensor:
        """The share of labelled pixels that are right, from counts (…, K)."""
        right = counts.tp.sum(-1) if len(self.classes) > 1 else (counts.tp + counts.tn)[..., 0]
        return right.double() / counts.labelled[..., 0]


class MeanLoss(Metric):
    """Mean of scalars, weighted by samples. Never waits for the device: torchmetrics' MeanMetric checks for NaN at
    every update, and ignores the weights if told not to."""

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros(()), dist_reduce_fx="sum")

    def update(self, value: Tensor, samples: Tensor) -> None:
        """value: a scalar; samples: its weight, 0 to ignore it whatever its value."""
        self.total += torch.where(samples > 0, value * samples, torch.zeros_like(value))
        self.count += samples

    def compute(self) -> Tensor:
        return self.total / self.count


def count_binary(logits: Tensor, mask: Tensor, known: Tensor, threshold: float) -> Counts:
    """Counts (N, 1) of the foreground; `known` (N, H, W) says which pixels count."""
    x = logits[:, 0].to(_precise(logits))
    truth = (mask == 1).flatten(1)
    known = known.flatten(1)
    prediction = (x > math.log(threshold / (1 - threshold))).flatten(1) & known
    tp = (prediction & truth).sum(1)
    fp, fn = prediction.sum(1) - tp, truth.sum(1) - tp
    tn = known.sum(1) - tp - fp - fn
    units = _units(torch.sigmoid(x).flatten(1)).masked_fill_(~known, 0)
    soft_prediction = units.sum(1).long()
    soft_overlap = units.masked_fill_(~truth, 0).sum(1).long()
    return Counts(*(count[:, None] for count in (tp, fp, fn, tn, soft_overlap, soft_prediction)))


def count_multiclass(logits: Tensor, mask: Tensor, known: Tensor) -> tuple[Counts, Tensor]:
    """Counts (N, C), and pixels by truth and prediction (N, C, C); `known` (N, H, W) says which pixels count."""
    images, channels = logits.shape[:2]
    truth = mask.masked_fill(~known, 0)
    # A cell for each (picture, truth, prediction), and one at the end for pixels that do not count. scatter_add_
    # rather than bincount, which makes the device wait to learn the largest value; max rather than argmax,
    # which gives the same indices several times slower on a CPU.
    image = torch.arange(images, device=mask.device).view(-1, 1, 1)
    pair = (image * channels + truth) * channels + logits.max(1).indices
    cells = torch.zeros(images * channels**2 + 1, dtype=torch.int64, device=mask.device)
    pair = pair.masked_fill(~known, images * channels**2).flatten()
    cells.scatter_add_(0, pair, torch.ones_like(pair))
    confusion = cells[:-1].view(images, channels, channels)
    tp = confusion.diagonal(dim1=1, dim2=2)
    fp, fn = confusion.sum(1) - tp, confusion.sum(2) - tp
    tn = confusion.sum((1, 2))[:, None] - tp - fp - fn

    units = _units(torch.softmax(logits.to(_precise(logits)), dim=1)).masked_fill_(~known[:, None], 0)
    overlap = torch.zeros(images * channels, dtype=torch.int64, device=mask.device)
    true_units = units.gather(1, truth[:, None]).long().flatten()
    overlap.scatter_add_(0, (image * channels + truth).flatten(), true_units)
    return Counts(tp, fp, fn, tn, overlap.view(images, channels), units.sum((2, 3)).long()), confusion


def iou(counts: Counts) -> Tensor:
    """TP / (TP + FP + FN), 1 if that is 0/0."""
    return _ratio(counts.tp, counts.tp + counts.fp + counts.fn, counts)


def f_beta(counts: Counts, beta: float = 1.0) -> Tensor:
    """(1 + β²) TP / ((1 + β²) TP + β² FN + FP), 1 if that is 0/0; with β = 1 it is Dice."""
    hits = (1 + beta**2) * counts.tp.double()
    return _ratio(hits, hits + beta**2 * counts.fn + counts.fp, counts)


def score_steps(counts: Counts) -> Tensor:
    """ceil(clip(20 (IoU − 0.5), 0, 10)), an integer; 10 for two empty masks.

    In integers, since floats give 20 · (0.55 − 0.5) = 1.0000000000000009, one step too many.
    """
    union = counts.tp + counts.fp + counts.fn
    floor = torch.div(10 * union - 20 * counts.tp, union.clamp(min=1), rounding_mode="floor")
    return torch.where(union > 0, (-floor).clamp(0, 10), 10)


def soft_dice(counts: Counts) -> Tensor:
    """(2Σpt + 1) / (Σp + Σt + 1)."""
    overlap, prediction = counts.soft_overlap.double() / UNIT, counts.soft_prediction.double() / UNIT
    return (2 * overlap + 1) / (prediction + counts.truth + 1)


def soft_iou(counts: Counts) -> Tensor:
    """(Σpt + 1) / (Σp + Σt − Σpt + 1)."""
    overlap, prediction = counts.soft_overlap.double() / UNIT, counts.soft_prediction.double() / UNIT
    return (overlap + 1) / (prediction + counts.truth - overlap + 1)


def _ratio(part: Tensor, whole: Tensor, counts: Counts) -> Tensor:
    """part / whole in float64; 1 if truth and prediction are empty, 0 if only `whole` is."""
    return torch.where(counts.occurs, part.double() / whole.double().clamp(min=1e-300), 1.0)


def _class_mean(values: Tensor, occurs: Tensor) -> Tensor:
    """Mean over the last dimension of the values that occur."""
    return (values * occurs).sum(-1) / occurs.sum(-1).double()


def _optional(values: Tensor, missing: Tensor) -> list[float | None]:
    pairs = zip(values.tolist(), missing.tolist(), strict=True)
    return [None if absent else value for value, absent in pairs]


def _units(probability: Tensor) -> Tensor:
    """Probabilities, in place, as whole numbers of 1 / UNIT; NaN (a diverged network) as 0."""
    return probability.mul_(UNIT).round_().nan_to_num_(nan=0.0)


def _precise(logits: Tensor) -> torch.dtype:
    """float64, whose last bits rounding to UNIT removes: vectorised and scalar exp differ in them."""
    return torch.float32 if logits.device.type == "mps" else torch.float64  # MPS has no float64


def unique_rows(rows: list[Tensor] | Tensor, width: int) -> Tensor:
    """Rows (n, width) of the different pictures seen, sorted by their index, the first number of each; on the CPU."""
    if isinstance(rows, list) and not rows:
        return torch.zeros((0, width), dtype=torch.int64)
    table = dim_zero_cat(rows).cpu()
    table = table[table[:, 0] >= 0]  # not the copies that only fill up a process's last batch
    table = table[torch.argsort(table[:, 0], stable=True)]
    first = torch.ones(len(table), dtype=torch.bool)
    first[1:] = table[1:, 0] != table[:-1, 0]
    return table[first]


def gather_rows(width: int, rows: Tensor, group: Any = None) -> list[Tensor]:
    """Gather all processes' rows; torchmetrics gives a process without rows an empty float vector instead."""
    rows = rows if rows.numel() else torch.zeros((0, width), dtype=torch.int64, device=rows.device)
    return gather_all_tensors(rows, group)
