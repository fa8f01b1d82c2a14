"""Label Studio: a JSON list of tasks, each with a picture's address and what is drawn. Coordinates are percentages of
the picture's width and height. Polygons have no holes; brushed masks have a code of their own (see `brush`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import numpy as np

from segkit.console import format_count
from segkit.formats import reading
from segkit.formats.brush import decode_brush, encode_brush
from segkit.formats.model import (
    Annotations,
    FormatError,
    Json,
    Outline,
    Outlined,
    Part,
    Picture,
    Polygon,
    Shape,
    Size,
    Stamp,
)
from segkit.formats.raster import ellipse, rectangle

AREAS = ("polygon", "rectangle", "ellipse", "brush")
NOT_READ = ("keypoint", "bitmask", "vector")  # other things that can be drawn
LOCAL = "/data/local-files/?d="  # before the path of a picture on the server's disk
UPLOADED = re.compile(r"[0-9a-f]{8}-")  # what Label Studio prepends to the names of uploaded pictures
PICTURE = re.compile(r"\.(?!html?$|txt$)[a-z][a-z0-9]{2,3}(?:[?#].*)?$", re.IGNORECASE)  # the end of an address


def recognise(document: Any) -> bool:
    first = document[0] if isinstance(document, list) and document else None
    return isinstance(first, dict) and "data" in first and bool({"annotations", "predictions"} & first.keys())


def read(path: Path, document: list[Any]) -> Annotations:
    """The annotations in a JSON export. If a picture has several, the newest counts; cancelled ones do not. If no
    picture has any, the predictions are read."""
    found = Annotations("label_studio")
    tasks = [reading.as_mapping(task, f"{path}: task {at}", "it") for at, task in enumerate(document)]
    drawn = [_finished(task, "annotations", f"{path}: task {at}") for at, task in enumerate(tasks)]
    if not any(drawn):
        drawn = [_finished(task, "predictions", f"{path}: task {at}") for at, task in enumerate(tasks)]
        if any(drawn):
            found.remarks.append("no picture has an annotation: the predictions are read, which nobody has corrected")
    if several := sum(len(one) > 1 for one in drawn):
        found.remarks.append(f"{format_count(several, 'picture')} with several annotations: the newest counts")
    for at, (task, versions) in enumerate(zip(tasks, drawn, strict=True)):
        where = f"{path}: task {task.get('id', at)}"
        results = reading.as_list(versions[-1].get("result", []) if versions else [], where, "result")
        name = _picture(task, where)
        others = (UPLOADED.sub("", name, count=1),) if UPLOADED.match(name) else ()
        shapes, size = _shapes(results, where, found)
        found.pictures.append(Picture(name, tuple(shapes), where, size, others=others))
    return found


def _finished(task: Json, key: str, where: str) -> list[Json]:
    entries = [reading.as_mapping(one, where, key) for one in reading.as_list(task.get(key, []), where, key)]
    entries = [one for one in entries if not one.get("was_cancelled")]
    return sorted(entries, key=lambda one: str(one.get("updated_at", "")))


def _picture(task: Json, where: str) -> str:
    """The name of a task's picture; for an address on the server, the part that stands for the file."""
    data = reading.as_mapping(task["data"], where, "data") if "data" in task else {}
    texts = [value for value in data.values() if isinstance(value, str)]
    named = [data["image"]] if isinstance(data.get("image"), str) else list(filter(PICTURE.search, texts))
    address = reading.as_text(next(iter(named or texts), None), where, "the picture's address in data")
    parts = urlsplit(address)
    if not parts.scheme and parts.path.endswith("/local-files/"):
        return unquote(parse_qs(parts.query).get("d", [""])[0]).replace("\\", "/").lstrip("/") or address
    if not parts.scheme and (found := re.fullmatch(r"/data/upload/(?:\d+/)?([^/]+)", parts.path)):
        return unquote(found[1])
    return address


def _shapes(results: Sequence[Any], where: str, found: Annotations) -> tuple[list[Shape], Size | None]:
    entries = [reading.as_mapping(one, f"{where}, result {at}", "it") for at, one in enumerate(results)]
    keys = [str(entry.get("id", f"result {at}")) for at, entry in enumerate(entries)]
    labels = {key: names for key, one in zip(keys, entries, strict=True) if (names := _labels(one))}  # maybe of another
    shapes, sizes = [], set()
    for at, entry in enumerate(entries):
        here = f"{where}, result {at}"
        kind = str(entry.get("type", "")).removesuffix("labels")
        if kind in NOT_READ:
            found.left_out[kind].append(here)
        if kind not in AREAS:  # such as the choices of a whole picture
            continue
        names = labels.get(keys[at], [])
        if not names:
            found.left_out["object without a label"].append(here)
            continue
        size = reading.as_size(entry.get("original_height"), entry.get("original_width"), here)
        if entry.get("image_rotation"):
            raise FormatError(
                f"{here}: the picture was turned in Label Studio, which segkit cannot read. Turn it back."
            )
        sizes.add(size)
        value = reading.as_mapping(entry.get("value"), here, "value")
        part = _part(kind, value, size, here)
        shapes += [Shape(name, (part,), f"result {at}") for name in names]
    if len(sizes) > 1:
        raise FormatError(
            f"{where}: its objects state {len(sizes)} different sizes of the picture; expected one. {reading.AGAIN}"
        )
    return shapes, next(iter(sizes), None)


def _labels(entry: Json) -> list[str]:
    value = entry.get("value")
    names = value.get(str(entry.get("type")), value.get("labels")) if isinstance(value, dict) else None
    return [name.strip() for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _part(kind: str, value: Mapping[str, Any], size: Size, where: str) -> Part:
    by = np.array([size[1], size[0]], float) / 100

    def take(*keys: str) -> list[float]:
        found = [reading.as_number(value.get(key), where, key) for key in keys]
        scaled: list[float] = (np.array(found) * np.resize(by, len(found))).tolist()
        return scaled

    if kind == "polygon":
        return Polygon(reading.as_points(value.get("points"), where, "points") * by)
    if kind == "brush":
        code = reading.as_integers(value.get("rle"), where, "rle")
        if code and not (min(code) >= 0 and max(code) <= 255):
            raise FormatError(f"{where}: its rle has {min(code)} to {max(code)}; expected bytes, 0 to 255.")

        def decode(real: Size) -> Any:
            return decode_brush(code, real)

        return Stamp(0, 0, decode)
    turn = reading.as_number(value.get("rotation", 0), where, "rotation")
    if kind == "rectangle":
        return Polygon(rectangle(take("x", "y", "width", "height"), turn))
    return Polygon(ellipse(take("x", "y", "radiusX", "radiusY"), turn))


def write(pictures: Iterable[Outlined], prefix: str) -> list[Json]:
    """Tasks with predictions, for correction in Label Studio. prefix: what precedes a picture's name in its address."""
    tasks = []
    for number, picture in enumerate(pictures, start=1):
        results = [_result(outline, picture.size, f"{number}-{at}") for at, outline in enumerate(picture.outlines)]
        data = {"image": f"{prefix}{quote(picture.name)}"}
        tasks.append({"id": number, "data": data, "predictions": [{"model_version": "segkit", "result": results}]})
    return tasks


def _result(outline: Outline, size: Size, key: str) -> Json:
    height, width = size
    common = {"id": key, "to_name": "image", "image_rotation": 0, "original_width": width, "original_height": height}
    if not outline.polygon.holes:
        points = (outline.polygon.outer * 100 / [width, height]).tolist()
        value = {"points": points, "closed": True, "polygonlabels": [outline.label]}
        return common | {"from_name": "polygon", "type": "polygonlabels", "value": value}
    whole = np.zeros(size, np.bool_)
    rows, columns = outline.pixels.shape
    whole[outline.top : outline.top + rows, outline.left : outline.left + columns] = outline.pixels
    value = {"format": "rle", "rle": encode_brush(whole), "brushlabels": [outline.label]}
    return common | {"from_name": "brush", "type": "brushlabels", "value": value}


def labelling_config(classes: Sequence[str]) -> str:
    """The labelling interface for the tasks, to be pasted into the project's settings."""
    escaped = [re.sub('[&<>"]', lambda found: f"&#{ord(found[0])};", name) for name in classes]
    labels = "".join(f'<Label value="{name}"/>' for name in escaped)
    return (
        '<View><Image name="image" value="$image"/>'
        f'<PolygonLabels name="polygon" toName="image">{labels}</PolygonLabels>'
        f'<BrushLabels name="brush" toName="image">{labels}</BrushLabels></View>'
    )
