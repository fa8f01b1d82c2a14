"""What a training writes while it runs: a table and curves by epoch, pictures of held-out samples, progress."""

import csv
import logging
import math
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar, WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console
from torch import Tensor

from segkit import pictures, records
from segkit.datasets.crops import stitch
from segkit.datasets.module import DataModule, collate
from segkit.models.presence import probability
from segkit.tasks import SegmentationTask

log = logging.getLogger("segkit")


class EpochTable(Checkpoint):
    """metrics.csv, a row an epoch, and curves.png at the end. A resumed run goes on in the same file.

    It is a `Checkpoint` because Lightning calls those last in an epoch, when every metric of it is known.
    """

    def __init__(self, folder: str, monitor: str) -> None:
        self.path, self.monitor = Path(folder) / "metrics.csv", monitor
        self.rows: list[dict[str, float]] = []
        self.started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not log.handlers:  # in a spawned process
            records.log_to_console()
            records.log_to(self.path.with_name("train.log"))
        if self.path.exists():
            with self.path.open(newline="") as file:
                stored = [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]
            self.rows = [row for row in stored if row["epoch"] <= trainer.current_epoch]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row = {"epoch": trainer.current_epoch + 1.0, "seconds": round(time.perf_counter() - self.started, 3),
               "lr": float(trainer.optimizers[0].param_groups[0]["lr"])}  # fmt: skip
        names = sorted(name for name in trainer.callback_metrics if name.startswith(("train/", "val/")))
        row |= {name: float(trainer.callback_metrics[name]) for name in names}
        self.rows.append(row)
        records.write_rows(self.path, self.rows)
        shown = ("train/loss", "val/loss", "val/presence_f1", "val/iou")
        values = ", ".join(f"{name} {row[name]:.4f}" for name in shown if name in row)
        log.info(
            "epoch %d of %s: %s (%.1f s)",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            values,
            row["seconds"],
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.rows:
            pictures.curves(self.rows, self.monitor, self.path.with_name("curves.png"))


class Pictures(Callback):
    """Every `every_n_epochs` epochs, and after the last, a sheet of `count` validation samples: PNG and logger."""

    def __init__(self, folder: str, every_n_epochs: int = 10, count: int = 6) -> None:
        if every_n_epochs < 1 or count < 1:
            raise ValueError(
                f"callbacks.pictures: every_n_epochs={every_n_epochs} and count={count} must be 1 or more."
            )
        self.folder, self.every_n_epochs, self.count = Path(folder), every_n_epochs, count

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch = trainer.current_epoch
        last = trainer.should_stop or epoch + 1 == trainer.max_epochs
        due = (epoch + 1) % self.every_n_epochs == 0 or last
        if trainer.sanity_checking or not trainer.is_global_zero or not due:
            return
        data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
        task = cast(SegmentationTask, pl_module)
        self._show(trainer, "validation", f"epoch_{epoch + 1:04d}.png", sample_sheet(task, data, self.count))
        seen = task.scores("val").presence
        if seen is not None:  # of several processes this one's share
            self._show(trainer, "presence", f"presence_{epoch + 1:04d}.png", seen.figure(task.classes[0]))

    def _show(self, trainer: Trainer, title: str, file: str, picture: pictures.Pixels) -> None:
        pictures.save(self.folder / file, picture)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(title, picture, trainer.global_step, dataformats="HWC")
            elif hasattr(logger, "log_image"):  # Weights & Biases
                logger.log_image(title, [picture])


def sample_sheet(task: SegmentationTask, data: DataModule, count: int, split: str = "val") -> pictures.Pixels:
    """`count` pictures spread evenly over a split: input, truth, prediction, errors, and what is said of presence."""
    prepared = data.eval_dataloader(split).dataset
    indices = np.unique(np.linspace(0, len(prepared) - 1, count).astype(int))  # type: ignore[arg-type]
    rows = [sheet_row(task, collate([prepared[(0, int(index), True)]])) for index in indices]
    colors = pictures.class_colors(len(task.classes), getattr(data.sources[split], "colors", None))
    return pictures.sheet(rows, colors, task.classes)


@torch.inference_mode()
def sheet_row(task: SegmentationTask, batch: dict[str, Any]) -> dict[str, Any]:
    """One picture, or all crops of one, for `pictures.sheet`."""
    out = task.detect(batch["image"].to(task.device))
    image, truth, logits = batch["image"][0], batch["mask"][0], None if out.masks is None else out.masks[0]
    if "whole" in batch:
        truth, where, all_of_it = batch["whole"][0], batch["where"], torch.ones(len(batch["where"]))
        image = stitch(batch["image"], where, truth.shape, all_of_it)[0].clamp(0, 255).byte()
        if out.masks is not None:
            looked_at = all_of_it if out.decoded is None else out.decoded
            logits = stitch(out.masks.cpu(), where, truth.shape, looked_at)[0]
    row: dict[str, Any] = {"image": image.permute(1, 2, 0).numpy(), "truth": truth.numpy()}
    if logits is not None:
        row["prediction"] = task.label(task.activated(logits[None]))[0].cpu().numpy()
    if out.presence is not None:
        row["note"] = note(task, probability(out.presence).cpu(), batch["label"])
    return row


def note(task: SegmentationTask, said: Tensor, label: Tensor) -> str:
    """What is said of the presence in a picture or its crops, and what is true."""
    gate = getattr(task.net, "gate", None)
    found, name = said > (0.5 if gate is None else gate), task.classes[0]
    if len(said) == 1:
        return f"{name}: {'yes' if found[0] else 'no'} ({said[0]:.3f}), in truth {'yes' if label[0] else 'no'}"
    wrong = int((found != (label == 1)).sum())
    count = f"{name} found in {int(found.sum())} of {len(said)} crops (highest {said.max():.3f})"
    return f"{count}, in truth in {int(label.sum())}; {wrong} wrong"


class StochasticAveraging(WeightAveraging):
    """The mean of the weights over the steps after `start` (a share of the run); before, the weights as they are.

    Validation, best.ckpt and the test see the mean. (Lightning's StochasticWeightAveraging has it only after the last
    checkpoint is written.) Source: Izmailov et al., Averaging Weights Leads to Wider Optima, 2018, a mean over steps.
    """

    def __init__(self, start: float = 0.75) -> None:
        if not 0 <= start < 1:
            raise ValueError(f"callbacks.swa.start={start}: expected a share of the run, from 0 to below 1.")
        super().__init__(avg_fn=self._mean)
        self.start, self.first_step = start, 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.first_step = int(self.start * trainer.estimated_stepping_batches)

    def _mean(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        seen = self._latest_update_step - self.first_step  # a number on the host: `count` would make a GPU wait
        return current if seen <= 0 else average + (current - average) / (seen + 1)


class Progress(RichProgressBar):
    """Lightning's progress bar, without the version number, and only where a person looks at it.

    The numbers beside it are read twice a second at most: whoever reads them waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read, self.shown = -math.inf, dict[str, Any]()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not Console().is_terminal:
            self.disable()  # the log has a line an epoch
        super().setup(trainer, pl_module, stage)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        if time.monotonic() - self.read > 0.5:
            self.shown = super().get_metrics(trainer, pl_module)
            self.shown.pop("v_num", None)
            self.read = time.monotonic()
        return self.shown
