"""Masks of the field of view: what they leave black is ignored, in training and in scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from segkit.datasets.findings import DataError, Finding, Kind, report_faults
from segkit.datasets.layouts.choosing import check_folder
from segkit.datasets.layouts.places import WILD, Place, place_at
from segkit.datasets.layouts.search import pair_places
from segkit.datasets.layouts.unclear import describe_places
from segkit.datasets.listing import Names
from segkit.datasets.reading import read_mask_file

NO_FIELD = Kind(
    "picture without a mask in dataset.ignore_masks",
    "pictures without a mask in dataset.ignore_masks",
    "Every picture needs one; they are paired as masks are. Add the missing files, or say dataset.ignore_masks=null.",
)
ALL_BLACK = Kind(
    "mask of the field of view without a pixel in it",
    "masks of the field of view without a pixel in them",
    "Values above 0 are inside, 0 is ignored. Look at these files.",
)
BLACK = 127  # of 255: up to it, a lossy file's values may be artefacts of black


def pair_fields(images: Place, setting: str, names: Names, splits: Sequence[str]) -> Mapping[Path, Path]:
    """The mask of the field of view of each picture in `splits`; pictures without one are reported. setting: a folder,
    or a pattern of names, perhaps in a folder: `fov`, `{split}/mask`, `mask/*_fov.png`."""
    check_folder(names.root, "ignore_masks", setting)
    folder, _, last = setting.rpartition("/")
    is_pattern = bool(WILD.search(last)) and "." in last
    place = place_at(names.root, folder if is_pattern else setting, last if is_pattern else "", "field", names.paths)
    if not place.size:
        raise FileNotFoundError(f"dataset.ignore_masks={setting}: there are no such pictures. {describe_places(names)}")
    reading, found = pair_places(images, place), dict[Path, Path]()
    for split in splits:
        there = place.files[split if split in place.files else ""] if {split, ""} & {*place.files} else {}
        for key, path in images.files[split].items():
            other = reading.matches[split].pairs.get(key)
            if other is None:
                image, such = images.base / path, PurePosixPath(first_file(place)).name
                fact = f"{image} has no mask in dataset.ignore_masks={setting} (it has files such as {such})."
                report_faults(Finding(NO_FIELD, fact, files=(image,)))
            else:
                found[images.base / path] = place.base / there[other]
    return found


def first_file(place: Place) -> str:
    return next(path for keys in place.files.values() for path in keys.values())


def read_field(path: Path) -> NDArray[np.uint8]:
    """A mask of the field of view, (H, W): 1 where the file has a value above 0 (of a lossy one, above 127)."""
    file = read_mask_file(path)
    values = file.values if file.palette is None else file.palette[file.values]
    values = values.max(axis=2) if values.ndim == 3 else values
    inside = values > (BLACK if file.lossy else 0)
    if not inside.any():
        raise DataError(Finding(ALL_BLACK, f"{path} is black everywhere.", files=(path,)))
    return inside.astype(np.uint8)
