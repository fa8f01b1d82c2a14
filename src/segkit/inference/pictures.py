"""What a predictor takes for a picture, as RGB."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from segkit.datasets.reading import read_picture

Picture = NDArray[Any] | Image.Image | Path | str  # of 8 or 16 bits; a string is a path
WANTED = "expected (height, width), or (height, width, 3) or 4 channels, of uint8 or uint16"


def as_rgb(picture: Picture) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) uint8: files and images of PIL turned as their EXIF tag says, 16 bits over 257, grey in
    all three channels, alpha dropped. DataError for a file that cannot be read, ValueError for another array."""
    if isinstance(picture, str | Path):
        return read_picture(Path(picture))
    if isinstance(picture, Image.Image):
        turned = ImageOps.exif_transpose(picture)
        return _from_array(np.asarray(turned if _is_deep(turned) else turned.convert("RGB")))
    return _from_array(picture)


def _is_deep(image: Image.Image) -> bool:
    return image.mode == "I" or image.mode.startswith("I;16")


def _from_array(values: Any) -> NDArray[np.uint8]:
    if not isinstance(values, np.ndarray):
        name = type(values).__name__
        raise TypeError(f"an object of {name} is no picture: give a path, an array, or an image of PIL.")
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)) or 0 in values.shape:
        raise ValueError(f"an array of shape {values.shape} is no picture: {WANTED}.")
    if values.dtype == np.int32 and values.min() >= 0 and values.max() < 2**16:  # PIL's mode I
        values = values.astype(np.uint16)
    if values.dtype == np.uint16:
        values = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype != np.uint8:
        raise ValueError(f"an array of {values.dtype} is no picture: {WANTED}, with values from 0 to 255 or 65535.")
    return np.stack([values] * 3, -1) if values.ndim == 2 else np.ascontiguousarray(values[..., :3])
