"""`profile=true`: what a training waits for, in one sentence. `compile=true`: where torch.compile can be had."""

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

SETTLED = 3  # steps that are not counted: loaders start, kernels are chosen
MUCH = 0.1  # the share of the time above which waiting for data is worth a change


class DataWaitProfiler(Callback):
    """Adds up how long steps wait for their batch (reading, augmenting, copying to the device) and how long for the
    device, and says it when the training ends. It waits for the device at every step, which costs a GPU a little."""

    def __init__(self) -> None:
        self.data = self.device = 0.0
        self.begun = self.steps = 0
        self.marked = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.marked = time.perf_counter()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        seconds = self._since(pl_module)
        self.begun += 1
        if self.begun > SETTLED:
            self.data += seconds

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        seconds = self._since(pl_module)
        if self.begun > SETTLED:
            self.device += seconds
            self.steps += 1

    def _since(self, task: LightningModule) -> float:
        """Seconds since it was asked last, when the device has done all that it was given."""
        if task.device.type != "cpu":
            torch.accelerator.synchronize()
        before, self.marked = self.marked, time.perf_counter()
        return self.marked - before

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.steps and trainer.is_global_zero:
            data: DataModule = trainer.datamodule  # type: ignore[attr-defined]
            log.info(sentence(self.data, self.device, self.steps, advice(self.share, data, pl_module.device.type)))

    @property
    def share(self) -> float:
        """Of the time, what is spent waiting for data."""
        return self.data / (self.data + self.device)


def sentence(data: float, device: float, steps: int, what: str) -> str:
    """data, device: seconds waited for each in `steps` steps."""
    total = data + device
    return (
        f"profile: of {total / steps * 1000:.1f} ms a step, waiting for data {data / total:.0%}, for the device "
        f"{device / total:.0%}; {what}"
    )


def advice(share: float, data: DataModule, device: str) -> str:
    """What to change, with the likeliest first."""
    if share < MUCH:
        return (
            "the device is what limits: a larger dataset.batch_size, precision=bf16-mixed or compile=true may help"
            if device != "cpu"
            else "the network is what limits: a smaller dataset.size or network is faster, a GPU much faster"
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
    """Compiles the network in every process that trains; where a compiler is missing it says so and does nothing.

    Not before the training begins: what draws the network's graph cannot trace a compiled one.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if missing := lacking(trainer.strategy.root_device.type):
            log.warning("compile=true: torch.compile needs %s, which is not here; the network runs as it is.", missing)
        else:
            log.info("compile=true: the first epoch takes minutes longer")
            pl_module.net.compile()  # type: ignore[union-attr]


def lacking(device: str) -> str:
    """What torch.compile needs on a device and does not find; empty where all is there."""
    words = [os.environ.get("CXX", ""), os.environ.get("CC", ""), "g++", "gcc", "clang++", "clang", "c++", "cl"]
    if not any(shutil.which(shlex.split(word)[0]) for word in words if word.strip()):
        return "a C++ compiler (g++ or clang++)"
    return "the package triton" if device == "cuda" and importlib.util.find_spec("triton") is None else ""
