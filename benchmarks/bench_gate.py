"""Gated against ungated inference: the thesis' detector (width 32, 224²) on streams with more or fewer cracks."""

import statistics
import time
from typing import Any, cast

import torch
from torch import Tensor

from segkit.hardware import computing, precision
from segkit.inference.predictor import Predictor
from segkit.models.presence import UNetClassifier, probability
from segkit.tasks.segmentation import SegmentationTask

BATCH, BATCHES, ROUNDS = 20, 2, 7
TARGETS = {0.0: 2.6, 0.05: 2.1, 0.2: 1.8, 1.0: 0.97}


def measure() -> list[dict[str, Any]]:
    torch.manual_seed(0)
    net = UNetClassifier()
    task = SegmentationTask(net, ["crack"]).eval()
    number = precision({"precision": "auto", "trainer": {"accelerator": "cpu"}})
    streams = {share: stream(share) for share in TARGETS}
    with computing(task.device, number):
        gate = separate(task)
        seconds: dict[tuple[float, bool], list[float]] = {(share, gated): [] for share in TARGETS for gated in (0, 1)}
        for turn in range(ROUNDS + 1):
            for (share, gated), taken in sorted(seconds.items(), reverse=bool(turn % 2)):
                net.gate = gate if gated else None
                started = time.perf_counter()
                decoded = [cast(Tensor, task.detect(batch).decoded) for batch in streams[share]]
                taken.append(time.perf_counter() - started)
                if gated:
                    count = int(torch.cat(decoded).sum())
                    assert count == round(share * BATCH * BATCHES), (
                        f"{count} crops decoded of a stream with {share:.0%}"
                    )
                if not turn:
                    taken.clear()  # that was to warm up
    each = BATCH * BATCHES
    found = [measure_stream(task, gate)]
    for share, target in TARGETS.items():
        pairs = list(zip(seconds[share, False], seconds[share, True], strict=True))
        plain, gated = (statistics.median(taken) for taken in zip(*pairs, strict=True))
        found.append(
            {
                "name": f"inference ungated / gated, {share:.0%} of the crops with a crack",
                "ratio": round(statistics.median(one / other for one, other in pairs), 3),
                "target": target,
                "better": "higher",
                "detail": f"{1000 * plain / each:.1f} and {1000 * gated / each:.1f} ms a crop of 224², width 32, "
                f"{number}, {torch.get_num_threads()} threads, medians of {ROUNDS} pairs",
            }
        )
    return found


def measure_stream(task: SegmentationTask, gate: float) -> dict[str, Any]:
    """The predictor itself on the frames of a stream: what comes before and after the network is the same for both."""
    task.facts = {"config": {"dataset": {"size": 224, "eval": "resize"}, "precision": "auto"}}
    predictor = Predictor(task, "cpu")
    frames = [crop.permute(1, 2, 0).numpy() for batch in stream(0.05) for crop in batch]
    seconds: dict[float | None, list[float]] = {None: [], gate: []}
    for turn in range(ROUNDS + 1):
        for chosen, taken in seconds.items():
            cast(UNetClassifier, task.net).gate = chosen
            started = time.perf_counter()
            predictor(frames)
            if turn:
                taken.append(time.perf_counter() - started)
    plain, gated = (statistics.median(taken) for taken in seconds.values())
    return {
        "name": "frames to masks ungated / gated, 5% of the frames with a crack",
        "ratio": round(plain / gated, 3),
        "target": 2.0,
        "better": "higher",
        "detail": f"{1000 * plain / len(frames):.1f} and {1000 * gated / len(frames):.1f} ms a frame of 224², "
        f"width 32, {predictor.precision}, {torch.get_num_threads()} threads, medians of {ROUNDS}",
    }


def stream(share: float) -> list[Tensor]:
    """Batches of noise, bright where a crack is meant to be, evenly spread: (BATCH, 3, 224, 224) uint8 each."""
    count = BATCH * BATCHES
    cracks = {round((number + 0.5) * count / max(round(share * count), 1)) for number in range(round(share * count))}
    crops = torch.stack(
        [
            torch.randint(128, 256, (3, 224, 224))
            if index in cracks or share == 1
            else torch.randint(0, 128, (3, 224, 224))
            for index in range(count)
        ]
    )
    return list(crops.to(torch.uint8).split(BATCH))


def separate(task: SegmentationTask) -> float:
    """Let an untrained head, which is computed all the same, tell bright crops from dark ones; returns the gate between
    them."""
    net, means = cast(UNetClassifier, task.net), list[Tensor]()
    net.register_forward_pre_hook(lambda whole, given: means.append(given[0].mean((1, 2, 3))))
    net.presence.register_forward_hook(lambda head, given, out: 0 * out + 40 * (means.pop() - 0.5))
    net.gate = 1.0
    assert presence_of(task, stream(0.0)[0]).max() < 0 < presence_of(task, stream(1.0)[0]).min()
    return 0.5


def presence_of(task: SegmentationTask, crops: Tensor) -> Tensor:
    return probability(cast(Tensor, task.detect(crops).presence)).logit()
