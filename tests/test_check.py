"""The sheet of what the network will see."""

import cv2
import numpy as np
from conftest import segkit

from segkit.check import darkened, spread


def test_positions_are_spread():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(2, 6) == [0, 1]
    assert spread(1, 3) == [0]


def test_ignored_pixels_are_dark():
    image = np.full((2, 2, 3), 90, np.uint8)
    assert darkened(image, np.array([[0, 255], [1, 0]], np.uint8))[..., 0].tolist() == [[90, 30], [90, 90]]
    assert image.min() == 90


def test_a_sheet_from_the_command_line(tmp_path):
    words = [
        "dataset=synthetic_shapes",
        "dataset.size=48",
        "dataset.counts=[5,2,2]",
        "augment=light_device",
        "count=3",
        "epochs=2",
    ]
    done = segkit(*words, "output=seen", module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 5 training pictures as the network will see them: seen/augmented.png" in done.stdout
    sheet = cv2.imread(str(tmp_path / "seen" / "augmented.png"))
    assert sheet.shape[1] == 4 * 262
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_crops_are_shown_as_they_are_taken(tmp_path):
    words = ["dataset.size=32", "dataset.crops=five", "dataset.picture_size=64", "dataset.counts=[4,2,2]", "count=1"]
    done = segkit(*words, module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "check" / "augmented.png")).shape[1] == 7 * 262
    done = segkit("count=0", module="check", cwd=tmp_path)
    assert done.returncode == 1
    assert "count=0: expected a whole number, 1 or more" in done.stderr
