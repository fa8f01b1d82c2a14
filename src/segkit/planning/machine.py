"""What this machine can do in a second: a network's training step and prediction, measured and fitted."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import nn

from segkit.configs.composing import compose, key_of, to_plain
from segkit.hardware import computing, device, precision
from segkit.models.depthwise import quick_gradients
from segkit.runs.making import make

SIDES = (64, 128)  # of the square pictures that are timed
BATCH = 4  # of them
LEAST_STEP = 1e-3  # seconds of a step's fixed part
TIMED = 2  # steps at each size, after one that is not timed
BUSY = 0.75  # of the cores' time that measuring gets, below which other work is told of
MOST_GROWTH = 4.0  # of a cost, when the width doubles
MEASURED = (8, 16)  # widths of U-Nets; a power law leads from these to others


class Network(NamedTuple):
    """A network that a plan may choose. words: of the command line that choose it. pretrained: whether its encoder
    has weights. width: of a U-Net from scratch, else 0."""

    name: str
    words: tuple[str, ...]
    pretrained: bool = False
    width: int = 0


class Cost(NamedTuple):
    """Seconds of a training step: `step` + `pixel` × pixels in the batch; of a prediction: `seen` × pixels, and `alone`
    for a picture that is predicted alone. kept: bytes that a step keeps for its gradients, for each pixel in the
    batch."""

    step: float
    pixel: float
    seen: float
    kept: float = 0.0
    alone: float = 0.0


def loss_words(classes: int) -> tuple[str, ...]:
    """Cross-entropy and Dice over the batch, for a class and its background, or for several."""
    if classes == 1:
        return "loss=bce_dice", "loss.alpha=0.5", "loss.pool=batch"
    return "loss=combo", "loss.weights={dice: 1, ce: 1}", "loss.losses.dice.pool=batch"


def unet(width: int) -> Network:
    """The U-Net of five levels whose first has so many channels."""
    widths = ",".join(str(width * 2**level) for level in range(5))
    return Network(f"U-Net of width {width}", ("model=unet", f"model.net.widths=[{widths}]"), width=width)


class Machine(Protocol):
    """Where a plan looks costs up: this machine, or in tests one that is made up. on_cpu: whether it has no GPU.
    devices: how many GPUs. memory: bytes that a training may take on a device."""

    on_cpu: bool
    devices: int
    memory: float

    def describe(self) -> str:
        """The device, the precision and the number of cores."""

    def cost(self, network: Network) -> Cost:
        """What a network costs here."""


class ThisMachine:
    """Measures each network once, in the precision of the run. classes: that it tells apart. words: of the command
    line, of which those about hardware count. allowed: seconds of measuring, after which nothing is measured twice."""

    def __init__(self, classes: int, words: Sequence[str] = (), allowed: float = math.inf) -> None:
        self.classes, self.allowed = classes, allowed
        self.spent, self.worked = 0.0, 0.0  # seconds of measuring, and those of all cores that it got
        self.words = [word for word in words if key_of(word).partition(".")[0] in ("trainer", "precision")]
        config = to_plain(compose(*self.words, "run_dir=x"))
        self.known: dict[str, Cost] = {}
        self.device = torch.device(device(config["trainer"]["accelerator"]))
        self.on_cpu = self.device.type == "cpu"
        chosen = self.on_cpu or any(key_of(word).startswith("trainer") for word in self.words)
        self.devices = 1 if chosen else torch.accelerator.device_count()
        self.memory = available_memory(self.device)
        self.precision = precision(config)

    def describe(self) -> str:
        threads = torch.get_num_threads()
        several = f"{self.devices} × {self.device.type}" if self.devices > 1 else str(self.device)
        where = f"{threads} thread{'s' * (threads > 1)}" if self.on_cpu else several
        return f"{self.device.type}, {where}, {self.precision}{self._describe_load()}"

    def _describe_load(self) -> str:
        """Say so if other work took much of the CPU meanwhile: costs are then too high, and what is chosen too
        small."""
        got = self.worked / max(self.spent * torch.get_num_threads(), 1e-9)
        if not self.on_cpu or not self.spent or got > BUSY:
            return ""
        return f"; other work left {got:.0%} of it to the measuring, so that costs seem higher than they are"

    def cost(self, network: Network) -> Cost:
        if network.name not in self.known:
            between = network.width and network.width not in MEASURED
            self.known[network.name] = self._between(network.width) if between else self._measure(network)
        return self.known[network.name]

    def _between(self, width: int) -> Cost:
        """A U-Net's cost from those of two others: each part grows with a power of the width."""
        narrow, wide = (self.cost(unet(one)) for one in MEASURED)
        return extrapolate(narrow, wide, math.log(width / MEASURED[0]) / math.log(MEASURED[1] / MEASURED[0]))

    def _measure(self, network: Network) -> Cost:
        names = ",".join(f"c{number}" for number in range(self.classes))
        losses = loss_words(self.classes)
        config = to_plain(compose(*network.words, *losses, *self.words, f"dataset.classes=[{names}]", "run_dir=x"))
        net: nn.Module = make(config["model"]["net"]).to(self.device)
        loss: nn.Module = make(config["loss"])
        steps = [self._time_step(net, loss, side) for side in SIDES]
        seen, alone = self._time_prediction(net, SIDES[-1], BATCH), self._time_prediction(net, SIDES[0], 1)
        pixels = [BATCH * side**2 for side in SIDES]
        slope = max((steps[1] - steps[0]) / (pixels[1] - pixels[0]), steps[1] / pixels[1] / 4)
        kept = [self._kept(net, side) for side in SIDES]
        each = (kept[1] - kept[0]) / (pixels[1] - pixels[0])  # without the weights
        each_seen = seen / pixels[1]
        fixed = max(alone - each_seen * SIDES[0] ** 2, 0.0)
        return Cost(max(steps[1] - slope * pixels[1], LEAST_STEP), slope, each_seen, each, fixed)

    def _time_step(self, net: nn.Module, loss: nn.Module, side: int) -> float:
        image = torch.rand(BATCH, 3, side, side, device=self.device).contiguous(memory_format=torch.channels_last)
        truth = torch.zeros(BATCH, side, side, dtype=torch.long, device=self.device)
        optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6)

        def step() -> None:
            logits = self._forward(net, image)
            if not isinstance(logits, torch.Tensor) or logits.ndim != 4:
                raise ValueError(
                    f"recipe=auto plans trainings on masks, and {type(net).__name__} gives more or other than these: "
                    "say recipe=none."
                )
            optimizer.zero_grad()
            loss(logits.float(), truth).backward()  # as in training
            optimizer.step()

        net.train()
        return self._clock(step)

    def _forward(self, net: nn.Module, image: torch.Tensor) -> Any:
        mixed = torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16-mixed")
        with mixed, quick_gradients(image):
            return net(image)

    def _kept(self, net: nn.Module, side: int) -> int:
        """The bytes of all tensors that the forward pass of a batch keeps for the gradients."""
        kept = dict[int, int]()

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        net.train()
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            logits = self._forward(net, torch.rand(BATCH, 3, side, side, device=self.device))
        del logits  # which holds all storages until they are counted
        return sum(kept.values())

    def _time_prediction(self, net: nn.Module, side: int, batch: int) -> float:
        image: Any = torch.rand(batch, 3, side, side, device=self.device)
        net.eval()
        with computing(self.device, self.precision):
            return self._clock(lambda: net(image))

    def _clock(self, work: Callable[[], object]) -> float:
        """The quickest of some repetitions, in seconds: other work on the machine only makes them slower."""
        times = list[float]()
        while len(times) <= TIMED and (not times or self.spent < self.allowed):
            started, worked = time.perf_counter(), time.process_time()
            work()
            if not self.on_cpu:
                torch.accelerator.synchronize()
            times.append(time.perf_counter() - started)
            self.spent += times[-1]
            self.worked += time.process_time() - worked
        return min(times[1:] or times)


def extrapolate(narrow: Cost, wide: Cost, share: float) -> Cost:
    """The cost of a U-Net `share` doublings wider than the narrow one; the wide one is one doubling wider.

    Twice the width costs as much at least and four times as much at most, whatever was measured: where other work
    disturbs the measuring, wide networks could otherwise seem to cost nothing.
    """
    growth = (min(max(more / max(less, 1e-12), 1.0), MOST_GROWTH) for less, more in zip(narrow, wide, strict=True))
    return Cost(*(less * more**share for less, more in zip(narrow, growth, strict=True)))


def available_memory(place: torch.device) -> float:
    """The bytes that are free on a device; for a CPU, those that Linux calls available, else one gigabyte."""
    if place.type == "cuda":
        return float(torch.cuda.mem_get_info(place)[0])
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return 2.0**30
