"""Calibration: threshold, temperature and smallest object, chosen on validation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from segkit.evaluation.calibration import (
    AREAS,
    BEST_IOU,
    Goal,
    Seen,
    candidate_logits,
    choose_masks,
    count_areas,
    count_thresholds,
    describe_reliability,
)
from segkit.geometry.objects import find_small
from segkit.metrics.calibration import (
    BINS,
    TEMPERATURES,
    Counts,
    Reliability,
    choose_candidate,
    choose_temperature,
    error_interval,
    measure_losses,
    rates_of,
    sort_by_confidence,
)


def draw_logits(temperature: float, classes: int, pixels: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are so many times too large for the truth that is drawn from them."""
    draw = np.random.default_rng(0)
    logits = draw.normal(0, 2, (classes, pixels))
    if classes == 1:
        truth = (draw.random(pixels) < 1 / (1 + np.exp(-logits[0]))).astype(int)
    else:
        truth = (logits + draw.gumbel(size=logits.shape)).argmax(0)  # a draw from the softmax
    return temperature * logits, truth


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_with_which_logits_were_made_is_found(temperature: float, classes: int) -> None:
    logits, truth = draw_logits(temperature, classes)
    parts = np.split(logits, 10, 1), np.split(truth, 10)
    losses = np.stack([measure_losses(*part) for part in zip(*parts, strict=True)])
    assert choose_temperature(losses, np.full(10, 4000.0), range(10)) == pytest.approx(temperature, rel=0.07)
    assert choose_temperature(losses, np.full(10, 4000.0), [0] * 10) == 1.0  # one group tells nothing


@pytest.mark.parametrize("classes", [1, 4])
def test_losses_are_the_cross_entropy(classes: int) -> None:
    logits, truth = draw_logits(1.0, classes, 50)
    at = int(np.abs(TEMPERATURES - 2).argmin())
    scaled = torch.from_numpy(logits / TEMPERATURES[at])
    if classes == 1:
        expected = F.binary_cross_entropy_with_logits(scaled[0], torch.from_numpy(truth).double(), reduction="sum")
    else:
        expected = F.cross_entropy(scaled.T, torch.from_numpy(truth), reduction="sum")
    assert measure_losses(logits, truth)[at] == pytest.approx(float(expected))


def test_a_calibration_error_by_hand() -> None:
    # 2 pixels of 0.9, one of them foreground; 2 of 0.1, none: |0.9 − 0.5| · 2/4 + |0.1 − 0| · 2/4
    found = sort_by_confidence(np.array([[0.9, 0.9, 0.1, 0.1]]), np.array([1, 0, 0, 0]))
    assert found.pixels.sum() == 4
    assert np.flatnonzero(found.pixels).tolist() == [int(0.1 * BINS), int(0.9 * BINS)]
    assert found.sum().error() == pytest.approx(0.25)
    several = sort_by_confidence(np.array([[0.6, 0.2], [0.4, 0.8]]), np.array([0, 0]))
    assert several.sum().error() == pytest.approx((0.4 + 0.8) / 2)


def test_the_foreground_is_not_hidden_by_a_certain_background() -> None:
    probabilities = np.concatenate([np.full(980, 0.001), np.full(20, 0.9)])[None]
    truth = np.concatenate([np.zeros(980, int), np.ones(10, int), np.zeros(10, int)])
    found = sort_by_confidence(probabilities, truth).sum()
    assert found.error() == pytest.approx(0.4 * 0.02 + 0.001 * 0.98)
    assert found.error_above(0.5) == pytest.approx(0.4)


def test_rates_by_hand() -> None:
    counts = Counts(np.array([[2.0], [0.0]]), np.array([[2.0], [0.0]]), np.array([4.0, 0.0]))
    pooled = {name: float(value[0]) for name, value in rates_of(counts, True).items()}
    assert pooled == pytest.approx({"iou": 2 / 6, "dice": 0.5, "precision": 0.5, "recall": 0.5})
    each = {name: float(value[0]) for name, value in rates_of(counts, False).items()}
    assert each == pytest.approx({"iou": (2 / 6 + 1) / 2, "dice": 0.75, "precision": 0.75, "recall": 0.75})


def test_cooling_lowers_the_error_of_overconfident_pixels() -> None:
    logits, truth = draw_logits(3.0, 1)
    one = Seen(logits.reshape(1, 200, 200).astype(np.float16), truth.reshape(200, 200).astype(np.uint8), 0)
    before, after = (describe_reliability([one], temperature, [0], 1)["error"] for temperature in (1.0, 3.0))
    assert after < 0.2 * before


def test_the_interval_of_the_error_is_that_of_its_groups() -> None:
    """Four pictures of one group that are half wrong, and four single ones that are right: the error is 0.25 if each
    picture counts alone, and 0 to 0.5 if groups are drawn."""
    probabilities, mask = np.full((1, 100), 0.9999), np.ones(100, int)
    wrong, right = mask * (np.arange(100) % 2), mask
    each = [sort_by_confidence(probabilities, truth) for truth in [wrong] * 4 + [right] * 4]
    stacked = Reliability(*(np.stack(values) for values in zip(*each, strict=True)))
    assert stacked.sum().error() == pytest.approx(0.25, abs=1e-3)
    low, high = error_interval(stacked, [0] * 4 + [1, 2, 3, 4])
    assert low == pytest.approx(0, abs=1e-3)
    assert high == pytest.approx(0.46, abs=0.05)
    narrow = error_interval(stacked, range(8))
    assert narrow[1] - narrow[0] < high - low


def picture(rows: list[list[float]], mask: list[list[int]], group: int = 0) -> Seen:
    return Seen(np.array([rows], dtype=np.float16), np.array(mask, dtype=np.uint8), group)


def logit(probability: float) -> float:
    return float(np.log(probability / (1 - probability)))


def test_thresholds_are_counted_by_hand() -> None:
    half = picture([[0.0, 2.0, -2.0, 5.0]], [[1, 1, 0, 255]])  # the last one does not count
    counts = count_thresholds([half], np.array([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]))
    assert counts.truth.tolist() == [2]
    assert counts.tp[0].tolist() == [2, 2, 2, 1, 1, 0, 0]  # above, so 0.0 is not found at 0.0
    assert counts.fp[0].tolist() == [1, 0, 0, 0, 0, 0, 0]


def chosen(seen: list[Seen], groups: list[int], goal: Goal = BEST_IOU, temperature: float = 1.0) -> float:
    return float(choose_masks(seen, groups, temperature, goal)["threshold"])


@pytest.mark.parametrize("temperature", [1.0, 5.0])
def test_the_best_threshold_is_taken_if_the_pictures_agree(temperature: float) -> None:
    """Foreground at 0.31 and background at 0.29 and below: about 0.3 separates them, in every picture."""
    agree = [picture([[logit(0.31), logit(0.29), -9.0]], [[1, 0, 0]], group) for group in range(8)]
    for goal in (BEST_IOU, Goal(pooled=False), Goal("dice")):
        raw = temperature * logit(chosen(agree, [*range(8)], goal, temperature))
        assert logit(0.29) < raw < logit(0.31)
    assert chosen(agree, [0] * 8, temperature=temperature) == 0.5  # one group cannot tell


def test_a_rare_class_has_a_threshold_far_below_a_percent() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(-9, 1.5, (4, 100, 100))
    mask = (draw.random(logits.shape) < 30 / (1 + np.exp(-logits))).astype(np.uint8)
    seen = [picture(one.tolist(), truth.tolist(), at) for at, (one, truth) in enumerate(zip(logits, mask, strict=True))]
    found = choose_masks(seen, [0, 1, 2, 3], 1.0, Goal("recall", 0.9))
    assert 0 < found["threshold"] < 0.01
    assert 0.9 <= found["chosen"]["recall"] < 0.92


def test_a_threshold_that_is_better_by_luck_is_not_taken() -> None:
    """One picture of eight is better at 0.3, and another one worse: the mean gains less than its standard error."""
    gain = picture([[logit(0.4)] * 30 + [9.0] * 70], [[1] * 100], 0)
    loss = picture([[logit(0.4)] * 20 + [9.0] * 80], [[0] * 20 + [1] * 80], 1)
    same = [picture([[9.0] * 100], [[1] * 100], group) for group in range(2, 8)]
    assert chosen([gain, loss, *same], [*range(8)]) == 0.5


def test_wanted_precision_and_recall() -> None:
    seen = [picture([[logit(p) for p in (0.905, 0.705, 0.505, 0.305, 0.105)]], [[1, 1, 0, 1, 0]])]

    def reached(goal: Goal) -> dict[str, float]:
        rates: dict[str, float] = choose_masks(seen, [0], 1.0, goal)["chosen"]
        return {name: round(rates[name], 3) for name in ("precision", "recall")}

    assert reached(Goal("precision", 0.7)) == {"precision": 0.75, "recall": 1.0}
    assert reached(Goal("precision", 0.9)) == {"precision": 1.0, "recall": 0.667}
    assert reached(Goal("recall", 0.6)) == {"precision": 1.0, "recall": 0.667}
    worse = [picture([[3.0, 2.0]], [[0, 1]])]
    with pytest.raises(ValueError, match=r"no threshold gives a precision of 0\.9 .*, 0\.500 at most: ask for less"):
        choose_masks(worse, [0], 1.0, Goal("precision", 0.9))


def test_candidates_are_where_foreground_may_be() -> None:
    found = candidate_logits([picture([[-40.0, 40.0, 0.0]], [[1, 1, 0]])])
    assert (found[0], found[-1]) == (pytest.approx(-40, abs=0.01), pytest.approx(39.2, abs=0.5))
    assert 0.0 in found
    assert np.all(np.diff(found) > 0)


def test_small_objects_are_counted_and_left_out() -> None:
    mask = np.zeros((12, 40), np.uint8)
    mask[2:10, 2:10] = 1  # 64 pixels
    logits = np.where(mask > 0, 5.0, -5.0)
    logits[2:4, 20:23] = 5.0  # 6 pixels that are wrong
    logits[8, 30] = 5.0
    counts = count_areas([Seen(logits[None].astype(np.float16), mask, 0)], 0.0)
    assert counts.tp[0].tolist() == [64 if area <= 64 else 0 for area in AREAS]
    assert counts.fp[0].tolist() == [{0: 7, 4: 6}.get(area, 0) for area in AREAS]
    found = torch.from_numpy(logits[None] > 0)
    assert (found & ~find_small(found, 8))[0].sum() == 64
    assert not find_small(found, 1).any()


def test_of_equal_ways_the_usual_one_is_chosen() -> None:
    counts = Counts(np.full((3, 4), 5.0), np.zeros((3, 4)), np.full(3, 5.0))
    assert choose_candidate(counts, [0, 1, 2], "iou", True, np.array([3.0, 1.0, 0.0, 2.0])) == 2
