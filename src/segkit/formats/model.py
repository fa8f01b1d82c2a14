"""What annotation files contain, whichever tool wrote them.

Coordinates are in pixels from the picture's top left corner: the first pixel extends from 0 to 1, its centre is at 0.5.
They refer to the picture as viewers show it, turned by its EXIF orientation.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

BACKGROUND = "background"
NO_OBJECT = (BACKGROUND, "_background_")  # classes that have no objects: they are drawn as background
Points = NDArray[np.float64]  # (N, 2): x and y
Pixels = NDArray[np.bool_]  # (H, W)
Size = tuple[int, int]  # height and width


class FormatError(ValueError):
    """An annotation file that cannot be read: the file and entry, what was found, what was expected."""


class Polygon(NamedTuple):
    """The area inside `outer` and outside of all holes."""

    outer: Points
    holes: tuple[Points, ...] = ()


class Stamp(NamedTuple):
    """Pixels with the position of their corner. `decode` is given the picture's size, allocates no more pixels than the
    picture has, and raises FormatError for a code that does not fit."""

    left: int
    top: int
    decode: Callable[[Size], Pixels]


Part = Polygon | Stamp


@dataclass(frozen=True)
class Shape:
    """An object, the union of its parts. `where` names its entry in messages, such as "region 3"."""

    label: str
    parts: tuple[Part, ...]
    where: str
    order: float = 0  # higher ones are drawn over lower ones; equal ones in the file's order


@dataclass(frozen=True)
class Picture:
    """A picture listed in a file. `others`: names it may have had before the tool changed them."""

    name: str
    shapes: tuple[Shape, ...]
    where: str  # the file and entry, for messages
    size: Size | None = None  # as the file states it
    base: Path | None = None  # the folder that the name is relative to, if not the folder of pictures
    relative: bool = False  # coordinates are fractions of the picture's width and height
    others: tuple[str, ...] = ()
    stem: bool = False  # the name lacks the extension


@dataclass
class Annotations:
    """The content of an annotation file: pictures in its order, and the classes that it declares, if any."""

    format: str
    declared: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(
        default_factory=lambda: defaultdict(list)
    )  # entries by kind, such as "point"
    remarks: list[str] = field(default_factory=list)


class Outline(NamedTuple):
    """An object in a mask: its polygon, and its pixels with the position of their corner."""

    label: str
    polygon: Polygon
    pixels: Pixels
    left: int
    top: int


class Outlined(NamedTuple):
    """A picture for a file to be written. `name`: its path below the folder of pictures."""

    name: str
    path: Path
    size: Size
    outlines: tuple[Outline, ...]


Json = dict[str, Any]
