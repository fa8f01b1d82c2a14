"""Is the class there at all? A head on a U-Net's encoder, alone or in front of the decoder as a gate."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from segkit import UNDECIDED
from segkit.models.blocks import check_widths, pad_to_multiple
from segkit.models.unet import UNet


class Detection(NamedTuple):
    """What a network says of N pictures: presence logits (N,), mask logits (N, C, H, W), and for which of them the
    masks were `decoded` (N,) bool. None stands for what it does not give."""

    presence: Tensor | None
    masks: Tensor | None
    decoded: Tensor | None


def probability(presence: Tensor) -> Tensor:
    """Presence logits (N,) to probabilities, in float64: in float32 those of sure answers are all 1."""
    return presence.to(torch.float32 if presence.device.type == "mps" else torch.float64).sigmoid()


class PresenceHead(nn.Module):
    """(N, channels, H, W), the deepest features of an encoder, to a logit (N,).

    Adaptive average pooling to 7×7 (what 2×2 pooling gives for pictures of 224²), then fully connected layers, each of
    `hidden` with batch norm and ReLU, and one output.
    """

    def __init__(self, channels: int, hidden: Sequence[int] = (2048, 1024), pooled: int = 7) -> None:
        super().__init__()
        check_widths([*hidden, pooled], 1, "PresenceHead hidden, pooled")
        self.pool = nn.AdaptiveAvgPool2d(pooled)
        layers: list[nn.Module] = []
        width = channels * pooled**2
        for out in hidden:
            layers += [nn.Linear(width, out, bias=False), nn.BatchNorm1d(out), nn.ReLU(inplace=True)]
            width = out
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 1))

    def forward(self, deep: Tensor) -> Tensor:
        logits: Tensor = self.layers(self.pool(deep))
        return logits[:, 0]


class VGGClassifier(nn.Module):
    """forward(image (N, in_channels, H, W)) -> presence logits (N,), any H, W: a U-Net's encoder and `PresenceHead`.

    widths: of the encoder's levels, those of the U-Net whose encoder is to be taken over.
    """

    def __init__(
        self,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        hidden: Sequence[int] = (2048, 1024),
        in_channels: int = 3,
    ) -> None:
        super().__init__()
        unet = UNet(1, widths, in_channels=in_channels)
        self.encoder, self.stride = unet.encoder, unet.stride
        self.presence = PresenceHead(unet.deep_channels, hidden)

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.presence(self.encoder(pad_to_multiple(image, self.stride))[-1])
        return logits


class UNetClassifier(nn.Module):
    """forward(image (N, in_channels, H, W)) -> `Detection`, any H, W: one encoder, and behind it presence and masks.

    In evaluation the decoder runs on those samples alone whose probability of presence exceeds `gate`; the mask logits
    of the others are -1e4. In training, and with `gate` None, all are decoded. unet: further arguments of `UNet`.
    """

    def __init__(
        self,
        out_channels: int = 1,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        hidden: Sequence[int] = (2048, 1024),
        gate: float | None = 0.5,
        **unet: Any,
    ) -> None:
        super().__init__()
        if gate is not None and not 0 <= gate <= 1:
            raise ValueError(f"gate={gate}: expected a probability, from 0 to 1, or null to decode everything.")
        self.gate = gate
        self.unet = UNet(out_channels, widths, **unet)
        self.presence = PresenceHead(self.unet.deep_channels, hidden)

    def forward(self, image: Tensor, masks: bool = True) -> Detection:
        """With `masks` false the decoder is left alone: presence is all there is."""
        features = self.unet.encode(image)
        presence: Tensor = self.presence(features[-1])
        if not masks:
            return Detection(presence, None, None)
        size = image.shape[-2:]
        everything = torch.ones(image.shape[0], dtype=torch.bool, device=image.device)
        if self.training or self.gate is None:
            return Detection(presence, self.unet.decode(features, size), everything)
        decoded = probability(presence) > self.gate
        kept = decoded.nonzero()[:, 0]  # the one look at the device: how many there are
        if kept.shape[0] == image.shape[0]:
            return Detection(presence, self.unet.decode(features, size), decoded)
        out = presence.new_full((image.shape[0], self.unet.head.out_channels, *size), UNDECIDED)
        if kept.shape[0]:
            out[kept] = self.unet.decode([level[kept] for level in features], size).to(out.dtype)
        return Detection(presence, out, decoded)


@contextmanager
def gate_open(net: nn.Module) -> Iterator[float | None]:
    """Inside, the network decodes everything; gives its gate, None for a network without."""
    if not isinstance(net, UNetClassifier):
        yield None
        return
    gate, net.gate = net.gate, None
    try:
        yield gate
    finally:
        net.gate = gate
