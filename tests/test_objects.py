"""Objects of a mask: areas to count by hand, and thickness within what its docstring promises."""

import cv2
import numpy as np
import pytest

from segkit.geometry.objects import find_objects


def test_areas_and_classes_by_hand() -> None:
    mask = np.zeros((12, 12), np.uint8)
    mask[1:3, 1:5] = 1  # 8 pixels
    mask[3, 5] = 1  # touches it at a corner: the same object
    mask[8:, 8:] = 2  # at the border: 16
    mask[0, 11] = 255
    found = find_objects(mask, [1, 2])
    assert found.classes.tolist() == [1, 2]
    assert found.areas.tolist() == [9, 16]
    assert len(find_objects(mask, [3]).areas) == 0


@pytest.mark.parametrize("width", [2, 5, 12])
@pytest.mark.parametrize("degrees", [0, 22.5, 45, 70, 90])
def test_a_strip_is_as_thick_in_every_direction(width: int, degrees: float) -> None:
    fine = np.zeros((1200, 1200), np.uint8)
    along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
    across = np.array([-along[1], along[0]]) * width * 2
    signs = ((1, 1), (1, -1), (-1, -1), (-1, 1))
    corners = np.array([600 + ahead * along * 480 + aside * across for ahead, aside in signs])
    cv2.fillPoly(fine, [np.round(corners * 16).astype(np.int32)], 255, shift=4)
    mask = np.asarray(cv2.resize(fine, (300, 300), interpolation=cv2.INTER_AREA) > 127, np.uint8)
    found = find_objects(mask, [1])
    true = found.areas[0] / 240  # what the drawing covers, which rounds the width to pixels
    assert found.thickness[0] == pytest.approx(true, rel=0.08)


def test_compact_objects_and_single_pixels() -> None:
    mask = np.zeros((100, 100), np.uint8)
    cv2.circle(mask, (50, 50), 20, 1, -1)
    assert find_objects(mask, [1]).thickness[0] == pytest.approx(0.79 * 41, rel=0.05)
    mask[:] = 0
    mask[10:30, 40:60] = 1
    assert find_objects(mask, [1]).thickness[0] == pytest.approx(20, rel=0.08)
    mask[:] = 0
    mask[5, 5] = 1
    assert 0.5 < find_objects(mask, [1]).thickness[0] <= 1
