"""EfficientNet-Lite's encoder beside timm's."""

import pytest
import timm
import torch
from torch import nn

from segkit.models.blocks import fold_batch_norm
from segkit.models.encoders import DetailUNet
from segkit.models.lite import NAMES, LiteEncoder
from segkit.runs.pretrained import load_encoder


def randomise(net: nn.Module) -> None:
    """Statistics and scales that differ from layer to layer."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)


@pytest.mark.parametrize("name", NAMES)
def test_it_computes_what_timm_does_from_the_same_tensors(name: str) -> None:
    own, other = LiteEncoder(name).eval(), timm.create_model(name, features_only=True).eval()
    randomise(other)
    state = {key.removeprefix("model."): tensor for key, tensor in own.state_dict().items()}
    assert {key: tensor.shape for key, tensor in state.items()} == {
        key: tensor.shape for key, tensor in other.state_dict().items()
    }
    own.model.load_state_dict(other.state_dict())
    image = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        found, expected = own(image), other(image)
    assert torch.equal(found[0], image)
    assert own.out_channels == [3, *(feature.shape[1] for feature in expected)]
    for one, same in zip(found[1:], expected, strict=True):
        torch.testing.assert_close(one, same, rtol=1e-4, atol=1e-4)
    own.train()
    other.train()
    for one, same in zip(own(image)[1:], other(image), strict=True):  # statistics of the batch
        torch.testing.assert_close(one, same, rtol=1e-3, atol=1e-3)


def test_folded_it_computes_the_same_without_norms() -> None:
    net = DetailUNet("tf_efficientnet_lite0", 1).eval()
    randomise(net)
    image = torch.rand(1, 3, 50, 70)
    with torch.no_grad():
        before = net(image)
        fold_batch_norm(net)
        after = net(image)
    assert before.shape == (1, 1, 50, 70)
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    assert not [module for module in net.encoder.modules() if isinstance(module, nn.BatchNorm2d)]


def test_the_weights_that_come_with_segkit_are_those_of_the_paper() -> None:
    net = DetailUNet("tf_efficientnet_lite0", 1)
    assert net.normalisation == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert "240 tensors of the encoder" in load_encoder(net, "package:efficientnet-lite0", "lite_unet")
    published = timm.models.get_pretrained_cfg("tf_efficientnet_lite0")
    assert published is not None
    assert published.mean == net.normalisation[0]
