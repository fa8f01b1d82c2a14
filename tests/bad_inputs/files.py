"""Makers of odd picture files: p00 of `data` (see `makers.data`) replaced by something else."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bad_inputs.makers import both, data

Maker = Callable[[Path], None]

CHECK = ("dataset=folder", "dataset.root=data", "dataset.size=32", "augment=none", "count=1", "epochs=1", "output=seen")
READ = "8 / 2 / 2 train / val / test pictures read"  # what check says of `data` where nothing is wrong with it

RGB = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)
MASK = np.zeros((32, 32), np.uint8)
MASK[8:20, 10:24] = 255
BITS = MASK // 255
COLORS = np.zeros((32, 32, 3), np.uint8)
COLORS[4:16, 4:16], COLORS[16:28, 16:28] = (0, 255, 0), (255, 0, 0)


def encoded(pixels: Any, kind: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """The bytes of a picture file."""
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels, mode)
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def palette(values: np.ndarray, *colors: int) -> Image.Image:
    picture = Image.fromarray(values, "P")
    picture.putpalette(list(colors))
    return picture


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, bits: int = 8, color: int = 0, rows: bytes | None = None) -> bytes:
    """A PNG written by hand; without `rows` all zero, if they are few."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    if rows is None:
        rows = b"\0" * min((width * bits // 8 + 1) * height, 10**6)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def cut_and_closed(content: bytes) -> bytes:
    """The first half of a JPEG's data, and the marker of its end."""
    start = content.index(b"\xff\xda")
    return content[: start + (len(content) - start) // 2] + b"\xff\xd9"


def doubled(content: bytes) -> bytes:
    """A JPEG with a piece of its data twice: everything after it is shifted."""
    middle = (len(content) + content.index(b"\xff\xda")) // 2
    return content[:middle] + content[middle - 40 : middle] + content[middle:]


def swapped(kind: str, name: str, content: bytes) -> Maker:
    """`data`, with p00 of images or masks replaced by a file of this name."""

    def make(folder: Path) -> None:
        (folder / "data" / kind / "p00.png").unlink()
        (folder / "data" / kind / name).write_bytes(content)

    return both(data, make)


def image(name: str, content: bytes) -> Maker:
    return swapped("images", name, content)


def mask(name: str, content: bytes) -> Maker:
    return swapped("masks", name, content)


def every_mask(content: bytes, name: str = "png") -> Maker:
    """`data`, with all masks replaced by one."""

    def make(folder: Path) -> None:
        for path in sorted((folder / "data" / "masks").iterdir()):
            path.unlink()
            path.with_suffix(f".{name}").write_bytes(content)

    return both(data, make)


def every_image(content: Callable[[int], bytes], name: str = "png") -> Maker:
    """`data`, with every image replaced by that of its number."""

    def make(folder: Path) -> None:
        for number, path in enumerate(sorted((folder / "data" / "images").iterdir())):
            path.unlink()
            path.with_suffix(f".{name}").write_bytes(content(number))

    return both(data, make)


def shaded(number: int, shape: tuple[int, int] = (32, 32)) -> np.ndarray:
    """A picture of its own for each number."""
    return np.random.default_rng(number).integers(0, 256, (*shape, 3), dtype=np.uint8)
