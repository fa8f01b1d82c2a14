"""LabelMe: a JSON file for each picture. Polygons have no holes; an object with holes is a `mask`, a PNG in base64."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from segkit.formats import reading
from segkit.formats.model import (
    Annotations,
    FormatError,
    Json,
    Outline,
    Outlined,
    Part,
    Picture,
    Pixels,
    Polygon,
    Shape,
    Size,
    Stamp,
)
from segkit.formats.packed import decode_picture, encode_picture
from segkit.formats.raster import ellipse, rectangle

VERSION = "5.5.0"  # of the files that are written
CORNERS = ("polygon", "oriented_rectangle", "rotation")  # shapes of which all points are listed
AREAS = (*CORNERS, "rectangle", "circle", "mask")


def recognise(document: Any) -> bool:
    return isinstance(document, dict) and "shapes" in document and "imagePath" in document


def read(paths: Iterable[Path]) -> Annotations:
    """The annotations in LabelMe's files, one for each picture."""
    found = Annotations("labelme")
    for path, document in reading.read_each(paths, recognise, "LabelMe"):
        shapes = []
        for name, entry in reading.as_entries(document["shapes"], path, "shapes", "shape"):
            where = f"{path}: {name}"
            kind = reading.as_text(entry.get("shape_type") or "polygon", where, "shape_type")
            if kind not in AREAS:
                found.left_out[kind].append(where)
                continue
            label = reading.as_name(entry.get("label"), where, "label")
            shapes.append(Shape(label, (_part(kind, entry, where),), name))
        stated = (document.get("imageHeight"), document.get("imageWidth"))
        size = None if None in stated else reading.as_size(*stated, str(path))
        image = reading.as_text(document["imagePath"], str(path), "imagePath")
        found.pictures.append(Picture(image, tuple(shapes), str(path), size, base=path.parent))
    return found


def _part(kind: str, entry: Json, where: str) -> Part:
    points = reading.as_points(entry.get("points"), where, "points")
    if kind in CORNERS or (kind == "rectangle" and len(points) == 4):  # as LabelMe's descendants write it
        return Polygon(points)
    if len(points) != 2:
        raise FormatError(f"{where}: its {kind} has {len(points)} points; expected 2. {reading.AGAIN}")
    (x1, y1), (x2, y2) = points.tolist()
    if kind == "rectangle":
        return Polygon(rectangle([x1, y1, x2 - x1, y2 - y1]))
    if kind == "circle":
        radius = float(np.hypot(x2 - x1, y2 - y1))
        return Polygon(ellipse([x1, y1, radius, radius]))
    if not (np.isfinite(points).all() and np.abs(points).max() < reading.LARGEST_NUMBER):
        raise FormatError(f"{where}: the corners of its mask are {points.tolist()}; expected pixels.")
    left, top = int(min(x1, x2)), int(min(y1, y2))
    box = (int(max(y1, y2)) - top + 1, int(max(x1, x2)) - left + 1)
    code = reading.as_text(entry.get("mask"), where, "mask")

    def decode(size: Size) -> Pixels:
        pixels = decode_picture(code, size, zipped=False)
        if pixels.shape != box:
            raise FormatError(f"its mask is {pixels.shape[1]}×{pixels.shape[0]}; its corners say {box[1]}×{box[0]}")
        return pixels

    return Stamp(left, top, decode)


def write(picture: Outlined, folder: Path) -> Json:
    """The content of a picture's file, which will be in `folder`."""
    height, width = picture.size
    return {
        "version": VERSION,
        "flags": {},
        "shapes": [_shape(outline) for outline in picture.outlines],
        "imagePath": Path(os.path.relpath(picture.path.absolute(), folder.absolute())).as_posix(),
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _shape(outline: Outline) -> Json:
    common: Json = {"label": outline.label, "group_id": None, "description": "", "flags": {}}
    if not outline.polygon.holes:
        return common | {"shape_type": "polygon", "points": outline.polygon.outer.tolist(), "mask": None}
    height, width = outline.pixels.shape
    corners = [[outline.left, outline.top], [outline.left + width - 1, outline.top + height - 1]]
    return common | {"shape_type": "mask", "points": corners, "mask": encode_picture(outline.pixels)}
