"""Annotation files with names, classes or sizes that do not fit, and settings and places that do not."""

import json
from pathlib import Path
from typing import Any

import annotation_files as files
import cv2
import numpy as np
from annotation_files import NAMES, write

from bad_inputs.annotations import changed, coco, image, photos, row, text


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


def via_clash(document: Any) -> None:
    for entry in document["_via_img_metadata"].values():
        entry["regions"][1]["region_attributes"]["class"] = "Crack"


def via_twice(document: Any) -> None:
    entry = next(iter(document["_via_img_metadata"].values()))
    document["_via_img_metadata"]["p0.png99"] = entry | {"size": 99}


CASES = (
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
    row("no_file", (r"'p\x000.png' is not the name of a file",), image(file_name="p\x000.png")),
    row("link", ("photos/p0.png is a link to", "outside photos"), linked),
    row("missing", ("image 1: there is no gone.png in photos", "missing=skip"), image(file_name="gone.png")),
    row(
        "missing_all",
        ("lists 7 pictures, of which none is left",),
        changed(lambda: files.coco([f"gone{name}" for name in NAMES]), lambda _: None),
        "missing=skip",
    ),
    row(
        "twice",
        ("p0.png is listed by a.json: p0.png7301 and by a.json: p0.png99", "Merge them"),
        changed(files.via, via_twice),
    ),
    row("same_mask", ("p0.png and p0.jpg would have the same mask", "Rename one"), alike),
    row(
        "other_size",
        ("p0.png is 60×40, but a.json: image 1 says 600×400", "Give the pictures that were annotated"),
        image(width=600, height=400),
    ),
    row("enormous_size", ("says 1000000000×1000000000",), image(width=10**9, height=10**9)),
    row("half_a_size", ("image 0: its width is null; expected a number",), image(width=None)),
    row("no_size", ("its size is 0×40; expected at least 1 pixel",), image(width=0)),
    row("picture_damaged", ("p3.png cannot be read",), no_picture),
    # Classes.
    row(
        "classes_alike",
        ("the classes crack and Crack differ only in upper and lower case", "classes=["),
        changed(files.via, via_clash),
    ),
    row(
        "no_such_class",
        ("classes=tree: there is no such class; the file has crack, road",),
        text(json.dumps(files.coco())),
        "classes=[tree]",
    ),
    row("class_twice", ("classes has crack twice",), text(json.dumps(files.coco())), "classes=[crack,crack]"),
    row("no_objects", ("has no objects and declares no class",), text('{"images": [], "annotations": []}')),
    row(
        "too_many_classes",
        ("there are 300 classes; a mask holds 254 at most",),
        coco(lambda one: one["categories"].extend({"id": 100 + at, "name": f"c{at}"} for at in range(298))),
    ),
    row(
        "label_elsewhere",
        ("label=class names a region attribute of VIA, but a.json is a COCO file",),
        text(json.dumps(files.coco())),
        "label=class",
    ),
    # Settings and places.
    row("no_such_tool", ("from=vai: expected auto, coco, via",), photos, "from=vai"),
    row("no_input", ("input=nowhere: there is no such file or folder",), photos, "input=nowhere"),
    row("no_images", ("images=nowhere: there is no such folder",), text("{}"), "images=nowhere"),
    row("output_full", ("output=out holds other files, such as mine.txt. Choose a new folder",), full_output),
    row("output_is_images", ("output=photos holds other files",), text("{}"), "output=photos"),
    row("useless", ("rle would change nothing: it is about masks, with to=…",), text("{}"), "rle=all"),
    row(
        "to_without_classes",
        ("to=coco needs the names of the classes in the masks", "classes=[crack]"),
        masks,
        "to=coco",
        "input=masks",
    ),
    row(
        "to_a_file_that_is_there",
        ("output=a.json exists",),
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
        ("missing would change nothing: it is about annotation files",),
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
