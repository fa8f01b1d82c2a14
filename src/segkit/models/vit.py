"""A plain vision transformer for segmentation: patches in, patches of logits out."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from segkit.models.blocks import pad_to_multiple


class Block(nn.Module):
    """Attention and an MLP, each with a norm before it and added to its input; tokens (N, T, width) to the same. The
    MLP has dropout after GELU."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.norm_attention(tokens))
        return tokens + self.mlp(self.norm_mlp(tokens))  # type: ignore[no-any-return]

    def attention(self, tokens: Tensor) -> Tensor:
        query, key, value = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.projection(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class ViTSegmenter(nn.Module):
    """A vision transformer over patches, whose tokens a transposed convolution turns back into pixels.

    (N, 3, H, W) to logits (N, out_channels, H, W), any H and W. size: of the training pictures; position embeddings are
    learned for its patches, starting at 0, and interpolated for other sizes. width: of a token. Source: Dosovitskiy et
    al., An Image is Worth 16×16 Words, 2021, without the class token and the last norm.
    """

    def __init__(
        self,
        out_channels: int,
        size: int | tuple[int, int] = 224,
        patch: int = 16,
        width: int = 256,
        depth: int = 6,
        heads: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"model.net.width={width} is not a multiple of model.net.heads={heads}.")
        tall, wide = (size, size) if isinstance(size, int) else size
        self.patch = patch
        self.embedding = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.zeros(1, width, -(-tall // patch), -(-wide // patch)))
        self.blocks = nn.Sequential(*(Block(width, heads, dropout) for _ in range(depth)))
        self.head = nn.ConvTranspose2d(width, out_channels, patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        grid = self.embedding(pad_to_multiple(image, self.patch))
        grid = grid + self.positions_for(grid.shape[-2:])
        tokens = self.blocks(grid.flatten(2).transpose(1, 2))
        logits: Tensor = self.head(tokens.transpose(1, 2).unflatten(2, grid.shape[-2:]))
        return logits[..., :height, :width]

    def positions_for(self, size: torch.Size) -> Tensor:
        """The embedding of each patch's position, (1, width, rows, columns)."""
        if self.positions.shape[-2:] == size:
            return self.positions
        return F.interpolate(self.positions, size, mode="bicubic", align_corners=False)
