"""Building blocks of the convolutional networks, and padding for pictures of any size."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
ORDERS = ("conv-norm-relu", "conv-relu-norm", "conv-relu")


class ConvBlock(nn.Sequential):
    """A chain of convolutions, `(8, 16, 8)` being 8 → 16 → 8, each with the layers named by `order`.

    (N, widths[0], H, W) -> (N, widths[-1], H, W); `kernel` is odd, the border padded with zeros. "norm" is batch norm;
    a convolution right before it has no bias, since the norm would subtract it again.
    """

    def __init__(self, widths: Sequence[int], kernel: int = 3, order: str = "conv-norm-relu") -> None:
        if order not in ORDERS:
            raise ValueError(f"order of a block: got {order!r}, expected one of {', '.join(ORDERS)}.")
        check_kernel(kernel, "kernel of a block")
        bias = order != "conv-norm-relu"
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers.append(nn.Conv2d(width_in, width_out, kernel, padding=kernel // 2, bias=bias))
            for name in order.split("-")[1:]:
                layers.append(nn.BatchNorm2d(width_out) if name == "norm" else nn.ReLU(inplace=True))
        super().__init__(*layers)


def check_widths(got: Sequence[int], least: int, where: str) -> None:
    """Raise ValueError unless there are at least `least` widths, all whole numbers above 0."""
    if len(got) < least or any(not isinstance(width, int) or width < 1 for width in got):
        raise ValueError(f"{where}: got {list(got)}, expected at least {least} whole numbers above 0.")


def check_kernel(got: int, where: str) -> None:
    """Raise ValueError unless a convolution of this size has a middle pixel."""
    if got < 1 or got % 2 == 0:
        raise ValueError(f"{where}: got {got}, expected an odd number (1, 3, 5 …).")


def pad_to_multiple(image: Tensor, stride: int) -> Tensor:
    """Repeat the last row and column until both sides are multiples of `stride`; crop with `[..., :H, :W]`.

    (N, C, H, W) -> (N, C, H', W'), H' the next multiple of `stride` at or above H; any H, W ≥ 1. Right and
    bottom only, so that pixels keep their coordinates.
    """
    height, width = image.shape[-2:]
    below = (height + stride - 1) // stride * stride - height
    right = (width + stride - 1) // stride * stride - width
    return F.pad(image, (0, right, 0, below), mode="replicate") if below or right else image


def fold_batch_norm(net: nn.Module) -> None:
    """Fold every batch norm that follows a convolution in an nn.Sequential into it, in place: for inference only.

    Outputs are the same up to rounding, without the norms' passes over memory. A subclass of nn.Sequential that calls
    its layers in their order says so by `in_order = True`.
    """
    for module in net.modules():
        plain = isinstance(module, nn.Sequential) and type(module).forward is nn.Sequential.forward
        if isinstance(module, nn.Sequential) and (plain or getattr(module, "in_order", False)):
            for at, (layer, norm) in enumerate(pairwise(list(module))):
                if isinstance(norm, nn.BatchNorm2d) and isinstance(layer, CONVOLUTIONS) and _can_fold(layer, norm):
                    module[at] = fuse_conv_bn_eval(layer.eval(), norm.eval(), isinstance(layer, nn.ConvTranspose2d))
                    module[at + 1] = nn.Identity()


def _can_fold(layer: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> bool:
    """Whether `norm` just scales and shifts the convolution's output; subclasses and hooks may do more."""
    exact = type(layer) in CONVOLUTIONS and type(norm) is nn.BatchNorm2d and norm.track_running_stats
    hooked = any(module._forward_hooks or module._forward_pre_hooks for module in (layer, norm))
    return exact and not hooked and (layer.groups == 1 or isinstance(layer, nn.Conv2d))
