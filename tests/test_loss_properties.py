"""What holds for every loss: ignored pixels, empty masks, extreme logits, precision, settings."""

import math

import pytest
import torch
from loss_cases import CASES, random_batch
from torch import Tensor

from segkit.losses import BCE, BCEDice, CrossEntropy, Dice, Focal
from segkit.losses.pixels import focal_loss


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_ignored_pixels_change_nothing(loss: torch.nn.Module, channels: int) -> None:
    logits, mask = random_batch(channels, ignore=0.4)
    ignored = (mask == 255)[:, None].expand_as(logits)

    def value_and_gradient(fill: float) -> tuple[Tensor, Tensor]:
        x = logits.masked_fill(ignored, fill).requires_grad_()
        loss(x, mask).backward()
        assert x.grad is not None
        return loss(x, mask).detach(), x.grad

    value, gradient = value_and_gradient(0.0)
    assert gradient.abs().sum() > 0
    assert (gradient[ignored] == 0).all()
    for fill in (1e4, -1e4, math.inf, math.nan):
        other = value_and_gradient(fill)
        assert torch.equal(value, other[0])
        assert torch.equal(gradient, other[1])


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_without_labels_the_loss_is_zero(loss: torch.nn.Module, channels: int) -> None:
    logits = random_batch(channels)[0].requires_grad_()
    value = loss(logits, torch.full((4, 5, 7), 255))
    value.backward()
    assert value.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_extreme_logits_stay_finite(loss: torch.nn.Module, channels: int, dtype: torch.dtype) -> None:
    _, mask = random_batch(channels, ignore=0.1)
    generator = torch.Generator().manual_seed(0)
    sign = torch.randint(0, 3, (4, channels, 5, 7), generator=generator) - 1.0
    for scale in (1e4, 100, 20):
        logits = (scale * sign).to(dtype).requires_grad_()
        value = loss(logits, mask)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_half_precision_logits_are_computed_in_float32(loss: torch.nn.Module, channels: int) -> None:
    logits, mask = random_batch(channels)
    for dtype in (torch.float16, torch.bfloat16):
        half = logits.to(dtype)
        expected = loss(half.float(), mask)
        assert torch.equal(loss(half, mask), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(half, mask), expected)


def test_confident_errors_cost_their_logit_and_confident_hits_nothing() -> None:
    logits = torch.full((1, 1, 1, 2), 1e4)
    mask = torch.tensor([[[0, 1]]])
    assert BCE()(logits, mask).item() == pytest.approx(1e4 / 2)
    assert Focal()(logits, mask).item() == pytest.approx(1e4 / 2)


@pytest.mark.parametrize("name", ["bce", "bce_dice"])
def test_losses_of_one_class_refuse_several_channels(name: str) -> None:
    loss = {"bce": BCE(), "bce_dice": BCEDice()}[name]
    with pytest.raises(ValueError, match="for one class, but the logits have 3 channels; use loss=ce, dice or"):
        loss(*random_batch(3))


def test_cross_entropy_refuses_one_channel() -> None:
    with pytest.raises(ValueError, match="two or more classes, but the logits have 1 channel; use loss=bce"):
        CrossEntropy()(*random_batch(1))


def test_shapes_and_settings_are_checked() -> None:
    logits, mask = random_batch(1)
    with pytest.raises(ValueError, match=r"\(4, 1, 5, 7\) and the mask \(1, 5, 7\), expected \(N, C, H, W\)"):
        BCE()(logits, mask[:1])
    with pytest.raises(ValueError, match="pos_weight is 'auto', expected a number above 0 or null"):
        BCE("auto")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight is 'auto', expected a list"):
        CrossEntropy("auto")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 2 class weights, but the logits have 3 channels"):
        CrossEntropy([1.0, 2.0])(*random_batch(3))
    with pytest.raises(ValueError, match="pool is 'picture', expected image"):
        Dice(pool="picture")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"smooth is 0, expected a number above 0"):
        Dice(smooth=0)
    with pytest.raises(ValueError, match="background_modulated=false is for one class"):
        Focal(background_modulated=False)(*random_batch(3))
    with pytest.raises(ValueError, match=r"alpha is 0.25 and the logits have 3 channel"):
        focal_loss(*random_batch(3), alpha=0.25)


def test_weights_follow_the_device_but_not_the_checkpoint() -> None:
    loss = CrossEntropy([1.0, 2.0])
    weight = loss.to("meta").weight
    assert weight is not None
    assert weight.is_meta
    assert not loss.state_dict()
    assert not Focal(alpha=[0.5, 0.5]).state_dict()
