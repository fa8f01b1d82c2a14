"""Is the class there at all? A head on a U-Net's encoder, alone or as a gate in front of the decoder."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit import UNDECIDED
from segkit.models.blocks import ConvBlock, check_widths, pad_to_multiple
from segkit.models.unet import UNet

POOLINGS = ("dense", "any")


class Detection(NamedTuple):
    """A network's output for N pictures: presence logits (N,), mask logits (N, C, H, W), for which pictures the masks
    were `decoded` (N,) bool, and the `spread` of what several networks say (N, 1, H, W). None for what the network does
    not predict."""

    presence: Tensor | None
    masks: Tensor | None
    decoded: Tensor | None
    spread: Tensor | None = None


class Gated(Protocol):
    """A network that in evaluation only decodes the masks of pictures whose probability of presence exceeds its `gate`;
    all of them with `gate` None and in training. The mask logits of the others are -1e4."""

    gate: float | None

    def __call__(self, image: Tensor, masks: bool = True) -> Detection:
        """With `masks` false nothing is decoded: it only predicts presence."""
        ...


def probability(presence: Tensor) -> Tensor:
    """Presence logits (N,) to probabilities, in float64: in float32, those of certain answers would all be 1."""
    return presence.to(torch.float32 if presence.device.type == "mps" else torch.float64).sigmoid()


class PresenceHead(nn.Module):
    """(N, channels, H, W), an encoder's deepest features, to a logit (N,).

    pooling "dense": adaptive average pooling to 7×7 (what 2×2 pooling gives for pictures of 224²), then fully connected
    layers, each of `hidden` with batch norm and ReLU, and one output. "any": the same layers at every position (1×1
    convolutions); the class is there if it is at any position, treated as independent (noisy-or):
    1 - p = Π(1 - p_i), in logits softplus⁻¹(Σ softplus(x_i)). It has far fewer weights, for small data sets.
    """

    def __init__(
        self, channels: int, hidden: Sequence[int] = (2048, 1024), pooled: int = 7, pooling: str = "dense"
    ) -> None:
        super().__init__()
        check_widths([*hidden, pooled], 1, "PresenceHead hidden, pooled")
        if pooling not in POOLINGS:
            raise ValueError(f"PresenceHead pooling: got {pooling!r}, expected one of {', '.join(POOLINGS)}.")
        self.pooling = pooling
        if pooling == "any":
            blocks = [ConvBlock((a, b), 1) for a, b in pairwise([channels, *hidden])]
            last = nn.Conv2d(hidden[-1] if hidden else channels, 1, 1)
            nn.init.constant_(last.bias, math.log(math.expm1(math.log(2) / pooled**2)))  # type: ignore[arg-type]  # p = ½
            self.layers = nn.Sequential(*blocks, last)
            return
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        layers: list[nn.Module] = []
        width = channels * pooled**2
        for out in hidden:
            layers += [nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
            width = out
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 1))

    def forward(self, deep: Tensor) -> Tensor:
        if self.pooling == "any":
            total = F.softplus(self.layers(deep).float()).sum((1, 2, 3)).clamp(min=1e-20)
            return torch.where(total > 20, total, total.clamp(max=20).expm1().log())
        logits: Tensor = self.layers(self.pool(deep))
        return logits[:, 0]


class VGGClassifier(nn.Module):
    """forward(image (N, in_channels, H, W)) -> presence logits (N,), any H, W: a U-Net's encoder and `PresenceHead`.

    widths: of the encoder's levels; those of the U-Net whose encoder it is to start from.
    """

    masks = False  # see `gives_masks`

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        hidden: Sequence[int] = (2048, 1024),
        in_channels: int = 3,
        pooling: str = "dense",
    ) -> None:
        super().__init__()
        unet = UNet(1, widths, in_channels=in_channels)
        self.encoder, self.stride = unet.encoder, unet.stride
        self.presence = PresenceHead(unet.deep_channels, hidden, pooling=pooling)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.presence(self.encoder(pad_to_multiple(image, self.stride))[-1])
        return logits


class UNetClassifier(nn.Module):
    """forward(image (N, in_channels, H, W)) -> `Detection`, any H, W: one encoder, and behind it presence and masks.

    In evaluation the decoder only runs on samples whose probability of presence exceeds `gate`; the mask logits of the
    others are -1e4. In training, and with `gate` None, all are decoded. unet: further arguments of `UNet`.
    """

    def __init__(
        self,
        out_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        hidden: Sequence[int] = (2048, 1024),
        gate: float | None = 0.5,
        pooling: str = "dense",
        **unet: Any,
    ) -> None:
        super().__init__()
        if gate is not None and not 0 <= gate <= 1:
            raise ValueError(f"gate={gate}: expected a probability, from 0 to 1, or null to decode everything.")
        self.gate = gate
        self.unet = UNet(out_channels, widths, **unet)
        self.presence = PresenceHead(self.unet.deep_channels, hidden, pooling=pooling)

    def forward(self, image: Tensor, masks: bool = True) -> Detection:
        """With `masks` false the decoder does not run: it only predicts presence."""
        features = self.unet.encode(image)
        presence: Tensor = self.presence(features[-1])
        if not masks:
            return Detection(presence, None, None)
        size = image.shape[-2:]
        everything = torch.ones(image.shape[0], dtype=torch.bool, device=image.device)
        if self.training or self.gate is None:
            return Detection(presence, self.unet.decode(features, size), everything)
        decoded = probability(presence) > self.gate
        kept = decoded.nonzero()[:, 0]  # the only wait for the device: how many there are
        if kept.shape[0] == image.shape[0]:
            return Detection(presence, self.unet.decode(features, size), decoded)
        out = presence.new_full((image.shape[0], self.unet.head.out_channels, *size), UNDECIDED)
        if kept.shape[0]:
            out[kept] = self.unet.decode([level[kept] for level in features], size).to(out.dtype)
        return Detection(presence, out, decoded)


def find_gated(net: nn.Module) -> Gated | None:
    """The network, if it has a gate."""
    gate = getattr(net, "gate", net)
    return cast(Gated, net) if gate is None or isinstance(gate, int | float) else None


def gives_masks(net: nn.Module) -> bool:
    """Whether a network predicts masks: all do, except those with `masks = False`, which only predict presence."""
    return bool(getattr(net, "masks", True))


@contextmanager
def gate_open(net: nn.Module) -> Iterator[float | None]:
    """Inside the context the network decodes everything; yields its gate, None for a network without."""
    gated = find_gated(net)
    if gated is None:
        yield None
        return
    gate, gated.gate = gated.gate, None
    try:
        yield gate
    finally:
        gated.gate = gate
