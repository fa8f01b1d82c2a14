"""The network as a picture: its parts as boxes, with their input and output shapes in one pass."""

import copy
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from torch import nn

from segkit.models.presence import gate_open

DEPTH = 2  # levels of nested modules that are drawn; anything deeper is part of its box


def can_draw() -> bool:
    """Whether the extra `graph` is installed."""
    return all(find_spec(name) for name in ("torchview", "graphviz", "pygraphviz"))


def draw(net: nn.Module, size: tuple[int, int]) -> bytes:
    """An SVG of `net` for one picture of `size` (height, width): shapes are (N, C, H, W). The pass uses a copy without
    values (on the meta device), which costs neither time nor memory; raises what a network raises that needs values."""
    import pygraphviz  # type: ignore[import-untyped]
    from torchview import draw_graph

    net = copy.deepcopy(net).eval()
    with gate_open(net):  # otherwise nothing is decoded
        graph = draw_graph(
            net, input_size=(1, 3, *size), device="meta", depth=DEPTH, expand_nested=True, hide_inner_tensors=True
        )
    drawing = pygraphviz.AGraph(string=graph.visual_graph.source)
    with silence_stderr():
        svg: bytes = drawing.draw(format="svg", prog="dot")
    drawing.close()
    return svg


@contextmanager
def silence_stderr() -> Iterator[None]:
    """Silence what C libraries print on standard error: Graphviz's font library complains about the system."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
