"""Writing masks as an annotation file, for correction in a tool."""

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segkit import IGNORE_INDEX
from segkit.configs.composing import format_argument, list_argument
from segkit.console import format_count
from segkit.datasets.findings import DataError, Finding, Kind, gather_findings, report_faults
from segkit.datasets.from_annotations import build_folder, format_list
from segkit.datasets.listing import Pair, find_pictures, match_pairs
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import picture_size
from segkit.files.writing import write_text
from segkit.formats import coco, label_studio, labelme
from segkit.formats.model import NO_OBJECT, Outlined
from segkit.formats.outlines import outline_classes
from segkit.formats.recognise import TITLES

OTHER_SIZE = Kind(
    "mask whose size differs from its picture's",
    "masks whose sizes differ from their pictures'",
    "The outlines would be misplaced. Give the pictures that the masks belong to.",
)


@dataclass
class Objects:
    """What was found in masks."""

    classes: Counter[str] = field(default_factory=Counter)
    with_holes: int = 0
    ignored: list[str] = field(default_factory=list)  # pictures with ignored pixels
    without_mask: list[str] = field(default_factory=list)  # pictures


def write_annotations(
    to: str,
    source: Path,
    images: Path,
    output: Path,
    classes: Sequence[str],
    *,
    threshold: float = 127,
    colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None,
    ignore_values: Sequence[int] = (),
    mask_suffix: str = "",
    tolerance: float = 0.35,
    rle: str = "auto",
    prefix: str | None = None,
) -> list[str]:
    """Write the masks below `source` as a file that COCO tools, LabelMe or Label Studio import; returns what was done,
    line by line.

    classes, threshold, colors, ignore_values: what the values of the masks mean; see `MaskValues`. An object is a group
    of pixels of one class that touch at a side or a corner. The class background has no objects. For `tolerance` see
    `find_outlines`, for `rle` `coco.write`, for `prefix` `label_studio.write`.
    """
    values = MaskValues(list(classes), threshold, colors, ignore_values)
    objects = Objects()
    try:
        with gather_findings():
            pairs = find_pairs(
                source / "masks" if (source / "masks").is_dir() else source, images, mask_suffix, objects
            )
        found = outline_all(pairs, images, values, tolerance, objects)
        if to == "labelme":
            remarks = write_folder(found, output)
        else:
            prefix = prefix or f"{label_studio.LOCAL}{images.name}/"
            remarks = write_file(to, found, output, values.classes, rle, prefix)
    except DataError as error:
        raise DataError(*map(rename_settings, error.findings)) from None
    each = ", ".join(f"{name} {count}" for name, count in objects.classes.items())
    total = format_count(objects.classes.total(), "object")
    said = [f"{output}: {format_count(len(pairs), 'picture')}, {total}{f' ({each})' if each else ''}, for {TITLES[to]}"]
    if objects.with_holes and not remarks:
        kept = {"coco": "run lengths (RLE)", "labelme": "masks", "label_studio": "brush strokes"}[to]
        said.append(f"{format_count(objects.with_holes, 'object')} with holes, which polygons cannot have, as {kept}")
    if objects.without_mask:
        said.append(f"{format_list(objects.without_mask, 'picture')} left out, without a mask")
    if objects.ignored:
        said.append(
            f"{format_list(objects.ignored, 'picture')} with ignored pixels, which the format cannot express: left out"
        )
    return [*said, *remarks, *describe_next_steps(to, output, images, classes)]


def rename_settings(finding: Finding) -> Finding:
    """A finding about a data set's masks, with the names that settings have in this command."""
    suggest = finding.kind.suggest

    def suggest_own(values: Sequence[float]) -> str:
        return suggest(values).replace("dataset.", "") if suggest is not None else ""

    kind = finding.kind._replace(remedy=finding.kind.remedy.replace("dataset.", ""), suggest=suggest_own)
    return finding._replace(kind=kind, fact=finding.fact.replace("dataset.", ""))


def find_pairs(source: Path, images: Path, mask_suffix: str, objects: Objects) -> list[Pair]:
    """Pictures and their masks; pictures may lack a mask."""
    masks = find_pictures(source, source, mask_suffix, follow_links=True)
    found = find_pictures(images, images, follow_links=True)
    if not masks or not found:
        raise FileNotFoundError(
            f"{images if masks else source} has no pictures. Set input= to the masks and images= to the pictures."
        )
    if found.keys() & masks.keys():
        objects.without_mask = [key for key in found if key not in masks]
        found = {key: path for key, path in found.items() if key in masks}
    return match_pairs(found, masks, source)


def outline_all(
    pairs: Sequence[Pair], images: Path, values: MaskValues, tolerance: float, objects: Objects
) -> Iterator[Outlined]:
    """The outlines in each picture's mask. Faults of masks are reported."""
    for image, path in pairs:
        name = image.relative_to(images).as_posix()
        try:
            mask, size = values.read(path), picture_size(image)
        except DataError as error:
            report_faults(*error.findings)
            continue
        if mask.shape != size:
            fact = f"mask {path} is {mask.shape[1]}×{mask.shape[0]} but its picture {image} is {size[1]}×{size[0]}."
            report_faults(Finding(OTHER_SIZE, fact))
            continue
        if (mask == IGNORE_INDEX).any():
            objects.ignored.append(name)
        outlines = outline_classes(mask, values.classes, tolerance)
        objects.classes.update(outline.label for outline in outlines)
        objects.with_holes += sum(bool(outline.polygon.holes) for outline in outlines)
        yield Outlined(name, image, size, tuple(outlines))


def write_file(
    to: str, found: Iterator[Outlined], output: Path, classes: Sequence[str], rle: str, prefix: str
) -> list[str]:
    """Write one file, for COCO or Label Studio; returns remarks on what it cannot represent."""
    names = [name for name in classes if name.casefold() not in NO_OBJECT]
    with gather_findings():
        document, remarks = coco.write(found, names, rle) if to == "coco" else (label_studio.write(found, prefix), [])
    output.parent.mkdir(parents=True, exist_ok=True)
    write_text(output, json.dumps(document))
    return remarks


def write_folder(found: Iterator[Outlined], output: Path) -> list[str]:
    """Write LabelMe's files, one for each picture; they represent everything."""
    with build_folder(output) as part, gather_findings():
        for picture in found:
            path = (part / picture.name).with_suffix(".json")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_text(path, json.dumps(labelme.write(picture, (output / picture.name).parent)))
    return []


def describe_next_steps(to: str, output: Path, images: Path, classes: Sequence[str]) -> list[str]:
    """How to get the file into the tool, and the result back."""
    pictures, written = format_argument("images", images), shlex.quote(str(output))
    names = [name for name in classes if name.casefold() not in NO_OBJECT]
    numbered = list_argument("classes", names)  # else they would be numbered by the alphabet
    back = f"Then: python -m segkit.annotations from={to} input=… {pictures} {numbered} output=corrected"
    if to == "labelme":
        return [
            f"Correct: labelme {shlex.quote(str(images))} --output {written}",
            back.replace("input=…", format_argument("input", output)),
        ]
    if to == "coco":
        return [f"Correct: import {output} into a tool that reads COCO, such as CVAT, and export it again.", back]
    return [
        f"Correct: import {output} into a Label Studio project with this labelling interface, then export JSON:",
        label_studio.labelling_config(names),
        back,
    ]
