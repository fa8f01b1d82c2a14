"""Losses that are sums of others; each part is logged."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from segkit.losses.overlap import dice_loss
from segkit.losses.pixels import binary_cross_entropy, check_pos_weight
from segkit.losses.presence import presence_loss
from segkit.losses.shared import Pool, check_pool, check_smooth


class BCEDice(nn.Module):
    """α·BCE + (1−α)·(1−Dice), for one class; `pool` and `smooth` are Dice's."""

    classes = "one"
    pooled = True  # BCE is

    def __init__(self, alpha: float = 0.9, pool: Pool = "image", smooth: float = 1.0) -> None:
        super().__init__()
        check_pool(pool)
        check_smooth(smooth)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha is {alpha}, expected BCE's share in [0, 1]")
        self.alpha, self.smooth = alpha, smooth
        self.pool: Pool = pool

    def forward(self, logits: Tensor, mask: Tensor) -> Tensor:
        return self.combine(self.parts(logits, mask))

    def parts(self, logits: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The two terms before weighting, both falling as the fit improves: "dice" is the loss 1 − Dice."""
        return {"bce": binary_cross_entropy(logits, mask), "dice": dice_loss(logits, mask, self.pool, self.smooth)}

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        """The loss from its `parts`, which are computed once to be both added and logged."""
        return self.alpha * parts["bce"] + (1 - self.alpha) * parts["dice"]


class Combo(nn.Module):
    """Σ weight · loss over `losses`, by name; losses without a weight, or with 0, are left out. None: Dice + focal."""

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


class Joint(nn.Module):
    """`mask` loss + weight · `presence_loss`: segmentation and presence trained together."""

    takes = ("logits", "mask", "presence", "label")
    classes = "one"

    def __init__(self, mask: nn.Module, weight: float = 1.0, pos_weight: float | None = None) -> None:
        super().__init__()
        self.pos_weight = check_pos_weight(pos_weight)
        if not weight > 0:
            raise ValueError(f"loss.weight={weight}, expected a number above 0")
        self.mask, self.weight = mask, weight

    def parts(self, logits: Tensor, mask: Tensor, presence: Tensor, label: Tensor) -> dict[str, Tensor]:
        """The terms before weighting."""
        return {"mask": self.mask(logits, mask), "presence": presence_loss(presence, label, self.pos_weight)}

    def combine(self, parts: Mapping[str, Tensor]) -> Tensor:
        return parts["mask"] + self.weight * parts["presence"]

    def forward(self, logits: Tensor, mask: Tensor, presence: Tensor, label: Tensor) -> Tensor:
        return self.combine(self.parts(logits, mask, presence, label))
