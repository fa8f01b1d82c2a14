"""What all losses share: their inputs, and which pixels count.

Logits are (N, C, H, W) of any float dtype, C = 1 for one class (sigmoid) and otherwise one channel per class (softmax);
masks are (N, H, W) with 0..C-1 (0 and 1 when C = 1) or 255, which is ignored. Results are float32 scalars, computed in
float32 also under autocast (nothing here is an operation that autocast lowers). A pixel with 255 has no influence on
value or gradient, whatever its logits, NaN included; if all pixels have it, the loss is 0 with zero gradients. Values
and gradients are finite for logits of ±1e4.

Attributes of a loss that differs from most:

- `pooled = True`: it is computed over the batch as a whole: for two pictures it is not the mean of their losses. A mean
  over labelled pixels is pooled, since pictures differ in how many they have.
- `classes = "one"` or `"several"`: for one class only, or for two or more.
- `takes = ("presence", "label")`: its arguments, instead of ("logits", "mask").
- `parts(…)`: a dictionary of terms to log; and `combine(parts)`, the loss itself.
"""

from typing import Literal

import torch
from torch import Tensor

from segkit import IGNORE_INDEX

Pool = Literal["image", "batch"]
Reduction = Literal["mean", "sum"]


def prepare(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Float32 logits, 0 at ignored pixels to stop their gradients; and which pixels are labelled, (N, 1, H, W)."""
    if logits.ndim != 4 or mask.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)} and the mask {tuple(mask.shape)}, "
            "expected (N, C, H, W) and (N, H, W)"
        )
    labelled = (mask != IGNORE_INDEX)[:, None]
    return logits.float().masked_fill(~labelled, 0.0), labelled


def probabilities(x: Tensor) -> Tensor:
    """Sigmoid of one channel, softmax of several."""
    return torch.sigmoid(x) if x.shape[1] == 1 else torch.softmax(x, dim=1)


def mean_of(values: Tensor, counted: Tensor) -> Tensor:
    """Mean of the values where `counted`; 0 if that is nowhere."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


def reduce_pixels(values: Tensor, labelled: Tensor, reduction: Reduction) -> Tensor:
    """The mean or sum of a loss per pixel (N, H, W) over the `labelled` pixels of the batch."""
    return mean_of(values, labelled) if reduction == "mean" else (values * labelled).sum()


def pooled_dims(pool: Pool) -> tuple[int, ...]:
    """The dimensions to sum over: those of each picture, or of the whole batch."""
    return (2, 3) if pool == "image" else (0, 2, 3)


def average(loss: Tensor, labelled: Tensor) -> Tensor:
    """The mean of a loss per class: (N, C) over pictures with a labelled pixel, or (C,) for the whole batch."""
    loss = loss.mean(dim=-1)
    return mean_of(loss, labelled.flatten(1).any(dim=1)) if loss.ndim else loss * labelled.any()


def one_hot(mask: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) float32; ignored pixels are 0 in every channel. One channel: the foreground."""
    if channels == 1:
        return (mask == 1)[:, None].float()
    classes = torch.arange(channels, device=mask.device).view(1, -1, 1, 1)
    return (mask[:, None] == classes).float()


def check_pool(pool: str) -> None:
    if pool not in ("image", "batch"):
        raise ValueError(f"pool is {pool!r}, expected image (sums over each picture) or batch (over all of them)")


def check_reduction(reduction: str) -> None:
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction is {reduction!r}, expected mean or sum, over the labelled pixels of a batch")


def check_smooth(smooth: float) -> None:
    if not smooth > 0:
        raise ValueError(f"smooth is {smooth}, expected a number above 0: an empty mask gives 0/0 without")
