"""U-Net (Ronneberger et al., 2015): one class for all the variants that segkit uses."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from segkit.models.blocks import ConvBlock, check_kernel, check_widths, pad_to_multiple

UPSAMPLES = ("transposed", "bilinear")


class Encoder(nn.Module):
    """Blocks with a 2×2 max pooling between them; the last one is the bottleneck.

    (N, C, H, W) -> the features of every level, the i-th (N, widths[i], H / 2^i, W / 2^i); H and W have to
    be multiples of 2^(levels - 1).
    """

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.MaxPool2d(2)

    def forward(self, image: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        for level, block in enumerate(self.blocks):
            features.append(block(self.pool(features[-1]) if level else image))
        return features


class Decoder(nn.Module):
    """From the deepest feature upwards: upsample, concatenate the skip, a block.

    Takes what `Encoder` returns; gives (N, width of the last block, H, W).
    """

    def __init__(self, upsamples: Sequence[nn.Module], blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.upsamples = nn.ModuleList(upsamples)
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *skips, deep = features
        for upsample, block, skip in zip(self.upsamples, self.blocks, reversed(skips), strict=True):
            deep = block(torch.cat((skip, upsample(deep)), dim=1))
        return deep


class UNet(nn.Module):
    """forward(image (N, in_channels, H, W)) -> logits (N, out_channels, H, W), for any H, W ≥ 1.

    `widths` are the channels of each level, in units of `width`; the last is the bottleneck's, and between
    two levels the picture is halved. A level is a block of two convolutions, with layers as in `order` (see
    `ConvBlock`); in the bottleneck and the decoder, as in `decoder_order` (None: the same). `upsample` is one of

    * `transposed`: a 2×2 transposed convolution of stride 2 halves the channels; blocks of the decoder are
      2w → w → w for a level of width w (its skip and as many from below).
    * `bilinear`: corners aligned, no parameters. Channels narrow in the block before instead: the
      bottleneck is w → 2w → w, a block of the decoder 2w → w → w', w' the width of the level above.

    `bottleneck_kernel` and `head_kernel` are the sizes of the convolutions there. Sizes that are not multiples of
    2^(levels - 1) are padded to the right and below with the border's pixels, and cropped again. Training needs more
    than one value per channel at the bottleneck (batch norm), so no batch of one picture as small as that stride.

    An export may take H and W as variables if they are multiples of that stride.

    `encode` and `decode` are the two halves, so that a caller can look at the deepest feature, the last of the list
    (with `deep_channels`), and decode only some samples:
    `decode([f[keep] for f in features], image.shape[-2:])`.
    """

    def __init__(
        self,
        out_channels: int,
        widths: Sequence[int] = (32, 64, 128, 256, 512),
        width: int = 1,
        in_channels: int = 3,
        order: str = "conv-norm-relu",
        decoder_order: str | None = None,
        upsample: str = "transposed",
        bottleneck_kernel: int = 3,
        head_kernel: int = 1,
    ) -> None:
        super().__init__()
        check_widths(widths, 2, "UNet widths")
        check_widths([width, in_channels, out_channels], 3, "UNet width, in_channels, out_channels")
        check_kernel(head_kernel, "UNet head_kernel")
        if upsample not in UPSAMPLES:
            raise ValueError(f"UNet upsample: got {upsample!r}, expected one of {', '.join(UPSAMPLES)}.")
        *skips, deepest = [width * units for units in widths]
        bilinear = upsample == "bilinear"
        self.stride = 2 ** len(skips)
        decoder_order = order if decoder_order is None else decoder_order

        blocks = [ConvBlock((a, b, b), order=order) for a, b in pairwise([in_channels, *skips])]
        deep = skips[-1] if bilinear else deepest
        blocks.append(ConvBlock((skips[-1], deepest, deep), bottleneck_kernel, decoder_order))
        self.encoder = Encoder(blocks)
        self.deep_channels = deep

        upsamples: list[nn.Module] = []
        blocks = []
        for level in reversed(range(len(skips))):
            skip = skips[level]
            if bilinear:
                upsamples.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
                out = skips[max(level - 1, 0)]
            else:
                upsamples.append(nn.ConvTranspose2d(deep, skip, 2, stride=2))
                out = skip
            blocks.append(ConvBlock((2 * skip, skip, out), order=decoder_order))
            deep = out
        self.decoder = Decoder(upsamples, blocks)
        self.head = nn.Conv2d(deep, out_channels, head_kernel, padding=head_kernel // 2)

    def encode(self, image: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> the features of every level, of the padded picture, the deepest last."""
        features: list[Tensor] = self.encoder(pad_to_multiple(image, self.stride))
        return features

    def decode(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """What `encode` returned for pictures of `size` (H, W) -> logits (N, out_channels, H, W)."""
        logits: Tensor = self.head(self.decoder(features))
        return logits[..., : size[0], : size[1]]

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image), image.shape[-2:])
