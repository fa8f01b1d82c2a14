"""How much a gate has saved: counted where the network decodes, and timed."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from segkit.inference.gating import GateWatch, measure_decoding
from segkit.inference.predictor import Predictor
from segkit.models.presence import Detection


class Slow(nn.Module):
    """Bright pictures show the class; decoding one takes 20 ms."""

    gate: float | None = 0.5

    def forward(self, image: Tensor) -> Detection:
        presence = 100 * (image.mean((1, 2, 3)) - 0.5)
        everything = torch.ones(len(image), dtype=torch.bool)
        decoded = everything if self.gate is None else presence.sigmoid() > self.gate
        time.sleep(0.02 * int(decoded.sum()))
        return Detection(presence, torch.zeros(len(image), 1, 4, 4), decoded)


def test_what_was_not_decoded_is_counted_and_timed(tiny_run: Path) -> None:
    predictor = Predictor.load(tiny_run, accelerator="cpu")
    assert GateWatch(predictor).describe() == ""
    net: Any = Slow()
    predictor.task.net = net
    watch = GateWatch(predictor)
    with watch:
        for bright in (0, 1, 0):
            net(torch.full((2, 3, 4, 4), float(bright)))
    net(torch.zeros(2, 3, 4, 4))
    assert (watch.seen, watch.decoded) == (6, 2)
    assert watch.describe().startswith("gate 0.5: 4 of 6 pictures were not decoded, which saved about 0.08")
    assert 0.019 < measure_decoding(net, torch.zeros(2, 3, 4, 4)) < 0.04
    assert net.gate == 0.5
