"""VGG Image Annotator (VIA), versions 2 and 3. The class of an object is one of its attributes, of any name."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from segkit.formats import reading
from segkit.formats.model import Annotations, FormatError, Json, Picture, Points, Polygon, Shape
from segkit.formats.raster import ellipse, rectangle

UNNAMED = "foreground"  # the class if objects have no attributes
SHAPES_3 = {
    1: "point",
    2: "rect",
    3: "circle",
    4: "ellipse",
    5: "line",
    6: "polyline",
    7: "polygon",
    8: "extreme rectangle",
    9: "extreme circle",
}


def recognise(document: Any) -> bool:
    return is_version_3(document) or find_regions(document) is not None


def is_version_3(document: Any) -> bool:
    return isinstance(document, dict) and {"project", "file", "view", "metadata"} <= document.keys()


def find_regions(document: Any) -> Any:
    """The entries of pictures in a version 2 project, or in annotations exported from it; None if there are none."""
    if isinstance(document, dict) and "_via_img_metadata" in document:
        return document["_via_img_metadata"]
    if isinstance(document, dict) and document:
        first = next(iter(document.values()))
        return document if isinstance(first, dict) and {"filename", "regions"} <= first.keys() else None
    return None


def read(path: Path, document: Json, label: str | None) -> Annotations:
    """The annotations in a VIA file. label: the attribute that holds the class; None if there is only one."""
    return _read_3(path, document, label) if is_version_3(document) else _read_2(path, document, label)


def _read_2(path: Path, document: Json, label: str | None) -> Annotations:
    found = Annotations("via")
    attributes = document.get("_via_attributes", {}) if "_via_img_metadata" in document else {}
    known = attributes.get("region", {}) if isinstance(attributes, dict) else {}
    options = {str(name): _options(one) for name, one in known.items()} if isinstance(known, dict) else {}
    entries = reading.as_mapping(find_regions(document), str(path), "_via_img_metadata")
    pictures: list[tuple[str, str, list[Json]]] = []
    for key, entry in entries.items():
        where = f"{path}: {key}"
        entry = reading.as_mapping(entry, where, "it")
        regions = entry.get("regions", [])
        regions = list(regions.values()) if isinstance(regions, dict) else reading.as_list(regions, where, "regions")
        regions = [reading.as_mapping(one, f"{where}, region {at}", "it") for at, one in enumerate(regions)]
        pictures.append((reading.as_text(entry.get("filename"), where, "filename"), where, regions))
    used = [one.get("region_attributes") for _, _, regions in pictures for one in regions]
    names = [str(name) for one in used if isinstance(one, dict) for name in one]
    label = choose_attribute(path, label, [*options, *names])
    for name, where, regions in pictures:
        shapes: list[Shape] = []
        for at, region in enumerate(regions):
            here = f"{where}, region {at}"
            geometry = reading.as_mapping(region.get("shape_attributes"), here, "shape_attributes")
            kind = reading.as_text(geometry.get("name"), here, "the shape's name")
            points = _points_2(kind, geometry, here)
            given = region.get("region_attributes") or {}
            value = reading.as_mapping(given, here, "region_attributes").get(label) if label else UNNAMED
            _add(found, shapes, kind, points, value, options.get(label or "", {}), label, here, f"region {at}")
        found.pictures.append(Picture(name, tuple(shapes), where))
    found.declared = list(options.get(label or "", {}).values())
    return found


def _read_3(path: Path, document: Json, label: str | None) -> Annotations:
    found = Annotations("via")
    files, views = (reading.as_mapping(document[key], str(path), key) for key in ("file", "view"))
    regions = reading.as_mapping(document["metadata"], str(path), "metadata")
    attributes = reading.as_mapping(document.get("attribute", {}), str(path), "attribute")
    of_regions = {
        str(number): one
        for number, one in attributes.items()
        if isinstance(one, dict) and "XY1" in str(one.get("anchor_id", "XY1"))
    }
    names = {str(one.get("aname", number)): number for number, one in of_regions.items()}
    label = choose_attribute(path, label, list(names))
    number = names.get(label or "", "")
    options = _options(of_regions.get(number, {}), texts=True)
    shapes: dict[str, list[Shape]] = {str(view): [] for view in views}
    for key, region in regions.items():
        here = f"{path}: metadata {key}"
        region = reading.as_mapping(region, here, "it")
        xy = reading.as_numbers(region.get("xy", []), here, "xy")
        view = str(region.get("vid"))
        if not len(xy):  # it describes the whole picture
            continue
        if view not in shapes:
            raise FormatError(f"{here}: vid is {view}; expected one of view: {list(shapes)[:20]}. {reading.AGAIN}")
        kind = SHAPES_3.get(int(xy[0]) if math.isfinite(xy[0]) else 0, f"shape {xy[0]:g}")
        values = reading.as_mapping(region.get("av") or {}, here, "av")
        value = values.get(number) if number else UNNAMED
        _add(
            found,
            shapes[view],
            kind,
            _points_3(kind, xy[1:].tolist(), here),
            value,
            options,
            label,
            here,
            f"metadata {key}",
        )
    for view, entry in views.items():
        where = f"{path}: view {view}"
        fids = reading.as_list(reading.as_mapping(entry, where, "it").get("fid_list"), where, "fid_list")
        if len(fids) != 1 or str(fids[0]) not in files:
            raise FormatError(f"{where}: its fid_list is {fids}; expected one file, listed in file.")
        file = reading.as_mapping(files[str(fids[0])], f"{path}: file {fids[0]}", "it")
        name = reading.as_text(file.get("fname"), f"{path}: file {fids[0]}", "fname")
        found.pictures.append(Picture(name, tuple(shapes[str(view)]), f"{path}: file {fids[0]}"))
    found.declared = list(options.values())
    return found


def choose_attribute(path: Path, label: str | None, attributes: list[str]) -> str | None:
    """The attribute that holds the class: the one named, or the only one there is; None if there is none."""
    known = list(dict.fromkeys(attributes))
    listed = ", ".join(known) or "none"
    if label is not None and label not in known:
        raise FormatError(f"label={label}: {path} has no such region attribute; it has {listed}.")
    if label is None and len(known) > 1:
        raise FormatError(
            f"{path} has several region attributes: {listed}. Say which one holds the class, such as label={known[0]}."
        )
    return label or (known[0] if known else None)


def _options(attribute: Any, texts: bool = False) -> dict[str, str]:
    """The classes that an attribute offers, by the key that objects refer to. A class's name is the option's text if
    `texts` (version 3) or if the key is a number, else the key."""
    options = attribute.get("options") if isinstance(attribute, dict) else None
    found = options.items() if isinstance(options, dict) else ()
    return {
        str(key): text.strip() if isinstance(text, str) and text.strip() and (texts or str(key).isdigit()) else str(key)
        for key, text in found
    }


def _add(
    found: Annotations,
    shapes: list[Shape],
    kind: str,
    points: Points | None,
    value: Any,
    options: Mapping[str, str],
    label: str | None,
    where: str,
    title: str,
) -> None:
    """Add an object; what has no area or no class is left out and listed."""
    if points is None:
        found.left_out[kind].append(where)
        return
    if isinstance(value, dict):  # from checkboxes
        value = ",".join(str(key) for key, checked in value.items() if checked)
    if value is None or not str(value).strip():
        found.left_out[f"object without {label}"].append(where)
        return
    chosen = str(value).strip()
    if chosen not in options and "," in chosen and set(chosen.split(",")) <= options.keys():
        raise FormatError(f"{where}: {label} is {chosen}; expected one class.")
    shapes.append(Shape(options.get(chosen, chosen), (Polygon(points),), title))


def _points_2(kind: str, geometry: Json, where: str) -> Points | None:
    def take(*keys: str) -> list[float]:
        return [reading.as_number(geometry.get(key), where, key) for key in keys]

    if kind in ("polygon", "polyline"):
        points = reading.as_xy_points(geometry.get("all_points_x"), geometry.get("all_points_y"), where)
        return points if kind == "polygon" or is_closed(points) else None
    if kind == "rect":
        return rectangle(take("x", "y", "width", "height"))
    if kind == "circle":
        x, y, radius = take("cx", "cy", "r")
        return ellipse([x, y, radius, radius])
    if kind == "ellipse":
        turn = math.degrees(reading.as_number(geometry.get("theta", 0), where, "theta"))
        return ellipse(take("cx", "cy", "rx", "ry"), turn)
    return None


def _points_3(kind: str, xy: list[float], where: str) -> Points | None:
    needed = {"rect": 4, "circle": 3, "ellipse": 4}.get(kind, len(xy) // 2 * 2)
    if len(xy) < needed or (kind in ("polygon", "polyline") and len(xy) % 2):
        raise FormatError(f"{where}: its {kind} has {len(xy)} numbers; expected {needed}. {reading.AGAIN}")
    if kind in ("polygon", "polyline"):
        points = np.array(xy, float).reshape(-1, 2)
        return points if kind == "polygon" or is_closed(points) else None
    if kind == "rect":
        return rectangle(xy[:4])
    if kind == "circle":
        return ellipse([xy[0], xy[1], xy[2], xy[2]])
    return ellipse(xy[:4]) if kind == "ellipse" else None


def is_closed(points: Points) -> bool:
    """Whether a line ends where it begins."""
    return len(points) > 3 and bool((points[0] == points[-1]).all())
