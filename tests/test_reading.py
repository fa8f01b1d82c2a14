"""Pictures and masks from files: formats, depths, palettes, orientation and refused files."""

import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from mask_files import BINARY, BITS, INDICES, RGB, remarks, save
from PIL import Image, ImageOps

from segkit.datasets import reading
from segkit.datasets.common import read_sample
from segkit.datasets.findings import DataError
from segkit.datasets.listing import Pair
from segkit.datasets.reading import picture_size, read_mask_file, read_picture


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


def test_whatever_a_decoder_raises_names_the_file(tmp_path: Path) -> None:
    """Decoders raise TypeError, RuntimeError, … for damaged files."""
    Image.new("RGB", (9, 9)).save(tmp_path / "a.webp", exif=b"M\x7f\xff\xff\xff\0\0\x08")
    for read in (read_picture, picture_size, read_mask_file, reading.orientation_of):
        with pytest.raises(DataError, match=r"a\.webp cannot be read \(not a TIFF file .*\): it is truncated"):
            read(tmp_path / "a.webp")


def test_16_bits_are_rounded_as_by_wider_numbers(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert (read_picture(tmp_path / "a.png")[..., 0] == (values.astype(np.int64) + 128) // 257).all()
