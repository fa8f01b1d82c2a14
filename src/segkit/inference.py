"""A picture of any size in, probabilities of its size out."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from segkit.datasets.crops import corners, five_cover, stitch
from segkit.datasets.module import resize_image
from segkit.models.presence import Detection, probability
from segkit.tasks import SegmentationTask

AT_ONCE = 16  # crops of one picture


@contextmanager
def computing(task: SegmentationTask, precision: str) -> Iterator[None]:
    """Inference on the task's device, in bfloat16 where `precision` is bf16-mixed. Trainable weights are then cast once
    for all of it, which autocast does without gradients but not in inference mode."""
    with torch.no_grad(), torch.autocast(task.device.type, torch.bfloat16, enabled=precision == "bf16-mixed"):
        yield


class Prediction(NamedTuple):
    """Class numbers (H, W) uint8, and the probability that the class is there; None for what a run does not say."""

    label: NDArray[np.uint8] | None
    presence: float | None


class Sight(NamedTuple):
    """How the network sees pictures, as in the run's evaluation: "resize" to `size`, "native", in crops of `size`."""

    mode: Literal["resize", "native", "five", "grid"]
    size: tuple[int, int]


def sight(config: Mapping[str, Any]) -> Sight:
    """How the network of a run's config sees pictures."""
    dataset = config["dataset"]
    size = dataset["size"]
    size = (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
    if dataset.get("crops", "none") != "none":
        return Sight(dataset["crops"], size)
    return Sight(dataset["eval"], size)


@torch.no_grad()
def predict(task: SegmentationTask, image: NDArray[np.uint8], how: Sight) -> Prediction:
    """What a run says of image (H, W, 3) uint8 RGB.

    Resized, the network sees the picture as in training, and its probabilities are brought back to (H, W) by linear
    interpolation before they are decided on, so that borders stay smooth. In crops it sees the run's five where they
    cover the picture, else a grid; logits are averaged where they overlap, and the class is there if any shows it.
    """
    height, width = image.shape[:2]
    crops = how.mode in ("five", "grid") and height >= how.size[0] and width >= how.size[1]  # smaller: as it is
    pixels = resize_image(image, how.size) if how.mode == "resize" else image
    picture = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    if crops:
        out, logits = in_crops(task, picture, how)
    else:
        out = task.detect(picture[None].to(task.device))
        logits = out.masks
    presence = None if out.presence is None else float(probability(out.presence).max())
    if logits is None:
        return Prediction(None, presence)
    probabilities = task.activated(logits)
    if probabilities.shape[2:] != (height, width):
        probabilities = F.interpolate(probabilities, (height, width), mode="bilinear", align_corners=False)
    return Prediction(task.label(probabilities)[0].cpu().numpy(), presence)


def in_crops(task: SegmentationTask, picture: Tensor, how: Sight) -> tuple[Detection, Tensor | None]:
    """What the network says of the crops of `picture` (3, H, W), and their mask logits as one, (1, C, H, W)."""
    shape, size = (picture.shape[1], picture.shape[2]), how.size
    where = corners(shape, size, "five" if how.mode == "five" and five_cover(shape, size) else "grid")
    crops = [picture[:, top : top + size[0], left : left + size[1]] for top, left in where]
    outs = [
        task.detect(torch.stack(crops[start : start + AT_ONCE]).to(task.device))
        for start in range(0, len(crops), AT_ONCE)
    ]
    joined = Detection(*(None if parts[0] is None else torch.cat(parts) for parts in zip(*outs, strict=True)))
    if joined.masks is None:
        return joined, None
    looked_at = torch.ones(len(where)) if joined.decoded is None else joined.decoded
    logits, _ = stitch(joined.masks, torch.tensor(where), picture.shape[1:], looked_at)
    return joined, logits[None]


def device(accelerator: str) -> str:
    """The torch device of auto | cpu | gpu."""
    if accelerator not in ("auto", "cpu", "gpu"):
        raise ValueError(f"accelerator={accelerator}: expected auto, cpu or gpu.")
    if accelerator == "gpu" and not torch.accelerator.is_available():
        raise ValueError("accelerator=gpu: this machine has none that PyTorch can use. Say accelerator=cpu.")
    if accelerator == "cpu" or not torch.accelerator.is_available():
        return "cpu"
    return str(torch.accelerator.current_accelerator())
