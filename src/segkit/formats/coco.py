"""COCO: one JSON file with `images`, `annotations` and `categories`. A segmentation is the union of a list of polygons,
or a run-length code (RLE) by columns, as numbers or text. COCO's polygons have no holes."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from segkit.console import format_count
from segkit.formats import reading
from segkit.formats.model import Annotations, FormatError, Json, Outline, Outlined, Part, Polygon, Shape, Size, Stamp
from segkit.formats.model import Picture as Listed
from segkit.formats.runs import counts_to_text, decode_runs, encode_runs, text_to_counts

CROWD_ORDER = -1.0  # crowds are drawn below single objects


def recognise(document: Any) -> bool:
    return isinstance(document, dict) and "images" in document and "annotations" in document


def read(path: Path, document: Json) -> Annotations:
    """The annotations of a COCO file, in the order of its images."""
    found = Annotations("coco")
    names: dict[Any, str] = {}
    for name, entry in reading.as_entries(document.get("categories", []), path, "categories", "category"):
        where = f"{path}: {name}"
        names[_key(entry, "id", where)] = reading.as_name(entry.get("name"), where, "name")
    found.declared = list(dict.fromkeys(names.values()))
    shapes: dict[Any, list[Shape]] = {}
    images = list(reading.as_entries(document["images"], path, "images", "image"))
    ids = [_key(entry, "id", f"{path}: {name}") for name, entry in images]
    annotations = reading.as_entries(document["annotations"], path, "annotations", "annotation")
    for name, entry in annotations:
        image = _key(entry, "image_id", f"{path}: {name}")
        shape = _shape(entry, path, name, names, found)
        if shape is not None:
            shapes.setdefault(image, []).append(shape)
    if twice := [key for key, count in Counter(ids).items() if count > 1]:
        raise FormatError(f"{path}: images has {twice[0]!r} as the id of several entries; expected different ones.")
    if unknown := sorted(shapes.keys() - set(ids), key=str):
        first = shapes[unknown[0]][0].where
        raise FormatError(f"{path}: {first} has image_id {unknown[0]!r}, which images does not list. {reading.AGAIN}")
    for key, (name, entry) in zip(ids, images, strict=True):
        where = f"{path}: {name}"
        is_sized = entry.get("height") is not None
        size = reading.as_size(entry["height"], entry.get("width"), where) if is_sized else None
        file = reading.as_text(entry.get("file_name"), where, "file_name")
        found.pictures.append(Listed(file, tuple(shapes.get(key, ())), f"{path}: image {key}", size))
    return found


def _key(entry: Json, key: str, where: str) -> int | str:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise reading.mismatch(where, key, value, "a number or text")
    return value


def _shape(entry: Json, path: Path, which: str, names: dict[Any, str], found: Annotations) -> Shape | None:
    where, title = f"{path}: {which}", f"annotation {entry['id']}" if "id" in entry else which
    category = _key(entry, "category_id", where)
    if category not in names:
        raise FormatError(f"{where}: category_id is {category!r}; expected one of categories: {list(names)[:20]}.")
    segmentation = entry.get("segmentation")
    if not segmentation:
        found.left_out["object with only a box"].append(f"{path}: {title}")
        return None
    order = CROWD_ORDER if entry.get("iscrowd") in (1, True) else 0.0
    parts: tuple[Part, ...]
    if isinstance(segmentation, dict):
        parts = (_stamp(segmentation, where),)
    else:
        rings = reading.as_list(segmentation, where, "segmentation")
        parts = tuple(Polygon(reading.as_flat_points(ring, where, "a polygon")) for ring in rings)
    return Shape(names[category], parts, title, order)


def _stamp(segmentation: Json, where: str) -> Stamp:
    stated = reading.as_integers(segmentation.get("size"), where, "its size")
    code = segmentation.get("counts")
    counts = [] if isinstance(code, str) else reading.as_integers(code, where, "its counts")

    def decode(size: Size) -> Any:
        if tuple(stated) != size:
            raise FormatError(f"its size is {stated}; expected the picture's, {list(size)} (height, width)")
        return decode_runs(text_to_counts(code) if isinstance(code, str) else counts, size, by_column=True)

    return Stamp(0, 0, decode)


def write(pictures: Iterable[Outlined], classes: Sequence[str], rle: str) -> tuple[Json, list[str]]:
    """The content of a COCO file, and remarks on what it cannot represent. rle: which objects get a run-length code:
    those with holes (`auto`), `all`, or `none`, so that holes are filled."""
    filled = 0

    def describe_all() -> Iterator[tuple[str, Size, list[Json]]]:
        nonlocal filled
        for picture in pictures:
            filled += rle == "none" and sum(bool(outline.polygon.holes) for outline in picture.outlines)
            yield picture.name, picture.size, describe(picture.outlines, picture.size, classes, rle)

    document = assemble(describe_all(), classes)
    remarks = [
        f"{format_count(filled, 'object')} with holes, which COCO's polygons cannot have: filled (rle=auto keeps them)"
    ] * (filled > 0)
    return document, remarks


def describe(outlines: Iterable[Outline], size: Size, classes: Sequence[str], rle: str = "auto") -> list[Json]:
    """The objects of one picture as annotations without numbers: see `write`."""
    found = []
    for outline in outlines:
        height, width = outline.pixels.shape
        as_runs = rle == "all" or (rle == "auto" and bool(outline.polygon.holes))
        found.append(
            {
                "category_id": classes.index(outline.label) + 1,
                "segmentation": _runs(outline, size) if as_runs else [_flat(outline)],
                "area": int(outline.pixels.sum()),
                "bbox": [outline.left, outline.top, width, height],
                "iscrowd": 0,
            }
        )
    return found


def assemble(pictures: Iterable[tuple[str, Size, Iterable[Json]]], classes: Sequence[str]) -> Json:
    """The content of a COCO file, from each picture's name, size and annotations without numbers."""
    images: list[Json] = []
    annotations: list[Json] = []
    for number, (name, (height, width), found) in enumerate(pictures, start=1):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for one in found:
            annotations.append({"id": len(annotations) + 1, "image_id": number} | one)
    categories = [{"id": at, "name": name, "supercategory": ""} for at, name in enumerate(classes, start=1)]
    info = {"description": "masks from segkit", "version": "1.0"}
    return {"info": info, "licenses": [], "images": images, "annotations": annotations, "categories": categories}


def _flat(outline: Outline) -> list[float]:
    flat: list[float] = outline.polygon.outer.ravel().tolist()
    return flat


def _runs(outline: Outline, size: Size) -> Json:
    whole = np.zeros(size, np.bool_)
    height, width = outline.pixels.shape
    whole[outline.top : outline.top + height, outline.left : outline.left + width] = outline.pixels
    return {"size": list(size), "counts": counts_to_text(encode_runs(whole, by_column=True))}
