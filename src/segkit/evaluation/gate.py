"""What a detector's gate costs and saves, by its value: `evaluate gate=sweep`, and how to choose one."""

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from segkit import hardware
from segkit.datasets.module import DataModule, collate
from segkit.datasets.order import OrderedBatches
from segkit.evaluation.other_data import evaluation_config
from segkit.evaluation.score import score_split
from segkit.files.tables import write_rows
from segkit.metrics import presence
from segkit.models.presence import Gated, probability
from segkit.pictures import charts, overlays
from segkit.runs.build import build_data
from segkit.tasks.contract import Task
from segkit.tasks.deciding import parse_gate, parse_recall
from segkit.tasks.scores import Scores

log = logging.getLogger("segkit")

FIXED = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
QUANTILES = 12  # more gates, between the probabilities that occur
TIMED = 40  # samples that a sweep times, or a batch if that has more
ROUNDS = 3


def sweep(task: Task, data: DataModule, split: str, precision: str, device: str, folder: Path) -> None:
    """Write gate.csv and gate.png for the split that was just scored."""
    rows = score_gates(task.scores("test"))
    task.to(device)
    with hardware.computing(task.device, precision):
        times = time_gates(task, pick_batches(data, split), [row["gate"] for row in rows])
    for row, (seconds, share) in zip(rows, times, strict=True):
        row |= {"seconds_per_crop": round(seconds, 6), "share_decoded_timed": round(share, 4)}
    write_rows(folder / "gate.csv", rows)
    own = cast(Gated, task.net).gate
    overlays.save(folder / "gate.png", charts.draw_gate_curves(rows, own))
    log.info(
        "gate.csv and gate.png: %.2f ms a sample with all decoded, %.2f ms with none",
        1000 * rows[0]["seconds_per_crop"],
        1000 * rows[-1]["seconds_per_crop"],
    )


def score_gates(scores: Scores) -> list[dict[str, Any]]:
    """One row per gate, over the samples (crops, if there are crops): recall and precision of presence; pooled IoU,
    with empty masks for samples the gate stops; share of clean samples' area predicted as the class; share decoded."""
    answers = scores.presence.answers()  # type: ignore[union-attr]
    counted = scores.per_sample()
    tp, fp, fn, tn = (np.array([row[key] for row in counted], np.int64) for key in ("tp", "fp", "fn", "tn"))
    truth, probability = answers.label.numpy() == 1, answers.probability.numpy()
    clean_area = (fp + tn + fn + tp)[~truth].sum()
    rows: list[dict[str, Any]] = []
    for gate in choose_gates(answers.probability):
        decoded = probability > gate
        hit, wrong, missed = tp[decoded].sum(), fp[decoded].sum(), fn.sum() + tp[~decoded].sum()
        seen = answers._replace(probability=torch.from_numpy(decoded).double())
        rows.append(
            {
                "gate": gate,
                "presence_recall/1": seen.recall(),
                "presence_precision/1": seen.precision() if decoded.any() else None,
                "iou_crops" if scores.of_crops else "iou": ratio(hit, hit + wrong + missed, 1.0),
                "false_positive_area": ratio(fp[decoded & ~truth].sum(), clean_area, 0.0),
                "share_decoded": float(decoded.mean()),
            }
        )
    return rows


def choose_gates(probabilities: Tensor) -> list[float]:
    """The gates of a sweep: the `FIXED` ones, and quantiles between the probabilities that occur."""
    values = torch.from_numpy(np.unique(probabilities.numpy()))
    middles = ((values[1:] + values[:-1]) / 2).numpy()
    some = np.linspace(0, len(middles) - 1, min(QUANTILES, len(middles))).astype(int)
    return sorted({*FIXED, *(float(middles[index]) for index in some)})


def ratio(part: Any, whole: Any, empty: float) -> float:
    return float(part) / float(whole) if whole else empty


def pick_batches(data: DataModule, split: str) -> list[Tensor]:
    """Batches of pictures (N, 3, H, W) as they are scored, spread over the split, about `TIMED` samples in total."""
    loader = data.eval_dataloader(split)
    keys = list(cast(OrderedBatches, loader.batch_sampler))
    first: Tensor = collate([loader.dataset[key] for key in keys[0]])["image"]
    wanted = min(max(round(TIMED / len(first)), 1), len(keys))
    chosen = np.unique(np.linspace(0, len(keys) - 1, wanted).astype(int))
    return [collate([loader.dataset[key] for key in keys[number]])["image"] for number in chosen]


def time_gates(task: Task, batches: Sequence[Tensor], swept: Sequence[float]) -> list[tuple[float, float]]:
    """(seconds per sample, share decoded) at each gate: the median of rounds in which the gates take turns. Gates that
    pass equally many samples are timed once."""
    net = cast(Gated, task.net)
    own, count = net.gate, sum(map(len, batches))
    batches = [batch.to(task.device) for batch in batches]
    try:
        net.gate = 1.0
        probabilities = torch.cat([probability(cast(Tensor, task.detect(batch).presence)).cpu() for batch in batches])
        passed = [int((probabilities > gate).sum()) for gate in swept]
        seconds: dict[int, list[float]] = {decoded: [] for decoded in passed}
        for turn in range(ROUNDS + 1):
            for decoded, taken in seconds.items():
                net.gate = swept[passed.index(decoded)]
                started = time.perf_counter()
                for batch in batches:
                    out = task.detect(batch)
                cast(Tensor, out.masks)[0, 0, 0, 0].item()  # waits for the device
                if turn:  # the first warms up
                    taken.append((time.perf_counter() - started) / count)
    finally:
        net.gate = own
    return [(float(np.median(seconds[decoded])), decoded / count) for decoded in passed]


def apply_gate(task: Task, config: dict[str, Any], settings: dict[str, Any]) -> float | str | None:
    """Set the gate that `settings` ask for; returns it, "sweep", or None for the detector's own."""

    chosen = parse_gate(settings["gate"], task)
    if isinstance(chosen, str) and config["dataset"].get("presence_threshold") is None:
        raise ValueError(f"gate={chosen} wants to know which samples show the class: set dataset.presence_threshold.")
    if isinstance(chosen, str) and chosen != "sweep":
        moved = {} if "_target_" in settings["dataset"] else settings["dataset"]
        chosen = find_gate(chosen, task, evaluation_config(task.facts["config"], settings | {"dataset": moved}))
    if isinstance(chosen, float):
        cast(Gated, task.net).gate = chosen
    return chosen


def find_gate(wanted: str, task: Task, config: dict[str, Any]) -> float:
    """The gate that keeps a given recall ("recall:0.99") on the run's validation split."""

    share = parse_recall(wanted)
    score_split(task, build_data(config, splits=["val"]), "val", config)
    scores = task.scores("test").presence
    if scores is None:
        raise ValueError(f"gate={wanted}: the run's validation samples have no labels (dataset.presence_threshold).")
    found = presence.gate_for_recall(scores.answers(), share)
    log.info("gate=%r keeps a recall of %g on the run's own validation pictures", found, share)
    return found
