"""`python -m segkit.annotations to=…`: masks as files for the tools, and back again."""

import json
from pathlib import Path
from typing import Any

import annotation_files as files
import cv2
import numpy as np
import pytest
from annotation_files import NAMES
from conftest import read_picture, segkit

from segkit.datasets.findings import DataError
from segkit.datasets.from_annotations import make_data_set
from segkit.datasets.to_annotations import write_annotations


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
    assert "with holes, which COCO's polygons cannot have: filled (rle=auto keeps them)" in said
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
    assert "from=coco input=… images=photos 'classes=[crack]' output=corrected" in done.stdout + done.stderr
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
    assert "1 picture (a.png) with ignored pixels, which the format cannot express: left out" in said


def test_settings_of_masks_have_their_own_names(masks: Path) -> None:
    with pytest.raises(
        DataError, match=r"(?s)masks with values that are no class.* type 'ignore_values=\[2\]'"
    ) as caught:
        write_annotations("coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES[:2])
    assert "dataset." not in str(caught.value)
    write_annotations(
        "coco", masks / "masks", masks / "photos", masks / "x.json", CLASSES[:2], ignore_values=[2], mask_suffix=""
    )
