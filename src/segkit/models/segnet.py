"""SegNet (Badrinarayanan et al., 2015), in the smaller version of the PH² comparison."""

from collections.abc import Sequence

from torch import Tensor, nn

from segkit.models.blocks import ConvBlock, check_widths, pad_to_multiple

LEVELS = 4


class Encoder(nn.Module):
    """Four blocks, each with a 2×2 max pooling after it, and the bottleneck.

    (N, C, H, W), H and W multiples of 16 -> the positions of the maxima, int64 (N, C_i, H / 2^i, W / 2^i) for
    i = 1 … 4, counted within the plane that was pooled, and last the deepest feature (N, C_4, H / 16,
    W / 16).
    """

    def __init__(self, blocks: Sequence[nn.Module], bottleneck: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.pool = nn.MaxPool2d(2, return_indices=True)
        self.bottleneck = bottleneck

    def forward(self, image: Tensor) -> list[Tensor]:
        positions: list[Tensor] = []
        for block in self.blocks:
            image, where = self.pool(block(image))
            positions.append(where)
        return [*positions, self.bottleneck(image)]


def unpool(pooled: Tensor, positions: Tensor) -> Tensor:
    """Undo a 2×2 max pooling: (N, C, H, W) -> (N, C, 2H, 2W), each value at its position, 0 elsewhere.

    The same as torch's max_unpool2d, which refuses to run with deterministic algorithms and in jit.trace.
    """
    n, c, height, width = pooled.shape
    plane = pooled.new_zeros(n, c, 4 * height * width)
    plane.scatter_(2, positions.flatten(2), pooled.flatten(2))
    return plane.view(n, c, 2 * height, 2 * width)


class Decoder(nn.Module):
    """What `Encoder` returns -> (N, C, H, W): unpool to the positions of the encoder's maxima, then a block."""

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        *positions, deep = features
        for block, where in zip(self.blocks, reversed(positions), strict=True):
            deep = block(unpool(deep, where))
        return deep


class SegNet(nn.Module):
    """forward(image (N, in_channels, H, W)) -> logits (N, out_channels, H, W), for any H, W ≥ 1.

    With c = `width`: the encoder has c, 2c, 4c, 8c channels, each level two 3×3 convolution-ReLU-batch norm
    and a pooling; the bottleneck is 8c → 16c → 8c, and the decoder's stages have 3, 3, 2 and 2 3×3 convolutions, both
    convolution-batch norm-ReLU, 8c → 4c, 4c → 2c, 2c → c and c → classes → classes. In each stage the first
    convolution narrows, as the last stage's notation says. `head` is the last convolution, bare. There are no skips:
    apart from features, only the positions of the maxima reach the decoder.

    Padding, small batches, `encode` and `decode` are as for `UNet`.
    """

    stride = 2**LEVELS

    def __init__(self, out_channels: int, width: int = 64, in_channels: int = 3) -> None:
        super().__init__()
        check_widths([width, in_channels, out_channels], 3, "SegNet width, in_channels, out_channels")
        c = width
        encoder = [(in_channels, c, c), (c, 2 * c, 2 * c), (2 * c, 4 * c, 4 * c), (4 * c, 8 * c, 8 * c)]
        blocks = [ConvBlock(widths, order="conv-relu-norm") for widths in encoder]
        self.encoder = Encoder(blocks, ConvBlock((8 * c, 16 * c, 8 * c)))
        self.deep_channels = 8 * c
        wide = [(8 * c, 4 * c, 4 * c, 4 * c), (4 * c, 2 * c, 2 * c, 2 * c)]
        narrow = [(2 * c, c, c), (c, out_channels)]
        self.decoder = Decoder([ConvBlock(widths) for widths in wide + narrow])
        self.head = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def encode(self, image: Tensor) -> list[Tensor]:
        """(N, in_channels, H, W) -> the positions of four poolings and, last, the deepest feature."""
        features: list[Tensor] = self.encoder(pad_to_multiple(image, self.stride))
        return features

    def decode(self, features: Sequence[Tensor], size: Sequence[int]) -> Tensor:
        """What `encode` returned for pictures of `size` (H, W) -> logits (N, out_channels, H, W)."""
        logits: Tensor = self.head(self.decoder(features))
        return logits[..., : size[0], : size[1]]

    def forward(self, image: Tensor) -> Tensor:
        return self.decode(self.encode(image), image.shape[-2:])
