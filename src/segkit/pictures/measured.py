"""Measurements drawn over a picture: centre lines coloured by width, the widest places, and a legend."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.floating]

LEAST_SIDE = 640  # pixels: smaller pictures are enlarged, so that labels can be read
MOST = 0.98  # of the widths: those above have one colour
LABELLED = 12  # cracks or objects, the largest ones
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


class Line(NamedTuple):
    """Points (n, 2), x and y in pixels from the picture's corner, and values (n,) that colour them; NaN for none."""

    points: Floats
    values: Floats


class Mark(NamedTuple):
    """A label at a point, with a bar (two ends, in pixels) or without."""

    at: tuple[float, float]
    text: str
    bar: tuple[Floats, Floats] | None = None


def draw_measured(picture: Pixels, lines: Sequence[Line], marks: Sequence[Mark], unit: str) -> Pixels:
    """A picture (H, W, 3) RGB with lines and marks, the most important marks first, and a legend below it if there are
    lines. A small one is enlarged by a whole number."""
    factor = max(-(-LEAST_SIDE // max(picture.shape[:2])), 1)
    drawn = np.repeat(np.repeat(picture, factor, 0), factor, 1)
    thick = max(max(drawn.shape) // 800, 1)
    values = np.concatenate([line.values for line in lines]) if lines else np.zeros(0)
    known = values[np.isfinite(values)]
    high = float(np.quantile(known, MOST)) if len(known) else 0.0
    for line in lines:
        draw_line(drawn, line, factor, thick, high)
    draw_marks(drawn, marks, factor, thick)
    return np.concatenate([drawn, draw_legend(drawn.shape[1], thick, high, unit)]) if len(known) else drawn


def draw_line(drawn: Pixels, line: Line, factor: int, thick: int, high: float) -> None:
    at = _fixed(line.points * factor)
    cv2.polylines(drawn, [at[:, None]], False, BLACK, thick + 2, cv2.LINE_AA, 4)
    values = np.fmax(line.values[:-1], line.values[1:])  # of the segments
    colors = color_by(np.nan_to_num(values), high)
    for number in range(len(at) - 1):
        color = colors[number].tolist() if np.isfinite(values[number]) else WHITE
        cv2.line(drawn, at[number].tolist(), at[number + 1].tolist(), color, thick, cv2.LINE_AA, 4)


def draw_marks(drawn: Pixels, marks: Sequence[Mark], factor: int, thick: int) -> None:
    """Bars of all marks, and the labels of the first ones, those left out that would lie over others."""
    for mark in marks:
        if mark.bar is not None:
            first, last = (_fixed(end * factor).tolist() for end in mark.bar)
            for color, width in ((BLACK, thick + 2), (WHITE, thick)):
                cv2.line(drawn, first, last, color, width, cv2.LINE_AA, 4)
    taken = np.zeros(drawn.shape[:2], bool)
    scale = 0.45 * max(max(drawn.shape) / 1000, 1)
    for mark in marks[:LABELLED]:
        (wide, tall), below = cv2.getTextSize(mark.text, FONT, scale, thick)
        height, width = drawn.shape[:2]
        left = int(np.clip(mark.at[0] * factor + 6 * thick, 2, max(width - wide - 4, 2)))
        base = int(np.clip(mark.at[1] * factor - 6 * thick, tall + 4, max(height - below - 2, tall + 4)))
        box = slice(base - tall - 3, base + below + 1), slice(max(left - 2, 0), left + wide + 2)
        if taken[box].any():
            continue
        taken[box] = True
        drawn[box] = (drawn[box] * 0.3).astype(np.uint8)
        cv2.putText(drawn, mark.text, (left, base), FONT, scale, WHITE, thick, cv2.LINE_AA)


def draw_legend(width: int, thick: int, high: float, unit: str) -> Pixels:
    """A strip with the colours of the widths up to `high`, and what the bars mean."""
    scale = 0.45 * max(width / 1000, 1)
    (_, tall), _ = cv2.getTextSize("0", FONT, scale, thick)
    strip = np.full((3 * tall, width, 3), 255, np.uint8)
    left = tall

    def write(text: str) -> None:
        nonlocal left
        cv2.putText(strip, text, (left, 2 * tall), FONT, scale, BLACK, thick, cv2.LINE_AA)
        left += cv2.getTextSize(text, FONT, scale, thick)[0][0] + tall

    write("width 0")
    bar = color_by(np.linspace(0, high, max(width // 5, 8)), high)[: max(width - left, 0)]
    strip[tall : 2 * tall, left : left + len(bar)] = bar
    left += len(bar) + tall
    write(f"{high:.3g} {unit} and more; bars: widest places")
    return strip


def color_by(values: Floats, high: float) -> Pixels:
    """(n, 3) RGB colours of values from 0 to `high`."""
    levels = np.clip(20 + values / max(high, 1e-9) * 235, 0, 255).astype(np.uint8)[:, None]
    return np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[:, 0, ::-1], np.uint8)


def _fixed(points: Floats) -> NDArray[np.int32]:
    """Points from the picture's corner as OpenCV's numbers with 4 bits behind the point, from the first pixel's
    centre."""
    return np.round((points - 0.5) * 16).astype(np.int32)
