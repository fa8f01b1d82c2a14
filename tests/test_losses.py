"""Losses against hand arithmetic, torch, numpy and segmentation-models-pytorch."""

import math

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
import torch.nn.functional as F
from loss_cases import OVERLAP, random_batch
from torch import Tensor

from segkit.losses import BCE, L1, MCC, MSE, BCEDice, ClDice, Combo, CrossEntropy, Dice, Focal, Lovasz, Tversky
from segkit.losses.overlap import soft_dice, soft_skeleton


def logit(*probabilities: float) -> Tensor:
    return torch.tensor([math.log(p / (1 - p)) for p in probabilities])


# One 2×2 picture: probabilities ½ ¼ / ¾ ½, truth 1 0 / 1 1.
LOGITS = logit(0.5, 0.25, 0.75, 0.5).view(1, 1, 2, 2)
MASK = torch.tensor([[[1, 0], [1, 1]]])
LN2, LN4_3 = math.log(2), math.log(4 / 3)


def test_bce_by_hand() -> None:
    # −log ½, −log ¾, −log ¾, −log ½
    assert BCE()(LOGITS, MASK).item() == pytest.approx((2 * LN2 + 2 * LN4_3) / 4)
    assert BCE(pos_weight=3)(LOGITS, MASK).item() == pytest.approx((6 * LN2 + 4 * LN4_3) / 4)


def test_sums_are_means_times_labelled_pixels() -> None:
    labelled = MASK.clone()
    labelled[0, 0, 0] = 255
    for make in (BCE, Focal, L1, MSE):
        assert make(reduction="sum")(LOGITS, MASK).item() == pytest.approx(4 * make()(LOGITS, MASK).item())
        assert make(reduction="sum")(LOGITS, labelled).item() == pytest.approx(3 * make()(LOGITS, labelled).item())
    logits, mask = random_batch(3)
    expected = F.cross_entropy(logits, mask, weight=torch.tensor([1.0, 2.0, 0.5]), reduction="sum")
    torch.testing.assert_close(CrossEntropy([1.0, 2.0, 0.5], reduction="sum")(logits, mask), expected)
    with pytest.raises(ValueError, match="reduction is 'none', expected mean or sum"):
        BCE(reduction="none")  # type: ignore[arg-type]


def test_absolute_and_squared_errors_by_hand() -> None:
    # probabilities ½ ¼ / ¾ ½, truth 1 0 / 1 1: errors ½ ¼ / ¼ ½
    assert L1()(LOGITS, MASK).item() == pytest.approx(1.5 / 4)
    assert MSE()(LOGITS, MASK).item() == pytest.approx((0.25 + 0.0625 + 0.0625 + 0.25) / 4)
    logits = torch.tensor([0.5, 0.25, 0.25]).log().view(1, 3, 1, 1)  # truth: the first class
    assert L1()(logits, torch.zeros(1, 1, 1, dtype=torch.int64)).item() == pytest.approx((0.5 + 0.25 + 0.25) / 3)
    assert MSE()(logits, torch.zeros(1, 1, 1, dtype=torch.int64)).item() == pytest.approx((0.25 + 0.0625 + 0.0625) / 3)


@pytest.mark.parametrize(
    ("loss", "channels", "pooled"),
    [
        (Dice(), 3, False),
        (Tversky(), 3, False),
        (MCC(), 3, False),
        (Lovasz(), 3, False),
        (Dice("batch"), 3, True),
        (Tversky(pool="batch"), 3, True),
        (Lovasz("batch"), 3, True),
        (BCE(), 1, True),
        (BCE(reduction="sum"), 1, True),
        (Focal(), 3, True),
        (L1(), 3, True),
        (CrossEntropy(), 3, True),
        (CrossEntropy([1, 2, 0.5]), 3, True),
        (BCEDice(), 1, True),
        (BCEDice(pool="batch"), 1, True),
    ],
)
def test_a_loss_that_is_not_of_a_batch_as_a_whole_is_the_mean_of_its_pictures(
    loss: torch.nn.Module, channels: int, pooled: bool
) -> None:
    logits, mask = random_batch(channels)
    mask[0, :4] = 255  # most of one picture
    alone = torch.stack([loss(logits[at : at + 1], mask[at : at + 1]) for at in range(len(mask))]).mean()
    assert torch.isclose(loss(logits, mask), alone, rtol=1e-4) == (not pooled)
    assert loss.pooled == pooled


def test_dice_by_hand() -> None:
    # Σpt = ½ + ¾ + ½ = 1.75, Σp = 2, Σt = 3
    assert Dice()(LOGITS, MASK).item() == pytest.approx(1 - 4.5 / 6)
    assert Dice(smooth=0.5)(LOGITS, MASK).item() == pytest.approx(1 - 4.0 / 5.5)


def test_focal_by_hand() -> None:
    # (1−p_t)² = ¼, 1/16, 1/16, ¼
    expected = (LN2 / 4 + LN4_3 / 16 + LN4_3 / 16 + LN2 / 4) / 4
    assert Focal()(LOGITS, MASK).item() == pytest.approx(expected)
    expected = (LN2 / 4 + LN4_3 + LN4_3 / 16 + LN2 / 4) / 4  # the background pixel unmodulated
    assert Focal(background_modulated=False)(LOGITS, MASK).item() == pytest.approx(expected)
    expected = (0.3 * LN2 / 4 + 0.7 * LN4_3 / 16 + 0.3 * LN4_3 / 16 + 0.3 * LN2 / 4) / 4
    assert Focal(alpha=0.3)(LOGITS, MASK).item() == pytest.approx(expected)


def test_bce_dice_takes_dices_smooth() -> None:
    parts = BCEDice(smooth=0.5).parts(LOGITS, MASK)
    assert parts["dice"].item() == pytest.approx(1 - 4.0 / 5.5)


def test_bce_dice_by_hand_and_its_parts() -> None:
    bce, dice = (2 * LN2 + 2 * LN4_3) / 4, 1 - 4.5 / 6
    assert BCEDice(alpha=0.9)(LOGITS, MASK).item() == pytest.approx(0.9 * bce + 0.1 * dice)
    parts = BCEDice().parts(LOGITS, MASK)
    assert {name: part.item() for name, part in parts.items()} == pytest.approx({"bce": bce, "dice": dice})


def test_cross_entropy_by_hand() -> None:
    # Two pixels, probabilities (½ ¼ ¼) of class 0 and (¼ ¼ ½) of class 1.
    logits = torch.tensor([[0.5, 0.25], [0.25, 0.25], [0.25, 0.5]]).log().view(1, 3, 1, 2)
    mask = torch.tensor([[[0, 1]]])
    assert CrossEntropy()(logits, mask).item() == pytest.approx((LN2 + 2 * LN2) / 2)
    assert CrossEntropy([1, 3, 9])(logits, mask).item() == pytest.approx((LN2 + 3 * 2 * LN2) / 4)


def test_dice_pools_pictures_or_the_batch() -> None:
    # Two 1×2 pictures; p = ½ everywhere; truth 1 1 and 0 0.
    logits, mask = torch.zeros(2, 1, 1, 2), torch.tensor([[[1, 1]], [[0, 0]]])
    # Each: Σpt = 1 and 0, Σp = 1, Σt = 2 and 0: Dice 3/4 and 1/2. Together: Σpt = 1, Σp = 2, Σt = 2: 3/5.
    assert Dice("image")(logits, mask).item() == pytest.approx(1 - (3 / 4 + 1 / 2) / 2)
    assert Dice("batch")(logits, mask).item() == pytest.approx(1 - 3 / 5)
    assert BCEDice(alpha=0, pool="batch")(logits, mask).item() == pytest.approx(1 - 3 / 5)
    prob, target = torch.full((2, 1, 1, 2), 0.5), mask[:, None]
    assert soft_dice(prob, target).flatten().tolist() == pytest.approx([3 / 4, 1 / 2])
    assert soft_dice(prob, target, "batch").tolist() == [pytest.approx(3 / 5)]


def test_dice_of_an_empty_mask_penalises_invented_pixels() -> None:
    mask = torch.zeros(1, 1, 2, dtype=torch.int64)
    assert Dice()(torch.full((1, 1, 1, 2), -1e4), mask).item() == 0
    assert Dice()(torch.zeros(1, 1, 1, 2), mask).item() == pytest.approx(1 - 1 / 2)  # s / (Σp + s)
    assert Dice()(torch.full((1, 1, 1, 2), 1e4), mask).item() == pytest.approx(1 - 1 / 3)


def test_dice_of_several_classes_counts_absent_ones() -> None:
    # Two pixels of class 0; the second predicted as class 1, surely; class 2 neither here nor there.
    logits = torch.tensor([[1e4, 0.0], [0.0, 1e4], [0.0, 0.0]]).view(1, 3, 1, 2)
    mask = torch.zeros(1, 1, 2, dtype=torch.int64)
    # class 0: (2·1 + 1) / (1 + 2 + 1); class 1: 1 / (1 + 1); class 2: 1
    assert Dice()(logits, mask).item() == pytest.approx(1 - (3 / 4 + 1 / 2 + 1) / 3)
    assert Dice("batch")(logits, mask).item() == pytest.approx(1 - (3 / 4 + 1 / 2 + 1) / 3)


def test_dice_leaves_out_pictures_without_a_label() -> None:
    logits, mask = torch.cat([LOGITS, LOGITS]), torch.cat([MASK, torch.full_like(MASK, 255)])
    assert Dice()(logits, mask).item() == pytest.approx(1 - 4.5 / 6)


@pytest.mark.parametrize("pos_weight", [None, 2.5])
def test_bce_agrees_with_torch(pos_weight: float | None) -> None:
    logits, mask = random_batch(1)
    weight = None if pos_weight is None else torch.tensor(pos_weight)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], mask.float(), pos_weight=weight)
    torch.testing.assert_close(BCE(pos_weight)(logits, mask), expected)


@pytest.mark.parametrize("weight", [None, [0.2, 1.0, 3.0]])
def test_cross_entropy_agrees_with_torch(weight: list[float] | None) -> None:
    logits, mask = random_batch(3, ignore=0.3)
    tensor = None if weight is None else torch.tensor(weight)
    expected = F.cross_entropy(logits, mask, tensor, ignore_index=255)
    torch.testing.assert_close(CrossEntropy(weight)(logits, mask), expected)


@pytest.mark.parametrize(("channels", "mode"), [(1, "binary"), (3, "multiclass")])
def test_batch_dice_agrees_with_segmentation_models_pytorch(channels: int, mode: str) -> None:
    logits, mask = random_batch(channels)
    # Theirs pools the batch too and leaves out absent classes (here none is). It smooths the fraction divided
    # by two, (Σpt + s) / ((Σp + Σt) / 2 + s), so its s = ½ is our 1.
    expected = smp.losses.DiceLoss(mode, smooth=0.5)(logits, mask)
    torch.testing.assert_close(Dice("batch")(logits, mask), expected)


def test_focal_agrees_with_segmentation_models_pytorch() -> None:
    logits, mask = random_batch(1)
    expected = smp.losses.FocalLoss("binary", alpha=0.3, gamma=2.0)(logits, mask)
    torch.testing.assert_close(Focal(alpha=0.3)(logits, mask), expected)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_focal_agrees_with_numpy(gamma: float, channels: int) -> None:
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


def test_tversky_by_hand() -> None:
    # TP = 1.75, FP = ¼, FN = 1.25
    assert Tversky(0.3, 0.7)(LOGITS, MASK).item() == pytest.approx(1 - 2.75 / (2.75 + 0.3 * 0.25 + 0.7 * 1.25))
    expected = (1 - 2.75 / (2.75 + 0.3 * 0.25 + 0.7 * 1.25)) ** 0.75
    assert Tversky(0.3, 0.7, gamma=0.75)(LOGITS, MASK).item() == pytest.approx(expected)
    assert Tversky(1, 1)(LOGITS, MASK).item() == pytest.approx(1 - 2.75 / (2.75 + 1.5))  # Jaccard
    assert Tversky(0.5, 0.5, smooth=0.5)(LOGITS, MASK).item() == pytest.approx(Dice()(LOGITS, MASK).item())


@pytest.mark.parametrize(("channels", "mode"), [(1, "binary"), (3, "multiclass")])
def test_overlap_agrees_with_segmentation_models_pytorch(channels: int, mode: str) -> None:
    logits, mask = random_batch(channels)
    theirs = smp.losses.JaccardLoss(mode, smooth=1.0)(logits, mask)
    torch.testing.assert_close(Tversky(1.0, 1.0, pool="batch")(logits, mask), theirs)
    theirs = smp.losses.TverskyLoss(mode, smooth=1.0, alpha=0.3, beta=0.7)(logits, mask)
    torch.testing.assert_close(Tversky(0.3, 0.7, pool="batch")(logits, mask), theirs)


def test_lovasz_is_the_jaccard_loss_of_sure_predictions() -> None:
    # of probabilities 0 and 1 the extension is the set function: classes 0 and 1 have 1 of 3, class 2 is not there
    logits = torch.tensor([[1e4, 0.0, 0.0, 1e4], [0.0, 1e4, 1e4, 0.0], [0.0, 0.0, 0.0, 0.0]]).view(1, 3, 2, 2)
    mask = torch.tensor([[[0, 0], [1, 1]]])
    assert Lovasz()(logits, mask).item() == pytest.approx(1 - 1 / 3)
    # hinge: errors 2 and 0.5 of a pixel each, sorted; J = 1 - 0/1 with the first, 1 - 0/2 with both: 2·1 + 0.5·0
    assert Lovasz()(torch.tensor([[[[-1.0, -0.5]]]]), torch.tensor([[[1, 0]]])).item() == pytest.approx(2.0)


def test_mcc_by_hand() -> None:
    # TP = 1.75, FP = ¼, FN = 1.25, TN = ¾, and one right pixel more of each kind
    tp, fp, fn, tn = 2.75, 0.25, 1.25, 1.75
    expected = 1 - (tp * tn - fp * fn) / math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    assert MCC()(LOGITS, MASK).item() == pytest.approx(expected)


def test_cldice_sees_the_middle_line() -> None:
    line, band = torch.zeros(1, 9, 9, dtype=torch.int64), torch.zeros(1, 9, 9, dtype=torch.int64)
    line[:, 4], band[:, 3:6] = 1, 1
    sure = torch.where(band == 1, 1e4, -1e4)[:, None]
    assert soft_skeleton(band[:, None].float(), 3)[0, 0].nonzero()[:, 0].unique().tolist() == [4]
    assert ClDice(3)(sure, line).item() < 0.05  # three times as thick, the same line: Dice is 0.5
    assert Dice()(sure, line).item() > 0.45
    gap = sure.clone()
    gap[..., 4:6] = -1e4
    assert ClDice(3)(gap, line).item() > 0.08


@pytest.mark.parametrize("loss", OVERLAP)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_invented_on_an_empty_mask_costs(loss: torch.nn.Module, channels: int) -> None:
    mask = torch.zeros(1, 6, 8, dtype=torch.int64)
    nothing, something = torch.zeros(1, channels, 6, 8), torch.zeros(1, channels, 6, 8)
    for logits in (nothing, something):
        logits[:, 0] = -20.0 if channels == 1 else 20.0
    something[:, -1, 2:4] = 30.0
    something[:, 0, 2:4] = 30.0 if channels == 1 else -20.0
    assert loss(something, mask).item() > loss(nothing, mask).item() + 0.02
    assert loss(nothing, mask).item() < 0.01


def test_all_that_is_invented_costs_in_cldice_where_nothing_is() -> None:
    # a blot of 8×8 pixels: its skeleton is a point or four, so the paper's formula alone hardly sees it
    logits, mask = torch.full((1, 1, 16, 16), -1e4), torch.zeros(1, 16, 16, dtype=torch.int64)
    logits[..., 4:12, 4:12] = 1e4
    precision = 1 / (64 + 1)
    assert ClDice()(logits, mask).item() == pytest.approx(1 - 2 * precision / (precision + 1))
    with pytest.raises(ValueError, match="smooth is 0, expected a number above 0"):
        ClDice(smooth=0)


@pytest.mark.parametrize("weight", [None, [0.2, 1.0, 3.0]])
def test_smoothed_labels_agree_with_torch(weight: list[float] | None) -> None:
    logits, mask = random_batch(3, ignore=0.3)
    tensor = None if weight is None else torch.tensor(weight)
    expected = F.cross_entropy(logits, mask, tensor, ignore_index=255, label_smoothing=0.1)
    torch.testing.assert_close(CrossEntropy(weight, smoothing=0.1)(logits, mask), expected)
    logits, mask = random_batch(1)
    soft = mask * 0.9 + 0.05
    tensor = None if weight is None else torch.tensor(2.5)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], soft, pos_weight=tensor)
    torch.testing.assert_close(BCE(None if weight is None else 2.5, smoothing=0.1)(logits, mask), expected)


def test_combo_adds_and_says_its_parts() -> None:
    loss = Combo({"bce": BCE(), "dice": Dice(), "focal": Focal()}, {"bce": 2, "dice": 0.5, "focal": 0})
    bce, dice = (2 * LN2 + 2 * LN4_3) / 4, 1 - 4.5 / 6
    assert loss(LOGITS, MASK).item() == pytest.approx(2 * bce + 0.5 * dice)
    assert {k: v.item() for k, v in loss.parts(LOGITS, MASK).items()} == pytest.approx({"bce": bce, "dice": dice})
    with pytest.raises(ValueError, match=r"loss\.weights names 'dise', which is none of bce"):
        Combo({"bce": BCE()}, {"dise": 1})
    with pytest.raises(ValueError, match=r"loss\.weights\.bce is -1, expected a number of 0 or more"):
        Combo({"bce": BCE()}, {"bce": -1})
    with pytest.raises(ValueError, match="expected one loss or more with a number above 0"):
        Combo({"bce": BCE()}, {"bce": 0})
    with pytest.raises(ValueError, match=r"loss\.weights\.ce: this loss is for two or more classes"):
        Combo({"bce": BCE(), "ce": CrossEntropy()}, {"bce": 1, "ce": 1})(LOGITS, MASK)


def test_focal_without_modulation_of_the_background_is_the_published_variant() -> None:
    logits, mask = random_batch(1)
    p, t = torch.sigmoid(logits[:, 0]), mask.float()
    expected = -((1 - p) ** 2 * t * p.log() + (1 - t) * (1 - p).log()).mean()
    torch.testing.assert_close(Focal(background_modulated=False)(logits, mask), expected)


def test_focal_weighs_classes() -> None:
    logits, mask = random_batch(3)
    alpha = torch.tensor([0.2, 0.3, 0.5])
    log_p = F.log_softmax(logits, dim=1).gather(1, mask[:, None])[:, 0]
    expected = (-alpha[mask] * (1 - log_p.exp()) ** 2 * log_p).mean()
    torch.testing.assert_close(Focal(alpha=[0.2, 0.3, 0.5])(logits, mask), expected)
