"""Large picture files, read a band of rows at a time where their format allows it."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.datasets.findings import add_remark
from segkit.datasets.reading import PAGES, names_damaged_files, picture_size, to_8_bit
from segkit.datasets.scan import read_whole
from segkit.tasks.tiles import Held, Rows

SUFFIXES = (".tif", ".tiff")
LARGEST_PART = 2**26  # values of a strip or tile of a file; a file with larger ones is read whole
PACKED = (1, 8, 32946, 32773, 34925)  # none, Deflate (both numbers), PackBits and LZMA: what needs no further package


def open_rows(path: Path) -> Rows:
    """A picture file whose pixels are those of `read_picture`, and errors as well. A TIFF is read in bands of rows: if
    it is not compressed through a memory map, else one strip or row of tiles after the other. Anything else is decoded
    whole: other formats, and TIFFs that are compressed otherwise, in one piece, or with colours of another kind."""
    picture_size(path)  # which refuses a header that claims too much
    rows = open_tiff(path) if path.suffix.lower() in SUFFIXES else None
    return Held(read_whole(path)) if rows is None else rows


@names_damaged_files
def open_tiff(path: Path) -> "TiffRows | None":
    """None if it must be read whole."""
    import tifffile  # not for those who have no TIFF

    with tifffile.TiffFile(path) as file:
        page, pages = file.pages.first, len(file.pages)
        if not is_plain(page):
            return None
        mapped = tifffile.memmap(path, page=0, mode="r") if page.is_memmappable else None
        rows = TiffRows(path, page, mapped)
        if mapped is None and (page.compression not in PACKED or np.prod(page.chunks) > LARGEST_PART):
            return None
    if pages > 1:
        add_remark(PAGES, f"{path} has {pages} pages or frames.", files=(path,))
    return rows


def is_plain(page: Any) -> bool:
    """Whether a page holds greys or RGB of 8 or 16 bits, pixel by pixel, the way up that they are shown."""
    grey, color, turned = page.photometric == 1, page.photometric == 2, page.tags.get("Orientation")
    return bool(
        ((grey and page.samplesperpixel in (1, 2)) or (color and page.samplesperpixel in (3, 4)))
        and page.dtype in (np.uint8, np.uint16)
        and page.bitspersample in (8, 16)
        and (page.planarconfig == 1 or page.samplesperpixel == 1)
        and page.imagedepth == 1
        and (turned is None or turned.value == 1)
    )


class TiffRows:
    """The rows of a TIFF's first page, from a memory map or part by part. Parts of the band that was read last are
    kept, as the next one may begin in them."""

    def __init__(self, path: Path, page: Any, mapped: NDArray[Any] | None) -> None:
        self.path, self.page, self.mapped = path, page, mapped
        self.shape: tuple[int, int] = (page.imagelength, page.imagewidth)
        self.parts: dict[int, NDArray[Any]] = {}  # by number

    def read(self, top: int, bottom: int) -> NDArray[np.uint8]:
        """(bottom - top, width, 3) RGB."""
        return read_band(self.path, self, top, bottom)

    def values(self, top: int, bottom: int) -> NDArray[Any]:
        """The rows as they are stored, (rows, width, samples)."""
        width, samples = self.shape[1], self.page.samplesperpixel
        if self.mapped is not None:
            return np.array(self.mapped[top:bottom]).reshape(bottom - top, width, samples)
        band = np.empty((bottom - top, width, samples), self.page.dtype)
        tall, wide = self.page.chunks[:2]
        across = -(-width // wide)
        numbers = range(top // tall * across, -(-bottom // tall) * across)
        self.parts = {number: part for number, part in self.parts.items() if number in numbers}
        with self.path.open("rb") as file:
            for number in numbers:
                if number not in self.parts:
                    self.parts[number] = self.decode(file, number)
                part = self.parts[number]
                first, left = number // across * tall, number % across * wide
                rows = slice(max(top - first, 0), min(bottom - first, len(part)))
                place = slice(first + rows.start - top, first + rows.stop - top)
                band[place, left : left + part.shape[1]] = part[rows]
        return band

    def decode(self, file: Any, number: int) -> NDArray[Any]:
        """One strip or tile, without what it has beyond the picture's borders."""
        file.seek(self.page.dataoffsets[number])
        data = file.read(self.page.databytecounts[number])
        if len(data) < self.page.databytecounts[number]:
            raise ValueError("it ends too early")
        part, place, shape = self.page.decode(data or None, number)
        if part is None:  # it was never written, and is black
            part = np.zeros(shape, self.page.dtype)
        return np.asarray(part[0, : self.shape[0] - place[2], : self.shape[1] - place[3]])


@names_damaged_files
def read_band(path: Path, rows: TiffRows, top: int, bottom: int) -> NDArray[np.uint8]:
    values = to_8_bit(rows.values(top, bottom), path)
    return np.ascontiguousarray(values[..., :3] if values.shape[2] >= 3 else np.repeat(values[..., :1], 3, axis=2))
