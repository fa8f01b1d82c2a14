"""Metrics against hand arithmetic, numpy loops and torchmetrics; across batch sizes and processes."""

import math
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as tm
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from segkit.metrics.masks import SegmentationMetrics

CLASSES = {1: ("lesion",), 3: ("pet", "background", "border")}


def hard(pixels: list[list[int]], size: int = 0) -> Tensor:
    """Logits (N, C, 1, W) that surely predict these pixels; `size` classes, 0 for the binary case."""
    prediction = torch.tensor(pixels)[:, None]
    if not size:
        return (prediction[:, None] * 2 - 1) * 1e4
    return torch.nn.functional.one_hot(prediction, size).permute(0, 3, 1, 2) * 1e4


def measure(
    prediction: list[list[int]], truth: list[list[int]], classes: tuple[str, ...] = ("lesion",)
) -> SegmentationMetrics:
    metrics = SegmentationMetrics(classes)
    logits = hard(prediction, 0 if len(classes) == 1 else len(classes))
    metrics.update(logits, torch.tensor(truth)[:, None], torch.arange(len(truth)))
    return metrics


def random_set(channels: int, images: int = 16, size: tuple[int, int] = (13, 17)) -> tuple[Tensor, Tensor]:
    """Logits and masks with ignored pixels, an empty truth, an empty prediction and one without a label."""
    generator = torch.Generator().manual_seed(channels)
    logits = 2 * torch.randn(images, channels, *size, generator=generator)
    mask = torch.randint(0, max(2, channels), (images, *size), generator=generator)
    mask[torch.rand(mask.shape, generator=generator) < 0.2] = 255
    mask[0] = 0
    logits[1, 0], logits[1, 1:] = (-9, -9) if channels == 1 else (9, -9)
    mask[2] = 255
    return logits, mask


def scores(logits: Tensor, mask: Tensor, index: list[int], batch: int) -> SegmentationMetrics:
    metrics = SegmentationMetrics(CLASSES[logits.shape[1]], beta=2.0)
    for start in range(0, len(index), batch):
        chosen = torch.tensor(index[start : start + batch])
        metrics.update(logits[chosen], mask[chosen], chosen)
    return metrics


def test_binary_scores_by_hand() -> None:
    # Two 2×2 pictures, one line each. TP FP FN TN: 1 1 0 2 and 2 0 2 0.
    metrics = measure([[1, 1, 0, 0], [1, 1, 0, 0]], [[1, 0, 0, 0], [1, 1, 1, 1]])
    assert metrics.compute() == pytest.approx(
        {
            "iou": 3 / 6,
            "dice": 6 / 9,
            "precision": 3 / 4,
            "recall": 3 / 5,
            "fbeta": 6 / 9,
            "accuracy": 5 / 8,
            "iou_image": (1 / 2 + 2 / 4) / 2,
            "dice_image": (2 / 3 + 4 / 6) / 2,
            "precision_image": (1 / 2 + 1) / 2,
            "recall_image": (1 + 1 / 2) / 2,
            "fbeta_image": (2 / 3 + 4 / 6) / 2,
            "accuracy_image": (3 / 4 + 2 / 4) / 2,
            "score": 0,  # 20 · (½ − ½)
            "soft_dice": (2 * 3 + 1) / (4 + 5 + 1),
            "soft_iou": (3 + 1) / (4 + 5 - 3 + 1),
            "empty_images": 0,
        }
    )
    assert metrics.per_image() == [
        {
            "index": 0,
            "iou": 1 / 2,
            "dice": 2 / 3,
            "precision": 1 / 2,
            "recall": 1.0,
            "fbeta": 2 / 3,
            "accuracy": 3 / 4,
            "score": 0.0,
        }
        | {"tp": 1, "fp": 1, "fn": 0, "tn": 2},
        {
            "index": 1,
            "iou": 1 / 2,
            "dice": 2 / 3,
            "precision": 1.0,
            "recall": 1 / 2,
            "fbeta": 2 / 3,
            "accuracy": 1 / 2,
            "score": 0.0,
        }
        | {"tp": 2, "fp": 0, "fn": 2, "tn": 0},
    ]


def test_soft_scores_by_hand() -> None:
    metrics = SegmentationMetrics(["lesion"])
    logits = torch.tensor([0.5, 0.25, 0.75, 0.5]).logit().view(1, 1, 2, 2)
    metrics.update(logits, torch.tensor([[[1, 0], [1, 1]]]), torch.tensor([0]))
    # Σpt = ½ + ¾ + ½, Σp = 2, Σt = 3
    assert metrics.compute()["soft_dice"] == pytest.approx((2 * 1.75 + 1) / (2 + 3 + 1))
    assert metrics.compute()["soft_iou"] == pytest.approx((1.75 + 1) / (2 + 3 - 1.75 + 1))


def test_fbeta_by_hand() -> None:
    metrics = SegmentationMetrics(["lesion"], beta=2.0)
    metrics.update(hard([[1, 1, 0, 0]]), torch.tensor([[[1, 0, 1, 1]]]), torch.tensor([0]))
    assert metrics.compute()["fbeta"] == pytest.approx(5 * 1 / (5 * 1 + 4 * 2 + 1))  # TP 1, FN 2, FP 1
    assert metrics.compute()["fbeta_image"] == metrics.per_image()[0]["fbeta"] == metrics.compute()["fbeta"]


@pytest.mark.parametrize(
    ("hits", "union", "expected"),
    [
        (0, 7, 0),
        (1, 2, 0),
        (501, 1000, 0.1),
        (11, 20, 0.1),
        (56, 100, 0.2),
        (3, 5, 0.2),
        (19, 20, 0.9),
        (96, 100, 1),
    ],
)
def test_score_steps_exactly(hits: int, union: int, expected: float) -> None:
    """0.55 is where floats fail: 20 · (0.55 − 0.5) = 1.0000000000000009, and its ceiling 2."""
    result = measure([[1] * hits + [0] * (union - hits)], [[1] * union]).compute()
    assert result["score"] == expected


def test_empty_masks() -> None:
    empty, full = [0, 0], [1, 1]
    both = measure([empty], [empty]).compute()
    assert {both[name] for name in ("iou", "dice", "precision", "recall", "fbeta", "iou_image", "score")} == {1}
    assert both["empty_images"] == 1
    for prediction, truth in [(full, empty), (empty, full)]:
        result = measure([prediction], [truth]).compute()
        assert {result[n] for n in ("iou", "dice", "precision", "recall", "fbeta", "dice_image", "score")} == {0}
        assert result["empty_images"] == (truth == empty)
    # Per image: 1 for the empty one left empty, 0 for the one with two invented pixels; pooled: 0 / 2.
    result = measure([empty, full], [empty, empty]).compute()
    assert (result["iou_image"], result["iou"]) == (0.5, 0.0)
    assert result["soft_dice"] == pytest.approx(1 / (2 + 1))


def test_several_classes_by_hand() -> None:
    # Truth a a b b / a a a a, prediction a b b b / a a a c: of four classes "d" occurs nowhere.
    metrics = measure([[0, 1, 1, 1], [0, 0, 0, 2]], [[0, 0, 1, 1], [0, 0, 0, 0]], ("a", "b", "c", "d"))
    result = metrics.compute()
    a, b, c = 4 / 6, 2 / 3, 0 / 1
    assert (result["iou/a"], result["iou/b"], result["iou/c"]) == pytest.approx((a, b, c))
    assert "iou/d" not in result
    assert result["iou"] == pytest.approx((a + b + c) / 3)
    assert result["iou_micro"] == pytest.approx(6 / 10)
    assert result["accuracy"] == pytest.approx(6 / 8)
    assert (result["precision/a"], result["precision/b"], result["precision/c"]) == pytest.approx((1, 2 / 3, 0))
    assert (result["recall/a"], result["recall/b"], result["recall/c"]) == pytest.approx((4 / 6, 1, 0))
    assert result["dice"] == pytest.approx((8 / 10 + 4 / 5 + 0) / 3)
    # First picture: a 1/2, b 2/3; second: a 3/4, c 0.
    assert result["iou_image"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + (3 / 4 + 0) / 2) / 2)
    assert result["recall_image"] == pytest.approx(((1 / 2 + 1) / 2 + (3 / 4 + 0) / 2) / 2)
    assert result["accuracy_image"] == pytest.approx((3 / 4 + 3 / 4) / 2)
    # Steps: 0 and ceil(20 · 1/6) = 4; 5 and 0.
    assert result["score"] == pytest.approx((0.2 + 0.25) / 2)
    # Σpt, Σp, Σt: a 4 4 6, b 2 3 2, c 0 1 0
    assert result["soft_dice"] == pytest.approx((9 / 11 + 5 / 6 + 1 / 2) / 3)
    assert result["soft_iou"] == pytest.approx((5 / 7 + 3 / 4 + 1 / 2) / 3)
    assert result["empty_images"] == 0
    first, second = metrics.per_image()
    assert (first["iou/a"], first["iou/b"], first["iou/c"]) == pytest.approx((1 / 2, 2 / 3, None))
    assert (second["iou/a"], second["iou/b"], second["iou/c"], second["iou/d"]) == (3 / 4, None, 0, None)
    assert (first["tp"], first["fp"], first["fn"], first["tn"]) == (3, 1, 1, 11)


def numpy_scores(logits: Tensor, mask: Tensor) -> dict[str, float]:
    """The definitions again, pixel by pixel: pooled and per-image IoU, accuracy, soft scores."""
    x, truth = logits.double().numpy(), mask.numpy()
    channels = x.shape[1]
    prob = 1 / (1 + np.exp(-x)) if channels == 1 else np.exp(x) / np.exp(x).sum(1, keepdims=True)
    prediction = (prob[:, 0] > 0.5).astype(int) if channels == 1 else prob.argmax(1)
    labels = [1] if channels == 1 else range(channels)
    valid = truth != 255

    def iou(keep: np.ndarray) -> list[float]:
        found = []
        for k in labels:
            both = ((prediction == k) & (truth == k) & keep).sum()
            either = (((prediction == k) | (truth == k)) & keep).sum()
            if either or channels == 1:
                found.append(both / either if either else 1.0)
        return found

    soft = []
    for column, k in enumerate(labels):
        p, t = prob[:, column][valid], (truth == k)[valid]
        soft.append((2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1))
    images = [np.mean(iou(valid & (np.arange(len(x)) == n)[:, None, None])) for n in range(len(x)) if n != 2]
    return {
        "iou": np.mean(iou(valid)),
        "iou_image": np.mean(images),
        "accuracy": (prediction == truth)[valid].mean(),
        "soft_dice": np.mean(soft),
    }


@pytest.mark.parametrize("channels", [1, 3])
def test_agrees_with_numpy(channels: int) -> None:
    logits, mask = random_set(channels)
    result = scores(logits, mask, list(range(16)), 16).compute()
    expected = numpy_scores(logits, mask)
    assert {name: result[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_agrees_with_torchmetrics() -> None:
    logits, mask = random_set(1)
    result = scores(logits, mask, list(range(16)), 16).compute()
    args = (torch.sigmoid(logits[:, 0]), mask)
    expected = {
        "iou": tm.binary_jaccard_index(*args, ignore_index=255),
        "dice": tm.binary_f1_score(*args, ignore_index=255),
        "precision": tm.binary_precision(*args, ignore_index=255),
        "recall": tm.binary_recall(*args, ignore_index=255),
        "accuracy": tm.binary_accuracy(*args, ignore_index=255),
        "fbeta": tm.binary_fbeta_score(*args, beta=2.0, ignore_index=255),
    }
    assert {n: result[n] for n in expected} == pytest.approx({n: v.item() for n, v in expected.items()})

    logits, mask = random_set(3)
    result = scores(logits, mask, list(range(16)), 16).compute()
    kwargs: dict[str, Any] = {"num_classes": 3, "ignore_index": 255}
    expected = {
        "iou": tm.multiclass_jaccard_index(logits, mask, **kwargs),
        "iou_micro": tm.multiclass_jaccard_index(logits, mask, average="micro", **kwargs),
        "dice": tm.multiclass_f1_score(logits, mask, **kwargs),
        "precision": tm.multiclass_precision(logits, mask, **kwargs),
        "recall": tm.multiclass_recall(logits, mask, **kwargs),
        "accuracy": tm.multiclass_accuracy(logits, mask, average="micro", **kwargs),
        "fbeta": tm.multiclass_fbeta_score(logits, mask, beta=2.0, **kwargs),
    }
    assert {n: result[n] for n in expected} == pytest.approx({n: v.item() for n, v in expected.items()})


@pytest.mark.parametrize("channels", [1, 3])
def test_batch_size_order_and_repetition_change_nothing(channels: int) -> None:
    logits, mask = random_set(channels, images=32, size=(37, 53))
    index = list(range(32))
    expected = scores(logits, mask, index, 32)
    shuffled = torch.randperm(32, generator=torch.Generator().manual_seed(0)).tolist()
    for order, batch in [
        (index, 1),
        (index, 3),
        (index, 16),
        (shuffled, 3),
        ([*shuffled, *shuffled[:5]], 16),
    ]:
        other = scores(logits, mask, order, batch)
        assert other.compute() == expected.compute()
        assert other.per_image() == expected.per_image()


@pytest.mark.parametrize("channels", [1, 3])
def test_ignored_pixels_change_nothing(channels: int) -> None:
    logits, mask = random_set(channels)
    expected = scores(logits, mask, list(range(16)), 16)
    for fill in (1e4, -1e4, math.nan):
        other = scores(logits.masked_fill((mask == 255)[:, None], fill), mask, list(range(16)), 16)
        assert other.compute() == expected.compute()


def test_a_picture_without_labels_is_in_no_mean() -> None:
    metrics = measure([[1, 0], [1, 0]], [[1, 1], [255, 255]])
    assert metrics.compute()["iou_image"] == 0.5
    assert metrics.per_image()[1] == {"index": 1, "tp": 0, "fp": 0, "fn": 0, "tn": 0} | dict.fromkeys(
        ("iou", "dice", "precision", "recall", "fbeta", "accuracy", "score")
    )
    assert measure([[1, 0]], [[255, 255]]).compute() == {}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits(channels: int, dtype: torch.dtype) -> None:
    logits, mask = random_set(channels)
    half = logits.to(dtype)
    index = list(range(16))
    assert scores(half, mask, index, 16).compute() == scores(half.double(), mask, index, 16).compute()


def test_threshold_is_on_the_probability_and_excluded() -> None:
    logits = torch.tensor([0.3, 0.69, 0.71, 0.9]).logit().view(1, 1, 2, 2)
    metrics = SegmentationMetrics(["lesion"], threshold=0.7)
    metrics.update(logits, torch.ones(1, 2, 2, dtype=torch.int64), torch.tensor([0]))
    assert metrics.compute()["recall"] == 0.5
    metrics = SegmentationMetrics(["lesion"])
    metrics.update(torch.zeros(1, 1, 2, 2), torch.ones(1, 2, 2, dtype=torch.int64), torch.tensor([0]))
    assert metrics.compute()["recall"] == 0


def test_state_is_small_integers_without_a_graph() -> None:
    logits, mask = random_set(3)
    metrics = scores(logits.requires_grad_(), mask, list(range(16)), 4)
    assert [tuple(row.shape) for row in metrics.rows] == [(4, 2 + 3 * 6)] * 4
    assert all(row.dtype == torch.int64 and not row.requires_grad for row in metrics.rows)
    metrics.reset()
    assert metrics.rows == []


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_without_an_update_there_is_nothing() -> None:
    assert SegmentationMetrics(["lesion"]).compute() == {}
    assert SegmentationMetrics(["lesion"]).per_image() == []


def test_a_diverged_network_scores_zero() -> None:
    logits = torch.full((1, 1, 1, 2), math.nan)
    metrics = SegmentationMetrics(["lesion"])
    metrics.update(logits, torch.ones(1, 1, 2, dtype=torch.int64), torch.tensor([0]))
    assert metrics.compute()["iou"] == 0
    assert metrics.compute()["soft_dice"] == pytest.approx(1 / 3)


def test_errors() -> None:
    with pytest.raises(ValueError, match="classes is 'lesion', expected a list"):
        SegmentationMetrics("lesion")
    with pytest.raises(ValueError, match="threshold is 1, expected a probability between 0 and 1"):
        SegmentationMetrics(["lesion"], threshold=1)
    with pytest.raises(ValueError, match="beta is 0, expected"):
        SegmentationMetrics(["lesion"], beta=0)
    with pytest.raises(ValueError, match=r"shape \(16, 3, 13, 17\).*\(N, 1, H, W\) for the classes lesion"):
        SegmentationMetrics(["lesion"]).update(*random_set(3), torch.arange(16))
    metrics = measure([[1, 0], [1, 0]], [[1, 1], [7, 254]])
    with pytest.raises(ValueError, match=r"1 pictures \(data-set index \[1\].*other than 0..1 and 255; map"):
        metrics.compute()


SHARES = [
    (1, [list(range(0, 16, 2)), [*range(1, 16, 2), 0, 2]]),  # padded with repetitions, as a sampler does
    (3, [list(range(11)), list(range(11, 16))]),  # uneven
    (1, [list(range(16)), []]),  # nothing for the second
]


def _one_process(rank: int, port: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    results = []
    for channels, shares in SHARES:
        metrics = scores(*random_set(channels), shares[rank], batch=3)
        results.append((metrics.compute(), metrics.per_image(), len(metrics.rows)))
    torch.save(results, Path(folder) / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start_processes(_one_process, args=(port, str(tmp_path)), nprocs=2, start_method="fork")
    for rank in range(2):
        results = torch.load(tmp_path / f"{rank}.pt")
        for (channels, shares), (computed, per_image, batches) in zip(SHARES, results, strict=True):
            alone = scores(*random_set(channels), list(range(16)), 16)
            assert computed == alone.compute()
            assert per_image == alone.per_image()
            assert batches == math.ceil(len(shares[rank]) / 3)  # its own again after the exchange


def test_confusion_by_hand() -> None:
    metrics = SegmentationMetrics(["a", "b", "c"])
    said = torch.tensor([[[0, 1, 1], [2, 2, 0]]])
    truth = torch.tensor([[[0, 0, 1], [2, 255, 1]]])
    logits = torch.nn.functional.one_hot(said, 3).permute(0, 3, 1, 2).float()
    metrics.update(logits, truth, torch.tensor([0]))
    metrics.update(logits, truth, torch.tensor([-1]))  # fills up a process's last batch
    assert metrics.confusion.tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    metrics.reset()
    assert metrics.confusion.sum() == 0
