"""Supervisely: a JSON for each picture in a folder `ann`, and the classes in `meta.json`. Polygons have holes; bitmaps
are zipped PNGs in base64."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segkit.formats import reading
from segkit.formats.model import Annotations, FormatError, Json, Part, Picture, Pixels, Polygon, Shape, Size, Stamp
from segkit.formats.packed import decode_picture
from segkit.formats.raster import rectangle


def recognise(document: Any) -> bool:
    return isinstance(document, dict) and "objects" in document and "size" in document


def read(paths: Iterable[Path], folder: Path, meta: Path | None) -> Annotations:
    """The annotations of Supervisely's files in a folder, one a picture. meta: the project's meta.json."""
    found = Annotations("supervisely")
    if meta is not None:
        classes = reading.mapping(reading.read_json(meta), str(meta), "it").get("classes", [])
        for at, entry in enumerate(reading.sequence(classes, str(meta), "classes")):
            where = f"{meta}: class {at}"
            found.declared.append(reading.name(reading.mapping(entry, where, "it").get("title"), where, "title"))
    for path in paths:
        document = reading.read_json(path)
        if not recognise(document):
            raise FormatError(f"{path} is no file of Supervisely, as others of its folder are. Remove it from there.")
        shapes = []
        for at, entry in enumerate(reading.sequence(document["objects"], str(path), "objects")):
            where = f"{path}: object {at}"
            entry = reading.mapping(entry, where, "it")
            kind = reading.text(entry.get("geometryType") or _kind(entry), where, "geometryType")
            part = _part(kind, entry, where)
            if part is None:
                found.left_out[kind] += 1
                continue
            shapes.append(Shape(reading.name(entry.get("classTitle"), where, "classTitle"), (part,), f"object {at}"))
        stated = reading.mapping(document["size"], str(path), "size")
        size = reading.picture_size(stated.get("height"), stated.get("width"), str(path))
        parts = ["img" if part == "ann" else part for part in path.relative_to(folder).parts]
        found.pictures.append(Picture("/".join(parts).removesuffix(".json"), tuple(shapes), str(path), size))
    return found


def _kind(entry: Json) -> str:
    """The kind of an object in older files, which do not name it."""
    return "bitmap" if entry.get("bitmap") else "polygon"


def _part(kind: str, entry: Json, where: str) -> Part | None:
    if kind == "bitmap":
        bitmap = reading.mapping(entry.get("bitmap"), where, "bitmap")
        origin = reading.counts(bitmap.get("origin"), where, "origin")
        if len(origin) != 2:
            raise reading.wrong(where, "origin", origin, "an x and a y")
        code = reading.text(bitmap.get("data"), where, "data")

        def decode(size: Size) -> Pixels:
            return decode_picture(code, size, zipped=True)

        return Stamp(origin[0], origin[1], decode)
    if kind not in ("polygon", "rectangle"):
        return None
    given = reading.mapping(entry.get("points"), where, "points")
    outer = reading.points(given.get("exterior"), where, "exterior")
    inner = reading.sequence(given.get("interior", []), where, "interior")
    if kind == "polygon":
        return Polygon(outer, tuple(reading.points(one, where, "interior") for one in inner))
    if len(outer) != 2:
        raise FormatError(f"{where}: its rectangle has {len(outer)} points; expected 2. {reading.AGAIN}")
    low, high = outer.min(axis=0), outer.max(axis=0) + 1  # both are pixels of it
    return Polygon(rectangle([*low, *(high - low)]))
