"""Sheets of a split: a task's predictions for some of its pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from segkit.datasets.module import DataModule, collate
from segkit.datasets.source import extras_of
from segkit.geometry.windows import stitch
from segkit.metrics.presence import PresenceMetrics
from segkit.models.presence import find_gated, probability
from segkit.pictures import charts, overlays, sheets
from segkit.pictures.overlays import Pixels
from segkit.tasks.contract import Batch, Task
from segkit.tasks.seeing import InputMode, see


def sample_sheet(
    task: Task, data: DataModule, count: int, split: str = "val", how: InputMode | None = None
) -> overlays.Pixels:
    """`count` pictures spread evenly over a split: input, truth, prediction, errors, and a note on presence. how: as
    prediction sees pictures, if not as `data` prepares them."""
    prepared = data.eval_dataloader(split).dataset
    indices = np.unique(np.linspace(0, len(prepared) - 1, count).astype(int))  # type: ignore[arg-type]
    batches = (collate([prepared[(0, int(index), True)]]) for index in indices)
    rows = [sheet_row(task, batch) if how is None else predicted_row(task, batch, how) for batch in batches]
    colors = overlays.class_colors(len(task.classes), extras_of(data.sources[split]).colors, task.classes)
    return sheets.draw_sheet(rows, colors, task.classes)


@torch.inference_mode()
def sheet_row(task: Task, batch: Batch) -> dict[str, Any]:
    """One picture, or all crops of one, for `pictures.sheet`."""
    out = task.detect(batch["image"].to(task.device))
    image, truth, logits = batch["image"][0], batch["mask"][0], None if out.masks is None else out.masks[0]
    if "whole" in batch:
        truth, where, all_of_it = batch["whole"][0], batch["where"], torch.ones(len(batch["where"]))
        image = stitch(batch["image"], where, truth.shape, all_of_it)[0].clamp(0, 255).byte()
        if out.masks is not None:
            decoded = all_of_it if out.decoded is None else out.decoded
            logits = stitch(out.masks.cpu(), where, truth.shape, decoded)[0]
    row: dict[str, Any] = {"image": image.permute(1, 2, 0).numpy(), "truth": truth.numpy()}
    if logits is not None:
        probabilities = task.activated(logits[None])
        row["prediction"] = task.label(probabilities)[0].cpu().numpy()
        row["probability"] = probabilities[0].amax(0).cpu().numpy()
    if out.presence is not None:
        row["note"] = presence_note(task, probability(out.presence).cpu(), batch["label"])
    return row


def predicted_row(task: Task, batch: Batch, how: InputMode) -> dict[str, Any]:
    """One picture at its own size, for `pictures.sheet`."""
    image = batch["image"][0].permute(1, 2, 0).numpy()
    seen = see(task, [image], how)[0]
    row: dict[str, Any] = {"image": image, "truth": batch["mask"][0].numpy()}
    if seen.probabilities is not None:
        row["prediction"] = task.label(seen.probabilities[None], seen.scale)[0].cpu().numpy()
        row["probability"] = seen.probabilities.amax(0).cpu().numpy()
    if seen.presence is not None and "label" in batch:
        row["note"] = presence_note(task, torch.tensor([seen.presence]), batch["label"])
    return row


def presence_figure(seen: PresenceMetrics, name: str) -> Pixels:
    """Confusion matrix and precision over recall of a class's presence, as an RGB picture (H, W, 3)."""
    curve = seen.precision_over_recall()
    lines = None if curve is None else (curve[0].numpy(), curve[1].numpy())
    return charts.draw_presence(seen.confusion().numpy(), lines, name)


def presence_note(task: Task, probabilities: Tensor, label: Tensor) -> str:
    """A caption with the predicted and true presence in a picture or its crops."""
    gated = find_gated(task.net)
    gate = 0.5 if gated is None or gated.gate is None else gated.gate
    found, name = probabilities > gate, task.classes[0]
    if len(probabilities) == 1:
        return f"{name}: {'yes' if found[0] else 'no'} ({probabilities[0]:.3f}), in truth {'yes' if label[0] else 'no'}"
    wrong = int((found != (label == 1)).sum())
    count = f"{name} found in {int(found.sum())} of {len(probabilities)} crops (highest {probabilities.max():.3f})"
    return f"{count}, in truth in {int(label.sum())}; {wrong} wrong"


def save_sheet(
    task: Task, data: DataModule, split: str, folder: Path, count: int, how: InputMode | None = None
) -> None:
    """Write `sample_sheet` to pictures/<split>.png."""
    overlays.save(folder / "pictures" / f"{split}.png", sample_sheet(task.cpu().eval(), data, count, split, how))
