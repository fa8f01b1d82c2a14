"""The networks that say whether the class is there: the gate, weights taken over, frozen parts."""

from typing import Any

import pytest
import torch

from segkit.hardware import computing
from segkit.losses import Presence
from segkit.models.presence import PresenceHead, UNetClassifier, VGGClassifier
from segkit.models.unet import UNet
from segkit.models.weights import copy_weights
from segkit.tasks.segmentation import SegmentationTask

NET: dict[str, Any] = {"widths": [4, 8, 16], "hidden": [8]}


def classifier(**more: Any) -> UNetClassifier:
    torch.manual_seed(0)
    return UNetClassifier(**(NET | more)).eval()


@pytest.mark.parametrize("size", [(32, 32), (37, 21), (224, 224)])
def test_the_gate_decodes_the_positive_samples_alone(size: tuple[int, int]) -> None:
    net = classifier()
    image = torch.rand(6, 3, *size)
    with torch.no_grad():
        net.gate = None
        whole = net(image)
        order = whole.presence.sigmoid().sort().values.tolist()
        for count, gate in ((6, 0.0), (3, (order[2] + order[3]) / 2), (0, 1.0)):
            net.gate = gate
            decoded: list[int] = []
            hook = net.unet.decoder.register_forward_hook(
                lambda _, given, __, seen=decoded: seen.append(len(given[0][0]))
            )
            out = net(image)
            hook.remove()
            assert decoded == ([count] if count else [])
            assert out.decoded.sum() == count
            torch.testing.assert_close(out.presence, whole.presence)
            torch.testing.assert_close(out.masks[out.decoded], whole.masks[out.decoded], atol=1e-5, rtol=0)
            assert (out.masks[~out.decoded] == -1e4).all()
            assert out.masks.shape == (6, 1, *size)


def test_in_training_nothing_is_gated() -> None:
    net = classifier(gate=1.0).train()
    out = net(torch.rand(4, 3, 32, 32))
    assert out.decoded.all()
    (out.masks.sum() + out.presence.sum()).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net(torch.rand(4, 3, 32, 32), masks=False).masks is None


@pytest.mark.parametrize("size", [17, 64, 224])
@pytest.mark.parametrize("width", [2, 5])
def test_the_head_fits_any_size_and_width(size: int, width: int) -> None:
    net = VGGClassifier(widths=[width, 2 * width], hidden=[8]).eval()
    assert net(torch.rand(3, 3, size, size)).shape == (3,)


def test_a_gate_is_a_probability() -> None:
    with pytest.raises(ValueError, match=r"gate=1\.5: expected a probability"):
        UNetClassifier(**NET, gate=1.5)


def test_taking_weights_over_says_which() -> None:
    unet, net = UNet(1, [4, 8, 16]), VGGClassifier(**NET)
    taken = copy_weights(net, unet.state_dict(), "run")
    encoder = len(unet.encoder.state_dict())
    assert len(taken.taken) == encoder
    assert str(taken).startswith(f"{encoder} tensors taken over (encoder); ")
    assert "start anew (presence)" in str(taken)
    assert "of the checkpoint are not needed (decoder, head)" in str(taken)
    for name, tensor in unet.encoder.state_dict().items():
        torch.testing.assert_close(net.encoder.state_dict()[name], tensor, rtol=0, atol=0)
    whole = UNetClassifier(**NET)
    assert len(copy_weights(whole, unet.state_dict(), "run").taken) == len(unet.state_dict())
    torch.testing.assert_close(whole.unet.head.weight, unet.head.weight, rtol=0, atol=0)
    with pytest.raises(
        ValueError, match=r"(?s)have other shapes:\n  encoder\.blocks\.0\.0\.weight: \(4, 3, 3, 3\), here"
    ):
        copy_weights(VGGClassifier(widths=[6, 12, 24], hidden=[8]), unet.state_dict(), "run")
    with pytest.raises(ValueError, match=r"init_from=run: none of its 2 tensors \(linear\) has a name"):
        copy_weights(net, {"linear.weight": torch.zeros(1), "linear.bias": torch.zeros(1)}, "run")


@pytest.mark.parametrize("net", [VGGClassifier(**NET), UNetClassifier(**NET)])
def test_nothing_that_is_frozen_changes_in_a_training_step(net: torch.nn.Module) -> None:
    part = "encoder" if isinstance(net, VGGClassifier) else "unet"
    task = SegmentationTask(net, ["crack"], freeze=[part], loss=Presence(), optimizer=lambda p: torch.optim.SGD(p, 1.0))
    before = {name: tensor.clone() for name, tensor in task.net.state_dict().items()}
    for mode in (False, True):
        task.train(mode)
        assert not any(module.training for module in task.net.get_submodule(part).modules())
    optimizer = task.configure_optimizers()
    batch = {"image": torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)}
    losses = task.losses(task.detect(batch["image"]), torch.zeros(6, 32, 32).long(), torch.arange(6) % 2)
    losses["loss"].backward()
    optimizer.step()
    changed = {name for name, tensor in task.net.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("presence.") for name in changed)
    with pytest.raises(ValueError, match=r"freeze=\['encodre'\]: .* has no part called 'encodre', but"):
        SegmentationTask(net, ["crack"], freeze=["encodre"])


def test_inference_casts_the_heads_weights_once() -> None:
    net = classifier(gate=1.0)
    task = SegmentationTask(net, ["crack"]).eval()
    shape = list(net.presence.get_parameter("layers.1.weight").shape)
    image = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.profiler.profile(record_shapes=True) as profile, computing(task.device, "bf16-mixed"):
        for _ in range(3):
            task.detect(image)
    casts = [event for event in profile.events() if event.name == "aten::_to_copy" and event.input_shapes[0] == shape]
    assert len(casts) == 1


def test_present_if_anywhere_by_hand() -> None:
    head = PresenceHead(1, hidden=[], pooling="any")
    torch.nn.init.constant_(head.get_parameter("layers.0.weight"), 1.0)
    torch.nn.init.zeros_(head.get_parameter("layers.0.bias"))
    odds = torch.tensor([[1.0, 3.0], [1.0, 1.0]])  # p = 1/2, 3/4, 1/2, 1/2 at four positions
    logit = head(odds.log().view(1, 1, 2, 2))
    assert logit.sigmoid().item() == pytest.approx(1 - 1 / 2 * 1 / 4 * 1 / 2 * 1 / 2)
    far = head(torch.tensor([-1e4, 1e4]).view(2, 1, 1, 1).expand(2, 1, 3, 3))
    assert torch.isfinite(far).all()
    assert far[0] < -20
    assert far[1] > 20
    fresh = PresenceHead(4, hidden=[8], pooling="any").eval()
    assert fresh(torch.zeros(1, 4, 7, 7)).sigmoid().item() == pytest.approx(0.5, abs=0.1)


def test_an_unknown_pooling_is_named() -> None:
    with pytest.raises(ValueError, match="got 'max', expected one of dense, any"):
        VGGClassifier(**NET, pooling="max")
