"""What a plan needs to know of a data set: counts, sizes, objects, and whether pictures have an upright direction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.datasets.checking.survey import Survey
from segkit.datasets.module import DataModule, spread_evenly

LOOKED_AT = 24  # training pictures whose direction is looked at
MIXED = 0.1  # share of pictures that stand upright, and of those that lie, from which on a data set mixes them
AGREE = 0.5  # share by which the pictures that are brighter above exceed the others, or the other way round
LEAN = 0.2  # median difference of brightness between the halves, as a share of the pictures' own


@dataclass(frozen=True)
class Fingerprint:
    """A data set in numbers. train, val, test: pictures. size: the typical (height, width) of the training pictures, in
    pixels; smallest and largest: their sides. classes: how many are told apart (1: a class and its background).

    thin, thick: the thickness in pixels that 5 and 50 % of the objects' area stay below (of several classes, the
    median of the classes'); 0 without objects. shares: of the pixels, of each class (of one, the
    foreground's). empty: the share of the training pictures that show no object. upright: whether pictures have a
    direction.
    """

    train: int
    val: int
    test: int
    size: tuple[int, int]
    smallest: int
    largest: int
    classes: int
    thin: float
    thick: float
    shares: tuple[float, ...]
    empty: float
    upright: bool

    @property
    def rare(self) -> float:
        """The share of the rarest class that occurs."""
        return min((share for share in self.shares if share), default=0.0)

    @property
    def long_side(self) -> int:
        return max(self.size)


def take_fingerprint(data: DataModule, survey: Survey) -> Fingerprint:
    """The fingerprint of a data set from a survey of its training pictures, or of a sample of them."""
    records = survey.of("train")
    sizes = np.array([record.size for record in records])
    thick = [found for name in survey.objects if len(found := survey.thickness(name))]
    shares = [survey.shares(name, "train").pixels for name in survey.values]
    return Fingerprint(
        train=survey.counts["train"],
        val=survey.counts["val"],
        test=survey.counts["test"],
        size=typical_size(sizes),
        smallest=int(sizes.min()),
        largest=int(sizes.max()),
        classes=len(survey.classes),
        thin=float(np.median([one[0] for one in thick])) if thick else 0.0,
        thick=float(np.median([one[1] for one in thick])) if thick else 0.0,
        shares=tuple(shares),
        empty=float(np.mean([not len(record.objects.areas) for record in records])),
        upright=has_direction(data),
    )


def typical_size(sizes: NDArray[Any]) -> tuple[int, int]:
    """The median (height, width) of `sizes` (N, 2); of as many pixels but square where many pictures stand upright and
    many lie, since neither shape would suit both."""
    height, width = (float(np.median(sizes[:, edge])) for edge in (0, 1))
    upright, lying = (float((sizes[:, one] > sizes[:, other]).mean()) for one, other in ((0, 1), (1, 0)))
    if min(upright, lying) > MIXED:
        height = width = math.sqrt(float(np.median(sizes[:, 0] * sizes[:, 1])))
    return round(height), round(width)


def has_direction(data: DataModule) -> bool:
    """Whether pictures have an upright direction: most are clearly brighter above than below, or below than above.

    Photographs of streets, people and animals differ so (0.7 in CamVid's); skin, cells, walls and retinas do not.
    """
    source = data.sources["train"]
    return leans([source[index]["image"].numpy() for index in spread_evenly(len(source), LOOKED_AT)])


def leans(images: Sequence[NDArray[np.uint8]]) -> bool:
    """Whether most of some pictures (3, H, W) are clearly brighter in the same half."""
    differences = np.array([_difference(image) for image in images])
    agree = abs(float(np.sign(differences).mean())) > AGREE
    return len(images) > 4 and agree and float(np.median(np.abs(differences))) > LEAN


def _difference(image: NDArray[np.uint8]) -> float:
    """The brightness of the upper half less that of the lower one, as a share of the picture's."""
    middle = image.shape[1] // 2
    return float(image[:, :middle].mean() - image[:, middle:].mean()) / max(float(image.mean()), 1.0)
