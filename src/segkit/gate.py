"""What the gate of a detector costs and saves, over its threshold: `evaluate gate=sweep`, and the choice of one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor

from segkit import inference, pictures, records
from segkit.datasets.module import collate
from segkit.datasets.order import OrderedBatches
from segkit.models.presence import UNetClassifier, VGGClassifier, probability

if TYPE_CHECKING:
    from segkit.datasets.module import DataModule
    from segkit.scores import Scores
    from segkit.tasks import SegmentationTask

FIXED = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
QUANTILES = 12  # further gates, between the probabilities that occur
TIMED = 40  # samples that a sweep times, or a batch if that has more
ROUNDS = 3


def parse(gate: Any, task: "SegmentationTask") -> float | str | None:
    """The setting `gate`: a probability, "sweep", "recall:<share>", or None; ValueError for anything else, and for a
    network that has nothing to gate."""
    if gate is None:
        return None
    if not isinstance(task.net, UNetClassifier):
        raise ValueError(
            f"gate={gate}: {type(task.net).__name__} has no decoder behind an answer to whether the class is there, so "
            "there is nothing to gate. Train a model=unet_classifier."
        )
    if isinstance(gate, str) and gate.startswith("recall:"):
        wanted_recall(gate)
        return gate
    if gate == "sweep":
        return "sweep"
    if isinstance(gate, int | float) and 0 <= gate <= 1:
        return float(gate)
    raise ValueError(f"gate={gate}: expected a probability from 0 to 1, sweep, or recall:0.99.")


def set_number(task: "SegmentationTask", gate: Any) -> float:
    """Give a detector another gate for prediction, unless it is None; returns the probability above which the class
    counts as present. A classifier without masks takes one too."""
    chosen = gate if isinstance(task.net, VGGClassifier) and isinstance(gate, int | float) else parse(gate, task)
    if isinstance(chosen, str):
        raise ValueError(f"gate={gate}: prediction takes a probability. segkit evaluate gate={gate} says which.")
    if isinstance(task.net, UNetClassifier):
        task.net.gate = task.net.gate if chosen is None else chosen
        chosen = task.net.gate
    return 0.5 if chosen is None else float(chosen)


def wanted_recall(gate: str) -> float:
    """The share in "recall:<share>"."""
    try:
        share = float(gate.removeprefix("recall:"))
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise ValueError(f"gate={gate}: expected a share above 0 and at most 1 after recall:, such as recall:0.99.")
    return share


def sweep(task: "SegmentationTask", data: "DataModule", split: str, precision: str, device: str, folder: Path) -> None:
    """Write gate.csv and gate.png of a split that has just been scored."""
    rows = effects(task.scores("test"))
    task.to(device)
    with inference.computing(task, precision):
        times = measured(task, some_batches(data, split), [row["gate"] for row in rows])
    for row, (seconds, share) in zip(rows, times, strict=True):
        row |= {"seconds_per_crop": round(seconds, 6), "share_decoded_timed": round(share, 4)}
    records.write_rows(folder / "gate.csv", rows)
    own = cast(UNetClassifier, task.net).gate
    pictures.save(folder / "gate.png", pictures.gate(rows, own))
    records.log.info("gate.csv and gate.png: %.2f ms a sample with all decoded, %.2f ms with none",
                     1000 * rows[0]["seconds_per_crop"], 1000 * rows[-1]["seconds_per_crop"])  # fmt: skip


def effects(scores: "Scores") -> list[dict[str, Any]]:
    """A row a gate, over the samples (crops, where there are crops): recall and precision of presence, pooled IoU with
    the masks of what stays closed empty, share of the area of clean samples that is called the class, share decoded."""
    answers = scores.presence.answers()  # type: ignore[union-attr]
    counted = scores.per_sample()
    tp, fp, fn, tn = (np.array([row[key] for row in counted], np.int64) for key in ("tp", "fp", "fn", "tn"))
    truth, probability = answers.label.numpy() == 1, answers.probability.numpy()
    clean_area = (fp + tn + fn + tp)[~truth].sum()
    rows: list[dict[str, Any]] = []
    for gate in gates(answers.probability):
        decoded = probability > gate
        hit, wrong, missed = tp[decoded].sum(), fp[decoded].sum(), fn.sum() + tp[~decoded].sum()
        seen = answers._replace(probability=torch.from_numpy(decoded).double())
        rows.append({
            "gate": gate,
            "presence_recall/1": seen.recall(),
            "presence_precision/1": seen.precision() if decoded.any() else None,
            "iou_crops" if scores.of_crops else "iou": ratio(hit, hit + wrong + missed, 1.0),
            "false_positive_area": ratio(fp[decoded & ~truth].sum(), clean_area, 0.0),
            "share_decoded": float(decoded.mean()),
        })  # fmt: skip
    return rows


def gates(probabilities: Tensor) -> list[float]:
    """The gates of a sweep: `FIXED` ones, and such as let evenly rising shares of the samples through."""
    values = torch.from_numpy(np.unique(probabilities.numpy()))
    middles = ((values[1:] + values[:-1]) / 2).numpy()
    some = np.linspace(0, len(middles) - 1, min(QUANTILES, len(middles))).astype(int)
    return sorted({*FIXED, *(float(middles[index]) for index in some)})


def ratio(part: Any, whole: Any, empty: float) -> float:
    return float(part) / float(whole) if whole else empty


def some_batches(data: "DataModule", split: str) -> list[Tensor]:
    """Batches of pictures (N, 3, H, W) as they are scored, spread over the split, of about `TIMED` samples in all."""
    loader = data.eval_dataloader(split)
    keys = list(cast(OrderedBatches, loader.batch_sampler))
    first: Tensor = collate([loader.dataset[key] for key in keys[0]])["image"]
    wanted = min(max(round(TIMED / len(first)), 1), len(keys))
    chosen = np.unique(np.linspace(0, len(keys) - 1, wanted).astype(int))
    return [collate([loader.dataset[key] for key in keys[number]])["image"] for number in chosen]


def measured(task: "SegmentationTask", batches: Sequence[Tensor], swept: Sequence[float]) -> list[tuple[float, float]]:
    """(seconds a sample, share decoded) at each gate: the median of rounds in which all of them take turns. Gates that
    let the same samples through are one."""
    net = cast(UNetClassifier, task.net)
    own, count = net.gate, sum(map(len, batches))
    batches = [batch.to(task.device) for batch in batches]
    try:
        net.gate = 1.0
        said = torch.cat([probability(cast(Tensor, task.detect(batch).presence)).cpu() for batch in batches])
        passed = [int((said > gate).sum()) for gate in swept]
        seconds: dict[int, list[float]] = {decoded: [] for decoded in passed}
        for turn in range(ROUNDS + 1):
            for decoded, taken in seconds.items():
                net.gate = swept[passed.index(decoded)]
                started = time.perf_counter()
                for batch in batches:
                    out = task.detect(batch)
                cast(Tensor, out.masks)[0, 0, 0, 0].item()  # waits until the device has computed it
                if turn:  # the first warms up
                    taken.append((time.perf_counter() - started) / count)
    finally:
        net.gate = own
    return [(float(np.median(seconds[decoded])), decoded / count) for decoded in passed]
