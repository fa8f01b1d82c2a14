"""What segkit expects of a data set: what it must have, and what it may add."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol, TypedDict

from torch import Tensor

from segkit.datasets.listing import Pair
from segkit.datasets.masks import MaskValues

Color = tuple[int, int, int]


class Sample(TypedDict):
    """image (3, H, W) uint8 RGB, mask (H, W) uint8 of class indices and 255 = ignore, and the unique name."""

    image: Tensor
    mask: Tensor
    name: str


class Source(Protocol):
    """What every data set is: a plain torch data set of one split, with pictures at their own size.

    `Extras` lists what else it may have, and the defaults. If its class has `find_classes`, a static method that takes
    the settings of the config and returns the classes' names, `dataset.classes=auto` calls it.
    """

    classes: tuple[str, ...]
    names: list[str]

    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> Sample: ...
    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a picture, if possible without decoding it."""
        ...


def no_fingerprint() -> str:
    return ""


@dataclass(frozen=True)
class Extras:
    """What a data set may have beyond `Source`: attributes of these names.

    files: a (picture, mask) pair of paths for each of its `names`. Samples may depend on nothing else but the settings
    of the config and the code: several threads read the data set at once, it is decoded once and cached, its files are
    checked, and they tell whether two runs had the same data. fingerprint: a method that tells the latter for a data
    set without files. colors: the (R, G, B) in which each class is drawn. shared: how many pictures the folder has of
    which this split is a share; 0 where the splits are given.
    groups: a string for each of the `names`; equal strings belong together: one photograph, patient, video or site.
    Without groups, pictures are treated as independent.
    ignore_files: further files that samples depend on, one for each of its `names` or none: masks of the field of view.
    reading: how the files were found, in a line. mask_values: what the values of its mask
    files mean.
    """

    files: Sequence[Pair] = ()
    fingerprint: Callable[[], str] = no_fingerprint
    colors: Sequence[Color] | None = None
    shared: int = 0
    groups: Sequence[str] = ()
    ignore_files: Sequence[Path] = ()
    reading: str = ""
    mask_values: MaskValues | None = None

    @property
    def every_file(self) -> list[Path]:
        """All files that samples depend on."""
        return [*(path for pair in self.files for path in pair), *self.ignore_files]


def extras_of(source: Source) -> Extras:
    """What a data set has beyond `Source`. Raises ValueError unless there is one group for each name."""
    found = {field.name: getattr(source, field.name) for field in fields(Extras) if hasattr(source, field.name)}
    extras = Extras(**found | {"files": pairs_in(found.get("files", ()))})
    if extras.groups and len(extras.groups) != len(source.names):
        raise ValueError(
            f"{type(source).__name__}.groups has {len(extras.groups)} entries; expected one for each of its "
            f"{len(source.names)} names, or none at all."
        )
    return extras


def pairs_in(files: Any) -> tuple[Pair, ...]:
    """Pairs of paths; empty if a user's class has something else under that name."""
    entries = list(files) if isinstance(files, Sequence) else []
    if not all(isinstance(entry, tuple) and len(entry) == 2 for entry in entries):
        return ()
    if not all(isinstance(path, str | Path) for entry in entries for path in entry):
        return ()
    return tuple(Pair(Path(image), Path(mask)) for image, mask in entries)
