"""The network as a picture: its parts as boxes with the shapes that go in and come out, of one pass."""

import copy
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from torch import nn

from segkit.models.presence import gate_open

DEPTH = 2  # of modules within modules that are drawn; what lies deeper is one box


def can_draw() -> bool:
    """Whether the extra `graph` is installed."""
    return all(find_spec(name) for name in ("torchview", "graphviz", "pygraphviz"))


def draw(net: nn.Module, size: tuple[int, int]) -> bytes:
    """An SVG of `net` for one picture of `size` (height, width): shapes are (N, C, H, W). A copy without values goes
    through the pass, so that it costs neither time nor memory; raises what a network raises that cannot do without."""
    import pygraphviz  # type: ignore[import-untyped]
    from torchview import draw_graph

    net = copy.deepcopy(net).eval()
    with gate_open(net):  # or nothing would be decoded
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
    """Without what C libraries say on standard error: Graphviz' font library dislikes the system's settings."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
