"""The IoU of centre lines, with a tolerance: for what is thin, such as cracks and vessels."""

import math
from collections.abc import Sequence
from functools import partial

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from segkit import IGNORE_INDEX
from segkit.metrics.masks import ImageRow, gather_rows, unique_rows

FIELDS = ("tp", "fp", "fn")  # pixels of centre lines


class CentreLineMetrics(Metric):
    """clIoU of a data set of one class (Benz and Rodehorst, OmniCrack30k, 2024), in [0, 1], from logits (N, 1, H, W)
    and masks (N, H, W).

    Masks are thinned to their centre lines, the predicted one above `threshold` and the true one. TP: pixels of the
    true line within `tolerance` pixels of the predicted one; FN: the others of the true line; FP: pixels of the
    predicted line farther than that from the true one. clIoU = TP / (TP + FP + FN): how thick a crack is painted does
    not count, nor an outline that is off by less than the tolerance. Pixels of the lines where the mask is 255 do not
    count. If there is neither line, it is 1.

    `compute()`: `cliou` of the sums over all pictures, and `cliou_image`, the mean over the pictures with a labelled
    pixel. The state is a row of integer counts for each picture, as in `SegmentationMetrics`.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = True
    rows: list[Tensor]

    def __init__(self, threshold: float, tolerance: float) -> None:
        super().__init__(dist_sync_fn=partial(gather_rows, 2 + len(FIELDS)))
        self.threshold, self.tolerance = threshold, tolerance
        self.add_state("rows", default=[], dist_reduce_fx="cat")  # index, labelled pixels, and FIELDS

    def update(self, logits: Tensor, mask: Tensor, index: Tensor) -> None:
        found = (logits[:, 0].detach().double() > math.log(self.threshold / (1 - self.threshold))).cpu().numpy()
        truth = mask.cpu().numpy()
        counts = [count_pixels(*pair, self.tolerance) for pair in zip(found, truth, strict=True)]
        labelled = [int((one != IGNORE_INDEX).sum()) for one in truth]
        table = [(at, many, *one) for at, many, one in zip(index.tolist(), labelled, counts, strict=True)]
        self.rows.append(torch.tensor(table, dtype=torch.int64, device=logits.device))

    def compute(self) -> dict[str, float]:
        rows = unique_rows(self.rows, 2 + len(FIELDS))
        rows = rows[rows[:, 1] > 0]
        if not len(rows):
            return {}
        return {
            "cliou": ratio(rows[:, 2:].sum(0).tolist()),
            "cliou_image": float(np.mean([*map(ratio, rows[:, 2:].tolist())])),
        }

    def per_image(self) -> list[ImageRow]:
        """index and cliou of each picture, sorted by index; None without a labelled pixel."""
        with self.sync_context(
            dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync, should_unsync=self._should_unsync
        ):
            rows = unique_rows(self.rows, 2 + len(FIELDS)).tolist()
        return [{"index": row[0], "cliou": ratio(row[2:]) if row[1] else None} for row in rows]


def ratio(counts: Sequence[int]) -> float:
    """TP / (TP + FP + FN) of FIELDS; 1 if that is 0/0."""
    return counts[0] / sum(counts) if sum(counts) else 1.0


def count_pixels(found: NDArray[np.bool_], mask: NDArray[np.integer], tolerance: float) -> tuple[int, int, int]:
    """FIELDS of a picture: a predicted mask (H, W), and the true one with 1, and 255 where it does not count."""
    known = mask != IGNORE_INDEX
    predicted, true = (thin(one) & known for one in (found, mask == 1))
    tp = int((true & (distance_to(predicted) <= tolerance)).sum())
    fp = int((predicted & (distance_to(true) > tolerance)).sum())
    return tp, fp, int(true.sum()) - tp


def thin(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The centre lines of a mask (H, W), one pixel wide (Zhang and Suen, 1984)."""
    from skimage.morphology import skeletonize  # an extra: only for those who ask for this score

    line: NDArray[np.bool_] = skeletonize(mask)  # type: ignore[no-untyped-call]
    return line


def distance_to(line: NDArray[np.bool_]) -> NDArray[np.floating]:
    """The distance of each pixel (H, W) to the nearest one of a line; infinite without one."""
    if not line.any():
        return np.full(line.shape, np.inf)
    away = cv2.distanceTransform((~line).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away, np.float32)
