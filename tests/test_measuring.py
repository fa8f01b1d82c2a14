"""`predict measure=…`: tables, JSON, overlays and scales; from predictions made by hand, and by the command."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import disc, read_picture, segkit
from numpy.typing import NDArray
from torch import nn

from segkit.configs import extras
from segkit.configs.composing import compose
from segkit.geometry.markers import find_markers
from segkit.inference.measuring import Measuring, find_numbers, find_scale
from segkit.inference.predictor import Prediction
from segkit.pictures.measured import Line, Mark, draw_measured
from segkit.predict import predict
from segkit.tasks.segmenter import Segmenter

GREY = np.full((60, 80, 3), 128, np.uint8)


def measuring(how: str, classes: tuple[str, ...] = ("crack",), **settings: Any) -> Measuring:
    return Measuring(Segmenter(nn.Conv2d(3, len(classes), 1), classes), how, **settings)


def bar() -> Prediction:
    """One class: a bar of 40×4 pixels, surely there."""
    probabilities = np.zeros((1, 60, 80), np.float32)
    probabilities[0, 20:24, 10:50] = 1
    return Prediction((probabilities[0] > 0.5).astype(np.uint8), None, probabilities)


def marker_at(side: int, turn: float = 0.0, squeeze: float = 1.0) -> NDArray[np.uint8]:
    """A wall (400, 500, 3) with an ArUco marker of so many pixels, turned by degrees and narrower by a factor."""
    drawn = cv2.aruco.generateImageMarker(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250), 7, 8 * side)
    move = cv2.getRotationMatrix2D((0, 0), turn, 1 / 8) @ np.array([[squeeze, 0, 0], [0, 1, 0], [0, 0, 1]])
    middle = move @ np.array([4 * side, 4 * side, 1])
    move[:, 2] += np.array([250, 200]) - middle
    wall = cv2.warpAffine(np.asarray(drawn), move, (500, 400), flags=cv2.INTER_AREA, borderValue=230)
    return np.repeat(cv2.GaussianBlur(wall, (0, 0), 0.7)[..., None], 3, -1).astype(np.uint8)


def test_rows_summary_and_lines_of_a_crack_in_millimetres() -> None:
    found = measuring("cracks", scale=0.5)(GREY, bar())
    (row,) = found.rows
    assert (row["number"], row["class"], row["unit"]) == (1, "crack", "mm")
    assert row["length"] == pytest.approx(20, abs=0.15)
    assert row["width_mean"] == pytest.approx(2, abs=0.03)
    assert row["area"] == 40  # 160 pixels of a quarter of a square millimetre
    assert (row["box_left"], row["box_top"], row["box_width"], row["box_height"]) == (10, 20, 40, 4)
    assert row["width_mean_low"] < row["width_mean"] < row["width_mean_high"]
    assert (row["branches"], row["branch_points"], row["confidence"]) == (1, 0, 1)
    assert found.summary["count/crack"] == 1
    assert found.summary["scale"] == 0.5
    # 20 mm in a picture of 30 × 40 mm
    assert found.summary["length_density/crack"] == pytest.approx(20 / 1200, rel=0.01)
    ((line,),) = found.lines
    assert len(line["points"]) == len(line["widths"])
    assert line["widths"][0] is None
    assert min(line["points"]) == pytest.approx([10, 22], abs=0.5)  # pixels


def test_pixels_without_a_scale() -> None:
    found = measuring("cracks")(GREY, bar())
    assert found.rows[0]["unit"] == "px"
    assert found.rows[0]["length"] == pytest.approx(40, abs=0.3)
    assert "scale" not in found.summary


def test_objects_of_all_classes_but_the_background() -> None:
    probabilities = np.full((3, 60, 80), 0.1, np.float32)
    probabilities[0] = 0.8
    probabilities[:, 5:15, 5:15] = np.array([0.1, 0.7, 0.2])[:, None, None]
    probabilities[:, 30:40, 50:54] = np.array([0.1, 0.3, 0.6])[:, None, None]
    label = probabilities.argmax(0).astype(np.uint8)
    prediction = Prediction(label, None, probabilities)
    found = measuring("objects", ("background", "car", "sign"))(GREY, prediction)
    assert [(row["class"], row["area"]) for row in found.rows] == [("car", 100), ("sign", 40)]
    assert found.rows[0]["diameter"] == pytest.approx(2 * np.sqrt(100 / np.pi), rel=1e-5)
    assert (found.rows[0]["x"], found.rows[0]["confidence"]) == (10, pytest.approx(0.7))
    assert found.summary["count/sign"] == 1
    cracks = measuring("cracks", ("background", "car", "sign"), wanted="sign")(GREY, prediction)
    assert [row["class"] for row in cracks.rows] == ["sign"]
    # against the background: 0.6 / 0.9 inside and 0.1 / 0.9 outside; ½ lies 0.3 beyond the outermost centres, 3 apart
    assert cracks.rows[0]["width_mean"] == pytest.approx(3.6, abs=0.1)


def test_which_classes_are_measured() -> None:
    assert find_numbers(["crack"], "cracks", None) == [0]
    assert find_numbers(["background", "crack"], "cracks", None) == [1]
    assert find_numbers(["background", "crack", "joint"], "objects", None) == [1, 2]
    assert find_numbers(["crack", "joint"], "cracks", ["joint", "crack"]) == [1, 0]
    with pytest.raises(ValueError, match=r"measure_class=crack, or a list of several"):
        find_numbers(["background", "crack", "joint"], "cracks", None)
    with pytest.raises(ValueError, match="measure_class=rust: this run's classes are crack, joint"):
        find_numbers(["crack", "joint"], "objects", ["joint", "rust"])


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda module: None)
    says = r"=\w+: skimage is not installed: pip install 'segkit\[measure\]'"
    with pytest.raises(ValueError, match="measure" + says):
        extras.check_measuring({"measure": "cracks", "measure_class": None, "scale": None})
    with pytest.raises(ValueError, match=r"model\.cliou" + says):
        extras.check_centre_lines("model.cliou", 4, {})
    extras.check_measuring({"measure": "objects", "measure_class": None, "scale": None})


@pytest.mark.parametrize("turn", [0.0, 30.0, 77.0])
def test_a_marker_gives_the_scale(turn: float) -> None:
    scale = find_scale(marker_at(90, turn), "marker:45")
    assert scale.factor == pytest.approx(0.5, rel=0.02)
    assert (scale.unit, scale.note) == ("mm", "")


def test_a_marker_seen_at_a_slant_is_told() -> None:
    assert "at a slant: its sides differ by" in find_scale(marker_at(90, 0, 0.75), "marker:45").note


def test_without_a_marker_lengths_stay_in_pixels() -> None:
    assert find_markers(GREY) is None
    found = measuring("cracks", scale="marker:30")(GREY, bar())
    assert found.rows[0]["unit"] == "px"
    assert (found.summary["scale"], found.summary["scale_note"]) == ("", "no marker found")


def test_what_is_drawn() -> None:
    picture = np.full((100, 200, 3), 128, np.uint8)
    line = Line(np.array([[20.0, 50], [100, 50], [180, 50]]), np.array([np.nan, 3.0, 9.0]))
    ends = np.array([100.0, 45]), np.array([100.0, 55])
    drawn = draw_measured(picture, [line], [Mark((100, 50), "1: 9", ends)], "px")
    assert drawn.shape[1] == 800  # enlarged four times
    assert drawn.shape[0] > 400  # with a legend below
    assert drawn[200, 240].std() > 20  # coloured
    assert drawn[190, 400].min() > 170  # the bar
    assert (drawn[:150] == 128).all()
    nothing = draw_measured(picture, [], [], "px")
    assert nothing.shape == (400, 800, 3)


def test_files_of_the_command(tmp_path: Path, tiny_run: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(2):
        cv2.imwrite(str(tmp_path / "photos" / f"{number}.png"), disc((40, 50), number)[0])
    words = ("input=photos", "output=out", "measure=cracks", "scale=2", "threshold=0.01")
    done = segkit(f"run={tiny_run}", *words, cwd=tmp_path, module="predict")
    assert done.returncode == 0, done.stderr
    assert "in out: masks, measurements, overlays, cracks.csv, predictions.csv" in done.stdout
    with (tmp_path / "out" / "cracks.csv").open() as file:
        rows = list(csv.DictReader(file))
    with (tmp_path / "out" / "predictions.csv").open() as file:
        pictures = list(csv.DictReader(file))
    assert [int(row["count/crack"]) for row in pictures] == [
        sum(row["name"].endswith(f"{number}.png") for row in rows) for number in range(2)
    ]
    stored = json.loads((tmp_path / "out" / "measurements" / "0.json").read_text())
    assert len(stored["cracks"]) == int(pictures[0]["count/crack"]) > 0
    assert stored["summary"]["scale"] == 2
    assert read_picture(tmp_path / "out" / "overlays" / "0.jpg").shape[1] >= 640


def test_objects_by_the_command(tmp_path: Path, tiny_run: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), disc((40, 50), 0)[0])
    words = [f"run={tiny_run}", f"input={tmp_path}/a.png", f"output={tmp_path}/out", "measure=objects"]
    (row,) = predict(compose(*words, "threshold=0.01", config="predict"))
    assert row["count/crack"] > 0
    assert (tmp_path / "out" / "objects.csv").exists()
    assert not (tmp_path / "out" / "cracks.csv").exists()
