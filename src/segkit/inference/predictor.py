"""A picture of any size in, probabilities of its size out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar, overload

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segkit import hardware
from segkit.configs.places import find_runs
from segkit.datasets.samples import resize_image, scaled
from segkit.geometry.windows import corners, is_covered_by_five, stitch
from segkit.inference.pictures import Picture, as_rgb
from segkit.models.presence import Detection, probability
from segkit.runs.modes import InputMode, find_input_mode
from segkit.runs.segmenters import load_segmenter
from segkit.runs.together import load_together
from segkit.tasks.deciding import set_gate, set_threshold
from segkit.tasks.segmenter import NOT_FINITE, Segments, is_finite

Each = TypeVar("Each", bound=Picture)
AT_ONCE = 16  # crops of one picture, or pictures of a list


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

    accelerator: auto, cpu or gpu. threshold, gate: see `set_threshold` and `set_gate`; None for the run's own.
    """

    def __init__(
        self, task: Segments, accelerator: str = "auto", threshold: float | None = None, gate: float | None = None
    ) -> None:
        set_threshold(task, threshold)
        self.task, self.present_above = task, set_gate(task, gate)
        config = task.facts["config"]
        self.how = find_input_mode(config)
        self.precision = hardware.precision(config | {"trainer": {"accelerator": accelerator}})
        task.to(hardware.device(accelerator))

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


class Prepared(NamedTuple):
    """A picture as the network sees it (3, h, w) uint8, the size that it has itself, and whether it is cut into
    crops."""

    pixels: Tensor
    size: tuple[int, int]
    crops: bool

    @property
    def batch(self) -> tuple[object, ...]:
        """Equal for pictures that can be seen in one batch."""
        return (id(self),) if self.crops else tuple(self.pixels.shape)


@torch.no_grad()
def predict(task: Segments, images: Sequence[NDArray[np.uint8]], how: InputMode) -> list[Prediction]:
    """A task's predictions for images (H, W, 3) uint8 RGB, which its network sees as in `how`, those of one size in one
    batch: see `Predictor`."""
    prepared = [prepare(image, how) for image in images]
    found = dict[int, Prediction]()
    for batch in dict.fromkeys(one.batch for one in prepared):
        numbers = [number for number, one in enumerate(prepared) if one.batch == batch]
        first = prepared[numbers[0]]
        if first.crops:
            out = detect_in_crops(task, first.pixels, how)
        else:
            out = task.detect(torch.stack([prepared[number].pixels for number in numbers]).to(task.device))
        if not is_finite(out):
            raise ValueError(NOT_FINITE)
        for row, number in enumerate(numbers):
            part = Detection(*(None if value is None else value[row : row + 1] for value in out))
            found[number] = decide(task, prepared[number], part)
    return [found[number] for number in range(len(prepared))]


def prepare(image: NDArray[np.uint8], how: InputMode) -> Prepared:
    height, width = image.shape[:2]
    pixels = resize_image(image, how.size if how.mode == "resize" else scaled((height, width), how.scale))
    fits = pixels.shape[0] >= how.size[0] and pixels.shape[1] >= how.size[1]  # else it is seen as it is
    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return Prepared(picture, (height, width), how.mode in ("five", "grid") and fits)


def decide(task: Segments, picture: Prepared, out: Detection) -> Prediction:
    """The prediction at a picture's own size, from the network's output for it alone."""
    presence = None if out.presence is None else float(probability(out.presence)[0])
    if out.masks is None:
        return Prediction(None, presence, None)
    probabilities = in_size(task.activated(out.masks), picture.size)
    label = task.label(probabilities, math.prod(picture.size) / math.prod(picture.pixels.shape[1:]))
    spread = None if out.spread is None else in_size(out.spread, picture.size)[0, 0].cpu().numpy()
    return Prediction(label[0].cpu().numpy(), presence, probabilities[0].cpu().numpy(), spread)


def in_size(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (N, C, h, w) interpolated linearly to a (height, width)."""
    if tuple(values.shape[2:]) == size:
        return values
    return F.interpolate(values, size, mode="bilinear", align_corners=False)


def detect_in_crops(task: Segments, picture: Tensor, how: InputMode) -> Detection:
    """The network's output for `picture` (3, H, W) as a whole, from its crops: their presence is that of the likeliest,
    their masks are stitched together."""
    shape, size = (picture.shape[1], picture.shape[2]), how.size
    where = corners(shape, size, "five" if how.mode == "five" and is_covered_by_five(shape, size) else "grid")
    crops = [picture[:, top : top + size[0], left : left + size[1]] for top, left in where]
    outs = [
        task.detect(torch.stack(crops[start : start + AT_ONCE]).to(task.device))
        for start in range(0, len(crops), AT_ONCE)
    ]
    presence, masks, decoded, spread = (
        None if parts[0] is None else torch.cat(parts) for parts in zip(*outs, strict=True)
    )
    counted = torch.ones(len(where)) if decoded is None else decoded

    def whole(maps: Tensor | None) -> Tensor | None:
        return None if maps is None else stitch(maps, torch.tensor(where), shape, counted)[0][None]

    return Detection(None if presence is None else presence.max()[None], whole(masks), None, whole(spread))
