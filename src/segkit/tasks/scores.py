"""The scores of a split, from a network's outputs and the truth."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from segkit import IGNORE_INDEX, UNDECIDED
from segkit.geometry.objects import find_small
from segkit.geometry.windows import stitch
from segkit.metrics.centre_lines import CentreLineMetrics
from segkit.metrics.masks import ImageRow, SegmentationMetrics
from segkit.metrics.presence import PresenceMetrics
from segkit.models.presence import Detection, probability

VARIANTS = ("presence", "masks", "centre_lines", "masks_ungated", "crops", "crops_ungated")
SHORT = ("iou", "iou_image", "dice", "precision", "recall", "soft_dice", "soft_iou")  # reported for all but `masks`


class Scores(nn.Module):
    """The metrics of one split, each created when a batch first has something for it.

    Masks have the names of `SegmentationMetrics`. With crops, plain names score whole pictures stitched from their
    crops, each covered pixel once, against the full masks (not in training); `<name>_crops` score the crops as they
    come, overlaps twice and the true masks emptied below the presence threshold. With a `gate`, plain names score masks
    emptied where the probability of presence does not exceed it, and `<name>_ungated` all masks. Presence is
    `presence_<name>`.

    cliou: the tolerance in pixels of the IoU of centre lines (one class), or None, which leaves it out. smallest: the
    area in pixels below which an object counts as not found (one class). listen: called with what plain
    names score, logits (N, C, H, W), mask (N, H, W) int64 and index (N,).
    """

    def __init__(self, classes: Sequence[str], threshold: float, beta: float, cliou: float | None = None) -> None:
        super().__init__()
        self.classes, self.threshold, self.beta, self.cliou = classes, threshold, beta, cliou
        self.smallest = 0.0
        self.listen: Callable[[Tensor, Tensor, Tensor], None] | None = None
        self.gate: float | None = None
        self.of_crops = False  # then the index is picture · CROPS_A_PICTURE + number
        self.metrics = nn.ModuleDict()

    def decide_by(self, threshold: float, smallest: float) -> None:
        """Score anew, by another threshold and smallest object."""
        self.threshold, self.smallest = threshold, smallest
        self.metrics.clear()

    def update(self, out: Detection, batch: Mapping[str, Any]) -> None:
        """Count a batch: see `Batch` in `segkit.tasks.contract`."""
        self.of_crops = "where" in batch
        if out.presence is not None and "label" in batch:
            presence = self._metric("presence", partial(PresenceMetrics, beta=self.beta), out.presence)
            presence.threshold = 0.5 if self.gate is None else self.gate
            presence.update(out.presence, batch["label"], batch["index"])
        if out.masks is None:
            return
        everything = torch.ones(len(out.masks), dtype=torch.bool, device=out.masks.device)
        decoded = everything if out.decoded is None else out.decoded
        if self.gate is not None and out.presence is not None:
            self._masks(out.masks, decoded, batch, "_ungated")
            decoded = probability(out.presence) > self.gate
            closed = ~decoded[:, None, None, None]
            self._masks(out.masks.masked_fill(closed, UNDECIDED), decoded, batch, "")
        else:
            self._masks(out.masks, decoded, batch, "")

    def _masks(self, logits: Tensor, decoded: Tensor, batch: Mapping[str, Any], suffix: str) -> None:
        def metric(name: str) -> SegmentationMetrics:
            make = partial(SegmentationMetrics, self.classes, self.threshold, self.beta)
            return cast(SegmentationMetrics, self._metric(name, make, logits))

        def score_whole(logits: Tensor, mask: Tensor, index: Tensor) -> None:
            if not suffix and self.listen is not None:
                self.listen(logits, mask, index)
            large = self._without_small(logits)
            metric(f"masks{suffix}").update(large, mask, index)
            if self.cliou is not None and not suffix and len(self.classes) == 1:
                lines = self._metric("centre_lines", partial(CentreLineMetrics, self.threshold, self.cliou), logits)
                lines.update(large, mask, index)

        mask = batch["mask"].long()
        if not self.of_crops:
            score_whole(logits, mask, batch["index"])
            return
        metric(f"crops{suffix}").update(logits, mask, batch["index"])
        if "whole" not in batch:
            return
        whole = batch["whole"].long()
        each = len(logits) // len(whole)
        for one, truth in enumerate(whole):
            rows = slice(one * each, (one + 1) * each)
            joined, covered = stitch(logits[rows], batch["where"][rows], truth.shape, decoded[rows])
            truth = truth.masked_fill(~covered, IGNORE_INDEX)
            score_whole(joined[None], truth[None], batch["picture"][one : one + 1])

    def _without_small(self, logits: Tensor) -> Tensor:
        """Mask logits (N, 1, H, W) in which objects below the smallest area are as good as not found."""
        if self.smallest <= 1 or logits.shape[1] > 1:
            return logits
        small = find_small(logits[:, 0].float() > math.log(self.threshold / (1 - self.threshold)), self.smallest)
        return logits.masked_fill(small[:, None], UNDECIDED)

    def _metric(self, name: str, make: Any, like: Tensor) -> Any:
        if name not in self.metrics:
            self.metrics[name] = make().to(like.device)
        return self.metrics[name]

    def compute(self) -> dict[str, float]:
        """Every score by name, without the split's prefix."""
        result: dict[str, float] = {}
        for name in (name for name in VARIANTS if name in self.metrics):
            scores = cast(SegmentationMetrics, self.metrics[name]).compute()
            if name == "presence":
                result |= {f"presence_{key}": value for key, value in scores.items()}
            elif name in ("masks", "centre_lines"):
                result |= scores
            else:
                variant = name.removeprefix("masks_")
                result |= {f"{key}_{variant}": scores[key] for key in SHORT if key in scores}
        return result

    def per_image(self) -> list[ImageRow]:
        """One row per picture, as `SegmentationMetrics.per_image`; empty if no masks were scored."""
        named = (self.metrics[name] for name in ("masks", "centre_lines") if name in self.metrics)
        tables = [cast(SegmentationMetrics, metric).per_image() for metric in named]
        return [{key: value for row in rows for key, value in row.items()} for rows in zip(*tables, strict=True)]

    def per_sample(self) -> list[ImageRow]:
        """One row per sample as the network sees it, a crop or a picture; ungated masks if there is a gate."""
        name = next(name for name in ("crops_ungated", "masks_ungated", "crops", "masks") if name in self.metrics)
        return cast(SegmentationMetrics, self.metrics[name]).per_image()

    @property
    def confusion(self) -> Tensor | None:
        """For several classes, pixels by truth and prediction (C, C)."""
        masks = cast(SegmentationMetrics, self.metrics["masks"]) if "masks" in self.metrics else None
        return masks.confusion.cpu() if masks is not None and len(self.classes) > 1 else None

    @property
    def presence(self) -> PresenceMetrics | None:
        return cast(PresenceMetrics, self.metrics["presence"]) if "presence" in self.metrics else None

    def reset(self) -> None:
        for metric in self.metrics.values():
            cast(SegmentationMetrics, metric).reset()
