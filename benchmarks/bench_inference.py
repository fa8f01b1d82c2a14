"""Inference on a whole test set: `segkit.evaluate`'s own path against a plain float32 loop with the same scores."""

import statistics
import time
from typing import Any

import torch
from loops import DEVICE, NATIVE, PRECISION, noise_config
from torch import nn

from segkit.evaluation.score import score_split
from segkit.metrics.masks import SegmentationMetrics
from segkit.models.blocks import fold_batch_norm
from segkit.runs.build import build_data, build_task
from segkit.runs.making import make

ROUNDS, COUNT, BATCH = 5, 48, 12


def measure() -> list[dict[str, Any]]:
    config = noise_config(224, BATCH, COUNT, "model=unet")
    data = build_data(config)
    task = build_task(config).eval()
    fold_batch_norm(task.net)
    net = make(config["model"]["net"]).eval().to(DEVICE)
    batches = list(data.eval_dataloader("test"))
    times: tuple[list[float], list[float]] = ([], [])
    both = (lambda: plain(net, batches), lambda: score_split(task, data, "test", config))
    for turn in range(ROUNDS + 1):
        for taken, run in zip(times, both, strict=True):
            started = time.perf_counter()
            run()
            if turn:
                taken.append(time.perf_counter() - started)
    loop, own = (statistics.median(taken) for taken in times)
    return [
        {
            "name": "inference and scores of a test set, thesis U-Net at 224²: plain float32 loop / segkit",
            "ratio": round(loop / own, 3),
            "target": 3.0 if NATIVE else 1.0,
            "better": "higher",
            "detail": f"{1000 * loop / COUNT:.1f} and {1000 * own / COUNT:.1f} ms a picture, {PRECISION}, "
            f"{torch.get_num_threads()} threads, medians of {ROUNDS}",
        }
    ]


@torch.no_grad()
def plain(net: nn.Module, batches: list[dict[str, Any]]) -> dict[str, float]:
    metrics = SegmentationMetrics(["thing"]).to(DEVICE)
    for batch in batches:
        image, mask = batch["image"].to(DEVICE).contiguous(), batch["mask"].to(DEVICE)
        metrics.update(net(image.float() / 255), mask.long(), batch["index"].to(DEVICE))
    return metrics.compute()
