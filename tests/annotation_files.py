"""Annotation files as each tool writes them, all of one scene: in a picture of 60×40 a crack, 20×20 at (10, 10), and a
road, 20×10 at (35, 5)."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

WIDTH, HEIGHT = 60, 40
NAMES = tuple(f"p{number}.png" for number in range(7))
Line = list[list[float]]
CRACK: Line = [[10, 10], [30, 10], [30, 30], [10, 30]]
ROAD: Line = [[35, 5], [55, 5], [55, 15], [35, 15]]
Json = dict[str, Any]


def scene() -> np.ndarray:
    """The scene's mask: 1 crack, 2 road."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:30, 10:30], mask[5:15, 35:55] = 1, 2
    return mask


def write_photos(folder: Path, names: Iterable[str] = NAMES, size: tuple[int, int] = (HEIGHT, WIDTH)) -> None:
    """Pictures of the scene on noise."""
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 90, (*size, 3), dtype=np.uint8)
        if size == (HEIGHT, WIDTH):
            pixels[scene() == 1] += 60
            pixels[scene() == 2] += 150
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def flat(points: Line) -> list[float]:
    return [value for point in points for value in point]


def coco(names: Iterable[str] = NAMES) -> Json:
    document: Json = {"info": {"description": ""}, "licenses": [], "images": [], "annotations": []}
    document["categories"] = [{"id": 7, "name": "crack", "supercategory": ""}, {"id": 3, "name": "road"}]
    for number, name in enumerate(names, start=1):
        document["images"].append(
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT, "license": 0, "date_captured": ""}
        )
        for category, points in ((7, CRACK), (3, ROAD)):
            low, high = np.min(points, axis=0), np.max(points, axis=0)
            document["annotations"].append(
                {
                    "id": len(document["annotations"]) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": [flat(points)],
                    "area": float(np.prod(high - low)),
                    "bbox": [*low.tolist(), *(high - low).tolist()],
                    "iscrowd": 0,
                }
            )
    return document


def via_region(label: str, shape: Json) -> Json:
    return {"shape_attributes": shape, "region_attributes": {"class": label}}


def via_polygon(points: Line) -> Json:
    return {"name": "polygon", "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}


def via(names: Iterable[str] = NAMES) -> Json:
    entries = {}
    for name in names:
        road = {"name": "rect", "x": 35, "y": 5, "width": 20, "height": 10}
        regions = [via_region("crack", via_polygon(CRACK)), via_region("road", road)]
        entries[f"{name}7301"] = {"filename": name, "size": 7301, "regions": regions, "file_attributes": {}}
    options = {"crack": "", "road": "Road surface"}
    attribute = {"type": "dropdown", "description": "", "options": options, "default_options": {}}
    return {
        "_via_settings": {"ui": {}, "core": {"buffer_size": 18}, "project": {"name": "via_project"}},
        "_via_img_metadata": entries,
        "_via_attributes": {"region": {"class": attribute}, "file": {}},
        "_via_data_format_version": "2.0.10",
        "_via_image_id_list": list(entries),
    }


def via3(names: Iterable[str] = NAMES) -> Json:
    names = list(names)
    document: Json = {
        "project": {"pid": "__VIA_PROJECT_ID__", "rev": "1", "data_format_version": "3.1.1", "vid_list": []},
        "config": {"file": {"loc_prefix": {"1": "", "2": "", "3": "", "4": ""}}, "ui": {}},
        "attribute": {
            "1": {
                "aname": "class",
                "anchor_id": "FILE1_Z0_XY1",
                "type": 4,
                "desc": "",
                "options": {"0": "crack", "1": "road"},
                "default_option_id": "",
            },
            "2": {"aname": "weather", "anchor_id": "FILE1_Z0_XY0", "type": 1, "options": {}},
        },
        "file": {},
        "metadata": {},
        "view": {},
    }
    for number, name in enumerate(names, start=1):
        key = str(number)
        document["file"][key] = {"fid": key, "fname": name, "type": 2, "loc": 1, "src": ""}
        document["view"][key] = {"fid_list": [key]}
        common: Json = {"vid": key, "flg": 0, "z": []}
        document["metadata"][f"{key}_aB3"] = common | {"xy": [7, *flat(CRACK)], "av": {"1": "0"}}
        document["metadata"][f"{key}_cD4"] = common | {"xy": [2, 35, 5, 20, 10], "av": {"1": "1"}}
        document["metadata"][f"{key}_eF5"] = common | {"xy": [], "av": {"2": "rain"}}
    return document


def labelme(name: str) -> Json:
    common: Json = {"group_id": None, "description": "", "flags": {}, "mask": None}
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": [
            {"label": "crack", "points": CRACK, "shape_type": "polygon"} | common,
            {"label": "road", "points": [[35, 5], [55, 15]], "shape_type": "rectangle"} | common,
        ],
        "imagePath": name,
        "imageData": None,
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }


def cvat(names: Iterable[str] = NAMES, more: str = "") -> str:
    labels = "".join(f"<label><name>{name}</name><type>any</type></label>" for name in ("crack", "road"))
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in CRACK)
    images = "".join(
        f'<image id="{number}" name="{name}" width="{WIDTH}" height="{HEIGHT}">'
        f'<polygon label="crack" source="manual" occluded="0" points="{points}" z_order="0"></polygon>'
        '<box label="road" occluded="0" xtl="35.00" ytl="5.00" xbr="55.00" ybr="15.00" z_order="0"></box>'
        f"{more}</image>"
        for number, name in enumerate(names)
    )
    meta = f"<meta><task><id>4</id><labels>{labels}</labels></task></meta>"
    return f'<?xml version="1.0" encoding="utf-8"?><annotations><version>1.1</version>{meta}{images}</annotations>'


def label_studio_result(kind: str, label: str, value: Json) -> Json:
    return {
        "id": f"{kind}-{label}",
        "from_name": "label",
        "to_name": "image",
        "type": kind,
        "origin": "manual",
        "image_rotation": 0,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": value | {kind: [label]},
    }


def label_studio(names: Iterable[str] = NAMES) -> list[Json]:
    tasks = []
    for number, name in enumerate(names, start=1):
        percent = [[x / WIDTH * 100, y / HEIGHT * 100] for x, y in CRACK]
        box = {"x": 35 / 0.6, "y": 5 / 0.4, "width": 20 / 0.6, "height": 10 / 0.4, "rotation": 0}
        results = [
            label_studio_result("polygonlabels", "crack", {"points": percent, "closed": True}),
            label_studio_result("rectanglelabels", "road", box),
        ]
        tasks.append(
            {
                "id": number,
                "annotations": [{"id": number, "was_cancelled": False, "ground_truth": False, "result": results}],
                "predictions": [],
                "file_upload": f"4425adf{number}-{name}",
                "data": {"image": f"/data/upload/2/4425adf{number}-{name}"},
                "project": 2,
            }
        )
    return tasks


def write_coco(folder: Path) -> None:
    write(folder / "coco.json", coco())


def write_via(folder: Path) -> None:
    write(folder / "via.json", via())


def write_via3(folder: Path) -> None:
    write(folder / "via3.json", via3())


def write_labelme(folder: Path) -> None:
    for name in NAMES:
        write(folder / "labelme" / f"{Path(name).stem}.json", labelme(name))


def write_cvat(folder: Path) -> None:
    write(folder / "annotations.xml", cvat())


def write_label_studio(folder: Path) -> None:
    write(folder / "project-2.json", label_studio())


def write_yolo(folder: Path) -> None:
    root = folder / "yolo"
    write(root / "data.yaml", "path: ../photos\ntrain: images/train\nnames:\n  0: crack\n  1: road\n")
    for name in NAMES:
        lines = [
            " ".join([str(number), *(f"{value:.8f}" for x, y in points for value in (x / WIDTH, y / HEIGHT))])
            for number, points in enumerate((CRACK, ROAD))
        ]
        write(root / "labels" / "train" / f"{Path(name).stem}.txt", "\n".join(lines) + "\n")


def to_pixels(line: Line) -> Line:
    """The pixels at the corners of a rectangle."""
    (left, top), (right, bottom) = np.min(line, axis=0).tolist(), np.max(line, axis=0).tolist()
    return [[left, top], [right - 1, top], [right - 1, bottom - 1], [left, bottom - 1]]


def supervisely_object(label: str, points: Line, *holes: Line) -> Json:
    """Its coordinates are pixels that belong to the object, or to the hole."""
    shape = {"exterior": to_pixels(points), "interior": [to_pixels(hole) for hole in holes]}
    return {"classTitle": label, "geometryType": "polygon", "description": "", "tags": [], "points": shape}


def write_supervisely(folder: Path) -> None:
    root = folder / "supervisely"
    classes = [{"title": name, "shape": "polygon", "color": "#F6FF00"} for name in ("crack", "road")]
    write(root / "meta.json", {"classes": classes, "tags": []})
    for name in NAMES:
        content = {
            "description": "",
            "tags": [],
            "size": {"height": HEIGHT, "width": WIDTH},
            "objects": [supervisely_object("crack", CRACK), supervisely_object("road", ROAD)],
        }
        write(root / "ds0" / "ann" / f"{name}.json", content)


TOOLS: dict[str, tuple[str, Callable[[Path], None]]] = {  # the input, and what writes it
    "coco": ("coco.json", write_coco),
    "via": ("via.json", write_via),
    "via3": ("via3.json", write_via3),
    "labelme": ("labelme", write_labelme),
    "cvat": ("annotations.xml", write_cvat),
    "label_studio": ("project-2.json", write_label_studio),
    "yolo": ("yolo", write_yolo),
    "supervisely": ("supervisely", write_supervisely),
}
