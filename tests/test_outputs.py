"""What predict writes for a picture: masks, probabilities, polygons, its row of the table."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import disc, read_picture

from segkit.configs.composing import compose
from segkit.formats import geojson
from segkit.formats.outlines import find_outlines
from segkit.inference.outputs import Outputs, Page, find_confidence
from segkit.inference.predictor import Prediction
from segkit.predict import predict

SETTINGS: dict[str, Any] = {"masks": None, "overlays": False, "probabilities": False, "polygons": None}
COLORS = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255]], np.uint8)
LABEL = np.array([[0, 1, 1], [2, 0, 0]], np.uint8)
IMAGE = np.zeros((2, 3, 3), np.uint8)
SHARES = np.stack([np.where(number == LABEL, 0.8, 0.1) for number in range(3)]).astype(np.float32)


def write(folder: Path, prediction: Prediction, classes: tuple[str, ...], **settings: Any) -> Page:
    page = Page(folder, "below/a", {})
    Outputs(folder, classes, 0.5, SETTINGS | settings, COLORS[-len(classes) :]).write(IMAGE, prediction, page)
    return page


def test_masks_have_numbers_or_colours(tmp_path: Path) -> None:
    several = Prediction(LABEL, None, SHARES)
    classes = ("background", "car", "tree")
    page = write(tmp_path, several, classes)
    assert page.files == ["masks/below/a.png"]
    np.testing.assert_array_equal(read_picture(tmp_path / page.files[0], cv2.IMREAD_UNCHANGED), LABEL)
    assert page.row == {
        "mask": "masks/below/a.png",
        "width": 3,
        "height": 2,
        **{"area/background": 3, "share/background": 0.5, "area/car": 2, "share/car": 0.333333},
        **{"area/tree": 1, "share/tree": 0.166667, "confidence": 0.8},
    }
    write(tmp_path, several, classes, masks="colors")
    found = read_picture(tmp_path / page.files[0])[..., ::-1]
    np.testing.assert_array_equal(found, COLORS[LABEL])
    one = Prediction((LABEL > 0).astype(np.uint8), None, SHARES[:1])
    write(tmp_path, one, ("car",))
    np.testing.assert_array_equal(read_picture(tmp_path / page.files[0], 0), 255 * (LABEL > 0))
    write(tmp_path, one, ("car",), masks="colors")
    np.testing.assert_array_equal(read_picture(tmp_path / page.files[0])[..., ::-1], COLORS[2] * (LABEL > 0)[..., None])
    assert write(tmp_path, one, ("car",), masks="none").files == []


def test_probabilities_as_floats(tmp_path: Path) -> None:
    page = write(tmp_path, Prediction(LABEL, None, SHARES), ("a", "b", "c"), masks="none", probabilities="float")
    assert page.files == [f"probabilities/below/a/{number}.tif" for number in range(3)]
    for name, expected in zip(page.files, SHARES, strict=True):
        np.testing.assert_array_equal(read_picture(tmp_path / name, cv2.IMREAD_UNCHANGED), expected)


def test_the_spread_of_several_runs_is_written_with_their_probabilities(tmp_path: Path) -> None:
    spread = np.array([[0, 0.25, 0.5]] * 2, np.float32)
    page = write(tmp_path, Prediction(LABEL // 2, None, SHARES[:1], spread), ("a",), masks="none", probabilities=True)
    assert page.files == ["probabilities/below/a.png", "spread/below/a.png"]
    found = read_picture(tmp_path / page.files[1], cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(found, np.round(spread * 65535).astype(np.uint16))


def test_confidence_is_the_mean_probability_of_what_was_said() -> None:
    label = np.array([[1, 0, 0]], np.uint8)
    shares = np.array([[[0.9, 0.2, 0.4]]], np.float32)
    assert find_confidence(Prediction(label, None, shares), 0.5) == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert find_confidence(Prediction(label, 0.7, shares), 0.5) == pytest.approx((0.9 + 0.8 + 0.6) / 3)
    assert find_confidence(Prediction(0 * label, 0.1, 0 * shares), 0.5) == pytest.approx(0.9)  # nothing was decoded
    assert find_confidence(Prediction(None, 0.7, None), 0.5) == pytest.approx(0.7)
    assert find_confidence(Prediction(LABEL, None, SHARES), 0.5) == pytest.approx(0.8)


def test_geojson_has_closed_rings_and_holes() -> None:
    mask = np.zeros((7, 7), np.bool_)
    mask[1:6, 1:6], mask[3, 3] = True, False
    (feature,) = geojson.write(find_outlines(mask, "ring", 0))["features"]
    assert feature["properties"] == {"class": "ring", "area": 24}
    outer, hole = feature["geometry"]["coordinates"]
    for ring, sign in ((outer, 1), (hole, -1)):
        assert ring[0] == ring[-1]
        x, y = np.array(ring).T
        area = float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)  # above 0: counterclockwise, as RFC 7946 has it
        assert area * sign > 0
    assert [min(point[0] for point in outer), max(point[0] for point in outer)] == [1, 6]


def test_polygons_fill_to_the_masks(tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), disc((40, 50), number)[0])
    words = [f"run={tiny_run}", f"input={tmp_path}/in"]
    predict(compose(*words, f"output={tmp_path}/coco", "polygons=coco", "threshold=0.4", config="predict"))
    document = json.loads((tmp_path / "coco" / "polygons.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["0.png", "1.png", "2.png"]
    assert [one["id"] for one in document["annotations"]] == [*range(1, len(document["annotations"]) + 1)]
    rows = predict(compose(*words, f"output={tmp_path}/geo", "polygons=geojson", "threshold=0.4", config="predict"))
    for number, row in enumerate(rows):
        features = json.loads((tmp_path / "geo" / "polygons" / f"{number}.geojson").read_text())["features"]
        areas = [one["area"] for one in document["annotations"] if one["image_id"] == number + 1]
        assert sum(feature["properties"]["area"] for feature in features) == row["area/crack"] == sum(areas)
    assert sum(row["area/crack"] for row in rows) > 0
