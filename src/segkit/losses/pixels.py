"""Losses that look at each pixel by itself: pure functions, and thin modules over them that a config can name."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import IGNORE_INDEX
from segkit.losses.shared import Reduction, check_reduction, one_hot, prepare, probabilities, reduce_pixels


def binary_cross_entropy(
    logits: Tensor,
    mask: Tensor,
    pos_weight: float | None = None,
    smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean (or sum) over labelled pixels of −w·t·log p − (1−t)·log(1−p), w = `pos_weight` of the foreground; in [0, ∞),
    one class only. Targets are t = 1 − s/2 and s/2, s = `smoothing` (Szegedy et al., 2016, section 7, for two classes).

    Written with softplus, log p = −log(1 + e^−x), which does not overflow. As in
    torch.nn.BCEWithLogitsLoss the sum is divided by the number of pixels, not by the sum of weights.
    """
    _require_one_class(logits)
    x, labelled = prepare(logits, mask)
    x, labelled = x[:, 0], labelled[:, 0]
    target = (mask == 1).float() * (1 - smoothing) + smoothing / 2
    weight = None if pos_weight is None else x.new_full((), pos_weight)
    loss = F.binary_cross_entropy_with_logits(x, target, reduction="none", pos_weight=weight)
    return reduce_pixels(loss, labelled, reduction)


def cross_entropy(
    logits: Tensor,
    mask: Tensor,
    weight: Tensor | None = None,
    smoothing: float = 0.0,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean (or sum) over labelled pixels of −w_c·log p_c, c the true class, for two or more classes; in [0, ∞).

    smoothing: the share s of the target that is spread over all classes, −(1−s)·w_c·log p_c − s/C·Σ w·log p (Szegedy et
    al., 2016, section 7). weight: (C,) or None. As in torch.nn.CrossEntropyLoss the sum is divided by the sum of the
    labelled pixels' weights. Written with gather: torch's own has no deterministic CUDA kernel for pictures.
    """
    if logits.shape[1] == 1:
        raise ValueError(
            "this loss is for two or more classes, but the logits have 1 channel; use loss=bce, dice, bce_dice or focal"
        )
    x, labelled = prepare(logits, mask)
    share = torch.ones(x.shape[1], device=x.device) if weight is None else weight.to(x.device)
    pixel_weight = _per_class(share, logits, mask) * labelled[:, 0]
    log_p = torch.log_softmax(x, dim=1)
    loss = -pixel_weight * _at_truth(log_p, mask, labelled)
    if smoothing:
        spread = -(log_p * share.view(1, -1, 1, 1)).mean(dim=1)
        loss = (1 - smoothing) * loss + smoothing * spread * labelled[:, 0]
    if reduction == "sum":
        return loss.sum()
    return loss.sum() / pixel_weight.sum().clamp(min=torch.finfo(torch.float32).tiny)


def focal_loss(
    logits: Tensor,
    mask: Tensor,
    gamma: float = 2.0,
    alpha: float | Tensor | None = None,
    background_modulated: bool = True,
    reduction: Reduction = "mean",
) -> Tensor:
    """Mean (or sum) over labelled pixels of −α_t·(1−p_t)^γ·log p_t, p_t the probability of the truth; in [0, ∞).

    alpha: None for 1; for one class a number, α for the foreground and 1−α for the background; for several a
    tensor (C,). `background_modulated=False` (one class only) leaves out the factor (1−p_t)^γ where the truth is
    background, to reproduce results trained that way. Source: Lin et al., Focal Loss for Dense
    Object Detection, 2017, eq. 5; they divide by the number of objects, not of pixels.
    """
    x, labelled = prepare(logits, mask)
    channels = x.shape[1]
    if channels > 1 and not background_modulated:
        raise ValueError(
            f"background_modulated=false is for one class, but the logits have {channels} channels; "
            "set loss.background_modulated=true"
        )
    if alpha is not None and isinstance(alpha, Tensor) != (channels > 1):
        raise ValueError(
            f"alpha is {alpha} and the logits have {channels} channel(s); "
            "expected a number for one channel, a list with one weight a class for several"
        )
    foreground = mask == 1
    if channels == 1:
        log_p = F.logsigmoid(torch.where(foreground, x[:, 0], -x[:, 0]))
    else:
        log_p = _at_truth(torch.log_softmax(x, dim=1), mask, labelled)
    # The clamp keeps the gradient finite where p_t = 1 and gamma < 1: there 0 ** (gamma - 1) is infinite.
    modulator = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).eps ** 2) ** gamma
    if not background_modulated:
        modulator = torch.where(foreground, modulator, 1.0)
    loss = -modulator * log_p
    if isinstance(alpha, Tensor):
        loss = loss * _per_class(alpha, logits, mask)
    elif alpha is not None:
        loss = loss * torch.where(foreground, alpha, 1 - alpha)
    return reduce_pixels(loss, labelled[:, 0], reduction)


def distance(logits: Tensor, mask: Tensor, power: int, reduction: Reduction = "mean") -> Tensor:
    """Mean (or sum) over labelled pixels of |p − t|^power, p the probabilities, t the truth; the mean is in [0, 1].

    Power 1 is the absolute error, 2 the squared one (Brier, 1950); for several classes it is the mean over them."""
    x, labelled = prepare(logits, mask)
    error = (probabilities(x) - one_hot(mask, x.shape[1])).abs() ** power
    return reduce_pixels(error.mean(dim=1), labelled[:, 0], reduction)


class BCE(nn.Module):
    """`binary_cross_entropy`; `pos_weight` multiplies the loss of foreground pixels, `smoothing` softens the labels.

    "auto" in a config is replaced by background pixels / foreground pixels of the training set before the
    loss is built.
    """

    classes = "one"
    pooled = True

    def __init__(self, pos_weight: float | None = None, smoothing: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.pos_weight, self.smoothing = check_pos_weight(pos_weight), check_smoothing(smoothing)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return binary_cross_entropy(logits, mask, self.pos_weight, self.smoothing, self.reduction)


class CrossEntropy(nn.Module):
    """`cross_entropy`; `weight` has a number per class, in the order of the data set's classes; `smoothing` softens
    labels.

    "auto" in a config is replaced by weights from the training set's inverse class frequencies before the
    loss is built.
    """

    classes = "several"
    weight: Tensor | None
    pooled = True

    def __init__(
        self, weight: Sequence[float] | None = None, smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        self.smoothing = check_smoothing(smoothing)
        if isinstance(weight, str) or (weight is not None and min(weight, default=-1) < 0):
            raise ValueError(f"weight is {weight!r}, expected a list of a number ≥ 0 for each class, or null")
        tensor = None if weight is None else torch.tensor(weight, dtype=torch.float32)
        self.register_buffer("weight", tensor, persistent=False)  # a setting, not something learned

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return cross_entropy(logits, mask, self.weight, self.smoothing, self.reduction)


class Focal(nn.Module):
    """`focal_loss`; `alpha` is a number in [0, 1] for one class, a list of one weight per class for several."""

    alpha: Tensor | float | None
    pooled = True

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        background_modulated: bool = True,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}, expected 0 or more (0 is plain cross-entropy)")
        if isinstance(alpha, int | float) and not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}, expected the foreground's share in [0, 1], a list or null")
        self.gamma = gamma
        self.background_modulated = background_modulated
        if isinstance(alpha, Sequence):
            self.register_buffer("alpha", torch.tensor(alpha, dtype=torch.float32), persistent=False)
        else:
            self.alpha = alpha

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return focal_loss(logits, mask, self.gamma, self.alpha, self.background_modulated, self.reduction)


class L1(nn.Module):
    """The absolute error of probabilities, `distance` of power 1."""

    power = 1
    pooled = True

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        check_reduction(reduction)
        self.reduction: Reduction = reduction

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return distance(logits, mask, self.power, self.reduction)


class MSE(L1):
    """The squared error of probabilities, `distance` of power 2: Brier's score."""

    power = 2


def _at_truth(values: Tensor, mask: Tensor, labelled: Tensor) -> Tensor:
    """`values` (N, C, H, W) at each pixel's true class, (N, H, W); at ignored pixels, those of class 0."""
    return values.gather(1, mask[:, None].long().masked_fill(~labelled, 0))[:, 0]


def _per_class(weight: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """Each pixel's class weight, (N, H, W); ignored pixels get that of class 0, for the caller to mask."""
    if weight.numel() != logits.shape[1]:
        raise ValueError(
            f"got {weight.numel()} class weights, but the logits have {logits.shape[1]} channels; "
            "give one weight a class"
        )
    return weight.to(logits.device)[mask.long().masked_fill(mask == IGNORE_INDEX, 0)]


def _require_one_class(logits: Tensor) -> None:
    if logits.shape[1] != 1:
        raise ValueError(
            f"this loss is for one class, but the logits have {logits.shape[1]} channels; use loss=ce, dice or focal"
        )


def check_pos_weight(pos_weight: float | None) -> float | None:
    if pos_weight is not None and not (isinstance(pos_weight, int | float) and pos_weight > 0):
        raise ValueError(f"pos_weight is {pos_weight!r}, expected a number above 0 or null")
    return pos_weight


def check_smoothing(smoothing: float) -> float:
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}, expected a share in [0, 1), such as 0.1")
    return smoothing
