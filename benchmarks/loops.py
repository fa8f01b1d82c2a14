"""What segkit is measured against: the loop that everybody writes, and the best one that can be written by hand."""

import os
import time
from collections.abc import Sequence
from typing import Any

import lightning
import numpy as np
import torch
from lightning import Callback
from torch import Tensor, nn

from segkit import hardware
from segkit.configs.composing import compose, to_plain
from segkit.runs.build import build, build_data

ACCELERATOR = os.environ.get("SEGKIT_BENCH_ACCELERATOR", "cpu")  # `make bench-gpu` sets it
DEVICE = torch.device(hardware.device(ACCELERATOR))
NATIVE = hardware.precision({"precision": "auto", "trainer": {"accelerator": ACCELERATOR}}) == "bf16-mixed"
PRECISION = "bf16-mixed" if NATIVE else "32-true"


class Noise(torch.utils.data.Dataset[dict[str, Any]]):
    """Noise of one size, in memory, with masks of `classes`: what is in the pictures costs nothing."""

    def __init__(self, split: str, classes: Sequence[str], count: int = 48, side: int = 224) -> None:
        rng = np.random.default_rng(len(split))
        self.classes, self.names = tuple(classes), [f"{split}{number}" for number in range(count)]
        self.images = torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)).permute(0, 3, 1, 2)
        self.masks = torch.from_numpy(rng.integers(0, max(len(classes), 2), (count, side, side), dtype=np.uint8))

    def __len__(self) -> int:
        return len(self.names)

    def shape(self, index: int) -> tuple[int, int]:
        return self.masks[index].shape[0], self.masks[index].shape[1]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "mask": self.masks[index], "name": self.names[index]}


def noise_config(side: int, batch: int, count: int, *words: str, classes: int = 1) -> dict[str, Any]:
    """A command line's config, on noise in memory."""
    given = (f"dataset.size={side}", f"dataset.batch_size={batch}", "augment=none", f"trainer={ACCELERATOR}")
    config = to_plain(compose(*given, "callbacks=[]", "logger=[]", "scheduler=constant", "run_dir=unused", *words))
    names = ["thing"] if classes == 1 else [f"c{number}" for number in range(classes)]
    keys = ("size", "train", "eval", "batch_size", "workers", "epochs", "cache")
    loading = {key: config["dataset"][key] for key in keys}
    config["dataset"] = {"_target_": "loops.Noise", "classes": names, "count": count, "side": side} | loading
    if classes > 1:
        config["model"]["net"]["out_channels"] = config["channels"] = classes
    return config


class StepTimes(Callback):
    """Seconds of every training step but the first of an epoch, loading included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.marked = 0.0

    def on_train_batch_end(self, trainer: Any, task: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        now = time.perf_counter()
        if batch_idx:
            self.seconds.append(now - self.marked)
        self.marked = now


def segkit_steps(config: dict[str, Any]) -> list[float]:
    """Seconds of the training steps of an epoch by `segkit.train`'s own objects, without validation."""
    run, times = build(config), StepTimes()
    trainer = lightning.Trainer(
        accelerator=ACCELERATOR,
        max_epochs=1,
        limit_val_batches=0,
        precision=hardware.precision(config),
        logger=False,  # type: ignore[arg-type]
        callbacks=[times],
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.fit(run.task, run.data)
    return times.seconds


def hand_steps(
    net: nn.Module, loss: nn.Module, batches: list[tuple[Tensor, Tensor]], fast: bool, lr: float
) -> list[float]:
    """Seconds of a hand-written loop's steps on batches (images uint8 (N, 3, H, W), masks (N, H, W)) in memory.

    fast: with channels_last, and bfloat16 where it is native; else float32 and NCHW, as everybody writes it.
    """
    layout = torch.channels_last if fast else torch.contiguous_format
    batches = [(image.contiguous(memory_format=layout), mask) for image, mask in batches]
    net, loss = net.to(DEVICE, memory_format=layout).train(), loss.to(DEVICE)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    seconds = []
    for image, mask in batches:
        started = time.perf_counter()
        image, mask = image.to(DEVICE, non_blocking=True), mask.to(DEVICE, non_blocking=True)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=fast and NATIVE):
            logits = net(image.float() / 255)
        value = loss(logits.float(), mask.long())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        value.item()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def batches_of(config: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
    """The batches of a config's training epoch, ready in memory."""
    return [(batch["image"], batch["mask"]) for batch in build_data(config).train_dataloader()]
