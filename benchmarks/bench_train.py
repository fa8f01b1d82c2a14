"""Training: steps of segkit's own objects against a plain loop and against the best hand-written one."""

import statistics
import time
from typing import Any

import torch
from loops import DEVICE, NATIVE, PRECISION, batches_of, hand_steps, noise_config, segkit_steps

from segkit.metrics.masks import SegmentationMetrics
from segkit.runs.making import make

ROUNDS = 3


def measure() -> list[dict[str, Any]]:
    thesis = noise_config(224, 12, 36, "model=unet")
    small = noise_config(128, 8, 240, "model=unet", "model.net.widths=[8,16,32,64,128]")
    resnet = noise_config(224, 12, 36, "model=unet")
    resnet["model"]["net"] = {
        "_target_": "segmentation_models_pytorch.Unet",
        "encoder_name": "resnet18",
        "encoder_weights": None,
        "classes": 1,
    }
    found = []
    plain, hand, own = compare(thesis, "plain", "hand", "own")
    least = 3.0 if NATIVE else 1.3
    found.append(entry("training, thesis U-Net: plain float32 loop / segkit", plain / own, least, "higher", plain, own))
    found.append(entry("training, thesis U-Net: segkit / best loop by hand", own / hand, 1.03, "lower", own, hand))
    hand, own = compare(small, "hand", "own")
    name = "training, U-Net of width 8 at 128²: segkit / best loop by hand"
    found.append(entry(name, own / hand, 1.08, "lower", own, hand))
    found.append(metrics_share(own))
    plain, own = compare(resnet, "plain", "own")
    found.append(
        entry(
            "training, smp.Unet('resnet18') at 224²: its documented loop / segkit",
            plain / own,
            2.0 if NATIVE else 1.0,
            "higher",
            plain,
            own,
        )
    )
    return found


def metrics_share(step: float) -> dict[str, Any]:
    """What counting pixels adds to a step of the small U-Net."""
    logits, mask = torch.randn(8, 1, 128, 128).to(DEVICE), torch.randint(0, 2, (8, 128, 128)).to(DEVICE)
    metrics, times = SegmentationMetrics(["thing"]).to(DEVICE), []
    for _ in range(100):
        started = time.perf_counter()
        metrics.update(logits, mask, torch.arange(8).to(DEVICE))
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    taken = statistics.median(times)
    return entry("metric updates / a training step, U-Net of width 8 at 128²", taken / step, 0.02, "lower", taken, step)


def compare(config: dict[str, Any], *kinds: str) -> list[float]:
    """Median seconds of a step, by "plain" loop, the best one by "hand", and segkit's "own" objects, taking turns."""
    batches, lr = batches_of(config), config["optimizer"]["lr"]
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            if kind == "own":
                times[kind] += segkit_steps(config)
            else:
                net, loss = make(config["model"]["net"]), make(config["loss"])
                times[kind] += hand_steps(net, loss, batches, kind == "hand", lr)
    return [statistics.median(taken) for taken in times.values()]


def entry(name: str, ratio: float, target: float, better: str, one: float, other: float) -> dict[str, Any]:
    return {
        "name": name,
        "ratio": round(ratio, 3),
        "target": target,
        "better": better,
        "detail": f"{1000 * one:.1f} and {1000 * other:.1f} ms a step, {PRECISION}, {torch.get_num_threads()} threads, "
        f"medians over {ROUNDS} turns",
    }
