"""Colours and layout of the pictures that people look at."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import read_picture

from segkit.pictures import charts, overlays, sheets

GREY = np.full((2, 3, 3), 100, np.uint8)


def test_errors_show_missed_invented_and_found() -> None:
    truth = np.array([[1, 1, 0], [0, 255, 255]], np.uint8)
    prediction = np.array([[1, 0, 1], [0, 1, 0]], np.uint8)
    seen = sheets.draw_errors(GREY, truth, prediction, binary=True).tolist()
    dim = [50, 50, 50]
    assert seen == [
        [list(sheets.CORRECT), list(sheets.MISSED), list(sheets.INVENTED)],
        [dim, dim, [150, 150, 150]],  # ignored pixels are no errors; of these every third is a stripe
    ]


def test_what_is_ignored_is_hatched_and_the_title_says_so(tmp_path: Path) -> None:
    mask = np.full((160, 160), 255, np.uint8)
    seen = overlays.overlay(np.zeros((160, 160, 3), np.uint8), mask, overlays.class_colors(2))[..., 0]
    assert set(np.unique(seen)) == {0, 150}
    assert (seen == 150).mean() == pytest.approx(1 / 3, abs=0.01)
    row = {"image": GREY, "truth": np.array([[0, 255, 0], [0, 0, 0]], np.uint8)}
    told, silent = (
        sheets.draw_sheet([one], overlays.class_colors(1), ["crack"])[:22]
        for one in (row, row | {"truth": np.zeros((2, 3), np.uint8)})
    )
    assert (told < 128).sum() > 2 * (silent < 128).sum()


def test_overlay_tints_the_class_and_leaves_the_background_alone() -> None:
    colors = np.array([[200, 0, 0]], np.uint8)
    seen = overlays.overlay(GREY, np.array([[0, 1, 255], [0, 0, 0]], np.uint8), colors, opacity=0.5)
    assert seen[0].tolist() == [[100, 100, 100], [150, 50, 50], [100, 100, 100]]


def test_several_classes_have_a_colour_each() -> None:
    painted, shown = overlays.paint(np.array([[0, 1, 255]], np.uint8), np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    assert painted[0, :2].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert shown.tolist() == [[True, True, False]]


def test_a_background_of_several_classes_is_not_painted() -> None:
    mask = np.array([[0, 1, 0], [0, 0, 1]], np.uint8)
    given = overlays.class_colors(2, [[0, 0, 0], [0, 200, 0]])
    for colors in (given, overlays.class_colors(2, None, ["Background", "road"])):
        seen = overlays.overlay(GREY, mask, colors)
        assert (seen[mask == 0] == GREY[mask == 0]).all()
        assert (seen[mask == 1] != GREY[mask == 1]).any()


@pytest.mark.parametrize("count", [1, 7, 8, 40])
def test_colours_of_many_classes_differ(count: int) -> None:
    colors = overlays.class_colors(count)
    assert colors.shape == (count, 3)
    assert len({tuple(color) for color in colors.tolist()}) == count


def test_probabilities_are_dark_blue_to_yellow() -> None:
    low, high = sheets.heatmap(np.array([[0, 1]], np.float32))[0].tolist()
    assert low == [68, 1, 84]  # viridis
    assert high == [253, 231, 37]
    assert sheets.heatmap(np.array([[np.nan]], np.float32)).tolist() == [[low]]


def test_sheet_has_a_row_a_sample_and_five_columns() -> None:
    row = {
        "image": GREY,
        "truth": np.zeros((2, 3), np.uint8),
        "prediction": np.ones((2, 3), np.uint8),
        "probability": np.full((2, 3), 0.9, np.float32),
    }
    picture = sheets.draw_sheet([row, row], overlays.class_colors(1), ["crack"])
    assert picture.shape == (22 + 6 + 2 * (171 + 6), 5 * (sheets.TILE + 6), 3)  # 256 · 2/3 rows


@pytest.mark.parametrize(("count", "lines"), [(2, 1), (30, 3)])
def test_sheet_of_several_classes_has_a_legend(count: int, lines: int) -> None:
    row = {
        "image": GREY,
        "truth": np.zeros((2, 3), np.uint8),
        "prediction": np.ones((2, 3), np.uint8),
        "probability": np.full((2, 3), 0.9, np.float32),
    }
    colors = overlays.class_colors(count)
    picture = sheets.draw_sheet([row], colors, [f"Straße {number}" for number in range(count)])
    assert picture.shape[0] == (lines + 1) * (22 + 6) + 171 + 6
    legend = picture[: lines * 28].reshape(-1, 3).tolist()
    assert all(legend.count(color) >= 16 * 14 for color in colors.tolist())


def test_save_writes_rgb_and_keeps_no_half_file(tmp_path: Path) -> None:
    overlays.save(tmp_path / "new" / "red.png", np.array([[[255, 0, 0]]], np.uint8))
    assert read_picture(tmp_path / "new" / "red.png")[0, 0].tolist() == [0, 0, 255]  # OpenCV reads BGR
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["red.png"]


def test_curves_with_gaps(tmp_path: Path) -> None:
    rows = [{"epoch": 1, "train/loss": 1.0, "val/loss": 2.0, "val/iou": 0.1}, {"epoch": 2, "train/loss": 0.5}]
    charts.draw_curves(rows, "val/iou", tmp_path / "curves.png")
    assert read_picture(tmp_path / "curves.png").shape[1] > 500


def test_an_outline_shows_a_mask_of_the_pictures_own_colour() -> None:
    amber = np.array(overlays.PALETTE[0], np.uint8)
    image = np.broadcast_to(amber, (9, 9, 3)).copy()
    mask = np.zeros((9, 9), np.uint8)
    mask[4, 4] = 1
    colors = overlays.class_colors(1)
    assert len(np.unique(overlays.overlay(image, mask, colors).reshape(-1, 3), axis=0)) == 1  # it cannot be seen
    seen = overlays.overlay(image, mask, colors, outlined=True)[4]
    assert seen[:, 0].tolist() == [amber[0]] * 2 + [0, 255, amber[0], 255, 0] + [amber[0]] * 2
    assert (image == amber).all()


@pytest.mark.parametrize(
    ("given", "classes", "expected"),
    [
        ("red", ["a"], [[255, 0, 0]]),
        ("#0080ff", ["a"], [[0, 128, 255]]),
        ([1, 2, 3], ["a"], [[1, 2, 3]]),
        ([[1, 2, 3]], ["a"], [[1, 2, 3]]),
        (["blue", [1, 2, 3]], ["a", "b"], [[0, 0, 255], [1, 2, 3]]),
    ],
)
def test_colours_that_a_person_names(given: Any, classes: list[str], expected: list[list[int]]) -> None:
    assert overlays.parse_colors(given, classes).tolist() == expected


@pytest.mark.parametrize("given", ["reddish", [1, 2], [1, 2, 256], [1, 2, -1], [0.5, 0, 0], True, 7, ["red", "blue"]])
def test_other_colours_are_refused(given: Any) -> None:
    with pytest.raises(ValueError, match=r"color=.*: expected a"):
        overlays.parse_colors(given, ["a"])


def test_class_names_are_no_formulas() -> None:
    names = ["$x", "$\\nothing$"]
    assert charts.draw_confusion(np.ones((2, 2), np.int64), names).ndim == 3
    assert charts.draw_presence(np.ones((2, 2), np.int64), None, names[1]).ndim == 3


@pytest.mark.parametrize("epochs", [1, 2, 3, 8])
def test_epochs_are_whole_numbers_on_the_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    from matplotlib.figure import Figure

    seen = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: seen.extend(figure.axes))
    rows = [{"epoch": float(n), "train/loss": 1 / n, "val/loss": 1 / n, "val/iou": 0.1} for n in range(1, epochs + 1)]
    charts.draw_curves(rows, "val/iou", tmp_path / "curves.png")
    for axes in seen:
        assert len(axes.get_xticks()) >= 1
        assert all(float(tick).is_integer() for tick in axes.get_xticks())
