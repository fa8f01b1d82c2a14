"""`python -m segkit.annotations`: what only one of the tools has."""

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import annotation_files as files
import numpy as np
import pytest
from annotation_files import CRACK, HEIGHT, NAMES, WIDTH, scene, write
from conftest import read_picture
from PIL import Image
from test_annotations import convert, mask_of, painted
from test_annotations import place as place

from segkit.datasets.from_annotations import make_data_set
from segkit.formats.brush import encode_brush
from segkit.formats.model import FormatError
from segkit.formats.runs import counts_to_text, encode_runs


def coco_with(segmentation: Any, **more: Any) -> Any:
    document = files.coco(NAMES[:1])
    entry = document["annotations"][0] | {"segmentation": segmentation} | more
    return document | {"annotations": [entry]}


def test_coco_runs_as_numbers_and_as_text(place: Path) -> None:
    crack = scene() == 1
    counts = encode_runs(crack, by_column=True)
    write(place / "a.json", coco_with({"size": [HEIGHT, WIDTH], "counts": counts}))
    assert ((painted(place, "a.json", classes=["crack"]) > 0) == crack).all()
    write(place / "b.json", coco_with({"size": [HEIGHT, WIDTH], "counts": counts_to_text(counts)}))
    make_data_set(place / "b.json", place / "photos", place / "b", classes=["crack"])
    assert (read_picture(place / "b" / "masks" / "p0.png", 0) == mask_of(place)).all()


def test_coco_crowds_lie_below_and_several_polygons_are_one_object(place: Path) -> None:
    document = files.coco(NAMES[:1])
    whole = [0, 0, WIDTH, 0, WIDTH, HEIGHT, 0, HEIGHT]
    document["annotations"].append(document["annotations"][1] | {"id": 9, "segmentation": [whole], "iscrowd": 1})
    document["annotations"][0]["segmentation"].append([0, 0, 5, 0, 5, 5, 0, 5])
    write(place / "a.json", document)
    mask = painted(place, "a.json")
    assert mask[20, 20] == 1  # not under the crowd, though that is listed later
    assert (mask == 1).sum() == 425
    assert (mask == 2).sum() == WIDTH * HEIGHT - 425


def test_a_class_that_is_declared_only(place: Path) -> None:
    document = files.coco()
    document["categories"].insert(0, {"id": 0, "name": "cracks", "supercategory": "none"})
    write(place / "a.json", document)
    said = "\n".join(convert(place, "a.json"))
    assert "no object: cracks ('classes=[crack,road]' leaves such classes out)" in said
    assert "'dataset.classes=[background,cracks,crack,road]'" in said


def test_later_objects_lie_on_earlier_ones(place: Path) -> None:
    document = files.via(NAMES[:1])
    over = files.via_region("road", {"name": "rect", "x": 20, "y": 20, "width": 20, "height": 20})
    (entry,) = document["_via_img_metadata"].values()
    entry["regions"].append(over)
    write(place / "a.json", document)
    assert painted(place, "a.json")[25, 25] == 2


def test_via_shapes(place: Path) -> None:
    shapes = [
        {"name": "circle", "cx": 30, "cy": 20, "r": 10},
        {"name": "ellipse", "cx": 30, "cy": 20, "rx": 15, "ry": 5, "theta": 0.5},
        files.via_polygon([*CRACK, CRACK[0]]) | {"name": "polyline"},
        files.via_polygon(CRACK) | {"name": "polyline"},
        {"name": "point", "cx": 3, "cy": 4},
    ]
    areas = [np.pi * 100, np.pi * 75, 400, 0, 0]
    for at, (shape, area) in enumerate(zip(shapes, areas, strict=True)):
        document = files.via(NAMES[:1])
        (entry,) = document["_via_img_metadata"].values()
        entry["regions"] = [files.via_region("crack", shape)]
        write(place / "a.json", document)
        output = place / f"out{at}"
        said = "\n".join(make_data_set(place / "a.json", place / "photos", output, classes=["crack"]))
        mask = read_picture(output / "masks" / "p0.png", 0)
        assert (mask > 0).sum() == pytest.approx(area, rel=0.03)
        assert (f"left out: 1 × {shape['name']} (p0.png7301, region 0)" in said) == (area == 0)


def test_via_exported_annotations_and_version_1(place: Path) -> None:
    entries = files.via()["_via_img_metadata"]
    for entry in entries.values():
        entry["regions"] = {str(at): one for at, one in enumerate(entry["regions"])}
    write(place / "a.json", entries)
    assert (painted(place, "a.json") == scene()).all()


def test_via_attributes(place: Path) -> None:
    document = files.via()
    for entry in document["_via_img_metadata"].values():
        for region in entry["regions"]:
            region["region_attributes"]["sure"] = {"yes": True}
    write(place / "a.json", document)
    with pytest.raises(FormatError, match=r"several region attributes: class, sure\. Say which .*label=class\."):
        convert(place, "a.json")
    with pytest.raises(FormatError, match=r"label=klass: .* has no such region attribute; it has class, sure"):
        convert(place, "a.json", label="klass")
    assert (painted(place, "a.json", label="class") == scene()).all()


def test_via_without_attributes_has_one_class(place: Path) -> None:
    document = files.via()
    document["_via_attributes"]["region"] = {}
    for entry in document["_via_img_metadata"].values():
        for region in entry["regions"]:
            region["region_attributes"] = {}
    write(place / "a.json", document)
    assert "'dataset.classes=[foreground]'" in convert(place, "a.json")[-1]
    assert (mask_of(place) > 0).sum() == 600


def test_via_options_and_objects_without_a_class(place: Path) -> None:
    document = files.via(NAMES[:1])
    document["_via_attributes"]["region"]["class"]["options"] = {"1": "road", "2": "crack"}
    (entry,) = document["_via_img_metadata"].values()
    for region, number in zip(entry["regions"], ("2", "1"), strict=True):
        region["region_attributes"]["class"] = number
    entry["regions"].append(files.via_region("", files.via_polygon(CRACK)))
    write(place / "a.json", document)
    said = "\n".join(convert(place, "a.json"))
    assert "left out: 1 × object without class (p0.png7301, region 2)" in said
    assert "0 background, 1 road, 2 crack" in said  # as the file declares them


def png_code(pixels: np.ndarray, zipped: bool, mode: str = "L") -> str:
    picture = Image.fromarray(pixels.astype(np.uint8) * 255)
    if mode == "RGBA":
        alpha, picture = picture, Image.new("RGBA", picture.size, (0, 0, 0, 255))
        picture.putalpha(alpha)
    stream = io.BytesIO()
    (picture.convert("1") if mode == "1" else picture).save(stream, "PNG")
    content = zlib.compress(stream.getvalue()) if zipped else stream.getvalue()
    return base64.b64encode(content).decode()


def test_labelme_circles_and_masks(place: Path) -> None:
    ring = np.ones((9, 7), np.bool_)
    ring[3:5, 3:5] = False
    document = files.labelme("p0.png")
    document["shapes"] = [
        {"label": "crack", "shape_type": "mask", "points": [[40, 20], [46, 28]], "mask": png_code(ring, False)},
        {"label": "crack", "shape_type": "circle", "points": [[12, 12], [17, 12]]},
        {"label": "crack", "shape_type": "linestrip", "points": [[0, 0], [5, 5]]},
    ]
    write(place / "a.json", document)
    said = "\n".join(convert(place, "a.json"))
    assert "left out: 1 × linestrip (" in said
    mask = mask_of(place) > 0
    assert (mask[20:29, 40:47] == ring).all()
    assert mask[:, :30].sum() == pytest.approx(np.pi * 25, rel=0.05)


def test_labelme_rectangles_of_four_points(place: Path) -> None:
    document = files.labelme("p0.png")
    document["shapes"][1] |= {"points": [[35, 5], [55, 5], [55, 15], [35, 15]]}
    write(place / "a.json", document)
    assert (painted(place, "a.json") == scene()).all()


def test_labelme_pictures_beside_it_or_elsewhere(place: Path) -> None:
    write(place / "labels" / "p0.json", files.labelme("../photos/p0.png"))
    write(place / "labels" / "p1.json", files.labelme("..\\photos\\p1.png"))
    convert(place, "labels")
    assert (mask_of(place, "p1") == scene()).all()


def test_cvat_shapes_and_z_order(place: Path) -> None:
    row = [3, 2, 1, 2, 2]  # a mask of 5×2 pixels: 3 out, 2 in, 1 out, 2 in, 2 out
    more = (
        f'<mask label="road" rle="{", ".join(map(str, row))}" left="50" top="30" width="5" height="2" z_order="0"/>'
        '<ellipse label="road" cx="20" cy="20" rx="5" ry="5" z_order="-1"/>'
        '<box label="road" xtl="10" ytl="32" xbr="20" ybr="34" rotation="90" z_order="0"/>'
        '<polyline label="road" points="1,1;2,2;9,1"/><tag label="road"/><points label="road" points="1,1"/>'
    )
    write(place / "a.xml", files.cvat(NAMES[:1], more))
    said = "\n".join(convert(place, "a.xml"))
    mask = mask_of(place)
    assert mask[30:32, 50:55].tolist() == [[0, 0, 0, 2, 2], [0, 2, 2, 0, 0]]
    assert mask[20, 20] == 1  # above the ellipse of order −1
    assert np.argwhere(mask[28:] == 2).min(axis=0).tolist() == [0, 14]  # 10×2 about (15, 33), turned upright
    assert "left out: 1 × polyline (image 0, polyline 5)" in said
    assert "left out: 1 × points (image 0, points 7)" in said
    assert "tag" not in said


def test_a_mask_that_reaches_out_or_lies_outside(place: Path) -> None:
    runs = ", ".join(["0", "200"])  # 10×20 pixels
    inside, below, aside = (
        f'<mask label="road" rle="{runs}" left="{left}" top="{top}" width="10" height="20" z_order="0"/>'
        for left, top in ((55, 30), (0, 50), (70, 0))
    )
    write(place / "a.xml", files.cvat(NAMES[:1], inside + below + aside))
    said = "\n".join(convert(place, "a.xml"))
    assert (mask_of(place)[30:, 55:] == 2).all()
    assert (mask_of(place) == 2).sum() == 200 + 10 * 5
    assert "2 objects (p0.png, mask 3, p0.png, mask 4) left out: no pixel's centre is inside" in said


def test_label_studio_brushes_and_ellipses(place: Path) -> None:
    crack = scene() == 1
    task = files.label_studio(NAMES[:1])[0]
    brush = {"format": "rle", "rle": encode_brush(crack)}
    ellipse = {"x": 75, "y": 75, "radiusX": 10, "radiusY": 10, "rotation": 0}
    task["annotations"][0]["result"] = [
        files.label_studio_result("brushlabels", "crack", brush),
        files.label_studio_result("ellipselabels", "road", ellipse),
        files.label_studio_result("keypointlabels", "road", {"x": 1, "y": 1}),
        {"type": "choices", "value": {"choices": ["wet"]}, "id": "x"},
    ]
    write(place / "a.json", [task])
    said = "\n".join(convert(place, "a.json"))
    mask = mask_of(place)
    assert ((mask == 1) == crack).all()
    assert (mask == 2).sum() == pytest.approx(np.pi * 6 * 4, rel=0.1)
    assert "left out: 1 × keypoint (task 1, result 2)" in said


def test_label_studio_addresses_and_versions(place: Path) -> None:
    tasks = files.label_studio(NAMES[:4])
    tasks[0]["data"]["image"] = "/data/local-files/?d=photos/p0.png"
    tasks[1]["data"] = {"text": "x.y", "image": "/data/upload/p1.png"}
    tasks[2]["data"] = {"author": "somebody", "photo": "/data/upload/p2.png"}
    old = {"id": 8, "result": [], "updated_at": "2024-01-01"}
    tasks[2]["annotations"] = [tasks[2]["annotations"][0] | {"updated_at": "2024-02-01"}, old]
    tasks[3]["annotations"][0]["was_cancelled"] = True
    write(place / "a.json", tasks)
    said = "\n".join(convert(place, "a.json"))
    for name in ("p0", "p1", "p2"):
        assert (mask_of(place, name) == scene()).all()
    assert not mask_of(place, "p3").any()
    assert "1 picture with several annotations: the newest counts" in said
    assert "1 picture (4425adf4-p3.png) without objects: an empty mask" in said


def test_yolo_of_roboflow_and_boxes(place: Path) -> None:
    write(place / "yolo" / "data.yaml", "names: [road, crack]\n")
    write(place / "yolo" / "train" / "labels" / "p0.txt", "1 0 0 0.5 0 0.5 0.5 0 0.5\n0 0.5 0.5 0.2 0.2\n")
    write(place / "yolo" / "train" / "labels" / "p1.txt", "")
    files.write_photos(place / "yolo" / "train" / "images", NAMES[:2])
    said = "\n".join(make_data_set(place / "yolo", None, place / "out"))
    mask = read_picture(place / "out" / "masks" / "train" / "images" / "p0.png", 0)
    assert (mask == 2).sum() == WIDTH * HEIGHT / 4
    assert "left out: 1 × object with only a box (" in said
    assert "without objects" in said


def test_supervisely_points_between_pixels(place: Path) -> None:
    """A polygon of pixels has its outline, as in Supervisely; one with fractions is read as in other tools."""
    whole, part = files.supervisely_object("crack", CRACK), files.supervisely_object("road", CRACK)
    whole["points"]["exterior"] = [[2, 2], [2, 6], [6, 2]]
    part["points"]["exterior"] = [[22.5, 2.5], [22.5, 6.5], [26.5, 2.5]]
    box = {"classTitle": "road", "geometryType": "rectangle"}
    boxed = box | {"points": {"exterior": [[40.0, 10.5], [44.0, 12.5]], "interior": []}}
    write(
        place / "ann" / "p0.png.json",
        {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [whole, part, boxed]},
    )
    mask = painted(place, "ann")
    assert mask[2:7, 2:7].sum(axis=1).tolist() == [5, 4, 3, 2, 1]
    assert (mask[2:7, 22:27] == 2).sum(axis=1).tolist() == [4, 3, 2, 1, 0]  # the centres inside of the polygon
    assert (mask[:, 40:] == 2).sum() == 8


def test_supervisely_holes_rectangles_and_bitmaps(place: Path) -> None:
    pixels = np.ones((4, 6), np.bool_)
    pixels[0] = False
    bitmap = {"data": png_code(pixels, True, "RGBA"), "origin": [40, 30]}
    content = {
        "size": {"height": HEIGHT, "width": WIDTH},
        "objects": [
            files.supervisely_object("crack", CRACK, [[15, 15], [20, 15], [20, 20], [15, 20]]),
            {"classTitle": "road", "geometryType": "bitmap", "bitmap": bitmap},
            {
                "classTitle": "road",
                "geometryType": "rectangle",
                "points": {"exterior": [[50, 5], [52, 6]], "interior": []},
            },
            {"classTitle": "road", "geometryType": "line", "points": {"exterior": [[0, 0], [1, 1]], "interior": []}},
        ],
    }
    write(place / "ann" / "p0.png.json", content)
    said = "\n".join(convert(place, "ann"))
    mask = mask_of(place)
    assert (mask == 1).sum() == 400 - 25
    assert not mask[15:20, 15:20].any()
    assert (mask[30:34, 40:46] == 2 * pixels).all()
    assert (mask == 2).sum() == 18 + 6
    assert "left out: 1 × line (" in said
