"""What the values of mask files mean: one class, numbers, colours."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mask_files import BINARY, BITS, INDEXED, INDICES, message, remarks, save
from PIL import Image

from segkit.datasets.masks import MaskValues


def test_binary_masks_of_every_kind(tmp_path: Path) -> None:
    kinds = {
        "bits.png": BITS.astype(bool),
        "bits.bmp": BITS.astype(bool),
        "bits.tif": BITS.astype(bool),
        "grey.gif": BITS * 255,
        "rgb.bmp": np.dstack([BITS * 255] * 3),
        "rgba.png": np.dstack([BITS * 255] * 3 + [np.full_like(BITS, 255)]),
        "deep.png": BITS.astype(np.uint16) * 65535,
        "deep255.tif": BITS.astype(np.uint16) * 255,
    }
    for name, pixels in kinds.items():
        got = BINARY.read(save(tmp_path / name, pixels))
        assert got.dtype == np.uint8
        assert np.array_equal(got, BITS), name
    palette = Image.fromarray(BITS, "P")
    palette.putpalette([0, 0, 0, 250, 250, 250])
    palette.save(tmp_path / "p.png")
    assert np.array_equal(BINARY.read(tmp_path / "p.png"), BITS)  # white, though its index is 1


def test_binary_threshold_is_exclusive_and_a_setting(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 127, 128, 255]], np.uint8))
    assert BINARY.read(path).tolist() == [[0, 0, 1, 1]]
    assert MaskValues(["lesion"], threshold=0).read(path).tolist() == [[0, 1, 1, 1]]
    ignoring = MaskValues(["lesion"], ignore_values=[127, 128])
    assert ignoring.read(path).tolist() == [[0, 255, 255, 1]]
    empty = save(tmp_path / "empty.png", np.zeros((2, 2), np.uint8))
    assert BINARY.read(empty).max() == 0


def test_a_binary_mask_without_foreground_values_is_an_error(tmp_path: Path) -> None:
    text = message(BINARY, save(tmp_path / "m.png", INDICES))
    assert "m.png has no value above dataset.threshold=127: its values are 0, 1, 2." in text
    assert "type 'dataset.classes=[background,class1,class2]'." in text
    assert "If every value above 0 is lesion, such as numbers of objects, type dataset.threshold=0." in text


def test_a_mask_in_the_alpha_channel_is_an_error(tmp_path: Path) -> None:
    white = np.full((2, 3, 3), 255, np.uint8)
    text = message(BINARY, save(tmp_path / "m.png", np.dstack([white, BITS * 255])))
    assert "m.png is drawn only in its alpha channel" in text
    assert "Save the alpha channel as a grey mask" in text


def test_index_masks_of_every_kind(tmp_path: Path) -> None:
    for name in ("grey.png", "grey.bmp", "grey.tif", "grey.gif"):
        assert np.array_equal(INDEXED.read(save(tmp_path / name, INDICES)), INDICES), name
    assert np.array_equal(INDEXED.read(save(tmp_path / "16.png", INDICES.astype(np.uint16))), INDICES)
    assert np.array_equal(INDEXED.read(save(tmp_path / "16.tif", INDICES.astype(np.uint16))), INDICES)
    assert np.array_equal(INDEXED.read(save(tmp_path / "float.tif", INDICES.astype(np.float32))), INDICES)
    assert np.array_equal(INDEXED.read(save(tmp_path / "rgb.png", np.dstack([INDICES] * 3))), INDICES)
    for ending in ("png", "gif", "bmp", "tif"):
        palette = Image.fromarray(INDICES, "P")
        palette.putpalette([128, 128, 128, 128, 0, 0, 192, 192, 128])
        palette.save(tmp_path / f"p.{ending}")
        assert np.array_equal(INDEXED.read(tmp_path / f"p.{ending}"), INDICES), ending
    two = MaskValues(["background", "lesion"])
    for ending in ("png", "bmp", "tif"):  # not 0 and 255, as 255 would be ignored
        assert np.array_equal(two.read(save(tmp_path / f"bits.{ending}", BITS.astype(bool))), BITS), ending


@pytest.mark.parametrize("bits", [2, 4])
def test_greys_of_few_bits_are_the_numbers_in_the_file(tmp_path: Path, bits: int) -> None:
    """Decoders stretch them to 0..255. The file is written by hand: a row is a filter byte and packed pixels."""
    row = {2: bytes([0, 0b00_01_10_11]), 4: bytes([0, 0x01, 0x23])}[bits]

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (4).to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([bits, 0, 0, 0, 0])
    path = tmp_path / "few.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    )
    assert MaskValues(list("abcd")).read(path).tolist() == [[0, 1, 2, 3]]
    if bits == 2:
        assert BINARY.read(path).tolist() == [[0, 0, 1, 1]]  # as shown: 0, 85, 170, 255


def test_ignored_values_become_255(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", np.array([[0, 2, 11, 255]], np.uint8))
    expected = [[0, 2, 255, 255]]
    assert MaskValues(list("abc"), ignore_values=[11]).read(path).tolist() == expected
    deep = save(tmp_path / "deep.png", np.array([[0, 2, 1000, 255]], np.uint16))
    assert MaskValues(list("abc"), ignore_values=[1000]).read(deep).tolist() == expected
    first = MaskValues(list("abc"), ignore_values=[0, 11])  # a class index may be ignored, too
    assert first.read(path).tolist() == [[255, 2, 255, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_unknown_indices_name_file_values_and_classes(tmp_path: Path, dtype: type[np.generic]) -> None:
    text = message(INDEXED, save(tmp_path / "m.png", np.array([[0, 2, 3, 9]], dtype)))
    assert "m.png has the values 3, 9 (of 0, 2, 3, 9), but dataset.classes names 3 classes, 0..2: a, b, c." in text
    assert "'dataset.ignore_values=[3,9]'" in text


def test_indices_between_classes_are_an_error(tmp_path: Path) -> None:
    text = message(INDEXED, save(tmp_path / "m.tif", np.array([[0, 0.5, 1]], np.float32)))
    assert "m.tif has the values 0.5" in text


def test_index_masks_in_colours_ask_for_a_table(tmp_path: Path) -> None:
    text = message(INDEXED, save(tmp_path / "m.png", np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8)))
    assert "m.png holds colours, [0, 0, 0], [255, 0, 0]; expected the indices 0..2" in text
    assert "dataset.colors" in text


def test_jpeg_masks_are_for_one_class_only(tmp_path: Path) -> None:
    square = np.zeros((32, 32), np.uint8)
    square[5:20, 7:21] = 255
    path = save(tmp_path / "m.jpg", square)
    assert np.array_equal(BINARY.read(path), square // 255)
    colored = MaskValues(list("ab"), colors=[[0, 0, 0], [255, 255, 255]])
    for values in (INDEXED, colored, MaskValues(["a"], ignore_values=[3])):
        text = message(values, path)
        assert "m.jpg is compressed with loss, so it holds values between those of its classes: " in text
        assert "export the masks again as PNG" in text
    assert ": 0, 1, 2, 3" in message(INDEXED, path)
    assert "[0, 0, 0], [1, 1, 1]" in message(colored, path)
    assert "with loss" in message(INDEXED, save(tmp_path / "m.webp", square, quality=50))


TABLE: Sequence[Sequence[int]] = [[0, 0, 0], [255, 0, 0], [0, 0, 255]]


def test_colours_by_list_and_by_name(tmp_path: Path) -> None:
    pixels = np.array(TABLE, np.uint8)[INDICES]
    named = dict(zip("abc", TABLE, strict=True))
    path = save(tmp_path / "m.png", pixels)
    assert np.array_equal(MaskValues(list("abc"), colors=TABLE).read(path), INDICES)
    assert np.array_equal(MaskValues(list("cba"), colors=named).read(path), 2 - INDICES)
    palette = Image.fromarray(INDICES, "P")
    palette.putpalette([value for color in TABLE for value in color])
    palette.save(tmp_path / "m.gif")
    assert np.array_equal(MaskValues(list("abc"), colors=TABLE).read(tmp_path / "m.gif"), INDICES)
    some = MaskValues(["b", "c"], colors={"b": TABLE[1], "c": TABLE[2], "ignore": TABLE[0]})
    assert some.read(path).tolist() == [[255, 0, 1], [1, 0, 255]]
    one = MaskValues(["lesion"], colors=TABLE[:2])
    assert one.read(save(tmp_path / "one.png", np.array(TABLE, np.uint8)[BITS])).tolist() == BITS.tolist()


def test_unknown_colours_name_file_and_colours(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", np.array([[[0, 0, 0], [7, 8, 9]]], np.uint8))
    text = message(MaskValues(list("abc"), colors=TABLE), path)
    assert "m.png has colours that are not in dataset.colors: [7, 8, 9] (of [0, 0, 0], [7, 8, 9])." in text
    assert "`ignore`" in text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"classes": []}, "dataset.classes is []; expected a list of 1 to 255 different names"),
        ({"classes": "crack"}, "dataset.classes is crack; expected a list"),
        ({"classes": ["a", "a"]}, "different names"),
        ({"classes": ["a", False]}, "expected a list of"),  # what YAML makes of an unquoted `no`
        ({"classes": ["a", "b"], "colors": [[0, 0, 0]]}, "dataset.colors has 1 colours; expected 2"),
        ({"classes": ["a"], "colors": [[0, 0, 0]]}, "expected 2, for ['background', 'a']"),
        (
            {"classes": ["a", "b"], "colors": {"a": [0, 0, 0], "x": [1, 1, 1]}},
            "names ['a', 'x']; expected ['a', 'b']",
        ),
        (
            {"classes": ["a", "b"], "colors": [[0, 0, 0], [0, 0, 256]]},
            "[0, 0, 256]; expected [red, green, blue]",
        ),
        ({"classes": ["a", "b"], "colors": [[0, 0, 0], [0, 0, 0]]}, "[0, 0, 0] twice"),
        ({"classes": ["a", "b"], "colors": TABLE[:2], "ignore_values": [3]}, "name the colour to `ignore`"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as error:
        MaskValues(**settings)
    assert expected in str(error.value)


COLORED = np.zeros((20, 30, 3), np.uint8)
COLORED[2:9, 3:15] = (0, 255, 0)
COLORED[11:18, 5:25] = (255, 0, 0)


@pytest.mark.parametrize("ending", ["png", "bmp", "tif", "gif", "jpg", "webp"])
def test_colours_read_as_one_class_are_an_error(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"m.{ending}"
    Image.fromarray(COLORED.repeat(4, 0).repeat(4, 1)).save(path)
    text = message(BINARY, path)
    assert f"m.{ending} holds colours, [0, 0, 0]" in text
    lossy = ending in ("jpg", "webp")
    line = "'dataset.classes=[background,class1,class2]' 'dataset.colors={background: [0, 0, 0], class1: [0, 255, 0], "
    assert ("export them again as PNG" if lossy else f"If that is meant, type {line}class2: [255, 0, 0]}}'.") in text
    assert text.count("[") < 8  # JPEG artefacts are not listed as colours


def test_a_palette_in_colours_read_as_one_class_is_an_error(tmp_path: Path) -> None:
    picture = Image.fromarray(BITS, "P")
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "m.png")
    text = message(BINARY, tmp_path / "m.png")
    assert "m.png holds colours, [0, 0, 0], [128, 0, 0]; expected shades of grey" in text
    assert "type 'dataset.colors={background: [0, 0, 0], lesion: [128, 0, 0]}'." in text
    as_told = MaskValues(["lesion"], colors=[[0, 0, 0], [128, 0, 0]])
    assert np.array_equal(as_told.read(tmp_path / "m.png"), BITS)


def test_grey_in_three_channels_has_no_colour(tmp_path: Path) -> None:
    square = np.zeros((32, 32), np.uint8)
    square[5:20, 7:21] = 255
    for name in ("a.png", "a.jpg"):
        path = save(tmp_path / name, np.dstack([square] * 3))
        assert np.array_equal(BINARY.read(path), square // 255)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1])
def test_masks_of_no_shades_are_errors(tmp_path: Path, value: float) -> None:
    path = save(tmp_path / "m.tif", np.array([[0, 255, value]], np.float32))
    text = message(BINARY, path)
    assert "m.tif has the values" in text
    assert f"{value:g}" in text
    assert "Expected finite values of 0 or more" in text
    assert "m.tif has the values" in message(INDEXED, path)


def test_greys_that_may_be_classes_are_told(tmp_path: Path) -> None:
    shades = np.zeros((30, 30), np.uint8)
    shades[:, 10:20], shades[:, 20:] = 128, 255
    path = save(tmp_path / "m.png", shades)
    text = remarks(lambda: BINARY.read(path))
    assert "m.png: 128, 255 is taken as lesion, 0 as background." in text
    assert "type 'dataset.classes=[background,class1,class2]' 'dataset.colors={" in text
    smooth = cv2.resize(cv2.circle(np.zeros((200, 200), np.uint8), (90, 90), 60, 255, -1), (50, 50), interpolation=3)
    assert len(np.unique(smooth)) > 3
    few = smooth // 64 * 64  # anti-aliased, in few steps
    for name, pixels in (("smooth", smooth), ("few", few), ("two", shades // 255 * 255)):
        other = save(tmp_path / f"{name}.png", pixels)
        assert remarks(lambda path=other: BINARY.read(path)) == "", name
