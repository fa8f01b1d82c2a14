"""Small grey pictures of many files, each read once: what twins are looked for among."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit import hardware
from segkit.datasets.findings import DataError
from segkit.datasets.reading import read_picture
from segkit.datasets.scan import capture_complaints

SIDE = 96  # of a thumbnail, whatever the shape of its picture
FINEST = 1 / 64  # of the steps between its levels: dark pictures of 16 bits have few of those that pictures have

Grey = NDArray[np.float32]
Reader = Callable[[Path, bytes], NDArray[np.uint8]]


class Thumbnail(NamedTuple):
    """A hash of a picture's size and pixels, and the picture squeezed to (SIDE, SIDE) grey levels in 255 steps."""

    pixels: bytes
    steps: NDArray[np.uint8]
    darkest: float
    step: float

    def grey(self) -> Grey:
        """(SIDE, SIDE) float32 in 0..255."""
        return self.steps.astype(np.float32) * np.float32(self.step) + np.float32(self.darkest)


def read_thumbnails(paths: Sequence[Path], read: Reader = read_picture) -> list[Thumbnail | DataError]:
    """A thumbnail of every file, or why it cannot be read."""

    def one(path: Path) -> Thumbnail | DataError:
        try:
            return _read(path, read)
        except DataError as error:
            return error

    # what decoders complain of is reported elsewhere
    with capture_complaints(), ThreadPoolExecutor(min(hardware.cores(), 4)) as pool:
        return list(pool.map(one, paths))


def _read(path: Path, read: Reader) -> Thumbnail:
    try:
        data = path.read_bytes()
    except OSError:
        data = b""  # the reader has words for it
    return make_thumbnail(read(path, data) if data else read_picture(path))


def make_thumbnail(picture: NDArray[np.uint8]) -> Thumbnail:
    """The thumbnail of a picture (H, W, 3)."""
    height, width = picture.shape[:2]
    digest = blake2b(f"{height} {width} ".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(picture).data)
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    darkest, brightest = float(small.min()), float(small.max())
    step = max((brightest - darkest) / 255, FINEST)
    steps = np.round((small - darkest) / step).astype(np.uint8)
    return Thumbnail(digest.digest(), steps, darkest, step)
