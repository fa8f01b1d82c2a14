"""Small pictures and masks, and files of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.datasets.findings import format_findings, gather_findings
from segkit.datasets.masks import MaskValues

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def save(path: Path, pixels: Any, **options: Any) -> Path:
    Image.fromarray(pixels).save(path, **options)
    return path


BITS = np.array([[0, 1, 1], [1, 0, 0]], np.uint8)
INDICES = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
BINARY = MaskValues(["lesion"])
INDEXED = MaskValues(["a", "b", "c"])


def message(values: MaskValues, path: Path) -> str:
    with pytest.raises(ValueError) as error:
        values.read(path)
    return str(error.value)


def remarks(read: Any) -> str:
    with gather_findings() as found:
        read()
        said = list(found.remarks)
        found.remarks.clear()
    return format_findings(said) if said else ""
