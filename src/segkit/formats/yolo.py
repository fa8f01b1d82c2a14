"""YOLO segmentation: a text file for each picture, with a line for each polygon: the number of the class, then x and y
of each point as fractions of the picture's width and height. data.yaml, classes.txt or obj.names has the names."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from segkit.files.reading import read_yaml
from segkit.formats import reading
from segkit.formats.model import Annotations, FormatError, Picture, Polygon, Shape

NAMES = ("classes.txt", "obj.names", "labels.txt")
NOT_LABELS = (*NAMES, "train.txt", "val.txt", "test.txt", "readme.txt", "requirements.txt", "notes.txt")


def recognise(folder: Path, texts: Sequence[Path]) -> bool:
    if any((folder / name).is_file() for name in ("data.yaml", "data.yml", "dataset.yaml", "classes.txt")):
        return True
    first = next((path for path in texts if path.name.lower() not in NOT_LABELS), None)
    return first is not None and all(line.split()[0].isdigit() for line in _lines(first))


def read(folder: Path, texts: Sequence[Path]) -> Annotations:
    """The annotations in a folder. A picture is listed if it has a text file, which may be empty."""
    found = Annotations("yolo")
    found.declared = find_class_names(folder)
    for path in texts:
        if path.name.lower() in NOT_LABELS:
            continue
        shapes = []
        for at, line in enumerate(_lines(path), start=1):
            where = f"{path}: line {at}"
            words = line.split()
            number = reading.as_integer(words[0], where, "the class number")
            if not 0 <= number < len(found.declared):
                names = f"0 to {len(found.declared) - 1}, for {', '.join(found.declared[:10])}"
                raise FormatError(f"{where}: the class number is {number}; expected {names}.")
            if len(words) == 5:
                found.left_out["object with only a box"].append(where)
                continue
            points = reading.as_flat_points(words[1:], where, "it")
            if np.isfinite(points).all() and points.size and np.abs(points).max() > 2:
                raise FormatError(f"{where}: a coordinate is {np.abs(points).max():g}; expected fractions from 0 to 1.")
            shapes.append(Shape(found.declared[number], (Polygon(points),), f"line {at}"))
        name = path.relative_to(folder).with_suffix("")
        parts = ["images" if part == "labels" else part for part in name.parts]
        found.pictures.append(Picture("/".join(parts), tuple(shapes), str(path), relative=True, stem=True))
    return found


def _lines(path: Path) -> list[str]:
    if path.stat().st_size == 0:  # a picture without objects
        return []
    return [line for line in reading.read_text(path).splitlines() if line.strip()]


def find_class_names(folder: Path) -> list[str]:
    """The names of the classes, by number. Their file may be above the folders `labels` and those of splits."""
    places = [folder]
    while places[-1].name in ("labels", "train", "val", "valid", "test"):
        places.append(places[-1].parent)
    for place in places:
        for name in ("data.yaml", "data.yml", "dataset.yaml"):
            if (place / name).is_file():
                return _from_yaml(place / name)
        for name in NAMES:
            if (place / name).is_file():
                return [line.strip() for line in _lines(place / name)]
    raise FormatError(f"{folder} has neither data.yaml nor classes.txt. One of them must name the classes.")


def _from_yaml(path: Path) -> list[str]:
    try:
        names = reading.as_mapping(read_yaml(path), str(path), "it").get("names")
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(str(error)) from None
    if isinstance(names, dict):
        keys = [reading.as_integer(key, str(path), "a number of names") for key in names]
        if sorted(keys) != list(range(len(keys))):
            raise FormatError(f"{path}: names has the numbers {keys[:20]}; expected 0 to {len(keys) - 1}.")
        names = [name for _, name in sorted(zip(keys, names.values(), strict=True))]
    return [reading.as_name(name, str(path), "a name") for name in reading.as_list(names, str(path), "names")]
