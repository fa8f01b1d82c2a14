"""Objects of a mask: how large and how thick they are."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Objects(NamedTuple):
    """8-connected regions of one class each, (N,) of each: its class, its area in pixels, and its thickness.

    The thickness is the shorter side of the rectangle that has the object's area and perimeter, so it also holds for
    bent and branched strips; of a disc it is 0.79 of the diameter. The perimeter is Cauchy's and Crofton's, from
    crossings in four directions: for strips of any direction and width the thickness is right to within about 8 %.
    (Twice the largest distance to the background would be a pixel too much or too little, and grows at branches.)
    """

    classes: NDArray[np.uint8]
    areas: NDArray[np.int64]
    thickness: NDArray[np.float32]


class Blob(NamedTuple):
    """An 8-connected region, in pixels: area, the diameter of a disc with that area, box (left, top, width and height),
    centroid as x and y from the picture's upper left corner, and the mean probability of its pixels."""

    area: int
    diameter: float
    box: tuple[int, int, int, int]
    centroid: tuple[float, float]
    confidence: float


NONE = Objects(np.zeros(0, np.uint8), np.zeros(0, np.int64), np.zeros(0, np.float32))


def find_objects(mask: NDArray[np.uint8], values: Sequence[int]) -> Objects:
    """The objects of a mask (H, W): regions of any of its `values`. The picture's border ends an object."""
    height, width = mask.shape
    labels = np.zeros((height + 2, width + 2), np.int32)
    inner = labels[1:-1, 1:-1]
    classes, areas, count = [], [], 0
    for value in values:
        here = (mask == value).astype(np.uint8)
        number, found, stats, _ = cv2.connectedComponentsWithStats(here, connectivity=8)
        if number > 1:
            np.add(found, count, out=inner, where=here > 0, casting="unsafe")
            classes.append(np.full(number - 1, value, np.uint8))
            areas.append(stats[1:, cv2.CC_STAT_AREA].astype(np.int64))
            count += number - 1
    if not count:
        return NONE
    area = np.concatenate(areas)
    quarter = measure_perimeters(labels, count) / 4
    thickness = quarter - np.sqrt(np.maximum(quarter**2 - area, 0))
    return Objects(np.concatenate(classes), area, thickness.astype(np.float32))


def measure_objects(probability: NDArray[np.float32], mask: NDArray[np.bool_]) -> list[Blob]:
    """The objects of a mask (H, W), the largest first; probability (H, W): of their class."""
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    found = labels[mask]
    means = np.bincount(found, probability[mask], count) / np.maximum(np.bincount(found, minlength=count), 1)
    blobs = []
    for number in 1 + np.argsort(-stats[1:, cv2.CC_STAT_AREA], kind="stable"):
        left, top, width, height, area = (int(value) for value in stats[number])
        x, y = (float(value) + 0.5 for value in centroids[number])
        diameter = 2 * float(np.sqrt(area / np.pi))
        blobs.append(Blob(area, diameter, (left, top, width, height), (x, y), float(means[number])))
    return blobs


def find_small(masks: Tensor, area: float) -> Tensor:
    """The pixels of masks (N, H, W) bool that belong to objects of fewer than `area` pixels, as bool."""
    if area <= 1:
        return torch.zeros_like(masks)
    small = []
    for mask in masks.cpu().numpy():
        _, found, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        too_small = stats[:, cv2.CC_STAT_AREA] < area
        too_small[0] = False  # the background
        small.append(torch.from_numpy(too_small[found]))
    return torch.stack(small).to(masks.device)


def remove_small(mask: NDArray[np.uint8], area: float) -> None:
    """Set the pixels of a mask (H, W), 0 and 1, that belong to objects of fewer than `area` pixels to 0, in place."""
    if area <= 1:
        return
    _, found, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= area
    mask &= large.view(np.uint8)[found]


def measure_perimeters(labels: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """(count,): the perimeters of the regions 1..count of `labels` (H, W), whose border is 0."""
    ways = (
        (labels[:, :-1], labels[:, 1:], 1.0),
        (labels[:-1], labels[1:], 1.0),
        (labels[:-1, :-1], labels[1:, 1:], 0.5**0.5),
        (labels[:-1, 1:], labels[1:, :-1], 0.5**0.5),
    )
    total: NDArray[np.float64] = np.zeros(count + 1)
    for one, other, apart in ways:
        crossed = one != other
        crossings = np.bincount(one[crossed], minlength=count + 1) + np.bincount(other[crossed], minlength=count + 1)
        total += crossings * apart
    return np.asarray(np.pi / 8 * total[1:])
