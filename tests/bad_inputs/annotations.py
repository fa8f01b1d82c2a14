"""Annotation files that are damaged, of another tool, too large, or that lead elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annotation_files as files
import cv2
import numpy as np
from annotation_files import HEIGHT, NAMES, WIDTH, write

from bad_inputs.cases import Case

Change = Callable[[Any], object]
BOMB = '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY c SYSTEM "/etc/passwd">]>'


def photos(folder: Path) -> None:
    files.write_photos(folder / "photos")


def text(content: str, name: str = "a.json") -> Callable[[Path], None]:
    """`photos/`, and a file with a text."""

    def make(folder: Path) -> None:
        photos(folder)
        write(folder / name, content)

    return make


def changed(content: Callable[[], Any], change: Change) -> Callable[[Path], None]:
    """`photos/`, and a.json with a tool's content after a change."""

    def make(folder: Path) -> None:
        document = content()
        change(document)
        text(json.dumps(document))(folder)

    return make


def coco(change: Change) -> Callable[[Path], None]:
    return changed(files.coco, change)


def segmentation(value: Any) -> Callable[[Path], None]:
    """COCO, whose first object has another segmentation."""
    return coco(lambda document: document["annotations"][0].update(segmentation=value))


def image(**values: Any) -> Callable[[Path], None]:
    """COCO, whose first image has other values."""
    return coco(lambda document: document["images"][0].update(values))


def runs(counts: Any, size: Any = (HEIGHT, WIDTH)) -> Callable[[Path], None]:
    return segmentation({"counts": counts, "size": size})


def via_clash(document: Any) -> None:
    for entry in document["_via_img_metadata"].values():
        entry["regions"][1]["region_attributes"]["class"] = "Crack"


def via_twice(document: Any) -> None:
    entry = next(iter(document["_via_img_metadata"].values()))
    document["_via_img_metadata"]["p0.png99"] = entry | {"size": 99}


def linked(folder: Path) -> None:
    photos(folder)
    (folder / "elsewhere.png").write_bytes((folder / "photos" / "p0.png").read_bytes())
    (folder / "photos" / "p0.png").unlink()
    (folder / "photos" / "p0.png").symlink_to("../elsewhere.png")
    write(folder / "a.json", files.coco())


def alike(folder: Path) -> None:
    files.write_photos(folder / "photos", ("p0.png", "p0.jpg"))
    write(folder / "a.json", files.coco(("p0.png", "p0.jpg")))


def no_picture(folder: Path) -> None:
    photos(folder)
    (folder / "photos" / "p3.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write(folder / "a.json", files.coco())


def full_output(folder: Path) -> None:
    text(json.dumps(files.coco()))(folder)
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("mine")


def no_text(folder: Path) -> None:
    photos(folder)
    (folder / "a.json").write_bytes(b"{\xff}")


def masks(folder: Path) -> None:
    photos(folder)
    (folder / "masks").mkdir()
    cv2.imwrite(str(folder / "masks" / "p0.png"), np.full((20, 30), 255, np.uint8))


def masks_and_output(folder: Path) -> None:
    masks(folder)
    write(folder / "a.json", "x")


def masks_without_pictures(folder: Path) -> None:
    photos(folder)
    files.write_photos(folder / "masks", ("x0.png",))


def yolo(lines: str, names: str = "names: [crack, road]\n") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        photos(folder)
        write(folder / "yolo" / "data.yaml", names)
        write(folder / "yolo" / "labels" / "p0.txt", lines)

    return make


def several(folder: Path) -> None:
    photos(folder)
    write(folder / "many" / "a.json", files.coco())
    write(folder / "many" / "b.json", files.coco())


def ls_code(change: Change) -> Callable[[Path], None]:
    """Label Studio, whose first result is a brush stroke with another code."""

    def put(document: Any) -> None:
        value: Any = {"format": "rle", "rle": [0, 0, 37, 128, 57, 27, 254]}
        change(value)
        document[0]["annotations"][0]["result"][0] = files.label_studio_result("brushlabels", "crack", value)

    return changed(files.label_studio, put)


def row(name: str, says: tuple[str, ...], make: Callable[[Path], None], *words: str, ends: int = 1) -> Case:
    """A conversion of a.json."""
    chosen = {"input": "a.json", "images": "photos", "output": "out"}
    chosen |= {word.split("=", 1)[0]: word.split("=", 1)[1] for word in words}
    return Case(name, "annotations", tuple(f"{key}={value}" for key, value in chosen.items()), says, make, ends)


CASES = (
    # Files as a whole.
    row("cut", ("a.json ends in the middle", "Export it again"), text(json.dumps(files.coco())[:700])),
    row("empty", ("a.json is empty",), text(" \n")),
    row("no_json", ("a.json is no JSON", "line 1"), text("{'images': []}")),
    row("no_text", ("a.json is no text in UTF-8",), no_text),
    row("deep", ("a.json cannot be read as JSON",), text("[" * 100_000)),
    row("huge_number", ("a.json cannot be read as JSON",), text('{"images": [' + "9" * 5000 + "]}")),
    row("of_no_tool", ("a.json is none of COCO, VIA", "names such as 'epochs'"), text('{"epochs": 3}')),
    row("of_another_tool", ("from=via: a.json is COCO. Say from=coco",), text(json.dumps(files.coco())), "from=via"),
    row("label_studio_min", ("export “JSON” and not “JSON-MIN”",), text('[{"image": "x", "label": [], "id": 1}]')),
    row("packed", ("a.zip is packed. Unpack it",), text("PK", "a.zip"), "input=a.zip"),
    row("several_files", ("a.json, b.json. Give one",), several, "input=many"),
    row("xml_cut", ("a.xml ends in the middle",), text(files.cvat()[:900], "a.xml"), "input=a.xml"),
    row("xml_of_another_tool", ("begins with <pascal>", "<annotations>"), text("<pascal/>", "a.xml"), "input=a.xml"),
    row(
        "xml_version",
        ("version 1.0 of CVAT", "expected 1.1"),
        text(files.cvat().replace("1.1</v", "1.0</v"), "a.xml"),
        "input=a.xml",
    ),
    row(
        "xml_of_videos",
        ("CVAT for video", "CVAT for images 1.1"),
        text(files.cvat().replace("</annotations>", "<track/></annotations>"), "a.xml"),
        "input=a.xml",
    ),
    row(
        "xml_bomb",
        ("declares a document type or entities", "remove <!DOCTYPE"),
        text(
            files.cvat().replace("<annotations>", BOMB + "<annotations>").replace('label="crack"', 'label="&b;"'),
            "a.xml",
        ),
        "input=a.xml",
    ),
    row(
        "xml_deep",
        ("more than 24 elements inside each other",),
        text("<annotations>" + "<a>" * 100_000, "a.xml"),
        "input=a.xml",
    ),
    # Entries.
    row(
        "list_for_mapping",
        ("a.json: annotation 0: it is a list of 0", "expected names with values"),
        coco(lambda one: one["annotations"].insert(0, [])),
    ),
    row("no_name", ("a.json: image 0: file_name is null", "expected text"), image(file_name=None)),
    row(
        "text_for_number",
        ('a.json: annotation 0: a number of a polygon is "ten"', "expected a number"),
        segmentation([["ten", 1, 2, 3, 4, 5]]),
    ),
    row("odd_numbers", ("annotation 0: a polygon has 5 numbers", "an x and a y"), segmentation([[1, 2, 3, 4, 5]])),
    row(
        "unknown_category",
        ("annotation 0: category_id is 99", "expected one of categories"),
        coco(lambda one: one["annotations"][0].update(category_id=99)),
    ),
    row(
        "unknown_image",
        ("is of image 99, which images does not list",),
        coco(lambda one: one["annotations"][0].update(image_id=99)),
    ),
    row("same_id", ("images has 1 several times as id",), coco(lambda one: one["images"][1].update(id=1))),
    row(
        "nan",
        ("image 1, annotation 1: a coordinate is no finite number", "Mend them"),
        segmentation([[float("nan"), 1, 2, 3, 4, 5]]),
    ),
    row("far_away", ("annotation 1: a coordinate is 1e+30",), segmentation([[1e30, 1, 2, 3, 4, 5]])),
    row(
        "endless_number", ("annotation 1: a coordinate is no finite number",), segmentation([[10**400, 1, 2, 3, 4, 5]])
    ),
    row(
        "two_points",
        ("1 object (p0.png, annotation 1) left out, no pixel's centre is in it",),
        segmentation([[1, 1, 9, 9]]),
        ends=0,
    ),
    row(
        "outside",
        ("1 object (p0.png, annotation 1) left out, no pixel",),
        segmentation([[100, 1, 120, 1, 120, 9]]),
        ends=0,
    ),
    row(
        "half_outside",
        ("1 object (p0.png, annotation 1) clipped at the border",),
        segmentation([[-9, -9, 20, -9, 20, 20, -9, 20]]),
        ends=0,
    ),
    row("box_alone", ("1 entry left out, no areas: object with a box alone 1",), segmentation([]), ends=0),
    row(
        "runs_too_long", ("annotation 1: its runs hold 2,500 pixels; expected those of 60×40, 2,400",), runs([0, 2500])
    ),
    row("runs_enormous", ("annotation 1: its runs hold 1,000,000,000,000,000 pixels",), runs([0, 10**15])),
    row("runs_negative", ("a run is -5 pixels long",), runs([2405, -5])),
    row(
        "runs_of_another_size",
        ("annotation 1: its size is [400, 600]; expected that of the picture, [40, 60]",),
        runs([0, 240_000], (400, 600)),
    ),
    row("runs_damaged", ("annotation 1: its text",), runs("~~~")),
    row(
        "brush_enormous",
        ("result 0: its brush code is of 4,294,967,295 values",),
        ls_code(lambda value: value.update(rle=[255] * 40)),
    ),
    row("brush_cut", ("result 0: its brush code ends in the middle",), ls_code(lambda value: value)),
    row("brush_no_bytes", ("its rle has 0 to 300; expected bytes",), ls_code(lambda value: value.update(rle=[0, 300]))),
    row(
        "mask_enormous",
        ("mask 2: its mask is 1000000×1000000; expected pixels, no more than 60×40",),
        text(
            files.cvat(NAMES, '<mask label="road" rle="0,1" left="0" top="0" width="1000000" height="1000000"/>'),
            "a.xml",
        ),
        "input=a.xml",
    ),
    row(
        "yolo_class",
        ("p0.txt: line 1: the class's number is 7; expected 0 to 1, for crack, road",),
        yolo("7 0 0 1 0 1 1\n"),
        "input=yolo",
    ),
    row(
        "yolo_pixels",
        ("p0.txt: line 1: a coordinate is 30; expected shares, from 0 to 1",),
        yolo("0 10 10 30 10 30 30\n"),
        "input=yolo",
    ),
    row("yolo_without_names", ("data.yaml: names is null",), yolo("0 0 0 1 0 1 1\n", "nc: 2\n"), "input=yolo"),
    # Names.
    row(
        "upwards",
        ("a.json: image 1: '../../../etc/passwd' is a path that leads upwards", "by_name=true"),
        image(file_name="../../../etc/passwd"),
    ),
    row("from_the_root", ("'/etc/passwd' is a path from the root of a disk",), image(file_name="/etc/passwd")),
    row(
        "of_windows",
        (r"'C:\\\\p0.png' is a path from the root of a disk".replace(r"\\\\", r"\\"),),
        image(file_name="C:\\p0.png"),
    ),
    row("address", ("'http://localhost/p0.png' is an address",), image(file_name="http://localhost/p0.png")),
    row("no_file", (r"'p\x000.png' is no name of a file",), image(file_name="p\x000.png")),
    row("link", ("photos/p0.png is a link to", "outside of photos"), linked),
    row("missing", ("image 1: there is no gone.png in photos", "missing=skip"), image(file_name="gone.png")),
    row(
        "missing_all",
        ("lists 7 pictures, of which none is left",),
        changed(lambda: files.coco([f"gone{name}" for name in NAMES]), lambda _: None),
        "missing=skip",
    ),
    row(
        "twice",
        ("p0.png is that of a.json: p0.png7301 and of a.json: p0.png99", "Join them"),
        changed(files.via, via_twice),
    ),
    row("same_mask", ("p0.png and p0.jpg are two pictures", "Rename one"), alike),
    row(
        "other_size",
        ("p0.png is 60×40, but a.json: image 1 says 600×400", "Give the pictures that were annotated"),
        image(width=600, height=400),
    ),
    row("enormous_size", ("says 1000000000×1000000000",), image(width=10**9, height=10**9)),
    row("no_size", ("its size is 0×40; expected pixels, 1 or more",), image(width=0)),
    row("picture_damaged", ("p3.png cannot be read",), no_picture),
    # Classes.
    row(
        "classes_alike",
        ("the classes crack and Crack differ in upper and lower case alone", "classes=["),
        changed(files.via, via_clash),
    ),
    row(
        "no_such_class",
        ("classes=tree: there is no such class; the file has crack, road",),
        text(json.dumps(files.coco())),
        "classes=[tree]",
    ),
    row("no_objects", ("has no object and declares no class",), text('{"images": [], "annotations": []}')),
    row(
        "too_many_classes",
        ("there are 300 classes; a mask holds 254",),
        coco(lambda one: one["categories"].extend({"id": 100 + at, "name": f"c{at}"} for at in range(298))),
    ),
    row(
        "label_elsewhere",
        ("label=class names an attribute of VIA's regions, and a.json is COCO",),
        text(json.dumps(files.coco())),
        "label=class",
    ),
    # Settings and places.
    row("no_such_tool", ("from=vai: expected auto, coco, via",), photos, "from=vai"),
    row("no_input", ("input=nowhere: there is no such file or folder",), photos, "input=nowhere"),
    row("no_images", ("images=nowhere: there is no such folder",), text("{}"), "images=nowhere"),
    row("output_full", ("output=out holds other files. Choose a new folder",), full_output),
    row("output_is_images", ("output=photos holds other files",), text("{}"), "output=photos"),
    row("useless", ("rle would change nothing: it is of masks, for to=…",), text("{}"), "rle=all"),
    row(
        "to_without_classes",
        ("to=coco needs the names of the masks' classes", "classes=[crack]"),
        masks,
        "to=coco",
        "input=masks",
    ),
    row(
        "to_a_file_that_is_there",
        ("output=a.json is there already",),
        masks_and_output,
        "to=coco",
        "input=masks",
        "classes=[a]",
        "output=a.json",
    ),
    row(
        "to_of_a_file",
        ("input=a.json is a file; with to=coco, give the folder of the masks",),
        text("{}"),
        "to=coco",
        "classes=[a]",
    ),
    row(
        "to_with_missing",
        ("missing would change nothing: it is of an annotation file",),
        masks,
        "to=coco",
        "input=masks",
        "classes=[a]",
        "missing=skip",
    ),
    row(
        "to_of_other_sizes",
        ("masks/p0.png is 30×20 but its picture photos/p0.png is 60×40",),
        masks,
        "to=coco",
        "input=masks",
        "classes=[a]",
    ),
    row(
        "to_without_pictures",
        ("x0.png has no image",),
        masks_without_pictures,
        "to=labelme",
        "input=masks",
        "classes=[a]",
    ),
)
