"""`python -m segkit.annotations`: from each tool to a data set that trains, and from masks to files for the tools."""

import base64
import io
import json
import shlex
import zlib
from pathlib import Path
from typing import Any

import annotation_files as files
import cv2
import numpy as np
import pytest
from annotation_files import CRACK, HEIGHT, NAMES, WIDTH, scene, write
from conftest import TINY_NET, read_picture, results, segkit
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from segkit.configs.kinds import kinds_of
from segkit.datasets.findings import DataError
from segkit.datasets.from_annotations import list_argument, make_data_set
from segkit.datasets.to_annotations import write_annotations
from segkit.formats import recognise
from segkit.formats.brush import encode_brush
from segkit.formats.model import FormatError
from segkit.formats.runs import counts_to_text, encode_runs


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with `photos`."""
    files.write_photos(tmp_path / "photos")
    return tmp_path


def convert(place: Path, source: str, **settings: Any) -> list[str]:
    return make_data_set(place / source, place / "photos", place / "out", **settings)


def mask_of(place: Path, name: str = "p0") -> np.ndarray:
    return read_picture(place / "out" / "masks" / f"{name}.png", cv2.IMREAD_UNCHANGED)


def painted(place: Path, source: str, **settings: Any) -> np.ndarray:
    """The mask of p0 after a conversion."""
    convert(place, source, **settings)
    return mask_of(place)


@pytest.mark.parametrize("tool", files.TOOLS)
def test_every_tool_gives_the_same_masks(place: Path, tool: str) -> None:
    source, make = files.TOOLS[tool]
    make(place)
    said = "\n".join(convert(place, source))
    assert (mask_of(place) == scene()).all()
    assert sorted(path.name for path in (place / "out" / "masks").iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (place / "out" / "images" / name).read_bytes() == (place / "photos" / name).read_bytes()
    title = recognise.TITLES[tool.removesuffix("3")]
    assert f"{place / source} is {title} and lists 7 pictures; drawn: 14 objects (crack 7, road 7)" in said
    assert "(numbers: 0 background, 1 crack, 2 road)" in said
    assert "'dataset.classes=[background,crack,road]'" in said
    assert [path.name for path in (place / "out").iterdir() if path.name.startswith(".")] == []


def test_the_printed_line_trains(place: Path) -> None:
    files.write_via(place)
    done = segkit(
        "from=via",
        "input=via.json",
        "images=photos/",
        "output=my data",
        "classes=[crack]",
        cwd=place,
        module="annotations",
    )
    assert done.returncode == 0, done.stderr
    assert "7 objects of other classes left out: road 7" in done.stdout
    line = next(line for line in done.stdout.splitlines() if line.startswith("Train: python -m segkit.train "))
    words = shlex.split(line)[4:]
    tiny = ("dataset.size=32", "dataset.batch_size=2", "callbacks.pictures=null", *TINY_NET, "hydra.run.dir=run")
    done = segkit(*words, *tiny, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "test/iou" in results(place / "run")["metrics"]


def test_several_classes_train(place: Path) -> None:
    files.write_coco(place)
    done = segkit("input=coco.json", "images=photos", "output=out", cwd=place, module="annotations")
    assert done.returncode == 0, done.stderr
    words = shlex.split(next(line for line in done.stdout.splitlines() if line.startswith("Train: ")))[4:]
    tiny = ("dataset.size=32", "dataset.batch_size=2", "callbacks.pictures=null", *TINY_NET, "hydra.run.dir=run")
    done = segkit(*words, *tiny, cwd=place)
    assert done.returncode == 0, done.stderr
    assert "test/iou/road" in results(place / "run")["metrics"]


def test_names_of_classes_are_typed_as_they_are() -> None:
    names = ["crack", "two words", "a,b", 'inch "', "Riß", "7", "null", "it's", "a:b"]
    (word,) = shlex.split(list_argument("dataset.classes", names))
    (parsed,) = OverridesParser.create().parse_overrides([word])
    value = parsed.value()
    assert isinstance(value, list)
    assert [getattr(one, "text", one) for one in value] == names
    assert list_argument("dataset.classes", ["crack"]) == "'dataset.classes=[crack]'"


def test_one_class_has_black_and_white(place: Path) -> None:
    files.write_via3(place)
    assert np.unique(painted(place, "via3.json", classes=["road"])).tolist() == [0, 255]
    assert mask_of(place).sum() == 200 * 255


def test_fewer_than_six_pictures_are_said(place: Path) -> None:
    write(place / "via.json", files.via(NAMES[:2]))
    said = convert(place, "via.json")
    assert "Training needs 6 pictures at least: annotate 4 more." in said
    assert f"5 pictures of {place / 'photos'} left out, not in via.json" in said


# What only one of the tools has.


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
        assert (f"1 entry left out, no areas: {shape['name']} 1" in said) == (area == 0)


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
    with pytest.raises(FormatError, match=r"several attributes of regions: class, sure\. Say which .*: label=class\."):
        convert(place, "a.json")
    with pytest.raises(FormatError, match=r"label=klass: .* has no such attribute of regions; it has class, sure"):
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
    assert "object without class 1" in said
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
    assert "no areas: linestrip 1" in said
    mask = mask_of(place) > 0
    assert (mask[20:29, 40:47] == ring).all()
    assert mask[:, :30].sum() == pytest.approx(np.pi * 25, rel=0.05)


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
    assert "2 entries left out, no areas: polyline 1, points 1" in said


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
    assert "no areas: keypoint 1" in said


def test_label_studio_addresses_and_versions(place: Path) -> None:
    tasks = files.label_studio(NAMES[:4])
    tasks[0]["data"]["image"] = "/data/local-files/?d=photos/p0.png"
    tasks[1]["data"] = {"text": "x.y", "image": "/data/upload/p1.png"}
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
    assert "object with a box alone 1" in said
    assert "without objects" in said


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
    assert (mask[30:34, 40:46] == 2 * pixels).all()
    assert (mask == 2).sum() == 18 + 6
    assert "no areas: line 1" in said


# Settings.


def test_pictures_without_objects(place: Path) -> None:
    document = files.coco()
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != 3]
    write(place / "a.json", document)
    said = "\n".join(convert(place, "a.json"))
    assert "1 picture (p2.png) without objects: an empty mask (unlabelled=skip leaves such pictures out)" in said
    assert not mask_of(place, "p2").any()
    said = "\n".join(make_data_set(place / "a.json", place / "photos", place / "less", unlabelled="skip"))
    assert "1 picture (p2.png) without objects: left out" in said
    assert len(list((place / "less" / "images").iterdir())) == 6


def test_missing_pictures(place: Path) -> None:
    write(place / "a.json", files.coco([*NAMES, "gone.png", "lost.png"]))
    with pytest.raises(
        DataError, match=r"(?s)2 pictures that are not there:.*no gone\.png.*no lost\.png.*missing=skip"
    ):
        convert(place, "a.json")
    assert not (place / "out").exists()
    said = "\n".join(convert(place, "a.json", missing="skip"))
    assert f"2 pictures (gone.png, lost.png) left out, not in {place / 'photos'}" in said


@pytest.mark.parametrize(
    "name",
    [
        "https://host/x/p0.png?X-Amz-Date=1",
        "s3://bucket/p0.png",
        "/home/somebody/p0.png",
        "C:\\Users\\somebody\\p0.png",
        "\\\\host\\share\\p0.png",
        "../../p0.png",
        "sub/../../p0.png",
    ],
)
def test_names_that_lead_elsewhere_are_looked_up_if_asked_for(place: Path, name: str) -> None:
    write(place / "a.json", files.coco([name]))
    with pytest.raises(DataError, match=r"image 1: .* is an? (address|path).*\n.*by_name=true"):
        convert(place, "a.json")
    convert(place, "a.json", by_name=True)
    assert (mask_of(place) == scene()).all()


def test_folders_of_pictures(place: Path) -> None:
    files.write_photos(place / "deep" / "train", ["a.png"])
    files.write_photos(place / "deep" / "val", ["a.png", "b.png"])
    write(place / "a.json", files.coco(["train/a.png", "val/a.png", "b.png"]))
    make_data_set(place / "a.json", place / "deep", place / "out")
    assert (place / "out" / "masks" / "train" / "a.png").is_file()
    # from deeper inside, of a longer name the end counts
    write(place / "b.json", files.coco(["train/a.png"]))
    make_data_set(place / "b.json", place / "deep" / "train", place / "inner")
    # of a shorter one there may be several
    write(place / "c.json", files.coco(["a.png"]))
    with pytest.raises(DataError, match=r"a\.png may be train/a\.png or val/a\.png"):
        make_data_set(place / "c.json", place / "deep", place / "other")
    # and a picture of another folder is another picture
    write(place / "d.json", files.coco(["test/b.png"]))
    with pytest.raises(DataError, match=r"there is no test/b\.png"):
        make_data_set(place / "d.json", place / "deep", place / "other")


def test_turned_photos_are_named(place: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(place / "photos" / "p0.jpg", exif=exif)
    write(place / "a.json", files.coco(["p0.jpg"]))
    with pytest.raises(DataError, match=r"is 40×60, turned by its EXIF orientation, but .* says 60×40"):
        convert(place, "a.json")


def test_the_formats_of_the_settings_are_those_there_are() -> None:
    kinds = kinds_of("annotations")
    assert all(kinds["from"].fits(name) for name in ("auto", *recognise.READ))
    assert all(kinds["to"].fits(name) for name in recognise.WRITTEN)
    assert kinds["from"].words.count(",") == len(recognise.READ) - 1


# Back to the tools.


def ring_and_blobs() -> np.ndarray:
    """Numbers 0 to 2: a ring, blobs, and a single pixel."""
    mask = np.zeros((90, 120), np.uint8)
    noise = cv2.GaussianBlur(np.random.default_rng(3).random(mask.shape), (0, 0), 4)
    mask[noise > 0.52] = 2
    cv2.circle(mask, (60, 45), 25, 1, -1)
    cv2.circle(mask, (60, 45), 12, 0, -1)
    cv2.circle(mask, (60, 45), 5, 2, -1)
    mask[0, 0] = 1
    return mask


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A folder with `photos` and `masks` of three numbers."""
    files.write_photos(tmp_path / "photos", ["a.png", "deep/b.png"], (90, 120))
    (tmp_path / "masks" / "deep").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), ring_and_blobs())
    cv2.imwrite(str(tmp_path / "masks" / "deep" / "b.png"), ring_and_blobs()[::-1])
    return tmp_path


CLASSES = ["background", "crack", "road"]


@pytest.mark.parametrize(
    ("to", "settings"),
    [
        ("coco", {}),
        ("coco", {"rle": "all"}),
        ("labelme", {}),
        ("label_studio", {}),
        ("label_studio", {"prefix": "/data/upload/3/"}),
        ("coco", {"tolerance": 0.0}),
    ],
)
def test_masks_survive_a_tool(masks: Path, to: str, settings: dict[str, Any]) -> None:
    """All of them, holes and single pixels included: outlines that move by 0.35 pixels or less change none."""
    if "prefix" in settings:  # such addresses have no folders
        (masks / "photos" / "deep" / "b.png").rename(masks / "photos" / "b.png")
        (masks / "masks" / "deep" / "b.png").rename(masks / "masks" / "b.png")
    said = write_annotations(to, masks / "masks", masks / "photos", masks / "x.json", CLASSES, **settings)
    assert any("with holes" in line for line in said)
    again = make_data_set(masks / "x.json", masks / "photos", masks / "out", classes=CLASSES[1:])
    assert "'dataset.classes=[background,crack,road]'" in again[-1]
    for path in (masks / "masks").rglob("*.png"):
        written = masks / "out" / "masks" / path.relative_to(masks / "masks")
        assert (read_picture(written, cv2.IMREAD_UNCHANGED) == read_picture(path, cv2.IMREAD_UNCHANGED)).all()


@pytest.mark.parametrize("tolerance", [1.0, 0.5])
def test_a_larger_tolerance_changes_little(masks: Path, tolerance: float) -> None:
    write_annotations("coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES, tolerance=tolerance)
    make_data_set(masks / "x.json", masks / "photos", masks / "out")
    one, other = ring_and_blobs() == 2, read_picture(masks / "out" / "masks" / "a.png", 0) == 2
    assert (one & other).sum() / (one | other).sum() > 0.9


def test_coco_without_runs_fills_holes_and_says_so(masks: Path) -> None:
    said = "\n".join(
        write_annotations("coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES, rle="none")
    )
    assert "with holes, which COCO's polygons have not: filled (rle=auto keeps them)" in said
    document = json.loads((masks / "x.json").read_text())
    assert all(isinstance(one["segmentation"], list) for one in document["annotations"])
    assert [one["name"] for one in document["categories"]] == CLASSES[1:]
    ring = next(one for one in document["annotations"] if one["category_id"] == 1 and one["area"] > 1)
    assert ring["bbox"] == [35, 20, 51, 51]


def test_pycocotools_reads_it(masks: Path) -> None:
    module = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    write_annotations("coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES, rle="all")
    found = module.COCO(str(masks / "x.json"))
    image = next(one["id"] for one in found.loadImgs(found.getImgIds()) if one["file_name"] == "a.png")
    mask = np.zeros((90, 120), np.uint8)
    for one in found.loadAnns(found.getAnnIds(imgIds=[image])):
        pixels = found.annToMask(one)
        assert pixels.sum() == one["area"]
        mask[pixels > 0] = one["category_id"]
    assert (mask == ring_and_blobs()).all()


def test_label_studio_gets_predictions_and_an_interface(masks: Path) -> None:
    said = "\n".join(write_annotations("label_studio", masks / "masks", masks / "photos", masks / "x.json", CLASSES))
    assert '<PolygonLabels name="polygon" toName="image"><Label value="crack"/><Label value="road"/>' in said
    task = json.loads((masks / "x.json").read_text())[1]
    assert task["data"] == {"image": "/data/local-files/?d=photos/deep/b.png"}
    results = task["predictions"][0]["result"]
    assert {one["type"] for one in results} == {"polygonlabels", "brushlabels"}
    for one in results:
        assert (one["original_width"], one["original_height"]) == (120, 90)
        assert one["from_name"] == one["type"].removesuffix("labels")


def test_labelme_finds_its_pictures(masks: Path) -> None:
    write_annotations("labelme", masks / "masks", masks / "photos", masks / "x", CLASSES)
    path = masks / "x" / "deep" / "b.json"
    document = json.loads(path.read_text())
    assert (path.parent / document["imagePath"]).resolve() == (masks / "photos" / "deep" / "b.png").resolve()
    assert {one["shape_type"] for one in document["shapes"]} == {"polygon", "mask"}


def test_what_predict_wrote(tiny_run: Path, tmp_path: Path) -> None:
    files.write_photos(tmp_path / "photos")
    done = segkit(f"run={tiny_run}", "input=photos", "output=predicted", cwd=tmp_path, module="predict")
    assert done.returncode == 0, done.stderr
    words = ("to=coco", "input=predicted", "images=photos", "classes=[crack]", "output=new/for_correction.json")
    done = segkit(*words, cwd=tmp_path, module="annotations")
    assert done.returncode == 0, done.stderr
    back = ("from=coco", "input=new/for_correction.json", "images=photos", "output=corrected")
    done = segkit(*back, cwd=tmp_path, module="annotations")
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        both = [read_picture(tmp_path / place / "masks" / name, 0) for place in ("predicted", "corrected")]
        assert (both[0] == both[1]).all()


def test_pictures_without_masks_and_ignored_pixels(masks: Path) -> None:
    files.write_photos(masks / "photos", ["c.png"], (90, 120))
    mask = ring_and_blobs()
    mask[:, 100:] = 255
    cv2.imwrite(str(masks / "masks" / "a.png"), mask)
    said = "\n".join(write_annotations("coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES))
    assert "1 picture (c) left out, without a mask" in said
    assert "1 picture (a.png) with ignored pixels, which the file cannot say: left out" in said


def test_settings_of_masks_have_their_own_names(masks: Path) -> None:
    with pytest.raises(
        DataError, match=r"(?s)masks with values that are no class.* set\s+ignore_values=\[2\]"
    ) as caught:
        write_annotations("coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES[:2])
    assert "dataset." not in str(caught.value)
    write_annotations(
        "coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES[:2], ignore_values=[2], mask_suffix=""
    )


# What must not happen.


def test_nothing_is_left_of_a_conversion_that_stops(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_coco(place)
    written: list[Path] = []

    def stop(path: Path, content: bytes) -> None:
        written.append(path)
        assert not (place / "new" / "out" / "images").exists()
        if len(written) == 5:
            raise KeyboardInterrupt
        path.write_bytes(content)

    monkeypatch.setattr("segkit.datasets.from_annotations.write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        make_data_set(place / "coco.json", place / "photos", place / "new" / "out")
    assert len(written) == 5
    assert not (place / "new").exists()


def test_files_that_are_too_large_are_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_coco(place)
    monkeypatch.setattr("segkit.formats.reading.LARGEST", 2**10)
    with pytest.raises(FormatError, match=r"coco\.json has \d+ MB; at most .* MB are read\. Export it in parts"):
        convert(place, "coco.json")


def test_a_link_to_annotations_elsewhere_is_refused(place: Path) -> None:
    files.write_labelme(place)
    (place / "labelme" / "x.json").symlink_to(place / "other.json")
    write(place / "other.json", files.labelme("p0.png"))
    with pytest.raises(FormatError, match=r"x\.json is a link to .*other\.json, outside of .*labelme"):
        convert(place, "labelme")
