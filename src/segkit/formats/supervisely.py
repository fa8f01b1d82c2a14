"""Supervisely: a JSON file for each picture in a folder `ann`, and the classes in `meta.json`. Polygons may have holes;
bitmaps are base64 PNGs, compressed with zlib. Whole coordinates are pixels, which belong to the object; others are
points."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from segkit.formats import reading
from segkit.formats.model import (
    Annotations,
    FormatError,
    Json,
    Part,
    Picture,
    Pixels,
    Points,
    Polygon,
    Shape,
    Size,
    Stamp,
)
from segkit.formats.packed import decode_picture
from segkit.formats.raster import check_points, rectangle


def recognise(document: Any) -> bool:
    return isinstance(document, dict) and "objects" in document and "size" in document


def read(paths: Iterable[Path], folder: Path, meta: Path | None) -> Annotations:
    """The annotations in a folder's Supervisely files, one for each picture. meta: the project's meta.json."""
    found = Annotations("supervisely")
    if meta is not None:
        classes = reading.as_mapping(reading.read_json(meta), str(meta), "it").get("classes", [])
        for name, entry in reading.as_entries(classes, meta, "classes", "class"):
            found.declared.append(reading.as_name(entry.get("title"), f"{meta}: {name}", "title"))
    for path, document in reading.read_each(paths, recognise, "Supervisely"):
        shapes = []
        for name, entry in reading.as_entries(document["objects"], path, "objects", "object"):
            where = f"{path}: {name}"
            kind = reading.as_text(entry.get("geometryType") or _kind(entry), where, "geometryType")
            part = _part(kind, entry, where)
            if part is None:
                found.left_out[kind].append(where)
                continue
            label = reading.as_name(entry.get("classTitle"), where, "classTitle")
            shapes.append(Shape(label, (part,), name))
        stated = reading.as_mapping(document["size"], str(path), "size")
        size = reading.as_size(stated.get("height"), stated.get("width"), str(path))
        parts = ["img" if part == "ann" else part for part in path.relative_to(folder).parts]
        found.pictures.append(Picture("/".join(parts).removesuffix(".json"), tuple(shapes), str(path), size))
    return found


def _kind(entry: Json) -> str:
    """The kind of an object in older files, which do not name it."""
    return "bitmap" if entry.get("bitmap") else "polygon"


def _part(kind: str, entry: Json, where: str) -> Part | None:
    if kind == "bitmap":
        return _bitmap(reading.as_mapping(entry.get("bitmap"), where, "bitmap"), where)
    if kind not in ("polygon", "rectangle"):
        return None
    given = reading.as_mapping(entry.get("points"), where, "points")
    outer = reading.as_points(given.get("exterior"), where, "exterior")
    interior = reading.as_list(given.get("interior", []), where, "interior")
    holes = tuple(reading.as_points(one, where, "interior") for one in interior if one)
    is_of_pixels = all((ring == np.floor(ring)).all() for ring in (outer, *holes))
    if kind == "polygon":
        return _pixels_inside(outer, holes) if is_of_pixels else Polygon(outer, holes)
    if len(outer) != 2:
        raise FormatError(f"{where}: its rectangle has {len(outer)} points; expected 2. {reading.AGAIN}")
    low, high = outer.min(axis=0), outer.max(axis=0) + is_of_pixels
    return Polygon(rectangle([*low, *(high - low)]))


def _bitmap(bitmap: Json, where: str) -> Stamp:
    origin = reading.as_integers(bitmap.get("origin"), where, "origin")
    if len(origin) != 2:
        raise reading.mismatch(where, "origin", origin, "an x and a y")
    code = reading.as_text(bitmap.get("data"), where, "data")

    def decode(size: Size) -> Pixels:
        return decode_picture(code, size, zipped=True)

    return Stamp(origin[0], origin[1], decode)


def _pixels_inside(outer: Points, holes: tuple[Points, ...]) -> Part:
    """A polygon whose points are pixels, filled as Supervisely fills it: its outline belongs to it, and the outlines of
    holes to the holes."""
    if not len(outer):
        return Polygon(outer)

    def decode(size: Size) -> Pixels:
        for ring in (outer, *holes):
            check_points(ring)
        filled = np.zeros(size, np.uint8)
        cv2.fillPoly(filled, [outer.astype(np.int32)], 1)
        for hole in holes:
            cv2.fillPoly(filled, [hole.astype(np.int32)], 0)
        return filled > 0

    return Stamp(0, 0, decode)
