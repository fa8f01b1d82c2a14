"""Losses of logits against integer masks: pure functions, and thin modules over them that a config can name.

Shared by all: logits (N, C, H, W) of any float dtype, C = 1 for one class (sigmoid) and otherwise one channel
a class (softmax); mask (N, H, W) with 0..C-1 (0 and 1 when C = 1) or 255, which is ignored. Results are
float32 scalars, computed in float32 also under autocast (nothing here is an operation that autocast lowers).
A pixel with 255 has no influence on value or gradient, whatever its logits, NaN included; if all pixels have
it, the loss is 0 with zero gradients. Values and gradients are finite for logits of ±1e4.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import IGNORE_INDEX

Pool = Literal["image", "batch"]


def binary_cross_entropy(
    logits: Tensor, mask: Tensor, pos_weight: float | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean over labelled pixels of −w·t·log p − (1−t)·log(1−p), w = `pos_weight` of the foreground; in [0, ∞), one
    class only. Targets are t = 1 − s/2 and s/2, s = `smoothing` (Szegedy et al., 2016, section 7, for two classes).

    Written with softplus, log p = −log(1 + e^−x), which does not overflow. As in
    torch.nn.BCEWithLogitsLoss the sum is divided by the number of pixels, not by the sum of weights.
    """
    _require_one_class(logits)
    x, labelled = prepare(logits, mask)
    x, labelled = x[:, 0], labelled[:, 0]
    target = (mask == 1).float() * (1 - smoothing) + smoothing / 2
    weight = None if pos_weight is None else x.new_full((), pos_weight)
    return mean_of(F.binary_cross_entropy_with_logits(x, target, reduction="none", pos_weight=weight), labelled)


def cross_entropy(logits: Tensor, mask: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Mean over labelled pixels of −w_c·log p_c, c the true class, for two or more classes; in [0, ∞).

    smoothing: the share s of the target that all classes have alike, −(1−s)·w_c·log p_c − s/C·Σ w·log p (Szegedy et
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
    loss = -pixel_weight * _of_truth(log_p, mask, labelled)
    if smoothing:
        spread = -(log_p * share.view(1, -1, 1, 1)).mean(dim=1)
        loss = (1 - smoothing) * loss + smoothing * spread * labelled[:, 0]
    return loss.sum() / pixel_weight.sum().clamp(min=torch.finfo(torch.float32).tiny)


def soft_dice(prob: Tensor, target: Tensor, pool: Pool = "image", smooth: float = 1.0) -> Tensor:
    """Soft Dice coefficient (2Σpt + s) / (Σp + Σt + s) of each class, in [0, 1].

    prob, target: (N, C, H, W), probabilities and {0, 1}. The sums run over a picture (`pool="image"`, result
    (N, C)) or over the whole batch ("batch", result (C,)). `smooth` is added to both sides of the fraction:
    an empty target scores s / (Σp + s), 1 for an empty prediction and less for every invented pixel.
    Source: Milletari et al., V-Net, 2016, eq. 3, with linear sums.
    """
    dims = sums(pool)
    overlap = (prob * target).sum(dims)
    total = prob.sum(dims) + target.sum(dims)
    return (2 * overlap + smooth) / (total + smooth)


def dice_loss(logits: Tensor, mask: Tensor, pool: Pool = "image", smooth: float = 1.0) -> Tensor:
    """1 − soft Dice, in [0, 1]: averaged over the classes, and for `pool="image"` over the pictures.

    Every class counts, present or not: one that is absent from a picture (from the batch, for "batch") costs
    1 − s / (Σp + s), so inventing it is penalised and leaving it out is free. Pictures without a labelled
    pixel are left out of the average.
    """
    x, labelled = prepare(logits, mask)
    prob = probabilities(x)
    return average(1 - soft_dice(prob * labelled, one_hot(mask, x.shape[1]), pool, smooth), labelled)


def focal_loss(
    logits: Tensor,
    mask: Tensor,
    gamma: float = 2.0,
    alpha: float | Tensor | None = None,
    background_modulated: bool = True,
) -> Tensor:
    """Mean over labelled pixels of −α_t·(1−p_t)^γ·log p_t, p_t the probability of the truth; in [0, ∞).

    alpha: None for 1; for one class a number, α for the foreground and 1−α for the background; for several a
    tensor (C,). `background_modulated=False` (one class only) leaves the factor (1−p_t)^γ out where the truth
    is background, for reproducing results that were trained so. Source: Lin et al., Focal Loss for Dense
    Object Detection, 2017, eq. 5; they divide by the number of objects instead of by that of pixels.
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
        log_p = _of_truth(torch.log_softmax(x, dim=1), mask, labelled)
    # The clamp keeps the gradient finite where p_t = 1 and gamma < 1: there 0 ** (gamma - 1) is infinite.
    modulator = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).eps ** 2) ** gamma
    if not background_modulated:
        modulator = torch.where(foreground, modulator, 1.0)
    loss = -modulator * log_p
    if isinstance(alpha, Tensor):
        loss = loss * _per_class(alpha, logits, mask)
    elif alpha is not None:
        loss = loss * torch.where(foreground, alpha, 1 - alpha)
    return mean_of(loss, labelled[:, 0])


class BCE(nn.Module):
    """`binary_cross_entropy`; `pos_weight` multiplies the loss of foreground pixels, `smoothing` softens the labels.

    "auto" in a config is replaced by background pixels / foreground pixels of the training set before the
    loss is built.
    """

    def __init__(self, pos_weight: float | None = None, smoothing: float = 0.0) -> None:
        super().__init__()
        self.pos_weight, self.smoothing = _positive(pos_weight), _share(smoothing)

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return binary_cross_entropy(logits, mask, self.pos_weight, self.smoothing)


class Dice(nn.Module):
    """`dice_loss`, for one class or several."""

    def __init__(self, pool: Pool = "image", smooth: float = 1.0) -> None:
        super().__init__()
        check_pool(pool)
        check_smooth(smooth)
        self.pool: Pool = pool
        self.smooth = smooth

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return dice_loss(logits, mask, self.pool, self.smooth)


class Focal(nn.Module):
    """`focal_loss`; `alpha` is a number in [0, 1] for one class, a list of a weight a class for several."""

    alpha: Tensor | float | None

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | Sequence[float] | None = None,
        background_modulated: bool = True,
    ) -> None:
        super().__init__()
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
        return focal_loss(logits, mask, self.gamma, self.alpha, self.background_modulated)


class BCEDice(nn.Module):
    """α·BCE + (1−α)·(1−Dice), for one class."""

    def __init__(self, alpha: float = 0.9, pool: Pool = "image") -> None:
        super().__init__()
        check_pool(pool)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}, expected BCE's share in [0, 1]")
        self.alpha = alpha
        self.pool: Pool = pool

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.combine(self.parts(logits, mask))

    def parts(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The two terms before weighting, both falling as the fit improves: "dice" is the loss 1 − Dice."""
        return {"bce": binary_cross_entropy(logits, mask), "dice": dice_loss(logits, mask, self.pool)}

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The loss of its `parts`, which are so computed once to be both added and logged."""
        return self.alpha * parts["bce"] + (1 - self.alpha) * parts["dice"]


class Combo(nn.Module):
    """Σ weight · loss over `losses`, by name; those without a weight, or with 0, are left out. None: Dice + focal."""

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float] | None = None) -> None:
        super().__init__()
        weights = {"dice": 1.0, "focal": 1.0} if weights is None else weights
        if unknown := [name for name in weights if name not in losses]:
            raise ValueError(f"loss.weights names {unknown[0]!r}, which is none of {', '.join(losses)}")
        for name, weight in weights.items():
            if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
                raise ValueError(f"loss.weights.{name} is {weight!r}, expected a number of 0 or more")
        self.weights = {name: weight for name, weight in weights.items() if weight}
        if not self.weights:
            raise ValueError(f"loss.weights is {dict(weights)}, expected one loss or more with a number above 0")
        self.losses = nn.ModuleDict({name: losses[name] for name in self.weights})

    def parts(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Every loss before weighting."""
        found = {}
        for name, loss in self.losses.items():
            try:
                found[name] = loss(logits, mask)
            except ValueError as error:
                raise ValueError(f"loss.weights.{name}: {error}") from error
        return found

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([weight * parts[name] for name, weight in self.weights.items()]).sum()

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.combine(self.parts(logits, mask))


class CrossEntropy(nn.Module):
    """`cross_entropy`; `weight` has a number a class, in the order of the data set's classes; `smoothing` softens
    labels.

    "auto" in a config is replaced by weights from the training set's inverse class frequencies before the
    loss is built.
    """

    weight: Tensor | None

    def __init__(self, weight: Sequence[float] | None = None, smoothing: float = 0.0) -> None:
        super().__init__()
        self.smoothing = _share(smoothing)
        if isinstance(weight, str) or (weight is not None and min(weight, default=-1) < 0):
            raise ValueError(f"weight is {weight!r}, expected a list of a number ≥ 0 for each class, or null")
        tensor = None if weight is None else torch.tensor(weight, dtype=torch.float32)
        self.register_buffer("weight", tensor, persistent=False)  # a setting, not something learned

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return cross_entropy(logits, mask, self.weight, self.smoothing)


def prepare(logits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Float32 logits, 0 at ignored pixels to stop their gradients; and which are labelled, (N, 1, H, W)."""
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
    """Mean of the values where `counted`, 0 if that is nowhere."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


def sums(pool: Pool) -> tuple[int, ...]:
    """The dimensions that are added up: of each picture, or of the whole batch."""
    return (2, 3) if pool == "image" else (0, 2, 3)


def average(loss: Tensor, labelled: Tensor) -> Tensor:
    """The mean of a loss a class: (N, C) over the pictures with a labelled pixel; (C,), of the whole batch."""
    loss = loss.mean(dim=-1)
    return mean_of(loss, labelled.flatten(1).any(dim=1)) if loss.ndim else loss * labelled.any()


def _of_truth(values: Tensor, mask: Tensor, labelled: Tensor) -> Tensor:
    """`values` (N, C, H, W) at each pixel's own class, (N, H, W); at ignored pixels those of class 0."""
    return values.gather(1, mask[:, None].long().masked_fill(~labelled, 0))[:, 0]


def one_hot(mask: Tensor, channels: int) -> Tensor:
    """(N, C, H, W) float32; ignored pixels are 0 in every channel. One channel: the foreground."""
    if channels == 1:
        return (mask == 1)[:, None].float()
    classes = torch.arange(channels, device=mask.device).view(1, -1, 1, 1)
    return (mask[:, None] == classes).float()


def _per_class(weight: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
    """Each pixel's class weight, (N, H, W); ignored pixels get class 0's and are left to the caller."""
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


def check_pool(pool: str) -> None:
    if pool not in ("image", "batch"):
        raise ValueError(f"pool is {pool!r}, expected image (sums over each picture) or batch (over all of them)")


def check_smooth(smooth: float) -> None:
    if not smooth > 0:
        raise ValueError(f"smooth is {smooth}, expected a number above 0: an empty mask gives 0/0 without")


def presence_loss(presence: Tensor, label: Tensor, pos_weight: float | None = None) -> Tensor:
    """Binary cross-entropy of presence logits (N,) and labels (N,) of 0 and 1, the mean over the samples; those with
    the class count `pos_weight` times."""
    weight = None if pos_weight is None else presence.new_tensor(pos_weight)
    return F.binary_cross_entropy_with_logits(presence, label.float(), pos_weight=weight)


def _positive(pos_weight: float | None) -> float | None:
    if pos_weight is not None and not (isinstance(pos_weight, int | float) and pos_weight > 0):
        raise ValueError(f"pos_weight is {pos_weight!r}, expected a number above 0 or null")
    return pos_weight


def _share(smoothing: float) -> float:
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing is {smoothing}, expected a share in [0, 1), such as 0.1")
    return smoothing


class Presence(nn.Module):
    """`presence_loss`."""

    takes = ("presence", "label")

    def __init__(self, pos_weight: float | None = None) -> None:
        super().__init__()
        self.pos_weight = _positive(pos_weight)

    def forward(self, presence: Tensor, label: Tensor) -> Tensor:
        return presence_loss(presence, label, self.pos_weight)


class Joint(nn.Module):
    """`mask` loss + weight · `presence_loss`: segmentation and presence trained together."""

    takes = ("logits", "mask", "presence", "label")

    def __init__(self, mask: nn.Module, weight: float = 1.0, pos_weight: float | None = None) -> None:
        super().__init__()
        self.pos_weight = _positive(pos_weight)
        if not weight > 0:
            raise ValueError(f"loss.weight={weight}, expected a number above 0")
        self.mask, self.weight = mask, weight

    def parts(self, logits: Tensor, mask: Tensor, presence: Tensor, label: Tensor) -> dict[str, Tensor]:
        """What is added up, before weighting."""
        return {"mask": self.mask(logits, mask), "presence": presence_loss(presence, label, self.pos_weight)}

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        return parts["mask"] + self.weight * parts["presence"]

    def forward(self, logits: Tensor, mask: Tensor, presence: Tensor, label: Tensor) -> Tensor:
        return self.combine(self.parts(logits, mask, presence, label))
