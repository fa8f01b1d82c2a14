"""Pictures and masks from files: formats, depths, palettes, orientation and refused files."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from segkit.datasets import reading
from segkit.datasets.common import read_sample
from segkit.datasets.findings import format_findings, gather_findings
from segkit.datasets.listing import Pair
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import picture_size, read_picture

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
BITS = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
INDICES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
BINARY = MaskValues(["lesion"])
INDEXED = MaskValues(["a", "b", "c"])


def save(path: Path, pixels: Any, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


def message(values: MaskValues, path: Path) -> str:
    with pytest.raises(ValueError) as error:
        values.read(path)
    return str(error.value)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.ppm", "a.tga", "ü x.png", "a.webp"])
def test_lossless_formats_give_the_pixels(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / name, RGB, **({"lossless": True} if name.endswith("webp") else {}))
    assert np.array_equal(read_picture(path), RGB)
    assert picture_size(path) == (5, 7)


def test_jpeg_is_close_and_rgb(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    got = read_picture(save(tmp_path / "a.jpg", red))
    assert np.abs(got.astype(int) - red).max() <= 3


def test_grey_rgba_palette_gif_and_1_bit_pictures_become_rgb(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    three = np.stack([grey] * 3, axis=-1)
    assert np.array_equal(read_picture(save(tmp_path / "grey.png", grey)), three)
    assert np.array_equal(read_picture(save(tmp_path / "grey.gif", grey)), three)
    rgba = np.dstack([RGB, np.arange(35, dtype=np.uint8).reshape(5, 7)])
    assert np.array_equal(read_picture(save(tmp_path / "rgba.png", rgba)), RGB)  # alpha is dropped, not blended
    assert np.array_equal(read_picture(save(tmp_path / "rgba.tif", rgba)), RGB)
    with_alpha = Image.fromarray(np.dstack([grey, grey]), "LA")
    with_alpha.save(tmp_path / "la.png")
    assert np.array_equal(read_picture(tmp_path / "la.png"), three)
    for ending in ("png", "gif", "bmp", "tif"):
        picture = Image.fromarray(INDICES, "P")
        picture.putpalette([9, 8, 7, 255, 0, 0, 1, 2, 3])
        picture.save(tmp_path / f"palette.{ending}")
        got = read_picture(tmp_path / f"palette.{ending}")
        assert got[0].tolist() == [[9, 8, 7], [255, 0, 0], [1, 2, 3]], ending
    got = read_picture(save(tmp_path / "bits.bmp", BITS.astype(bool)))
    assert np.array_equal(got[..., 1], BITS * 255)


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_16_bits_are_divided_by_257(tmp_path: Path, ending: str) -> None:
    deep = np.array([[0, 128, 129, 257, 65535, 32768]], np.uint16)  # 128/257 = .498, 129/257 = .502
    expected = [0, 0, 1, 1, 255, 128]  # 32768/257 = 127.502
    path = tmp_path / f"a.{ending}"
    assert cv2.imwrite(str(path), deep)
    assert read_picture(path)[0, :, 2].tolist() == expected
    if ending != "pgm":
        assert cv2.imwrite(str(path), np.dstack([deep * 0, deep[:, ::-1], deep]))  # blue, green, red
        assert read_picture(path)[0].T.tolist() == [expected, expected[::-1], [0] * 6]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "avif"])
def test_orientation_is_applied_to_picture_mask_and_size(tmp_path: Path, orientation: int, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.zeros((16, 24), np.uint8)
    pixels[:8, :8] = 255
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pixels).convert("RGB").save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("L")) > 127
    assert np.array_equal(read_picture(path)[..., 0] > 127, expected)
    assert np.array_equal(BINARY.read(path) == 1, expected)
    assert picture_size(path) == expected.shape == ((24, 16) if orientation >= 5 else (16, 24))


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp", "tif", "gif", "webp"])
def test_truncated_files_are_named(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = save(tmp_path / f"whole.{ending}", noise)
    cut = tmp_path / f"cut.{ending}"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    for read in (read_picture, BINARY.read):
        with pytest.raises(ValueError, match=rf"cut\.{ending} cannot be read .*truncated, damaged or no picture"):
            read(cut)


def test_empty_files_and_texts_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is no picture")
    with pytest.raises(ValueError, match=r"empty\.png is empty \(0 bytes\)\.\nCopy it again"):
        read_picture(tmp_path / "empty.png")
    for read in (read_picture, picture_size, BINARY.read):
        with pytest.raises(ValueError, match=r"text\.png cannot be read"):
            read(tmp_path / "text.png")


def test_huge_pictures_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path / "a.png", RGB)
    monkeypatch.setattr(reading, "MAX_PIXELS", 34)
    with pytest.raises(ValueError, match=r"a\.png has 7×5 pixels; at most 0 million are read.*\n.*tiles"):
        read_picture(path)
    claim = bytearray(path.read_bytes())
    claim[16:24] = (60000).to_bytes(4, "big") * 2
    claim[29:33] = zlib.crc32(bytes(claim[12:29])).to_bytes(4, "big")
    path.write_bytes(claim)
    with pytest.raises(ValueError, match=r"a\.png has far more pixels"):
        picture_size(path)


def test_float_pictures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.tif has values of type float32; expected 8 or 16 bits"):
        read_picture(save(tmp_path / "a.tif", np.ones((2, 2), np.float32)))


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
    assert "without transparency" in text


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


def remarks(read: Any) -> str:
    with gather_findings() as found:
        read()
        said = list(found.remarks)
        found.remarks.clear()
    return format_findings(said) if said else ""


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


def test_pages_that_are_not_read_are_told(tmp_path: Path) -> None:
    pages = [Image.fromarray(BITS * 255) for _ in range(3)]
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    text = remarks(lambda: BINARY.read(tmp_path / "m.tif"))
    assert "m.tif has 3 pages or frames.\nOnly the first is read." in text


@pytest.mark.parametrize(("orientation", "shape"), [(3, (16, 24)), (2, (16, 24)), (6, (16, 16)), (8, (16, 16))])
def test_pictures_that_are_turned_without_their_masks_are_told(
    tmp_path: Path, orientation: int, shape: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, mask = tmp_path / "a.jpg", tmp_path / "m.png"
    Image.fromarray(np.zeros((*shape, 3), np.uint8)).save(image, exif=exif)
    Image.fromarray(np.zeros(shape, np.uint8)).save(mask)
    text = remarks(lambda: read_sample(Pair(image, mask), "a", BINARY, False))
    assert f"{image} (orientation {orientation})" in text
    assert "read as viewers show them, the masks as they are" in text
    Image.fromarray(np.zeros(shape, np.uint8)).save(mask, exif=exif)
    assert remarks(lambda: read_sample(Pair(image, mask), "a", BINARY, False)) == ""
