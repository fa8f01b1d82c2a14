"""Overlays: class colours, masks over pictures, hatching and outlines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX
from segkit.configs.kinds import COLOR, as_rgb
from segkit.files.writing import write_bytes

Pixels = NDArray[np.uint8]

# Okabe and Ito's palette, distinguishable with any colour vision; then evenly spaced hues
PALETTE = [
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
]
BANDS = 80  # at most, along the longer side; every third is grey
IGNORED = ", ignored hatched"  # end of a title


def class_colors(count: int, given: Sequence[Sequence[int]] | None = None, names: Sequence[str] = ()) -> Pixels:
    """(C, 3) RGB colours of the classes: the data set's own, else the palette's. A single class is the foreground; of
    several, one named background is black, which is not painted."""
    colors = _class_colors(count, given)
    if count > 1:
        colors[[number for number, name in enumerate(names) if name.lower() == "background"]] = 0
    return colors


def _class_colors(count: int, given: Sequence[Sequence[int]] | None) -> Pixels:
    if given is not None and len(given) >= count:
        return np.array(given[:count], np.uint8)
    extra = max(count - len(PALETTE), 0)
    hues = np.array([[(180 * number // extra, 200, 230) for number in range(extra)]], np.uint8).reshape(1, -1, 3)
    more = cv2.cvtColor(hues, cv2.COLOR_HSV2RGB)[0].tolist() if extra else []
    return np.array([*PALETTE, *more][:count], np.uint8)


def parse_colors(given: Any, classes: Sequence[str]) -> Pixels:
    """(C, 3) RGB colours from a setting: for one class a name ("red", "#ff8800") or [r, g, b], for several a list of
    these. Raises ValueError for anything else, and if their number is wrong."""
    numbers = isinstance(given, list) and len(given) == 3 and all(isinstance(one, int) for one in given)
    entries = [given] if numbers or not isinstance(given, list) else given
    if len(entries) != len(classes):
        raise ValueError(f"color={given}: expected a color for each of {', '.join(classes)}; got {len(entries)}.")
    colors = [as_rgb(entry) for entry in entries]
    if None in colors:
        raise ValueError(f"color={entries[colors.index(None)]}: expected {COLOR.words}.")
    return np.array(colors, np.uint8)


def paint(mask: Pixels, colors: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """A mask (H, W) of class numbers as RGB (H, W, 3), and where it shows a class at all.

    With one colour, 0 is background and 1 the class; with several, number n has colour n, and black is the background,
    which shows nothing. 255 shows nothing.
    """
    table = np.zeros((256, 3), np.uint8)
    first = 1 if len(colors) == 1 else 0
    table[first : first + len(colors)] = colors
    shown = (mask >= first) & (mask < first + len(colors))
    if len(colors) > 1:
        shown &= table[mask].any(axis=-1)
    return table[mask], shown


def overlay(
    image: Pixels,
    mask: Pixels,
    colors: Pixels,
    opacity: float = 0.45,
    outlined: bool = False,
    width: int | None = None,
) -> Pixels:
    """The classes of `mask` (H, W) over `image` (H, W, 3) in their colours; ignored pixels are hatched.

    outlined: draw lines around them, which show them even on a picture of the same colour. width: see `outline`.
    """
    painted, shown = paint(mask, colors)
    mixed = cv2.addWeighted(image, 1 - opacity, painted, opacity, 0)
    laid: Pixels = np.where(shown[..., None], mixed, image).astype(np.uint8)
    return hatch(outline(laid, shown, width) if outlined else laid, mask)


def line_width(shape: Sequence[int]) -> int:
    """The width of an outline's lines, in pixels of a picture of `shape`."""
    return max(max(shape) // 800, 1)


def outline(image: Pixels, shown: NDArray[np.bool_], width: int | None = None) -> Pixels:
    """`image` (H, W, 3), changed in place, with two lines around what is `shown` (H, W): a light one and a dark one
    around it, so that one of them stands out from any picture. They lie outside: a crack may be thinner. width: of each
    line; None for `line_width`.
    """
    width = line_width(shown.shape) if width is None else width
    near, far = (
        cv2.dilate(shown.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0 for reach in (width, 2 * width)
    )
    image[far & ~near] = 0
    image[near & ~shown] = 255
    return image


def hatch(image: Pixels, mask: Pixels) -> Pixels:
    """`image` (H, W, 3), changed in place, with grey stripes where `mask` (H, W) is to be ignored."""
    ignored = mask == IGNORE_INDEX
    if ignored.any():
        height, width = mask.shape
        band = max(height, width) // BANDS + 1
        ignored &= np.add.outer(np.arange(height), np.arange(width)) // band % 3 == 0
        image[ignored] = 150
    return image


def save(path: Path, picture: Pixels | NDArray[np.uint16]) -> None:
    """Write an RGB (H, W, 3) or grey (H, W) picture, also with 16 bits; the suffix sets the format. A failure leaves no
    partial file."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, encoded = cv2.imencode(path.suffix, bgr)
    if not done:
        raise ValueError(f"cannot write {path}: OpenCV has no encoder for {path.suffix}; use .png or .jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, encoded.tobytes())
