"""Making a data set of pictures and masks from an annotation file."""

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from segkit.configs.composing import format_argument, list_argument
from segkit.configs.places import OF_A_CHECK, PART
from segkit.console import format_count
from segkit.datasets.annotated import Match, match_entries
from segkit.datasets.findings import DataError, Finding, Kind, gather_findings, report_faults
from segkit.datasets.masks import Mask
from segkit.datasets.reading import orientation_of, picture_size
from segkit.files.writing import part_of, write_bytes
from segkit.formats.model import BACKGROUND, NO_OBJECT, Annotations, FormatError, Size
from segkit.formats.raster import draw, reaches_out, scale_shapes
from segkit.formats.recognise import TITLES, read

MOST_CLASSES = 255  # of a mask's values, 255 is ignored
LEAST = 6  # pictures that can be split
SHOWN = 3  # names in a list

OTHER_SIZE = Kind(
    "picture whose size differs from the annotation file",
    "pictures whose sizes differ from the annotation file",
    "The outlines would be misplaced. Give the pictures that were annotated, or annotate these.",
)
ON_ITS_SIDE = Kind(
    "picture that was annotated on its side",
    "pictures that were annotated on their side",
    "Pictures are read as viewers show them, turned by their EXIF orientation, but the tool ignored it. Remove the tag "
    "from the pictures, or annotate them as they are shown.",
)
NO_SHAPE = Kind(
    "entry that cannot be drawn",
    "entries that cannot be drawn",
    "Correct them in the tool, or remove them from the file.",
)


@dataclass
class Counts:
    """What became of pictures and objects."""

    objects: Counter[str] = field(default_factory=Counter)
    other_classes: Counter[str] = field(default_factory=Counter)
    empty: list[str] = field(default_factory=list)  # pictures without objects
    clipped: list[str] = field(default_factory=list)  # objects
    undrawn: list[str] = field(default_factory=list)  # objects without a pixel


def make_data_set(
    source: Path,
    images: Path | None,
    output: Path,
    *,
    format: str = "auto",
    label: str | None = None,
    classes: Sequence[str] | None = None,
    unlabelled: str = "keep",
    missing: str = "error",
    by_name: bool = False,
) -> list[str]:
    """Write copies of the annotated pictures, and their masks, to `output`, as `dataset=folder` reads them; returns
    what was done, line by line.

    Masks of one class have the values 0 and 255; of several, the numbers of the classes, with 0 for background. Later
    objects are drawn over earlier ones. images: the folder of the pictures, None for that of `source`. format, label:
    see `recognise.read`. classes: see `choose_classes`. unlabelled: `keep` gives pictures without objects an empty
    mask, `skip` leaves them out. missing, by_name: see `match_entries`. DataError lists everything that is wrong, and
    nothing is left in `output`.
    """
    images = images or find_pictures_beside(source)
    annotations = read(source, format, label)
    names = choose_classes(annotations, classes)
    counts = Counts()
    with build_folder(output) as part:
        with gather_findings():
            matches = match_entries(annotations.pictures, images, missing, by_name)
        with gather_findings():
            written = [one.picture.name for one in matches.found if write_pair(one, names, part, unlabelled, counts)]
        if not written:
            raise FormatError(
                f"{source} lists {format_count(len(annotations.pictures), 'picture')}, of which none is left."
            )
    said = describe(annotations, source, names, counts, unlabelled)
    if matches.missing:
        said.append(f"{format_list(matches.missing, 'picture')} left out, not in {images}")
    if matches.unlisted:
        said.append(f"{format_count(matches.unlisted, 'picture')} of {images} left out, not in {source.name}")
    return [*said, *describe_next_steps(output, names, len(written))]


def find_pictures_beside(source: Path) -> Path:
    """The folder of an annotation file's pictures, if not given: `images` beside it if there is one, else its own."""
    folder = source if source.is_dir() else source.parent
    return folder / "images" if (folder / "images").is_dir() else folder


def choose_classes(annotations: Annotations, wanted: Sequence[str] | None) -> list[str]:
    """The classes by number: `wanted`, or all in the file's order. If there are several, background is number 0."""
    used = {shape.label for picture in annotations.pictures for shape in picture.shapes}
    known = [*annotations.declared, *sorted(used - set(annotations.declared))]
    names = [name for name in (known if wanted is None else wanted) if name.casefold() not in NO_OBJECT]
    if wanted is not None and (unknown := [name for name in names if name not in known]):
        raise FormatError(f"classes={unknown[0]}: there is no such class; the file has {', '.join(known) or 'none'}.")
    if twice := [name for name, count in Counter(names).items() if count > 1 and wanted is not None]:
        raise FormatError(f"classes has {twice[0]} twice. Name each class once.")
    if not names:
        raise FormatError("the file has no objects and declares no class. Draw some objects first.")
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name and wanted is None:
            raise FormatError(
                f"the classes {other} and {name} differ only in upper and lower case. Merge them in the tool, or if "
                f"they really are two classes, name all: {list_argument('classes', names)}."
            )
    if len(names) == 1:
        return names
    if len(names) >= MOST_CLASSES:
        raise FormatError(
            f"there are {len(names)} classes; a mask holds {MOST_CLASSES - 1} at most. Choose some: classes=[…]."
        )
    return [BACKGROUND, *names]


@contextmanager
def build_folder(output: Path) -> Iterator[Path]:
    """A temporary folder whose contents become those of `output` at the end, or not at all."""
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    try:
        with part_of(output, PART, OF_A_CHECK) as part:
            yield part
            for path in sorted(part.iterdir(), reverse=True):  # images/ last: without it, this is no data set
                path.rename(output / path.name)
    except BaseException:
        with suppress(OSError):  # a folder may hold something else by now
            for folder in made:
                folder.rmdir()
        raise


def write_pair(one: Match, names: Sequence[str], folder: Path, unlabelled: str, counts: Counts) -> bool:
    """Write a picture and its mask, and return whether they were to be written. Faults are reported."""
    picture = one.picture
    try:
        size = picture_size(one.file)
    except DataError as error:
        report_faults(*error.findings)
        return False
    if picture.size not in (None, size):
        report_faults(find_other_size(one, size))
        return False
    mask, drawn = draw_mask(one, names, size, counts)
    if not drawn:
        counts.empty.append(picture.name)
        if unlabelled == "skip":
            return False
    encoded = cv2.imencode(".png", mask * 255 if len(names) == 1 else mask)[1]
    for path, content in (
        (folder / "images" / one.key, one.file.read_bytes()),
        ((folder / "masks" / one.key).with_suffix(".png"), encoded.tobytes()),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content)
    return True


def draw_mask(one: Match, names: Sequence[str], size: Size, counts: Counts) -> tuple[Mask, int]:
    """A picture's mask of class numbers (0 and 1 for a single class), and the number of objects drawn in it."""
    numbers = {name: number + (len(names) == 1) for number, name in enumerate(names)}
    mask = np.zeros(size, np.uint8)
    drawn = 0
    shapes = scale_shapes(one.picture.shapes, size) if one.picture.relative else one.picture.shapes
    for shape in sorted(shapes, key=lambda shape: shape.order):
        number = 0 if shape.label.casefold() in NO_OBJECT else numbers.get(shape.label)
        if number is None:
            counts.other_classes[shape.label] += 1
            continue
        try:
            parts = draw(shape, size)
        except FormatError as error:
            report_faults(Finding(NO_SHAPE, f"{one.picture.where}, {shape.where}: {error}."))
            continue
        for top, left, pixels in parts:
            mask[top : top + pixels.shape[0], left : left + pixels.shape[1]][pixels] = number
        where = f"{one.key}, {shape.where}"
        if not parts:
            counts.undrawn.append(where)
            continue
        drawn += 1
        counts.objects[shape.label] += 1
        if reaches_out(shape, size):
            counts.clipped.append(where)
    return mask, drawn


def find_other_size(one: Match, size: Size) -> Finding:
    """The fault of a picture whose size is not that of its entry."""
    height, width = one.picture.size or size
    says = f"but {one.picture.where} says {width}×{height}."
    if (orientation := orientation_of(one.file)) >= 5 and (width, height) == size:
        fact = f"{one.file} is {size[1]}×{size[0]} when turned by its EXIF orientation ({orientation}), {says}"
        return Finding(ON_ITS_SIDE, fact)
    return Finding(OTHER_SIZE, f"{one.file} is {size[1]}×{size[0]}, {says}")


def describe(
    annotations: Annotations, source: Path, names: Sequence[str], counts: Counts, unlabelled: str
) -> list[str]:
    """What was drawn and what was left out, line by line."""
    total = format_count(counts.objects.total(), "object")
    each = ", ".join(f"{name} {count}" for name, count in counts.objects.items())
    lists = f"lists {format_count(len(annotations.pictures), 'picture')}"
    said = [f"{source} is {TITLES[annotations.format]} and {lists}; drawn: {total}{f' ({each})' if each else ''}"]
    said += annotations.remarks
    for kind, entries in annotations.left_out.items():
        first = "; ".join(entry.removeprefix(f"{source}: ") for entry in entries[:SHOWN])
        said.append(f"left out: {len(entries)} × {kind} ({first}{'; …' if len(entries) > SHOWN else ''})")
    if counts.other_classes:
        kinds = ", ".join(f"{name} {count}" for name, count in counts.other_classes.items())
        said.append(f"{format_count(counts.other_classes.total(), 'object')} of other classes left out: {kinds}")
    if (unused := [name for name in names if name not in (BACKGROUND, *counts.objects)]) and counts.objects:
        used = [name for name in names if name in counts.objects and name != BACKGROUND]
        said.append(f"no object: {', '.join(unused)} ({list_argument('classes', used)} leaves such classes out)")
    if counts.undrawn:
        said.append(f"{format_list(counts.undrawn, 'object')} left out: no pixel's centre is inside")
    if counts.clipped:
        said.append(f"{format_list(counts.clipped, 'object')} clipped at the border of the picture")
    if counts.empty:
        what = "left out" if unlabelled == "skip" else "an empty mask (unlabelled=skip leaves such pictures out)"
        said.append(f"{format_list(counts.empty, 'picture')} without objects: {what}")
    return said


def format_list(names: Sequence[str], one: str) -> str:
    """How many things there are, and the first of them."""
    more = ", …" if len(names) > SHOWN else ""
    return f"{format_count(len(names), one)} ({', '.join(names[:SHOWN])}{more})"


def describe_next_steps(output: Path, names: Sequence[str], count: int) -> list[str]:
    """What is in the folder, and the commands that check it and train on it."""
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(names))
    values = f"0, and 255 for {names[0]}" if len(names) == 1 else f"numbers: {numbers}"
    said = [f"{output}: {format_count(count, 'picture')} in images/, masks in masks/ ({values})"]
    if count < LEAST:
        said.append(f"Training needs at least {LEAST} pictures: annotate {LEAST - count} more.")
    data = f"{format_argument('dataset.root', output)} {list_argument('dataset.classes', names)}"
    said.append(f"Check: python -m segkit.check dataset=folder {data}")
    return [*said, f"Train: python -m segkit.train experiment=own_class {data}"]
