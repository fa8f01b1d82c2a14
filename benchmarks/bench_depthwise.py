"""A training step of `lite_unet` with quick gradients of its depthwise convolutions, and without.

Only where the CPU computes in bfloat16; elsewhere nothing is measured. Takes half a minute on one core.
"""

import statistics
import time
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn import functional

from segkit.hardware import precision
from segkit.models.depthwise import quick_gradients
from segkit.models.encoders import DetailUNet

SIDE, BATCH, TURNS = 192, 8, 7


def measure() -> list[dict[str, Any]]:
    if precision({"precision": "auto", "trainer": {"accelerator": "cpu"}}) != "bf16-mixed":
        return []
    net = DetailUNet("tf_efficientnet_lite0", 1).to(memory_format=torch.channels_last).train()
    image = torch.rand(BATCH, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
    truth = torch.zeros(BATCH, 1, SIDE, SIDE)

    def step(quick: bool) -> float:
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16), quick_gradients(image) if quick else nullcontext():
            logits = net(image)
        functional.binary_cross_entropy_with_logits(logits.float(), truth).backward()
        return time.perf_counter() - started

    times: dict[bool, list[float]] = {True: [], False: []}
    for _ in range(TURNS + 1):
        for way, found in times.items():
            found.append(step(way))
    quick, plain = (statistics.median(times[way][1:]) for way in (True, False))  # the first warms up
    detail = f"{BATCH} pictures of {SIDE}², {torch.get_num_threads()} threads: {quick:.3f} s and {plain:.3f} s"
    name = "step of lite_unet in bfloat16 on a CPU: time with quick gradients of depthwise convolutions, without as 1"
    return [{"name": name, "ratio": quick / plain, "target": 0.8, "better": "lower", "detail": detail}]
