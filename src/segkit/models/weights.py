"""Copy the weights of one network to another."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

LEAST_SHARE = 1e-3  # of the pixels, that a class counts with at least


class WeightTransfer(NamedTuple):
    """Names of tensors: `taken` from the source, `missing` in it, and `unused` from it."""

    taken: list[str]
    missing: list[str]
    unused: list[str]

    def __str__(self) -> str:
        text = f"{len(self.taken)} tensors taken over ({', '.join(module_names(self.taken))})"
        if self.missing:
            text += f"; {len(self.missing)} start anew ({', '.join(module_names(self.missing))})"
        if self.unused:
            text += f"; {len(self.unused)} of the checkpoint are not needed ({', '.join(module_names(self.unused))})"
        return text


def module_names(names: list[str]) -> list[str]:
    """The first parts of dotted names: the modules of a network."""
    return list(dict.fromkeys(name.split(".", 1)[0] for name in names))


def copy_weights(net: nn.Module, state: Mapping[str, Tensor], source: str) -> WeightTransfer:
    """Copy into `net` every tensor of `state` whose name it has; a U-Net inside a network counts as the network. Raises
    ValueError if there is none, or if one has another shape."""
    own = {short_name(name): tensor for name, tensor in net.state_dict().items()}
    given = {short_name(name): tensor for name, tensor in state.items()}
    both = [name for name in own if name in given]
    if not both:
        raise ValueError(
            f"init_from={source}: none of its {len(given)} tensors ({', '.join(module_names([*given]))}) has a name "
            f"that this network has ({', '.join(module_names([*own]))}). Give a run of a model with the same encoder."
        )
    other = [name for name in both if own[name].shape != given[name].shape]
    if other:
        listed = "\n".join(f"  {name}: {tuple(given[name].shape)}, here {tuple(own[name].shape)}" for name in other[:8])
        more = f"\n  and {len(other) - 8} more" if len(other) > 8 else ""
        raise ValueError(
            f"init_from={source}: {len(other)} of its tensors have other shapes:\n{listed}{more}\n"
            "Give this model the widths of that run (model.net.widths)."
        )
    for name in both:
        own[name].copy_(given[name])
    return WeightTransfer(
        both, [name for name in own if name not in given], [name for name in given if name not in own]
    )


def short_name(name: str) -> str:
    return name.removeprefix("unet.")


def expect_shares(net: nn.Module, shares: Sequence[float]) -> None:
    """Set the bias of a network's last convolution so that, untrained, it gives every pixel each class with the
    probability of its share: the first steps need not teach it how rare a class is. ValueError for another number of
    channels. Source: Lin et al., Focal Loss for Dense Object Detection, 2017, section 4.1.

    shares: of the pixels; of the foreground alone for one channel (sigmoid), else of each class (softmax).
    """
    bias = last_bias(net)
    if bias is None or len(bias) != len(shares):
        found = "has none" if bias is None else f"has {len(bias)}"
        raise ValueError(
            f"model.prior={list(shares)}: expected a share for each channel of the network's last convolution, and "
            f"{type(net).__name__}'s {found}."
        )
    likely = torch.tensor(shares).clamp(LEAST_SHARE, 1 - LEAST_SHARE)
    with torch.no_grad():
        bias.copy_(likely.logit() if len(shares) == 1 else likely.log())


def last_bias(net: nn.Module) -> Tensor | None:
    """The bias of a network's last convolution; None without one."""
    layers = [one for one in net.modules() if isinstance(one, nn.Conv2d | nn.ConvTranspose2d)]
    return layers[-1].bias if layers else None
