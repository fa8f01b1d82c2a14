"""What a gate saves: how much was not decoded, and how long decoding it would have taken."""

import time
from types import TracebackType
from typing import Any, Self, cast

import torch
from torch import Tensor, nn

from segkit.inference.predictor import Predictor
from segkit.models.presence import Detection, Gated, find_gated

ROUNDS = 3  # in which decoding is timed


class GateWatch:
    """Counts what a network with a gate decodes while this context is open; of other networks nothing."""

    def __init__(self, predictor: Predictor) -> None:
        self.gated = find_gated(predictor.task.net)
        self.what = "picture" if predictor.how.mode in ("resize", "native") else "window"
        self.what = self.what if predictor.how.tiles is None else "tile"
        self.seen = self.decoded = 0
        self._last: Tensor | None = None

    def __enter__(self) -> Self:
        if self.gated is not None:
            self._hook = cast(nn.Module, self.gated).register_forward_hook(self._note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.gated is not None:
            self._hook.remove()

    def _note(self, net: nn.Module, given: tuple[Tensor], out: Detection) -> None:
        if out.decoded is not None:
            self.seen += len(out.decoded)
            self.decoded += int(out.decoded.sum())
            self._last = given[0]

    def describe(self) -> str:
        """What was saved, in a sentence, after the context; "" if there is nothing to say."""
        if self.gated is None or self.gated.gate is None or self._last is None:
            return ""
        left = self.seen - self.decoded
        said = f"gate {self.gated.gate:.3g}: {left} of {self.seen} {self.what}s were not decoded"
        if not left:
            return said
        each = measure_decoding(self.gated, self._last)
        return f"{said}, which saved about {left * each:.2g} s ({1000 * each:.2g} ms each, measured)"


@torch.no_grad()
def measure_decoding(gated: Gated, batch: Tensor) -> float:
    """Seconds that decoding takes for each picture of a batch: with all decoded, less with none; the least of a few
    rounds each."""
    own, seconds = gated.gate, dict[float | None, list[float]]({None: [], 1.0: []})
    try:
        for _ in range(ROUNDS):
            for gate, taken in seconds.items():
                gated.gate = gate
                started = time.perf_counter()
                masks: Any = gated(batch).masks
                masks[0, 0, 0, 0].item()  # waits for the device
                taken.append(time.perf_counter() - started)
    finally:
        gated.gate = own
    return max(min(seconds[None]) - min(seconds[1.0]), 0.0) / len(batch)
