"""How a run's network sees pictures."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple


class InputMode(NamedTuple):
    """How the network sees pictures, as in the run's evaluation: "resize" to `size`, "native", or in crops of
    `size`; all but the first resized by `scale` before."""

    mode: Literal["resize", "native", "five", "grid"]
    size: tuple[int, int]
    scale: float = 1.0


def find_input_mode(config: Mapping[str, Any]) -> InputMode:
    """How the network of a run's config sees pictures."""
    dataset = config["dataset"]
    size = dataset["size"]
    size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    scale = float(dataset.get("scale", 1.0))
    if dataset.get("crops", "none") != "none":
        return InputMode(dataset["crops"], size, scale)
    return InputMode(dataset["eval"], size, scale)
