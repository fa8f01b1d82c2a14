"""Lengths and widths of cracks: by hand, and of drawn ones of known size."""

from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from segkit.geometry.cracks import Crack, measure_cracks
from segkit.geometry.objects import measure_objects

DRAWN = run_path(str(Path(__file__).parents[1] / "benchmarks" / "drawn_cracks.py"))


def measure(probability: NDArray[Any], threshold: float = 0.5) -> list[Crack]:
    return measure_cracks(probability.astype(np.float32), probability > threshold, threshold)


def only(probability: NDArray[Any]) -> Crack:
    (crack,) = measure(probability)
    return crack


def bar(tall: int, wide: int, size: int = 80) -> NDArray[np.float32]:
    """A rectangle whose upper left corner lies at (20, 10)."""
    picture = np.zeros((size, size), np.float32)
    picture[20 : 20 + tall, 10 : 10 + wide] = 1
    return picture


def disc(radius: float, size: int = 80, hole: float = 0) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:size, :size] + 0.5 - size / 2
    distance = np.hypot(rows, columns)
    ring: NDArray[np.float32] = np.clip(radius + 0.5 - distance, 0, 1) * np.clip(distance - hole + 0.5, 0, 1)
    return ring.astype(np.float32)


@pytest.mark.parametrize(("picture", "direction"), [(bar(4, 40), 0), (bar(4, 40).T, 90)])
def test_a_bar_is_as_long_and_as_wide_as_it_is(picture: NDArray[np.float32], direction: float) -> None:
    crack = only(picture)
    assert crack.length == pytest.approx(40, abs=0.3)
    assert crack.width.value == pytest.approx(4, abs=0.05)
    assert crack.widest.value == pytest.approx(4, abs=0.05)
    assert (crack.area, crack.branch_points, len(crack.lines), crack.confidence) == (160, 0, 1, 1)
    assert crack.box == ((10, 20, 40, 4) if direction == 0 else (20, 10, 4, 40))
    assert min(crack.orientation - direction, 180 - crack.orientation, key=abs) == pytest.approx(0, abs=1)
    x, y = crack.lines[0].points[[0, -1]].mean(0)
    assert (x, y) == pytest.approx((30, 22) if direction == 0 else (22, 30), abs=0.3)


def test_a_line_that_rises_to_the_right_lies_at_45_degrees() -> None:
    assert only(np.fliplr(np.eye(40)) + np.fliplr(np.eye(40, k=1))).orientation == pytest.approx(45, abs=1)


def test_borders_and_intervals_are_where_the_probability_crosses_them() -> None:
    across = np.array([0.02, 0.3, 0.7, 1, 1, 0.7, 0.3, 0.02])
    picture = np.zeros((60, 30))
    picture[:, 10:18] = across
    crack = only(picture)
    # ½ lies in the middle of 0.3 and 0.7, on both sides: 1.5 to 5.5
    assert crack.width.value == pytest.approx(4, abs=0.02)
    # 0.95 lies 0.25 / 0.3 of the way from 0.7 to 1: 2.833 to 4.167; 0.05 lies 0.03 / 0.28 from 0.02 to 0.3: 0.107
    # to 6.893
    assert crack.width.low == pytest.approx(1.333, abs=0.02)
    assert crack.width.high == pytest.approx(6.786, abs=0.02)
    assert crack.length == pytest.approx(60, abs=0.6)  # from border to border of the picture


def test_a_width_that_nothing_is_sure_of_may_be_zero() -> None:
    crack = only(bar(3, 40) * 0.8)
    assert crack.width.low == 0
    assert crack.width.value == pytest.approx(2.75, abs=0.05)  # ½ lies 0.3 / 0.8 from the outermost centres, twice


def test_the_largest_width_is_found_where_it_is() -> None:
    picture = bar(4, 50)
    picture[16:28, 30:44] = 1  # 12 wide, 14 long
    crack = only(picture)
    assert crack.widest.value == pytest.approx(12, abs=0.5)
    assert crack.widest_at == pytest.approx((37, 22), abs=4)
    ends = np.array(crack.widest_ends)
    assert np.hypot(*(ends[1] - ends[0])) == pytest.approx(crack.widest.value)


def test_a_ring_has_no_ends() -> None:
    crack = only(disc(25, hole=21))
    assert crack.length == pytest.approx(2 * np.pi * 23, rel=0.01)
    assert crack.width.value == pytest.approx(4, abs=0.1)
    assert (crack.branch_points, len(crack.lines)) == (0, 1)


def test_a_speck_of_light_in_a_crack_makes_no_ring_of_it() -> None:
    picture = bar(9, 60)
    picture[24:26, 30:32] = 0
    crack = only(picture)
    assert crack.length == pytest.approx(60, abs=0.5)
    assert (crack.branch_points, crack.area) == (0, 9 * 60 - 4)


@pytest.mark.parametrize("radius", [0.8, 1.0, 2.0, 8.0, 20.0])
def test_what_has_no_direction_is_measured_too(radius: float) -> None:
    crack = only(disc(radius))
    assert crack.length == pytest.approx(2 * radius, abs=max(1, 0.2 * radius))
    assert 0 < crack.width.value <= 2 * radius + 1
    assert np.isfinite(crack.widest).all()


def test_neighbours_do_not_count_as_one_another() -> None:
    picture = bar(4, 40) + np.roll(bar(4, 40), 6, 0)  # two background rows between them
    upper, lower = measure(picture)
    assert upper.width.high < 6.5
    assert lower.width.value == pytest.approx(4, abs=0.05)


def test_an_empty_mask_has_no_cracks() -> None:
    assert measure(np.zeros((20, 20))) == []


def test_a_turned_picture_has_the_same_cracks() -> None:
    picture = DRAWN["draw"](np.random.default_rng(1), "fork", 5).covered
    crack, turned = only(picture), only(np.rot90(picture))
    assert turned.length == pytest.approx(crack.length, rel=0.01)
    assert turned.width.value == pytest.approx(crack.width.value, abs=0.05)


@pytest.mark.parametrize("width", [1.5, 3, 10, 30])
@pytest.mark.parametrize("shape", DRAWN["SHAPES"])
def test_drawn_cracks(shape: str, width: float) -> None:
    rng = np.random.default_rng(int(10 * width))
    for _ in range(2):
        drawn = DRAWN["draw"](rng, shape, width)
        crack = only(drawn.covered)
        assert crack.width.value == pytest.approx(width, abs=0.15)
        assert crack.length == pytest.approx(drawn.length, rel=0.02)
        assert crack.width.low < width < crack.width.high
        assert crack.widest.low < width < crack.widest.high
        assert crack.branch_points == drawn.junctions
        assert len(crack.lines) == {"fork": 3, "crossing": 4}.get(shape, 1)


def test_objects_by_hand() -> None:
    picture = np.zeros((10, 12), np.float32)
    picture[1:3, 1:3] = 0.8
    picture[5:9, 4:10] = 0.9
    large, small = measure_objects(picture, picture > 0.5)
    assert (large.area, large.box, large.centroid) == (24, (4, 5, 6, 4), (7, 7))
    assert large.diameter == pytest.approx(2 * np.sqrt(24 / np.pi))
    assert (small.area, small.centroid) == (4, (2, 2))
    assert small.confidence == pytest.approx(0.8)
