"""Folders of pictures and masks for the tests of `dataset=folder`."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.datasets.common import Split
from segkit.datasets.folder import Folder

SPLITS: tuple[Split, ...] = ("train", "val", "test")

MASK = np.zeros((6, 8), np.uint8)


def write(path: Path, pixels: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return path


def fill(folder: Path, count: int, start: int = 0, mask: Any = MASK, suffix: str = "") -> None:
    """`count` pictures, each of its own shade, with masks."""
    for number in range(start, start + count):
        write(folder / "images" / f"p{number:02}.png", np.full((6, 8, 3), number))
        write(folder / "masks" / f"p{number:02}{suffix}.png", mask)


def error_of(kind: type[Exception], root: Path, split: Any = "train", **settings: Any) -> str:
    """The message when the data set is created, or all of it is read."""
    with pytest.raises(kind) as error:
        read_all(Folder(root, split, **{"classes": ["crack"], **settings}))
    return str(error.value)


def read_all(data: Folder) -> None:
    for index in range(len(data)):
        data[index]
