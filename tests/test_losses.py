"""Losses against hand arithmetic, torch, numpy and segmentation-models-pytorch."""

import math
from pathlib import Path

import hydra
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from omegaconf import OmegaConf
from torch import Tensor

from segkit.losses import BCE, BCEDice, CrossEntropy, Dice, Focal, focal_loss, soft_dice
from segkit.tasks import takes

CONF = sorted((Path(__file__).parent.parent / "conf" / "loss").glob("*.yaml"))
ONE_CLASS = [BCE(), BCE(3.0), Dice(), Dice("batch"), Focal(), Focal(0.5), Focal(alpha=0.25), BCEDice()]
ONE_CLASS += [Focal(background_modulated=False), BCEDice(pool="batch")]
SEVERAL = [CrossEntropy(), CrossEntropy([1.0, 2.0, 0.5]), Dice(), Dice("batch"), Focal(), Focal(0.5)]
SEVERAL += [Focal(alpha=[0.2, 0.3, 0.5])]
CASES = [(loss, 1) for loss in ONE_CLASS] + [(loss, 3) for loss in SEVERAL]


def logit(*probabilities: float) -> Tensor:
    return torch.tensor([math.log(p / (1 - p)) for p in probabilities])


def random_batch(channels: int, ignore: float = 0.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(channels)
    logits = 3 * torch.randn(4, channels, 5, 7, generator=generator)
    mask = torch.randint(0, max(2, channels), (4, 5, 7), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < ignore] = 255
    return logits, mask


# One 2×2 picture: probabilities ½ ¼ / ¾ ½, truth 1 0 / 1 1.
LOGITS = logit(0.5, 0.25, 0.75, 0.5).view(1, 1, 2, 2)
MASK = torch.tensor([[[1, 0], [1, 1]]])
LN2, LN4_3 = math.log(2), math.log(4 / 3)


def test_bce_by_hand():
    # −log ½, −log ¾, −log ¾, −log ½
    assert BCE()(LOGITS, MASK).item() == pytest.approx((2 * LN2 + 2 * LN4_3) / 4)
    assert BCE(pos_weight=3)(LOGITS, MASK).item() == pytest.approx((6 * LN2 + 4 * LN4_3) / 4)


def test_dice_by_hand():
    # Σpt = ½ + ¾ + ½ = 1.75, Σp = 2, Σt = 3
    assert Dice()(LOGITS, MASK).item() == pytest.approx(1 - 4.5 / 6)
    assert Dice(smooth=0.5)(LOGITS, MASK).item() == pytest.approx(1 - 4.0 / 5.5)


def test_focal_by_hand():
    # (1−p_t)² = ¼, 1/16, 1/16, ¼
    expected = (LN2 / 4 + LN4_3 / 16 + LN4_3 / 16 + LN2 / 4) / 4
    assert Focal()(LOGITS, MASK).item() == pytest.approx(expected)
    expected = (LN2 / 4 + LN4_3 + LN4_3 / 16 + LN2 / 4) / 4  # the background pixel unmodulated
    assert Focal(background_modulated=False)(LOGITS, MASK).item() == pytest.approx(expected)
    expected = (0.3 * LN2 / 4 + 0.7 * LN4_3 / 16 + 0.3 * LN4_3 / 16 + 0.3 * LN2 / 4) / 4
    assert Focal(alpha=0.3)(LOGITS, MASK).item() == pytest.approx(expected)


def test_bce_dice_by_hand_and_its_parts():
    bce, dice = (2 * LN2 + 2 * LN4_3) / 4, 1 - 4.5 / 6
    assert BCEDice(alpha=0.9)(LOGITS, MASK).item() == pytest.approx(0.9 * bce + 0.1 * dice)
    parts = BCEDice().parts(LOGITS, MASK)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx({"bce": bce, "dice": dice})


def test_cross_entropy_by_hand():
    # Two pixels, probabilities (½ ¼ ¼) of class 0 and (¼ ¼ ½) of class 1.
    logits = torch.tensor([[0.5, 0.25], [0.25, 0.25], [0.25, 0.5]]).log().view(1, 3, 1, 2)
    mask = torch.tensor([[[0, 1]]])
    assert CrossEntropy()(logits, mask).item() == pytest.approx((LN2 + 2 * LN2) / 2)
    assert CrossEntropy([1, 3, 9])(logits, mask).item() == pytest.approx((LN2 + 3 * 2 * LN2) / 4)


def test_dice_pools_pictures_or_the_batch():
    # Two 1×2 pictures; p = ½ everywhere; truth 1 1 and 0 0.
    logits, mask = torch.zeros(2, 1, 1, 2), torch.tensor([[[1, 1]], [[0, 0]]])
    # Each: Σpt = 1 and 0, Σp = 1, Σt = 2 and 0: Dice 3/4 and 1/2. Together: Σpt = 1, Σp = 2, Σt = 2: 3/5.
    assert Dice("image")(logits, mask).item() == pytest.approx(1 - (3 / 4 + 1 / 2) / 2)
    assert Dice("batch")(logits, mask).item() == pytest.approx(1 - 3 / 5)
    assert BCEDice(alpha=0, pool="batch")(logits, mask).item() == pytest.approx(1 - 3 / 5)
    prob, target = torch.full((2, 1, 1, 2), 0.5), mask[:, None]
    assert soft_dice(prob, target).flatten().tolist() == pytest.approx([3 / 4, 1 / 2])
    assert soft_dice(prob, target, "batch").tolist() == [[pytest.approx(3 / 5)]]


def test_dice_of_an_empty_mask_penalises_invented_pixels():
    mask = torch.zeros(1, 1, 2, dtype=torch.int64)
    assert Dice()(torch.full((1, 1, 1, 2), -1e4), mask).item() == 0
    assert Dice()(torch.zeros(1, 1, 1, 2), mask).item() == pytest.approx(1 - 1 / 2)  # s / (Σp + s)
    assert Dice()(torch.full((1, 1, 1, 2), 1e4), mask).item() == pytest.approx(1 - 1 / 3)


def test_dice_of_several_classes_counts_absent_ones():
    # Two pixels of class 0; the second predicted as class 1, surely; class 2 neither here nor there.
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4], [0.0, 0.0]]).view(1, 3, 1, 2)
    mask = torch.zeros(1, 1, 2, dtype=torch.int64)
    # class 0: (2·1 + 1) / (1 + 2 + 1); class 1: 1 / (1 + 1); class 2: 1
    assert Dice()(logits, mask).item() == pytest.approx(1 - (3 / 4 + 1 / 2 + 1) / 3)
    assert Dice("batch")(logits, mask).item() == pytest.approx(1 - (3 / 4 + 1 / 2 + 1) / 3)


def test_dice_leaves_out_pictures_without_a_label():
    logits, mask = torch.cat([LOGITS, LOGITS]), torch.cat([MASK, torch.full_like(MASK, 255)])
    assert Dice()(logits, mask).item() == pytest.approx(1 - 4.5 / 6)


@pytest.mark.parametrize("pos_weight", [None, 2.5])
def test_bce_agrees_with_torch(pos_weight):
    logits, mask = random_batch(1)
    weight = None if pos_weight is None else torch.tensor(pos_weight)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], mask.float(), pos_weight=weight)
    torch.testing.assert_close(BCE(pos_weight)(logits, mask), expected)


@pytest.mark.parametrize("weight", [None, [0.2, 1.0, 3.0]])
def test_cross_entropy_agrees_with_torch(weight):
    logits, mask = random_batch(3, ignore=0.3)
    tensor = None if weight is None else torch.tensor(weight)
    expected = F.cross_entropy(logits, mask, tensor, ignore_index=255)
    torch.testing.assert_close(CrossEntropy(weight)(logits, mask), expected)


@pytest.mark.parametrize(("channels", "mode"), [(1, "binary"), (3, "multiclass")])
def test_batch_dice_agrees_with_segmentation_models_pytorch(channels, mode):
    logits, mask = random_batch(channels)
    # Theirs pools the batch too and leaves out absent classes (here none is). It smooths the fraction divided
    # by two, (Σpt + s) / ((Σp + Σt) / 2 + s), so its s = ½ is our 1.
    expected = smp.losses.DiceLoss(mode, smooth=0.5)(logits, mask)
    torch.testing.assert_close(Dice("batch")(logits, mask), expected)


def test_focal_agrees_with_segmentation_models_pytorch():
    logits, mask = random_batch(1)
    expected = smp.losses.FocalLoss("binary", alpha=0.3, gamma=2.0)(logits, mask)
    torch.testing.assert_close(Focal(alpha=0.3)(logits, mask), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_focal_agrees_with_numpy(gamma, channels):
    logits, mask = random_batch(channels, ignore=0.2)
    x = logits.double().numpy()
    if channels == 1:
        prob = 1 / (1 + np.exp(-np.concatenate([-x, x], axis=1)))
    else:
        prob = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    terms = []
    for n, i, j in np.argwhere(mask.numpy() != 255):
        p = prob[n, mask[n, i, j], i, j]
        terms.append(-((1 - p) ** gamma) * np.log(p))
    assert Focal(gamma)(logits, mask).item() == pytest.approx(np.mean(terms), rel=1e-5)


def test_focal_without_modulation_of_the_background_is_the_published_variant():
    logits, mask = random_batch(1)
    p, t = torch.sigmoid(logits[:, 0]), mask.float()
    expected = -((1 - p) ** 2 * t * p.log() + (1 - t) * (1 - p).log()).mean()
    torch.testing.assert_close(Focal(background_modulated=False)(logits, mask), expected)


def test_focal_weighs_classes():
    logits, mask = random_batch(3)
    alpha = torch.tensor([0.2, 0.3, 0.5])
    log_p = F.log_softmax(logits, dim=1).gather(1, mask[:, None])[:, 0]
    expected = (-alpha[mask] * (1 - log_p.exp()) ** 2 * log_p).mean()
    torch.testing.assert_close(Focal(alpha=[0.2, 0.3, 0.5])(logits, mask), expected)


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_ignored_pixels_change_nothing(loss, channels):
    logits, mask = random_batch(channels, ignore=0.4)
    ignored = (mask == 255)[:, None].expand_as(logits)

    def value_and_gradient(fill: float) -> tuple[Tensor, Tensor]:
        x = logits.masked_fill(ignored, fill).requires_grad_()
        loss(x, mask).backward()
        return loss(x, mask).detach(), x.grad

    value, gradient = value_and_gradient(0.0)
    assert gradient.abs().sum() > 0
    assert (gradient[ignored] == 0).all()
    for fill in (1e4, -1e4, math.inf, math.nan):
        other = value_and_gradient(fill)
        assert torch.equal(value, other[0])
        assert torch.equal(gradient, other[1])


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_without_labels_the_loss_is_zero(loss, channels):
    logits = random_batch(channels)[0].requires_grad_()
    value = loss(logits, torch.full((4, 5, 7), 255))
    value.backward()
    assert value.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_extreme_logits_stay_finite(loss, channels, dtype):
    _, mask = random_batch(channels, ignore=0.1)
    generator = torch.Generator().manual_seed(0)
    sign = torch.randint(0, 3, (4, channels, 5, 7), generator=generator) - 1.0
    for scale in (1e4, 100, 20):
        logits = (scale * sign).to(dtype).requires_grad_()
        value = loss(logits, mask)
        value.backward()
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize(("loss", "channels"), CASES)
def test_half_precision_logits_are_computed_in_float32(loss, channels):
    logits, mask = random_batch(channels)
    for dtype in (torch.float16, torch.bfloat16):
        half = logits.to(dtype)
        expected = loss(half.float(), mask)
        assert torch.equal(loss(half, mask), expected)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(loss(half, mask), expected)


def test_confident_errors_cost_their_logit_and_confident_hits_nothing():
    logits = torch.full((1, 1, 1, 2), 1e4)
    mask = torch.tensor([[[0, 1]]])
    assert BCE()(logits, mask).item() == pytest.approx(1e4 / 2)
    assert Focal()(logits, mask).item() == pytest.approx(1e4 / 2)


@pytest.mark.parametrize("name", ["bce", "bce_dice"])
def test_losses_of_one_class_refuse_several_channels(name):
    loss = {"bce": BCE(), "bce_dice": BCEDice()}[name]
    with pytest.raises(ValueError, match="for one class, but the logits have 3 channels; use loss=ce, dice or"):
        loss(*random_batch(3))


def test_cross_entropy_refuses_one_channel():
    with pytest.raises(ValueError, match="two or more classes, but the logits have 1 channel; use loss=bce"):
        CrossEntropy()(*random_batch(1))


def test_shapes_and_settings_are_checked():
    logits, mask = random_batch(1)
    with pytest.raises(ValueError, match=r"\(4, 1, 5, 7\) and the mask \(1, 5, 7\), expected \(N, C, H, W\)"):
        BCE()(logits, mask[:1])
    with pytest.raises(ValueError, match="pos_weight is 'auto', expected a number above 0 or null"):
        BCE("auto")
    with pytest.raises(ValueError, match="weight is 'auto', expected a list"):
        CrossEntropy("auto")
    with pytest.raises(ValueError, match="got 2 class weights, but the logits have 3 channels"):
        CrossEntropy([1.0, 2.0])(*random_batch(3))
    with pytest.raises(ValueError, match="pool is 'picture', expected image"):
        Dice(pool="picture")
    with pytest.raises(ValueError, match=r"smooth is 0, expected a number above 0"):
        Dice(smooth=0)
    with pytest.raises(ValueError, match="background_modulated=false is for one class"):
        Focal(background_modulated=False)(*random_batch(3))
    with pytest.raises(ValueError, match=r"alpha is 0.25 and the logits have 3 channel"):
        focal_loss(*random_batch(3), alpha=0.25)


def test_weights_follow_the_device_but_not_the_checkpoint():
    loss = CrossEntropy([1.0, 2.0])
    assert loss.to("meta").weight.is_meta
    assert not loss.state_dict()
    assert not Focal(alpha=[0.5, 0.5]).state_dict()


@pytest.mark.parametrize("path", CONF, ids=lambda path: path.stem)
def test_every_config_overfits_a_tiny_picture(path):
    assert len(CONF) >= 5
    config = OmegaConf.load(path)
    loss = hydra.utils.instantiate(config.get("loss", config), _convert_="all")
    logits, mask = random_batch(3 if path.stem == "ce" else 1, ignore=0.1)
    presence, label = torch.zeros(len(mask)), torch.arange(len(mask)) % 2
    given = {"logits": logits, "mask": mask, "presence": presence, "label": label}
    arguments = [given[name] for name in takes(loss)]
    optimizer = torch.optim.Adam([logits.requires_grad_(), presence.requires_grad_()], lr=0.5)
    first = loss(*arguments).item()
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(*arguments)
        value.backward()
        optimizer.step()
    assert value.item() < 0.1 * first
    if "mask" in takes(loss):
        prediction = logits.argmax(1) if path.stem == "ce" else (logits[:, 0] > 0).long()
        assert torch.equal(prediction[mask != 255], mask[mask != 255])
    if "label" in takes(loss):
        assert torch.equal((presence > 0).long(), label)
