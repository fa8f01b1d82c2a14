"""What training writes while it runs: a table and curves by epoch, pictures of held-out samples, progress."""

import logging
import math
import time
from collections import deque
from pathlib import Path
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, RichProgressBar
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from segkit.datasets.module import DataModule
from segkit.evaluation.sheets import presence_figure, sample_sheet
from segkit.files.tables import write_rows
from segkit.pictures import charts, overlays
from segkit.runs.console import log_to, log_to_console
from segkit.runs.folder import read_epochs
from segkit.tasks.contract import Task

log = logging.getLogger("segkit")


class EpochTable(Checkpoint):
    """Writes metrics.csv, a row per epoch, and curves.png at the end. A resumed run continues the same file.

    It is a `Checkpoint` because Lightning calls those last in an epoch, when all its metrics are known.
    """

    def __init__(self, folder: str, monitor: str) -> None:
        self.path, self.monitor = Path(folder) / "metrics.csv", monitor
        self.rows: list[dict[str, float]] = []
        self.started = self.checked = 0.0
        self.validations: deque[float] = deque(maxlen=3)  # seconds of the most recent ones

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and not log.handlers:  # in a spawned process
            log_to_console()
            log_to(self.path.with_name("train.log"))
        self.rows = [row for row in read_epochs(self.path.parent) if row["epoch"] <= trainer.current_epoch]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.started = time.perf_counter()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.checked = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.validations.append(time.perf_counter() - self.checked)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        row = {
            "epoch": trainer.current_epoch + 1.0,
            "seconds": round(time.perf_counter() - self.started, 3),
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
        }
        names = sorted(name for name in trainer.callback_metrics if name.startswith(("train/", "val/")))
        row |= {name: float(trainer.callback_metrics[name]) for name in names}
        self.rows.append(row)
        write_rows(self.path, self.rows)
        shown = dict.fromkeys(("train/loss", "val/loss", "val/presence_f1", "val/iou", self.monitor))
        values = ", ".join(f"{name} {row[name]:.4f}" for name in shown if name in row and name != "epoch")
        log.info(
            "epoch %d of %s: %s (%.1f s)",
            trainer.current_epoch + 1,
            trainer.max_epochs,
            values,
            row["seconds"],
        )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and self.rows:
            charts.draw_curves(self.rows, self.monitor, self.path.with_name("curves.png"))


class Pictures(Callback):
    """Saves a sheet of `count` validation samples as PNG and to the loggers, every `every_n_epochs` epochs and at the
    end."""

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
        task = cast(Task, pl_module)
        self._show(trainer, "validation", f"epoch_{epoch + 1:04d}.png", sample_sheet(task, data, self.count))
        seen = task.scores("val").presence
        if seen is not None:  # with several processes, this one's share
            self._show(trainer, "presence", f"presence_{epoch + 1:04d}.png", presence_figure(seen, task.classes[0]))

    def _show(self, trainer: Trainer, title: str, file: str, picture: overlays.Pixels) -> None:
        overlays.save(self.folder / file, picture)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image(title, picture, trainer.global_step, dataformats="HWC")
            elif hasattr(logger, "log_image"):  # Weights & Biases
                logger.log_image(title, [picture])


class Progress(RichProgressBar):
    """Lightning's progress bar, without the version number, and only on a terminal.

    Its metrics are read twice a second at most: reading them waits for the device.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read, self.shown = -math.inf, dict[str, Any]()

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not Console().is_terminal:
            self.disable()  # the log has a line per epoch
        super().setup(trainer, pl_module, stage)

    def get_metrics(
        self, trainer: Trainer, pl_module: LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        if time.monotonic() - self.read > 0.5:
            self.shown = super().get_metrics(trainer, pl_module)
            self.shown.pop("v_num", None)
            self.read = time.monotonic()
        return self.shown
