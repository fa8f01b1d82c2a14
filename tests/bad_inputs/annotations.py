"""Annotation files that are damaged, of another tool, too large, or that lead elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import annotation_files as files
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








def no_text(folder: Path) -> None:
    photos(folder)
    (folder / "a.json").write_bytes(b"{\xff}")





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


def named(name: str) -> Callable[[Path], None]:
    """COCO, whose first class has another name."""
    return coco(lambda document: document["categories"][0].update(name=name))


CASES = (
    row("class_of_two_lines", ("the name of the class 'a\\nTrain: b' has a line break", "Rename it in the tool"),
        named("a\nTrain: b")),
    row("class_that_turns_letters_round", ("signs that do not show",), named("a\u202eb")),
    row("class_without_end", ("has 1000000 letters",), named("a" * 10**6)),
    # Files as a whole.
    row("cut", ("a.json is cut off in line 1", "Export it again"), text(json.dumps(files.coco())[:700])),
    row("empty", ("a.json is empty",), text(" \n")),
    row("no_json", ("a.json is not JSON", "line 1"), text("{'images': []}")),
    row("no_text", ("a.json is not UTF-8 text",), no_text),
    row("deep", ("a.json cannot be read as JSON",), text("[" * 100_000)),
    row("huge_number", ("a.json cannot be read as JSON",), text('{"images": [' + "9" * 5000 + "]}")),
    row("of_no_tool", ("a.json is not in a format of COCO, VIA", "names such as 'epochs'"), text('{"epochs": 3}')),
    row(
        "of_another_tool",
        ("from=via, but a.json is a COCO file. Say from=coco",),
        text(json.dumps(files.coco())),
        "from=via",
    ),
    row("label_studio_min", ("export “JSON”, not “JSON-MIN”",), text('[{"image": "x", "label": [], "id": 1}]')),
    row("packed", ("a.zip is an archive. Unpack it",), text("PK", "a.zip"), "input=a.zip"),
    row("several_files", ("a.json, b.json. Give one",), several, "input=many"),
    row("xml_cut", ("a.xml is cut off in line 1",), text(files.cvat()[:900], "a.xml"), "input=a.xml"),
    row("xml_of_another_tool", ("begins with <pascal>", "<annotations>"), text("<pascal/>", "a.xml"), "input=a.xml"),
    row(
        "xml_version",
        ("version 1.0 of CVAT", "expected 1.1"),
        text(files.cvat().replace("1.1</v", "1.0</v"), "a.xml"),
        "input=a.xml",
    ),
    row(
        "xml_of_videos",
        ("“CVAT for video”", "“CVAT for images 1.1”"),
        text(files.cvat().replace("</annotations>", "<track/></annotations>"), "a.xml"),
        "input=a.xml",
    ),
    row(
        "xml_encoding",
        ("a.xml names an unknown encoding",),
        text(files.cvat().replace("utf-8", "ut-8"), "a.xml"),
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
        ("annotation 1 has image_id 99, which images does not list",),
        coco(lambda one: one["annotations"][0].update(image_id=99)),
    ),
    row("same_id", ("images has 1 as the id of several entries",), coco(lambda one: one["images"][1].update(id=1))),
    row(
        "nan",
        ("image 1, annotation 1: a coordinate is not a finite number", "Correct them"),
        segmentation([[float("nan"), 1, 2, 3, 4, 5]]),
    ),
    row("far_away", ("annotation 1: a coordinate is 1e+30",), segmentation([[1e30, 1, 2, 3, 4, 5]])),
    row(
        "endless_number",
        ("annotation 1: a coordinate is not a finite number",),
        segmentation([[10**400, 1, 2, 3, 4, 5]]),
    ),
    row(
        "two_points",
        ("1 object (p0.png, annotation 1) left out: no pixel's centre is inside",),
        segmentation([[1, 1, 9, 9]]),
        ends=0,
    ),
    row(
        "outside",
        ("1 object (p0.png, annotation 1) left out: no pixel",),
        segmentation([[100, 1, 120, 1, 120, 9]]),
        ends=0,
    ),
    row(
        "half_outside",
        ("1 object (p0.png, annotation 1) clipped at the border",),
        segmentation([[-9, -9, 20, -9, 20, 20, -9, 20]]),
        ends=0,
    ),
    row("box_alone", ("left out: 1 × object with only a box (annotation 1)",), segmentation([]), ends=0),
    row(
        "runs_too_long",
        ("annotation 1: its runs have 2,500 pixels in all; expected 2,400, for 60×40",),
        runs([0, 2500]),
    ),
    row("runs_enormous", ("annotation 1: its runs have 1,000,000,000,000,000 pixels",), runs([0, 10**15])),
    row("runs_negative", ("a run has -5 pixels",), runs([2405, -5])),
    row(
        "runs_of_another_size",
        ("annotation 1: its size is [400, 600]; expected the picture's, [40, 60]",),
        runs([0, 240_000], (400, 600)),
    ),
    row("runs_damaged", ("annotation 1: its text",), runs("~~~")),
    row(
        "brush_enormous",
        ("result 0: its brush code has 4,294,967,295 values",),
        ls_code(lambda value: value.update(rle=[255] * 40)),
    ),
    row("brush_cut", ("result 0: its brush code is cut off",), ls_code(lambda value: value)),
    row("brush_no_bytes", ("its rle has 0 to 300; expected bytes",), ls_code(lambda value: value.update(rle=[0, 300]))),
    row(
        "mask_enormous",
        ("mask 2: its mask is 1000000×1000000; expected 1×1 to 60×40",),
        text(
            files.cvat(NAMES, '<mask label="road" rle="0,1" left="0" top="0" width="1000000" height="1000000"/>'),
            "a.xml",
        ),
        "input=a.xml",
    ),
    row(
        "yolo_class",
        ("p0.txt: line 1: the class number is 7; expected 0 to 1, for crack, road",),
        yolo("7 0 0 1 0 1 1\n"),
        "input=yolo",
    ),
    row(
        "yolo_pixels",
        ("p0.txt: line 1: a coordinate is 30; expected fractions from 0 to 1",),
        yolo("0 10 10 30 10 30 30\n"),
        "input=yolo",
    ),
    row("yolo_without_names", ("data.yaml: names is null",), yolo("0 0 0 1 0 1 1\n", "nc: 2\n"), "input=yolo"),
)
