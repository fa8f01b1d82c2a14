"""A picture of any size in, probabilities of its size out."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from segkit import hardware
from segkit.configs.places import find_runs
from segkit.inference.pictures import Picture, as_rgb
from segkit.runs.segmenters import load_segmenter
from segkit.runs.together import load_together
from segkit.tasks.deciding import set_gate, set_threshold
from segkit.tasks.seeing import AT_ONCE, InputMode, Seen, choose_tiles, find_input_mode, see
from segkit.tasks.segmenter import Segments
from segkit.tasks.tiles import Band, Rows, see_tiles

Each = TypeVar("Each", bound=Picture)


class Prediction(NamedTuple):
    """Class numbers (H, W) uint8, the probability that the class is there, pixel probabilities (C, H, W), and their
    spread (H, W), the standard deviation over an ensemble's runs; None for what is not predicted."""

    label: NDArray[np.uint8] | None
    presence: float | None
    probabilities: NDArray[np.float32] | None
    spread: NDArray[np.float32] | None = None


class Predictor:
    """A run as a function of pictures: of one to a `Prediction`, of a list to a list of them.

    A picture is an array (H, W, 3) uint8 RGB, or anything else that `as_rgb` takes: a path, an image of PIL, grey, 16
    bits. Several threads may share a predictor.

    With resizing, the network sees the picture as in training, and its probabilities are interpolated linearly back to
    (H, W) before the threshold, so that borders stay smooth. With crops, it sees the run's five if they cover the
    picture, else a grid; logits are averaged where crops overlap, and the class is there if any crop shows it.

    accelerator: auto, cpu or gpu. threshold, gate: see `set_threshold` and `set_gate`; None for the run's own. tile,
    overlap: whether and how large pictures are cut into tiles, see `choose_tiles`.
    """

    def __init__(
        self,
        task: Segments,
        accelerator: str = "auto",
        threshold: float | None = None,
        gate: float | None = None,
        tile: int | Literal["auto"] | None = None,
        overlap: int | None = None,
    ) -> None:
        set_threshold(task, threshold)
        self.task, self.present_above = task, set_gate(task, gate)
        config = task.facts["config"]
        self.precision = hardware.precision(config | {"trainer": {"accelerator": accelerator}})
        task.to(hardware.device(accelerator))
        how = find_input_mode(config)
        with hardware.computing(task.device, self.precision):
            self.how = how._replace(tiles=choose_tiles(task, how, tile, overlap))

    @classmethod
    def load(
        cls, run: str | Path | Sequence[str | Path], trust: Sequence[str] = (), tta: str | None = None, **settings: Any
    ) -> Self:
        """The predictor of a run folder or checkpoint, or of several, which predict together; `trust` and `tta` as in
        `load_segmenter`."""
        runs = [str(run)] if isinstance(run, str | Path) else [str(one) for one in run]
        return cls(load_together(find_runs(runs), load_segmenter, trust, tta), **settings)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.task.classes

    @overload
    def __call__(self, picture: Picture) -> Prediction: ...

    @overload
    def __call__(self, picture: list[Each]) -> list[Prediction]: ...

    def __call__(self, picture: Picture | list[Each]) -> Prediction | list[Prediction]:
        if isinstance(picture, list):
            parts = [picture[start : start + AT_ONCE] for start in range(0, len(picture), AT_ONCE)]
            return [prediction for part in parts for prediction in self._predict(part)]
        return self._predict([picture])[0]

    def _predict(self, pictures: Sequence[Picture]) -> list[Prediction]:
        images = [as_rgb(picture) for picture in pictures]
        with hardware.computing(self.task.device, self.precision):
            return predict(self.task, images, self.how)

    def bands(self, picture: Rows) -> Iterator[Band]:
        """What is found in a picture that is cut into tiles, from top to bottom: see `see_tiles`."""
        tiles = self.how.tiles
        if tiles is None:
            raise ValueError("This predictor has no tiles: give it tile=auto.")
        with hardware.computing(self.task.device, self.precision):
            yield from see_tiles(self.task, picture, tiles)


def predict(task: Segments, images: Sequence[NDArray[np.uint8]], how: InputMode) -> list[Prediction]:
    """A task's predictions for images (H, W, 3) uint8 RGB, which its network sees as in `how`: see `Predictor`."""
    return [decide(task, seen) for seen in see(task, images, how)]


def decide(task: Segments, seen: Seen) -> Prediction:
    if seen.probabilities is None:
        return Prediction(None, seen.presence, None)
    label = task.label(seen.probabilities[None], seen.scale)[0]
    spread = None if seen.spread is None else seen.spread.cpu().numpy()
    return Prediction(label.cpu().numpy(), seen.presence, seen.probabilities.cpu().numpy(), spread)
