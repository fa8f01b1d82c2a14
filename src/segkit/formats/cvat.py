"""CVAT for images 1.1: an XML file with an `image` for each picture. Masks are run-length codes by rows, in a box."""

import xml.etree.ElementTree as ET
from pathlib import Path

from segkit.formats import reading
from segkit.formats.model import Annotations, FormatError, Part, Picture, Pixels, Points, Polygon, Shape, Size, Stamp
from segkit.formats.raster import ellipse, rectangle
from segkit.formats.runs import decode_runs

VERSION = "1.1"
NOT_SHAPES = ("attribute", "tag")  # they describe the whole picture


def recognise(root: ET.Element) -> bool:
    return root.tag == "annotations"


def read(path: Path, root: ET.Element) -> Annotations:
    """The annotations in a CVAT file. Shapes with a higher z_order are drawn later."""
    version = root.findtext("version", VERSION)
    if version != VERSION:
        raise FormatError(f"{path} is version {version} of CVAT's format; expected {VERSION}. Export it again.")
    if root.find("track") is not None:
        raise FormatError(f"{path} is in the format “CVAT for video”. Export it again as “CVAT for images 1.1”.")
    found = Annotations("cvat")
    names = [label.findtext("name", "").strip() for label in root.findall("meta//labels/label")]
    found.declared = list(dict.fromkeys(filter(None, names)))
    for at, image in enumerate(root.iter("image")):
        where = f"{path}: image {image.get('id', at)}"
        shapes = []
        for number, element in enumerate(image):
            here = f"{where}, {element.tag} {number}"
            if element.tag in NOT_SHAPES:
                continue
            part = _part(element, here)
            if part is None:
                found.left_out[element.tag].append(here)
                continue
            order = reading.as_integer(element.get("z_order", "0"), here, "z_order")
            label = reading.as_name(element.get("label"), here, "label")
            shapes.append(Shape(label, (part,), f"{element.tag} {number}", order))
        size = reading.as_size(image.get("height"), image.get("width"), where)
        found.pictures.append(Picture(reading.as_text(image.get("name"), where, "name"), tuple(shapes), where, size))
    return found


def _part(element: ET.Element, where: str) -> Part | None:
    def take(*keys: str) -> list[float]:
        return [reading.as_number(element.get(key), where, key) for key in keys]

    turn = reading.as_number(element.get("rotation", "0"), where, "rotation")
    if element.tag == "polygon":
        return Polygon(_points(element.get("points"), where))
    if element.tag == "box":
        left, top, right, bottom = take("xtl", "ytl", "xbr", "ybr")
        return Polygon(rectangle([left, top, right - left, bottom - top], turn, about="centre"))
    if element.tag == "ellipse":
        return Polygon(ellipse(take("cx", "cy", "rx", "ry"), turn))
    return _mask(element, where) if element.tag == "mask" else None


def _points(value: str | None, where: str) -> Points:
    pairs = [pair.split(",") for pair in reading.as_text(value, where, "points").split(";")]
    return reading.as_points(pairs, where, "points")


def _mask(element: ET.Element, where: str) -> Stamp:
    left, top, width, height = (
        reading.as_integer(element.get(key), where, key) for key in ("left", "top", "width", "height")
    )
    code = reading.as_text(element.get("rle"), where, "rle")
    counts = reading.as_integers(code.split(","), where, "rle")

    def decode(size: Size) -> Pixels:
        if not (0 < height <= size[0] and 0 < width <= size[1]):
            raise FormatError(f"its mask is {width}×{height}; expected 1×1 to {size[1]}×{size[0]}")
        return decode_runs(counts, (height, width))

    return Stamp(left, top, decode)
