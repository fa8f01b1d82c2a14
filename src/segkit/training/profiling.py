"""`profile=true`: what training waits for, in one sentence. `compile=true`: torch.compile, where available."""

import importlib.util
import logging
import os
import shlex
import shutil
import time
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from segkit.datasets.module import DataModule
from segkit.datasets.source import extras_of
from segkit.hardware import cores

log = logging.getLogger("segkit")

WARM_UP = 3  # steps that are not counted: loaders start, kernels are chosen
NOTABLE = 0.1  # share of the time waiting for data from which a change is worthwhile


class DataWaitProfiler(Callback):
    """Adds up how long steps wait for their batch (reading, augmenting, copying to the device) and for the device, and
    logs it when training ends. It synchronises with the device at every step, which costs a GPU a little."""

    def __init__(self) -> None:
        self.data = self.device = 0.0
        self.begun = self.steps = 0
        self.marked = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.marked = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        seconds = self._lap(pl_module)
        self.begun += 1
        if self.begun > WARM_UP:
            self.data += seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        seconds = self._lap(pl_module)
        if self.begun > WARM_UP:
            self.device += seconds
            self.steps += 1

    def _lap(self, task: LightningModule) -> float:
        """Seconds since the last call, once the device has finished its work."""
        if task.device.type != "cpu":
            torch.accelerator.synchronize()
        before, self.marked = self.marked, time.perf_counter()
        return self.marked - before

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.steps and trainer.is_global_zero:
            data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
            log.info(
                format_profile(
                    self.data, self.device, self.steps, suggest_speedup(self.share, data, pl_module.device.type)
                )
            )

    @property
    def share(self) -> float:
        """The share of the time that is spent waiting for data."""
        return self.data / (self.data + self.device)


def format_profile(data: float, device: float, steps: int, what: str) -> str:
    """The summary line. data, device: seconds waited for each in `steps` steps."""
    total = data + device
    return (
        f"profile: of {total / steps * 1000:.1f} ms a step, waiting for data {data / total:.0%}, for the device "
        f"{device / total:.0%}; {what}"
    )


def suggest_speedup(share: float, data: DataModule, device: str) -> str:
    """What to change: the most promising first."""
    if share < NOTABLE:
        return (
            "the device is the bottleneck: a larger dataset.batch_size, precision=bf16-mixed or compile=true may help"
            if device != "cpu"
            else "the network is the bottleneck: a smaller dataset.size or network is faster, a GPU much faster"
        )
    augment = data.augment
    if extras_of(data.sources["train"]).files and data.place == "off":
        return "keep the pictures decoded: dataset.cache=disk"
    if device != "cpu" and augment is not None and augment.colors:
        return "let the device change the colours: augment=light_device"
    if data.workers < cores() - 1:
        return f"load with more processes: dataset.workers={cores() - 1}"
    return "a simpler augment=, or a smaller dataset.size where pictures are not resized, takes less"


class Compiled(Callback):
    """Compiles the network in every training process; warns and does nothing if a compiler is missing.

    Not before training begins: a compiled network cannot be traced to draw its graph.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if missing := missing_for_compile(trainer.strategy.root_device.type):
            log.warning(
                "compile=true: torch.compile needs %s, which is missing here; the network runs as it is.", missing
            )
        else:
            log.info("compile=true: the first epoch takes minutes longer")
            pl_module.net.compile()  # type: ignore[union-attr]


def missing_for_compile(device: str) -> str:
    """What torch.compile needs on a device but cannot find; empty if nothing is missing."""
    words = [os.environ.get("CXX", ""), os.environ.get("CC", ""), "g++", "gcc", "clang++", "clang", "c++", "cl"]
    if not any(shutil.which(shlex.split(word)[0]) for word in words if word.strip()):
        return "a C++ compiler (g++ or clang++)"
    return "the package triton" if device == "cuda" and importlib.util.find_spec("triton") is None else ""
