"""What an annotation file says, whichever tool wrote it.

Coordinates are in pixels, from the picture's top left corner: the first pixel reaches from 0 to 1, its centre is 0.5.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, 2): x and y
Pixels = NDArray[np.bool_]  # (H, W)
Size = tuple[int, int]  # height and width


class FormatError(ValueError):
    """An annotation file that cannot be read: which file and entry, what it has, what was expected."""


class Polygon(NamedTuple):
    """What is inside `outer` and in no hole."""

    outer: Points
    holes: tuple[Points, ...] = ()


class Stamp(NamedTuple):
    """Pixels with a place. `decode` gets the picture's size, makes no more pixels than that has, and raises
    FormatError for a code that does not fit."""

    left: int
    top: int
    decode: Callable[[Size], Pixels]


Part = Polygon | Stamp


@dataclass(frozen=True)
class Shape:
    """An object: the union of its parts. `where`: the entry, for messages, such as "region 3"."""

    label: str
    parts: tuple[Part, ...]
    where: str
    order: float = 0  # later ones are drawn over earlier ones; of the same number, in the file's order


@dataclass(frozen=True)
class Picture:
    """A picture that a file lists. `others`: names that it may have instead, which the tool has changed."""

    name: str
    shapes: tuple[Shape, ...]
    where: str  # the file and entry, for messages
    size: Size | None = None  # as the file has it
    base: Path | None = None  # the folder that the name begins at, where it is not the pictures' own
    relative: bool = False  # coordinates are shares of the picture's width and height
    others: tuple[str, ...] = ()
    stem: bool = False  # the name is without the extension


@dataclass
class Annotations:
    """An annotation file: pictures in its order, and the classes as it declares them, if it does."""

    format: str
    declared: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)  # what is no area, such as "point", and how often
    remarks: list[str] = field(default_factory=list)


class Outline(NamedTuple):
    """An object of a mask: its polygon, and its pixels with their place."""

    label: str
    polygon: Polygon
    pixels: Pixels
    left: int
    top: int


class Outlined(NamedTuple):
    """A picture for a file to be written. `path`: where it lies; `name`: from the folder of all pictures."""

    name: str
    path: Path
    size: Size
    outlines: tuple[Outline, ...]


Json = dict[str, Any]
