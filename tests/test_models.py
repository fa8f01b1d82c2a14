"""Every network of conf/model, and the published architectures layer by layer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segkit.configs.composing import compose, to_plain
from segkit.models.blocks import ConvBlock, pad_to_multiple
from segkit.models.encoders import MobileNetUNet
from segkit.models.segnet import SegNet, unpool
from segkit.models.unet import UNet
from segkit.runs.making import make

CONF = Path(__file__).parents[1] / "conf" / "model"
# Narrower than published where that would take a test seconds; depth and layers are those of the file.
NARROW: dict[str, dict[str, Any]] = {
    "unet": {"widths": [2, 4, 8, 16, 32]},
    "unet_small": {"widths": [2, 4, 4, 8, 8]},
    "unet_levels": {"widths": [4, 8, 8]},
    "unet_wide": {"widths": [2, 4, 6, 8, 10]},
    "unet_bilinear": {"width": 2},
    "segnet": {"width": 2},
}


def published(name: str, channels: int = 1, **changes: Any) -> nn.Module:
    config = OmegaConf.load(CONF / f"{name}.yaml")
    config.channels = channels
    net: nn.Module = instantiate(OmegaConf.merge(config.net, changes), _convert_="all")
    return net


def narrow(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return published(name, channels=3, **NARROW.get(name, {}))


def close(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def names(prefix: str = "") -> list[str]:
    """The files that hold a network of their own, or those of them whose `_target_` begins so; for those that say
    whether the class is there see test_classifiers.py, for pretrained encoders test_pretrained.py."""
    configs: dict[str, Any] = {
        path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in sorted(CONF.glob("*.yaml"))
    }
    targets = {name: config["net"]["_target_"] for name, config in configs.items() if "net" in config}
    others = ("segkit.models.vit.",)  # test_vit.py
    return [name for name, target in targets.items() if target.startswith(prefix) and not target.startswith(others)]


OWN = names("segkit.models.unet.") + names("segkit.models.segnet.")


def parameters(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def ph2_parameters(net: nn.Module) -> int:
    """Weights; of the encoder's eight convolutions a bias and a norm a channel, of all others a norm, of the head a
    bias."""
    layers = convolutions(net)
    weights = sum(i * o * k * k for i, o, k in layers)
    return weights + sum(3 * o for _, o, _ in layers[:8]) + sum(2 * o for _, o, _ in layers[8:-1]) + layers[-1][1]


def convolutions(module: nn.Module) -> list[tuple[int, int, int]]:
    """(channels in, channels out, kernel), in the order of the layers."""
    kinds = (nn.Conv2d, nn.ConvTranspose2d)
    return [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in module.modules() if isinstance(m, kinds)]


def test_the_files_are_found() -> None:
    assert len(OWN) >= 6


@pytest.mark.parametrize("name", names())
def test_every_network(name: str) -> None:
    net = narrow(name)
    for height, width in [(32, 48), (37, 53), (17, 31), (1, 1)]:
        assert net(torch.rand(2, 3, height, width)).shape == (2, 3, height, width)

    image = torch.rand(2, 3, 37, 53)
    net(image).square().mean().backward()
    for key, parameter in net.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key

    net.eval()
    with torch.no_grad():
        logits = net(image)
        assert torch.equal(net(image), logits)
        close(net(image[1:]), logits[1:])  # a sample does not depend on its batch
        other = narrow(name, seed=1).eval()
        assert not torch.equal(other(image), logits)
        other.load_state_dict(net.state_dict())
        close(other(image), logits)
        close(net.to(memory_format=torch.channels_last)(image), logits)
    same = zip(narrow(name, seed=1).parameters(), narrow(name, seed=1).parameters(), strict=True)
    assert all(torch.equal(one, two) for one, two in same)


@pytest.mark.parametrize("name", OWN)
def test_the_decoder_takes_some_samples_only(name: str) -> None:
    net: Any = narrow(name).eval()
    image = torch.rand(3, 3, 37, 53)
    keep = torch.tensor([True, False, True])
    with torch.no_grad():
        features = net.encode(image)
        assert features[-1].shape[1] == net.deep_channels
        close(net.decode([feature[keep] for feature in features], image.shape[-2:]), net(image)[keep])
    assert {key.split(".")[0] for key in net.state_dict()} == {"encoder", "decoder", "head"}


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")  # a trace is for one size
@pytest.mark.parametrize("name", ["unet_small", "unet_bilinear", "segnet"])
def test_networks_trace_export_and_run_in_bfloat16(name: str) -> None:
    net = narrow(name)
    image = torch.rand(2, 3, 21, 30)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = net(image)
    assert logits.dtype == torch.bfloat16
    logits.float().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())

    net.eval()
    with torch.no_grad():
        logits = net(image)
        assert torch.equal(torch.jit.trace(net, image)(image), logits)
        side = 16 * torch.export.Dim("side", min=2, max=64)
        graph = torch.export.export(net, (torch.rand(2, 3, 64, 48),), dynamic_shapes=({2: side},)).module()
        taller = torch.rand(2, 3, 96, 48)
        close(graph(taller), net(taller))


def test_unet_is_the_thesis_network() -> None:
    net = published("unet")
    w = [32, 64, 128, 256, 512]
    encoder = [(3, 32, 3), (32, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3)]
    encoder += [(128, 256, 3), (256, 256, 3), (256, 512, 3), (512, 512, 3)]
    decoder = [(512, 256, 2), (256, 128, 2), (128, 64, 2), (64, 32, 2)]
    decoder += [(512, 256, 3), (256, 256, 3), (256, 128, 3), (128, 128, 3)]
    decoder += [(128, 64, 3), (64, 64, 3), (64, 32, 3), (32, 32, 3)]
    assert convolutions(net.encoder) == encoder  # type: ignore[arg-type]
    assert convolutions(net.decoder) == decoder  # type: ignore[arg-type]
    assert convolutions(net.head) == [(32, 1, 1)]  # type: ignore[arg-type]
    # Weights of the convolutions; biases of the four transposed ones and the head; two numbers a channel and
    # norm, two norms a block.
    weights = sum(i * o * k * k for i, o, k in [*encoder, *decoder, (32, 1, 1)])
    biases = 256 + 128 + 64 + 32 + 1
    norms = 2 * 2 * (sum(w) + sum(w[:4]))
    assert (weights, biases, norms) == (7756672, 481, 5888)
    assert sum(p.numel() for p in net.parameters()) == weights + biases + norms == 7_763_041


def test_unet_costs_what_was_published() -> None:
    """18.5 GFLOP, 6.6 in the encoder: a multiply-add counts as two operations."""
    net, image = published("unet").eval(), torch.rand(1, 3, 224, 224)
    with torch.no_grad(), FlopCounterMode(display=False) as whole:
        features = net.encode(image)  # type: ignore[operator]
        encoder = whole.get_total_flops()
        net.decode(features, (224, 224))  # type: ignore[operator]
    # Each level of the encoder beyond the first has 9·(w²/2 + w²) multiply-adds a pixel, w² a constant area:
    # 224²·(9·3·32 + 9·32²) + 4 · 112²·9·(32·64 + 64²).
    assert encoder == 2 * (224**2 * (864 + 9216) + 4 * 112**2 * 9 * (32 * 64 + 64**2))
    assert encoder == pytest.approx(6.6e9, rel=0.01)
    assert whole.get_total_flops() == pytest.approx(18.5e9, rel=0.002)


def test_unet_bilinear_is_the_ph2_network() -> None:
    net, c = published("unet_bilinear"), 8
    assert convolutions(net) == [
        *[(3, c, 3), (c, c, 3), (c, 2 * c, 3), (2 * c, 2 * c, 3)],
        *[(2 * c, 4 * c, 3), (4 * c, 4 * c, 3), (4 * c, 8 * c, 3), (8 * c, 8 * c, 3)],
        *[(8 * c, 16 * c, 1), (16 * c, 8 * c, 1)],
        *[(16 * c, 8 * c, 3), (8 * c, 4 * c, 3), (8 * c, 4 * c, 3), (4 * c, 2 * c, 3)],
        *[(4 * c, 2 * c, 3), (2 * c, c, 3), (2 * c, c, 3), (c, c, 3), (c, 1, 3)],
    ]
    upsamples = [m for m in net.modules() if isinstance(m, nn.Upsample)]
    assert [(m.mode, m.align_corners) for m in upsamples] == [("bilinear", True)] * 4
    kinds = [type(m) for m in net.modules() if isinstance(m, nn.Conv2d | nn.ReLU | nn.BatchNorm2d)]
    encoder, rest = [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 8, [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 10
    assert kinds == [*encoder, *rest, nn.Conv2d]
    assert parameters(net) == ph2_parameters(net) == 213_985  # published: 0.21 M


def test_segnet_is_the_ph2_network() -> None:
    net, c = published("segnet"), 64
    assert convolutions(net) == [
        *[(3, c, 3), (c, c, 3), (c, 2 * c, 3), (2 * c, 2 * c, 3)],
        *[(2 * c, 4 * c, 3), (4 * c, 4 * c, 3), (4 * c, 8 * c, 3), (8 * c, 8 * c, 3)],
        *[(8 * c, 16 * c, 3), (16 * c, 8 * c, 3)],
        *[(8 * c, 4 * c, 3), (4 * c, 4 * c, 3), (4 * c, 4 * c, 3)],
        *[(4 * c, 2 * c, 3), (2 * c, 2 * c, 3), (2 * c, 2 * c, 3)],
        *[(2 * c, c, 3), (c, c, 3), (c, 1, 3), (1, 1, 3)],
    ]
    kinds = [type(m) for m in net.modules() if isinstance(m, nn.Conv2d | nn.ReLU | nn.BatchNorm2d)]
    encoder, rest = [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 8, [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 11
    assert kinds == [*encoder, *rest, nn.Conv2d]
    assert parameters(net) == ph2_parameters(net) == 17_192_332  # published: 17.2 M


@pytest.mark.parametrize(
    ("name", "channels", "count"),
    [
        ("unet_classifier", 1, 7_763_041 + 53_484_545),  # the U-Net and its head: 25,088 → 2,048 → 1,024 → 1, two norms
        ("vgg_classifier", 1, 4_714_208 + 53_484_545),
        ("unet_wide", 1, 31_037_633),
        ("vit_segmenter", 30, 6_951_710),
        ("mobilenet_unet", 3, 6_472_035),
    ],
)
def test_parameters_of_the_other_published_networks(name: str, channels: int, count: int) -> None:
    words = (f"model={name}", f"channels={channels}", "dataset.size=224", "run_dir=x")
    assert parameters(make(to_plain(compose(*words))["model"]["net"])) == count


def test_unet_levels_has_two_levels_a_bottleneck_and_no_norm() -> None:
    net = published("unet_levels", channels=30)
    down = [(3, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 256, 3), (256, 256, 3)]
    up = [(256, 128, 2), (128, 64, 2), (256, 128, 3), (128, 128, 3), (128, 64, 3), (64, 64, 3)]
    assert convolutions(net) == [*down, *up, (64, 30, 1)]
    assert parameters(net) == sum(i * o * k * k + o for i, o, k in [*down, *up, (64, 30, 1)]) == 1_864_734
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert all(m.bias is not None for m in net.modules() if isinstance(m, nn.Conv2d))


@pytest.mark.parametrize(
    ("name", "widths"), [("unet_small", [16, 32, 64, 128, 256]), ("unet_wide", [64, 128, 256, 512, 1024])]
)
def test_the_other_widths(name: str, widths: list[int]) -> None:
    encoder = convolutions(published(name).encoder)  # type: ignore[arg-type]
    assert [out for _, out, _ in encoder] == [width for width in widths for _ in range(2)]


def decoder_answers_to(net: Any, which: int, change: Any) -> bool:
    """Whether the logits change with the feature of that number alone."""
    net.eval()
    with torch.no_grad():
        features: list[Tensor] = net.encode(torch.rand(1, 3, 32, 32))
        before = net.decode(features, (32, 32))
        features[which] = change(features[which])
        return not torch.equal(net.decode(features, (32, 32)), before)


@pytest.mark.parametrize("level", range(5))
def test_unet_uses_every_skip(level: int) -> None:
    torch.manual_seed(0)  # of a few narrow networks: in one alone a ReLU may shut the way
    nets = [UNet(1, widths=[2, 4, 4, 4, 8]) for _ in range(5)]
    assert any(decoder_answers_to(net, level, torch.zeros_like) for net in nets)


@pytest.mark.parametrize("level", range(4))
def test_segnet_uses_the_positions_of_every_pooling(level: int) -> None:
    torch.manual_seed(0)
    assert decoder_answers_to(SegNet(1, width=4), level, lambda positions: positions.flip(1))


def test_unpool_by_hand() -> None:
    picture = torch.tensor([[[[1.0, 5.0, 0.0, 2.0], [3.0, 4.0, 7.0, 6.0]]]])
    pooled, positions = nn.functional.max_pool2d(picture, 2, return_indices=True)
    expected = torch.tensor([[[[0.0, 5.0, 0.0, 0.0], [0.0, 0.0, 7.0, 0.0]]]])
    assert torch.equal(unpool(pooled, positions), expected)
    features = torch.randn(2, 3, 8, 10)
    pooled, positions = nn.functional.max_pool2d(features, 2, return_indices=True)
    assert torch.equal(unpool(pooled, positions), nn.functional.max_unpool2d(pooled, positions, (2, 2)))


def test_segnet_runs_with_deterministic_algorithms() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        net = SegNet(1, width=2)
        net(torch.rand(2, 3, 20, 20)).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in net.parameters())
    finally:
        torch.use_deterministic_algorithms(before)


def test_padding_repeats_the_border_to_the_right_and_below() -> None:
    picture = torch.tensor([[[[1.0, 2.0, 3.0]]]])
    assert pad_to_multiple(picture, 2).tolist() == [[[[1.0, 2.0, 3.0, 3.0], [1.0, 2.0, 3.0, 3.0]]]]
    aligned = torch.rand(1, 3, 4, 6)
    assert pad_to_multiple(aligned, 2) is aligned


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"widths: got \[\], expected at least 2 whole numbers above 0"):
        UNet(1, widths=[])
    with pytest.raises(ValueError, match=r"got \[8, 0\]"):
        UNet(1, widths=[8, 0])
    with pytest.raises(ValueError, match=r"upsample: got 'nearest', expected one of transposed, bilinear"):
        UNet(1, upsample="nearest")
    with pytest.raises(ValueError, match=r"order of a block: got 'norm-conv', expected one of conv-norm-relu, "):
        UNet(1, order="norm-conv")
    with pytest.raises(ValueError, match=r"kernel of a block: got 2, expected an odd number"):
        ConvBlock([1, 1], kernel=2)
    with pytest.raises(ValueError, match=r"head_kernel: got 2, expected an odd number"):
        UNet(1, head_kernel=2)
    with pytest.raises(ValueError, match=r"SegNet width, in_channels, out_channels: got \[0, 3, 1\]"):
        SegNet(1, width=0)


def test_mobilenet_is_the_tutorials() -> None:
    net = MobileNetUNet(3, dropout=0.5).eval()
    assert [layer.get_submodule("0").out_channels for layer in net.decoder] == [512, 256, 128, 64]
    assert [layer.get_submodule("0").in_channels for layer in net.decoder] == [320, 512 + 576, 256 + 192, 128 + 144]
    assert net.head.in_channels == 64 + 96
    assert 6.3e6 < sum(p.numel() for p in net.parameters()) < 6.7e6
    seen = []
    net.decoder[0].register_forward_hook(lambda module, given, out: seen.append((given[0].shape, out.shape)))
    with torch.no_grad():
        assert net(torch.rand(1, 3, 128, 128)).shape == (1, 3, 128, 128)
        assert net(torch.rand(1, 3, 33, 70)).shape == (1, 3, 33, 70)
    assert seen[0] == ((1, 320, 4, 4), (1, 512, 8, 8))


def test_mobilenets_skips_are_torchvisions() -> None:
    from torchvision.models.feature_extraction import create_feature_extractor

    net = MobileNetUNet(1).eval()
    names = [f"features.{at}.conv.0" for at in net.SKIPS]
    features = nn.Sequential(*net.encoder["features"].children())
    extract = create_feature_extractor(features, {f"{at}.conv.0": str(at) for at in net.SKIPS})
    image, skips = torch.rand(1, 3, 64, 64), []
    for at in net.SKIPS:
        first = net.encoder.get_submodule(f"features.{at}.conv.0")
        first.register_forward_hook(lambda module, given, out: skips.append(out))
    with torch.no_grad():
        expected = list(extract(image).values())
        skips.clear()
        net(image)
    assert len(names) == len(skips) == 4
    for one, other in zip(skips, expected, strict=True):
        torch.testing.assert_close(one, other)
