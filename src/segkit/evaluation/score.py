"""The metrics of a task on a split."""

import logging
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.utils.flop_counter import FlopCounterMode

from segkit import hardware
from segkit.datasets.module import DataModule, collate
from segkit.datasets.source import extras_of
from segkit.evaluation import advice
from segkit.evaluation.advice import SplitScores
from segkit.evaluation.rows import image_rows, write_scores
from segkit.evaluation.sheets import save_sheet
from segkit.models.presence import gate_open
from segkit.runs.build import Run
from segkit.tasks.contract import Task

log = logging.getLogger("segkit")


TIMED = 10  # pictures


def score_split(
    task: Task, data: DataModule, split: str, config: dict[str, Any], most: int | None = None
) -> dict[str, float]:
    """Metrics of a task on one split, or on at most so many of its pictures, named `<split>/…`. Their counts stay in
    `task.scores("test")`."""
    trainer = lightning.Trainer(
        accelerator=config["trainer"].get("accelerator", "auto"),
        devices=1,
        precision=hardware.precision(config),  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    scores = task.scores("test")
    scores.reset()
    trainer.test(task, dataloaders=data.eval_dataloader(split, most), verbose=False)
    if scores.presence is not None:
        label = scores.presence.answers().label
        log.info("%s: %d of %d samples show %s", split, label.sum(), len(label), task.classes[0])
        if label.min() == label.max():
            log.warning("%s has samples of one kind alone, so presence_… says little there", split)
    losses = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/loss")}
    metrics = losses | {f"test/{name}": float(value) for name, value in scores.compute().items()}
    return {f"{split}/{name.removeprefix('test/')}": value for name, value in metrics.items()}


def score_best(
    task: Task, run: Run, folder: Path, config: dict[str, Any]
) -> tuple[dict[str, float], dict[str, float], dict[str, SplitScores]]:
    """Score the best weights of a finished training on val, test and some pictures of train (`scored_train`), without
    augmentation, the way the evaluate command does: with a task rebuilt from the checkpoint and its own trainer.

    Also returns the cost per picture, and how each split was scored."""
    metrics: dict[str, float] = {}
    how: dict[str, SplitScores] = {}
    for split in ("train", "val", "test"):
        scores = score_split(task, run.data, split, config, config.get("scored_train") if split == "train" else None)
        how[split] = describe_scores(task, run.data, split, scores)
        metrics |= scores
    write_scores(task, run.data, "test", folder)  # the split that was scored last
    save_sheet(task, run.data, "test", folder, 8)
    return metrics, measure_cost(task, run.data), how


def describe_scores(task: Task, data: DataModule, split: str, metrics: Mapping[str, float]) -> SplitScores:
    """How the last scored split was scored; its numbers of pictures and groups are those of the whole split."""
    scores, source = task.scores("test"), data.sources[split]
    images = image_rows(scores, source.names)
    if (confusion := scores.confusion) is not None:
        truth, predicted = confusion.sum(1).tolist(), confusion.sum(0).tolist()
        total = sum(truth)
    else:
        tp, fp, fn, tn = (sum(int(row.get(name, 0)) for row in images) for name in ("tp", "fp", "fn", "tn"))
        truth, predicted, total = [tp + fn], [tp + fp], tp + fp + fn + tn
    groups = {*extras_of(source).groups}
    plain = {name.removeprefix(f"{split}/"): value for name, value in metrics.items()}
    return advice.SplitScores(
        split,
        task.classes,
        plain,
        images,
        truth,
        predicted,
        total,
        len(source),
        len(groups) or None,
    )


def measure_cost(task: Task, data: DataModule) -> dict[str, float]:
    """The network's cost for a test picture as it is scored, all its crops together: `flops` of the first one, with a
    multiply-add counted as 2, and `seconds_a_picture`, the median over ten, one by one, from pixels to logits."""
    prepared, seconds = data.eval_dataloader("test").dataset, []
    images = [collate([prepared[(0, index, True)]])["image"] for index in range(min(len(data.sources["test"]), TIMED))]
    with torch.inference_mode(), gate_open(task.net):
        with FlopCounterMode(display=False) as counter:
            task.detect(images[0].to(task.device))
        for image in images:
            started = time.perf_counter()
            out = task.detect(image.to(task.device))
            (out.presence if out.masks is None else out.masks).cpu()  # type: ignore[union-attr]  # waits for it
            seconds.append(time.perf_counter() - started)
    return {"flops": int(counter.get_total_flops()), "seconds_a_picture": round(statistics.median(seconds), 6)}
