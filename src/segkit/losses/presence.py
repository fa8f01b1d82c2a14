"""The loss for whether the class is there."""

import torch.nn.functional as F
from torch import Tensor, nn

from segkit.losses.pixels import check_pos_weight


def presence_loss(presence: Tensor, label: Tensor, pos_weight: float | None = None) -> Tensor:
    """Mean binary cross-entropy of presence logits (N,) and labels (N,) of 0 and 1; samples with the class count
    `pos_weight` times."""
    weight = None if pos_weight is None else presence.new_tensor(pos_weight)
    return F.binary_cross_entropy_with_logits(presence, label.float(), pos_weight=weight)


class Presence(nn.Module):
    """`presence_loss`."""

    takes = ("presence", "label")
    classes = "one"

    def __init__(self, pos_weight: float | None = None) -> None:
        super().__init__()
        self.pos_weight = check_pos_weight(pos_weight)

    def forward(self, presence: Tensor, label: Tensor) -> Tensor:
        return presence_loss(presence, label, self.pos_weight)
