"""A picture of any size in, probabilities of its size out."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segkit import hardware
from segkit.datasets.samples import resize_image, scaled
from segkit.geometry.windows import corners, is_covered_by_five, stitch
from segkit.models.presence import Detection, probability
from segkit.runs.segmenters import load_segmenter
from segkit.tasks.deciding import set_gate, set_threshold
from segkit.tasks.segmenter import NOT_FINITE, Segments, is_finite

AT_ONCE = 16  # crops of one picture


class Prediction(NamedTuple):
    """Class numbers (H, W) uint8, the probability that the class is there, and pixel probabilities (C, H, W); None for
    what a run does not predict."""

    label: NDArray[np.uint8] | None
    presence: float | None
    probabilities: NDArray[np.float32] | None


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


class Predictor:
    """A run as a function of one picture: image (H, W, 3) uint8 RGB to a `Prediction`.

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
    def load(cls, run: str | Path, trust: Sequence[str] = (), tta: str | None = None, **settings: Any) -> Self:
        """The predictor of a run folder or checkpoint; `trust` and `tta` as in `load_segmenter`."""
        return cls(load_segmenter(str(run), trust, tta), **settings)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.task.classes

    def __call__(self, image: NDArray[np.uint8]) -> Prediction:
        with hardware.computing(self.task.device, self.precision):
            return predict(self.task, image, self.how)


@torch.no_grad()
def predict(task: Segments, image: NDArray[np.uint8], how: InputMode) -> Prediction:
    """A task's prediction for image (H, W, 3) uint8 RGB, which its network sees as in `how`: see `Predictor`."""
    height, width = image.shape[:2]
    pixels = resize_image(image, how.size if how.mode == "resize" else scaled((height, width), how.scale))
    fits = pixels.shape[0] >= how.size[0] and pixels.shape[1] >= how.size[1]
    crops = how.mode in ("five", "grid") and fits  # else as it is
    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    if crops:
        out, logits = detect_in_crops(task, picture, how)
    else:
        out = task.detect(picture[None].to(task.device))
        logits = out.masks
    if not is_finite(out):
        raise ValueError(NOT_FINITE)
    presence = None if out.presence is None else float(probability(out.presence).max())
    if logits is None:
        return Prediction(None, presence, None)
    probabilities = task.activated(logits)
    if probabilities.shape[2:] != (height, width):
        probabilities = F.interpolate(probabilities, (height, width), mode="bilinear", align_corners=False)
    label = task.label(probabilities, height * width / (pixels.shape[0] * pixels.shape[1]))
    return Prediction(label[0].cpu().numpy(), presence, probabilities[0].cpu().numpy())


def detect_in_crops(task: Segments, picture: Tensor, how: InputMode) -> tuple[Detection, Tensor | None]:
    """The network's output for the crops of `picture` (3, H, W), and their mask logits stitched together, (1, C, H,
    W)."""
    shape, size = (picture.shape[1], picture.shape[2]), how.size
    where = corners(shape, size, "five" if how.mode == "five" and is_covered_by_five(shape, size) else "grid")
    crops = [picture[:, top : top + size[0], left : left + size[1]] for top, left in where]
    outs = [
        task.detect(torch.stack(crops[start : start + AT_ONCE]).to(task.device))
        for start in range(0, len(crops), AT_ONCE)
    ]
    joined = Detection(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*outs, strict=True)))
    if joined.masks is None:
        return joined, None
    decoded = torch.ones(len(where)) if joined.decoded is None else joined.decoded
    logits, _ = stitch(joined.masks, torch.tensor(where), picture.shape[1:], decoded)
    return joined, logits[None]
