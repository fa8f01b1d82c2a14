"""A predictor from Python: what it takes for a picture, several at once, and from several threads."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segkit.datasets.findings import DataError
from segkit.inference.pictures import as_rgb
from segkit.inference.predictor import Predictor

DRAW = np.random.default_rng(0)
IMAGE = DRAW.integers(0, 256, (40, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor(tiny_run: Path) -> Predictor:
    return Predictor.load(tiny_run, accelerator="cpu")


def test_a_picture_may_be_a_path_an_array_or_an_image(tmp_path: Path) -> None:
    path = tmp_path / "a b ü.png"
    Image.fromarray(IMAGE).save(path)
    for given in (path, str(path), IMAGE, Image.fromarray(IMAGE), np.dstack([IMAGE, IMAGE[..., :1]])):
        np.testing.assert_array_equal(as_rgb(given), IMAGE)
    grey = IMAGE[..., 0]
    deep = 257 * grey.astype(np.uint16)
    for array in (grey, deep):
        for picture in (array, Image.fromarray(array)):
            np.testing.assert_array_equal(as_rgb(picture), np.stack([grey] * 3, -1))
    assert as_rgb(np.array([[65535, 0, 128, 129]], np.uint16))[0, :, 0].tolist() == [255, 0, 0, 1]


def test_images_are_turned_as_viewers_show_them(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(IMAGE).save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(as_rgb(image), np.rot90(IMAGE, -1))
    np.testing.assert_array_equal(as_rgb(tmp_path / "a.png"), np.rot90(IMAGE, -1))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.zeros((4, 4, 2), np.uint8), r"shape \(4, 4, 2\) is no picture: expected \(height, width\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\) is no picture"),
        (np.zeros((4, 4, 3), np.float32), "an array of float32 is no picture: .* values from 0 to 255 or 65535"),
        (np.full((4, 4), -1, np.int32), "an array of int32 is no picture"),
        (7, "an object of int is no picture: give a path"),
    ],
)
def test_what_is_no_picture_is_told(wrong: object, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        as_rgb(wrong)  # type: ignore[arg-type]


def test_a_file_that_is_no_picture_is_named(predictor: Predictor, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png"):
        predictor(tmp_path / "a.png")


def test_a_list_has_the_predictions_of_its_pictures(predictor: Predictor) -> None:
    sizes = [(40, 48), (32, 32), (9, 70)] * 7
    pictures = [DRAW.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    found = predictor(pictures)
    assert len(found) == 21
    for picture, prediction in zip(pictures, found, strict=True):
        alone = predictor(picture)
        assert alone.probabilities is not None
        assert prediction.probabilities is not None
        assert prediction.label is not None
        assert prediction.label.shape == picture.shape[:2]
        np.testing.assert_allclose(prediction.probabilities, alone.probabilities, atol=5e-3)  # bfloat16
    assert predictor([]) == []


def test_several_threads_share_a_predictor(predictor: Predictor) -> None:
    pictures = [cv2.GaussianBlur(DRAW.integers(0, 256, (40, 40, 3), dtype=np.uint8), (0, 0), 3) for _ in range(24)]
    expected = [predictor(np.asarray(picture, np.uint8)).probabilities for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        found = [*pool.map(lambda picture: predictor(np.asarray(picture, np.uint8)).probabilities, pictures)]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
