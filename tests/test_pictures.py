"""Colours and layout of the pictures that people look at."""

import cv2
import numpy as np
import pytest

from segkit import pictures

GREY = np.full((2, 3, 3), 100, np.uint8)


def test_errors_show_missed_invented_and_found():
    truth = np.array([[1, 1, 0], [0, 255, 255]], np.uint8)
    prediction = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    seen = pictures.errors(GREY, truth, prediction, binary=True).tolist()
    dim = [50, 50, 50]
    assert seen == [
        [list(pictures.RIGHT), list(pictures.MISSED), list(pictures.INVENTED)],
        [dim, dim, [150, 150, 150]],  # ignored pixels are no errors; of these every third is a stripe
    ]


def test_what_is_ignored_is_hatched_and_the_title_says_so(tmp_path):
    mask = np.full((160, 160), 255, np.uint8)
    seen = pictures.overlay(np.zeros((160, 160, 3), np.uint8), mask, pictures.class_colors(2))[..., 0]
    assert set(np.unique(seen)) == {0, 150}
    assert (seen == 150).mean() == pytest.approx(1 / 3, abs=0.01)
    row = {"image": GREY, "truth": np.array([[0, 255, 0], [0, 0, 0]], np.uint8)}
    told, silent = (pictures.sheet([one], pictures.class_colors(1), ["crack"])[:22]
                    for one in (row, row | {"truth": np.zeros((2, 3), np.uint8)}))  # fmt: skip
    assert (told < 128).sum() > 2 * (silent < 128).sum()


def test_overlay_tints_the_class_and_leaves_the_background_alone():
    colors = np.array([[200, 0, 0]], np.uint8)
    seen = pictures.overlay(GREY, np.array([[0, 1, 255], [0, 0, 0]], np.uint8), colors, opacity=0.5)
    assert seen[0].tolist() == [[100, 100, 100], [150, 50, 50], [100, 100, 100]]


def test_several_classes_have_a_colour_each():
    painted, shown = pictures.paint(np.array([[0, 1, 255]], np.uint8), np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    assert painted[0, :2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert shown.tolist() == [[True, True, False]]


@pytest.mark.parametrize("count", [1, 7, 8, 40])
def test_colours_of_many_classes_differ(count):
    colors = pictures.class_colors(count)
    assert colors.shape == (count, 3)
    assert len({tuple(color) for color in colors.tolist()}) == count


def test_sheet_has_a_row_a_sample_and_four_columns():
    row = {"image": GREY, "truth": np.zeros((2, 3), np.uint8), "prediction": np.ones((2, 3), np.uint8)}
    picture = pictures.sheet([row, row], pictures.class_colors(1), ["crack"])
    assert picture.shape == (22 + 6 + 2 * (171 + 6), 4 * (pictures.TILE + 6), 3)  # 256 · 2/3 rows


@pytest.mark.parametrize(("count", "lines"), [(2, 1), (30, 3)])
def test_sheet_of_several_classes_has_a_legend(count, lines):
    row = {"image": GREY, "truth": np.zeros((2, 3), np.uint8), "prediction": np.ones((2, 3), np.uint8)}
    colors = pictures.class_colors(count)
    picture = pictures.sheet([row], colors, [f"Straße {number}" for number in range(count)])
    assert picture.shape[0] == (lines + 1) * (22 + 6) + 171 + 6
    legend = picture[: lines * 28].reshape(-1, 3).tolist()
    assert all(legend.count(color) >= 16 * 14 for color in colors.tolist())


def test_save_writes_rgb_and_keeps_no_half_file(tmp_path):
    pictures.save(tmp_path / "new" / "red.png", np.array([[[255, 0, 0]]], np.uint8))
    assert cv2.imread(str(tmp_path / "new" / "red.png"))[0, 0].tolist() == [0, 0, 255]  # OpenCV reads BGR
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["red.png"]


def test_curves_with_gaps(tmp_path):
    rows = [{"epoch": 1, "train/loss": 1.0, "val/loss": 2.0, "val/iou": 0.1}, {"epoch": 2, "train/loss": 0.5}]
    pictures.curves(rows, "val/iou", tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).shape[1] > 500
