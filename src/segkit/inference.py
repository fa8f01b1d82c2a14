"""A picture of any size in, probabilities of its size out."""

import numpy as np
import torch
from numpy.typing import NDArray

from segkit.datasets.module import resize_image
from segkit.tasks import SegmentationTask


def input_size(config: dict[str, object]) -> tuple[int, int] | None:
    """The (height, width) that pictures are resized to before the network; None if it sees them at their own size."""
    dataset = config["dataset"]
    if not isinstance(dataset, dict) or dataset["eval"] == "native":
        return None
    size = dataset["size"]
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


@torch.inference_mode()
def predict_labels(task: SegmentationTask, image: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """image (H, W, 3) uint8 RGB to class numbers (H, W) uint8.

    With `size` the network sees the picture resized to it, as in training, and its probabilities are brought back to
    (H, W) by linear interpolation before they are decided on, so that borders stay smooth.
    """
    pixels = image if size is None else resize_image(image, size)
    batch = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None].to(task.device)
    probabilities = task.probabilities(batch)
    if probabilities.shape[2:] != image.shape[:2]:
        probabilities = torch.nn.functional.interpolate(
            probabilities, image.shape[:2], mode="bilinear", align_corners=False
        )
    return task.label(probabilities)[0].cpu().numpy()
