"""A data set of pictures and masks from an annotation file."""

import re
import shlex
import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from segkit.configs.composing import format_argument
from segkit.console import format_count
from segkit.datasets.annotated import Matched, match
from segkit.datasets.findings import DataError, Finding, Kind, gather_findings, report_faults
from segkit.datasets.masks import Mask
from segkit.datasets.reading import orientation_of, picture_size
from segkit.files.writing import write_bytes
from segkit.formats.model import Annotations, FormatError, Size
from segkit.formats.raster import draw, reaches_out, scaled
from segkit.formats.recognise import TITLES, read

BACKGROUND = "background"
NO_OBJECT = (BACKGROUND, "_background_")  # names of classes whose objects are drawn as background
MOST_CLASSES = 255  # values of a mask that are not to be ignored
LEAST = 6  # pictures that can be split
SHOWN = 3  # names in a list

OTHER_SIZE = Kind(
    "picture of another size than in the annotation file",
    "pictures of other sizes than in the annotation file",
    "The outlines would lie elsewhere. Give the pictures that were annotated, or annotate these.",
)
NO_SHAPE = Kind(
    "entry that cannot be drawn", "entries that cannot be drawn", "Mend them in the tool, or remove them from the file."
)


@dataclass
class Counts:
    """What became of the pictures and objects."""

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
    """Copies of the annotated pictures and their masks in `output`, as `dataset=folder` takes them; returns what was
    done, line by line.

    A mask of one class has 0 and 255, of several the classes' numbers, with 0 for the background. Later objects lie on
    earlier ones. images: None for where `source` is. DataError lists everything that is wrong; then nothing is left in
    `output`.
    """
    images = images or pictures_beside(source)
    annotations = read(source, format, label)
    names = choose_classes(annotations, classes)
    counts = Counts()
    with building(output) as part:
        with gather_findings():
            matches = match(annotations.pictures, images, missing, by_name)
        with gather_findings():
            written = [one.picture.name for one in matches.found if write_pair(one, names, part, unlabelled, counts)]
        if not written:
            raise FormatError(
                f"{source} lists {format_count(len(annotations.pictures), 'picture')}, of which none is left."
            )
    said = describe(annotations, source, counts, unlabelled)
    if matches.missing:
        said.append(f"{listed(matches.missing, 'picture')} left out, not in {images}")
    if matches.unlisted:
        said.append(f"{format_count(matches.unlisted, 'picture')} of {images} left out, not in {source.name}")
    return [*said, *next_steps(output, names, len(written))]


def pictures_beside(source: Path) -> Path:
    """Where the pictures of an annotation file are, if nobody says it: in `images` beside it, or beside it."""
    folder = source if source.is_dir() else source.parent
    return folder / "images" if (folder / "images").is_dir() else folder


def choose_classes(annotations: Annotations, wanted: Sequence[str] | None) -> list[str]:
    """The classes by number: those that are wanted, or all, in the file's order. Of several, background is number 0."""
    used = {shape.label for picture in annotations.pictures for shape in picture.shapes}
    known = [*annotations.declared, *sorted(used - set(annotations.declared))]
    names = [name for name in (known if wanted is None else wanted) if name.casefold() not in NO_OBJECT]
    if wanted is not None and (unknown := [name for name in names if name not in known]):
        raise FormatError(f"classes={unknown[0]}: there is no such class; the file has {', '.join(known) or 'none'}.")
    if not names:
        raise FormatError("the file has no object and declares no class. Draw some, or say classes=[…].")
    alike: dict[str, str] = {}
    for name in names:
        other = alike.setdefault(unicodedata.normalize("NFC", name).casefold(), name)
        if other != name and wanted is None:
            raise FormatError(
                f"the classes {other} and {name} differ in upper and lower case alone. Make them one in the tool; if "
                f"they are two, name all classes: {list_argument('classes', names)}."
            )
    if len(names) == 1:
        return names
    if len(names) >= MOST_CLASSES:
        raise FormatError(f"there are {len(names)} classes; a mask holds {MOST_CLASSES - 1}. Name some: classes=[…].")
    return [BACKGROUND, *names]


@contextmanager
def building(output: Path) -> Iterator[Path]:
    """A folder for parts of `output`, which are moved to their places at the end, all or none."""
    made = [folder for folder in (output, *output.parents) if not folder.exists()]
    part = output / ".part"
    try:
        part.mkdir(parents=True)
        yield part
        for path in sorted(part.iterdir(), reverse=True):  # the pictures last: without them it is no data set
            path.rename(output / path.name)
        part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):  # such as one that holds something else by now
            for folder in made:
                folder.rmdir()
        raise


def write_pair(one: Matched, names: Sequence[str], folder: Path, unlabelled: str, counts: Counts) -> bool:
    """Write a picture and its mask; whether it was to be written. What is wrong with it is told."""
    picture = one.picture
    try:
        size = picture_size(one.file)
    except DataError as error:
        report_faults(*error.findings)
        return False
    if picture.size not in (None, size):
        report_faults(Finding(OTHER_SIZE, describe_sizes(one, size)))
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


def draw_mask(one: Matched, names: Sequence[str], size: Size, counts: Counts) -> tuple[Mask, int]:
    """A picture's mask with the numbers of the classes, of one class 0 and 1; and how many objects are in it."""
    numbers = {name: number + (len(names) == 1) for number, name in enumerate(names)}
    mask = np.zeros(size, np.uint8)
    drawn = 0
    shapes = scaled(one.picture.shapes, size) if one.picture.relative else one.picture.shapes
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


def describe_sizes(one: Matched, size: Size) -> str:
    """What differs between a picture and its entry."""
    height, width = one.picture.size or size
    turned = ", turned by its EXIF orientation" if orientation_of(one.file) > 1 else ""
    return f"{one.file} is {size[1]}×{size[0]}{turned}, but {one.picture.where} says {width}×{height}."


def describe(annotations: Annotations, source: Path, counts: Counts, unlabelled: str) -> list[str]:
    """What was read and what not, line by line."""
    total = format_count(counts.objects.total(), "object")
    each = ", ".join(f"{name} {count}" for name, count in counts.objects.items())
    lists = f"lists {format_count(len(annotations.pictures), 'picture')}"
    said = [f"{source} is {TITLES[annotations.format]} and {lists}; drawn: {total}{f' ({each})' if each else ''}"]
    said += annotations.remarks
    if annotations.left_out:
        kinds = ", ".join(f"{name} {count}" for name, count in annotations.left_out.items())
        said.append(f"{format_count(annotations.left_out.total(), 'entry', 'entries')} left out, no areas: {kinds}")
    if counts.other_classes:
        kinds = ", ".join(f"{name} {count}" for name, count in counts.other_classes.items())
        said.append(f"{format_count(counts.other_classes.total(), 'object')} of other classes left out: {kinds}")
    if counts.undrawn:
        said.append(f"{listed(counts.undrawn, 'object')} left out, no pixel's centre is in it")
    if counts.clipped:
        said.append(f"{listed(counts.clipped, 'object')} clipped at the border of the picture")
    if counts.empty:
        what = "left out" if unlabelled == "skip" else "an empty mask (unlabelled=skip leaves such pictures out)"
        said.append(f"{listed(counts.empty, 'picture')} without objects: {what}")
    return said


def listed(names: Sequence[str], one: str) -> str:
    """How many things there are, and the first of them."""
    more = ", …" if len(names) > SHOWN else ""
    return f"{format_count(len(names), one)} ({', '.join(names[:SHOWN])}{more})"


def next_steps(output: Path, names: Sequence[str], count: int) -> list[str]:
    """What lies in the folder, and the command that trains on it."""
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(names))
    values = f"0 and 255, where {names[0]} is" if len(names) == 1 else f"numbers: {numbers}"
    said = [f"{output}: {format_count(count, 'picture')} in images/, masks in masks/ ({values})"]
    if count < LEAST:
        said.append(f"Training needs {LEAST} pictures at least: annotate {LEAST - count} more.")
    root, classes = format_argument("dataset.root", output), list_argument("dataset.classes", names)
    return [*said, f"Train: python -m segkit.train dataset=folder {root} {classes}"]


def list_argument(key: str, names: Sequence[str]) -> str:
    """`key=[a,b]` as it can be typed: names quoted that Hydra would take for something else, and all for the shell."""
    plain = re.compile(r"(?!(?:null|true|false|inf|nan)$)[A-Za-z_][A-Za-z0-9_-]*", re.IGNORECASE | re.ASCII)
    quoted = (name if plain.fullmatch(name) else '"' + name.replace('"', '\\"') + '"' for name in names)
    return shlex.quote(f"{key}=[{','.join(quoted)}]")
