"""The plain transformer that segments."""

import pytest
import torch
import torch.nn.functional as F

from segkit.models.vit import Block, ViTSegmenter


def test_layers_are_the_laboratorys() -> None:
    net = ViTSegmenter(12)
    assert net.positions.shape == (1, 256, 14, 14)
    assert len(net.blocks) == 6
    assert net.head.weight.shape == (256, 12, 16, 16)
    # embedding 3·16²·256+256, positions 196·256, blocks 12·256²+13·256 each, head 256·12·16²+12
    assert sum(p.numel() for p in net.parameters()) == 196864 + 50176 + 6 * (12 * 256**2 + 13 * 256) + 786444
    assert not net.positions.any()
    first = net.blocks[0]
    assert isinstance(first, Block)
    kinds = [type(layer).__name__ for layer in first.mlp]
    assert kinds == ["Linear", "GELU", "Dropout", "Linear"]
    assert sum(isinstance(layer, torch.nn.Dropout) for layer in net.modules()) == 6


def test_attention_agrees_with_torch() -> None:
    torch.manual_seed(0)
    block = Block(16, 4, 0.0).eval()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True).eval()
    given = {"in_proj": block.qkv, "out_proj": block.projection}
    names = {"in_proj": "in_proj_", "out_proj": "out_proj."}
    theirs.load_state_dict(
        {names[key] + end: getattr(layer, end) for key, layer in given.items() for end in ("weight", "bias")}
    )
    tokens = torch.randn(2, 5, 16)
    torch.testing.assert_close(block.attention(tokens), theirs(tokens, tokens, tokens)[0])


def test_any_size_with_interpolated_positions() -> None:
    net = ViTSegmenter(2, size=64, width=16, depth=1, heads=2).eval()
    with torch.no_grad():
        for size in ((64, 64), (33, 100), (7, 5)):
            assert net(torch.rand(1, 3, *size)).shape == (1, 2, *size)
    wanted = F.interpolate(net.positions, (3, 7), mode="bicubic")
    torch.testing.assert_close(net.positions_for(torch.Size((3, 7))), wanted)
    assert net.positions_for(torch.Size((4, 4))) is net.positions


def test_dropout_is_off_in_evaluation() -> None:
    net = ViTSegmenter(1, size=32, width=16, depth=2, heads=2, dropout=0.5)
    image = torch.rand(1, 3, 32, 32)
    assert not torch.equal(net(image), net(image))
    net.eval()
    assert torch.equal(net(image), net(image))


def test_impossible_settings() -> None:
    with pytest.raises(ValueError, match=r"model.net.width=10 is not a multiple of model.net.heads=4"):
        ViTSegmenter(1, width=10, heads=4)
