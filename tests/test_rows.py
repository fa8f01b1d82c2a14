"""Large files, read in bands of rows: the same pixels as when they are read whole."""

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from segkit.datasets.findings import DataError, gather_findings
from segkit.datasets.reading import read_picture
from segkit.datasets.rows import TiffRows, open_rows
from segkit.tasks.tiles import Held, Rows

DRAW = np.random.default_rng(0)
COLOR = DRAW.integers(0, 256, (100, 70, 3), dtype=np.uint8)
DEEP = DRAW.integers(0, 65536, (100, 70, 3), dtype=np.uint16)


def whole(rows: Rows, steps: tuple[int, ...] = (0, 1, 40, 41, 90, 100)) -> NDArray[np.uint8]:
    return np.concatenate([rows.read(top, bottom) for top, bottom in pairwise(steps)])


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("parts", [{}, {"rowsperstrip": 7}, {"tile": (32, 16)}])
@pytest.mark.parametrize("pixels", [COLOR, DEEP, COLOR[..., 0], np.dstack([COLOR, COLOR[..., 0]])])
def test_a_tiff_in_bands(tmp_path: Path, compression: str | None, parts: Any, pixels: NDArray[Any]) -> None:
    path = tmp_path / "a.tif"
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    tifffile.imwrite(path, pixels, compression=compression, photometric=photometric, **parts)
    rows = open_rows(path)
    assert isinstance(rows, TiffRows)
    assert rows.shape == (100, 70)
    expected = pixels[..., :3] if pixels.ndim == 3 else np.stack([pixels] * 3, -1)
    if pixels.dtype == np.uint16:
        expected = ((expected.astype(np.uint32) + 128) // 257).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(whole(rows), expected)
    np.testing.assert_array_equal(rows.read(13, 77), expected[13:77])
    if not (parts.get("tile") and pixels.dtype == np.uint16):
        np.testing.assert_array_equal(read_picture(path), expected)


def test_the_parts_of_a_band_alone_are_kept(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", COLOR, compression="zlib", rowsperstrip=10, photometric="rgb")
    rows = open_rows(tmp_path / "a.tif")
    assert isinstance(rows, TiffRows)
    rows.read(0, 40)
    assert [*rows.parts] == [0, 1, 2, 3]
    kept = rows.parts[3]
    rows.read(38, 61)
    assert sorted(rows.parts) == [3, 4, 5, 6]
    assert rows.parts[3] is kept


def test_other_files_are_decoded_whole(tmp_path: Path) -> None:
    Image.fromarray(COLOR).save(tmp_path / "a.png")
    Image.fromarray(COLOR).save(tmp_path / "packed.tif", compression="packbits")
    packed = open_rows(tmp_path / "packed.tif")
    assert isinstance(packed, TiffRows)
    np.testing.assert_array_equal(whole(packed), COLOR)
    Image.fromarray(COLOR).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    Image.fromarray(COLOR).quantize(16).save(tmp_path / "palette.tif")
    tifffile.imwrite(
        tmp_path / "planes.tif", COLOR.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"
    )
    for name in ("a.png", "lzw.tif", "palette.tif", "planes.tif"):
        rows = open_rows(tmp_path / name)
        assert isinstance(rows, Held), name
        np.testing.assert_array_equal(whole(rows), read_picture(tmp_path / name))


def test_further_pages_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.stack([COLOR] * 2), photometric="rgb")
    with gather_findings():
        rows = open_rows(tmp_path / "a.tif")
    assert isinstance(rows, TiffRows)
    assert "has 2 pages" in caplog.text
    np.testing.assert_array_equal(whole(rows), COLOR)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_tiff_is_named(tmp_path: Path, compression: str | None) -> None:
    path = tmp_path / "cut.tif"
    tifffile.imwrite(path, COLOR, compression=compression, rowsperstrip=10, photometric="rgb")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"cut\.tif cannot be read"):
        whole(open_rows(path))


def test_a_billion_pixels_by_the_header_are_refused(tmp_path: Path) -> None:
    """A TIFF of a hundred bytes that claims 40,000 × 30,000 pixels."""
    entries = [(256, 4, 40_000), (257, 4, 30_000), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (278, 4, 30_000)]
    entries += [(279, 4, 1)]
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    (tmp_path / "huge.tif").write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + b"\0\0\0\0")
    with pytest.raises(DataError, match=r"huge\.tif has far more pixels; at most 512 million are read"):
        open_rows(tmp_path / "huge.tif")
