"""Sheets: rows of input, truth, prediction and errors."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segkit import IGNORE_INDEX
from segkit.pictures.overlays import IGNORED, Pixels, hatch, overlay

MISSED, INVENTED, CORRECT = (255, 64, 64), (64, 128, 255), (80, 200, 120)
TILE = 256  # longest side of a picture on a sheet
FONT = ImageFont.load_default(13)


def draw_errors(image: Pixels, truth: Pixels, prediction: Pixels, binary: bool) -> Pixels:
    """Where a prediction is wrong, over the dimmed picture: missed red, invented blue, found green.

    With several classes, where there may be no background, every wrong pixel is red. Ignored pixels are hatched.
    """
    result = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] // 2, 3, axis=2).astype(np.uint8)
    labelled = truth != IGNORE_INDEX
    if binary:
        result[labelled & (truth == 1) & (prediction == 1)] = CORRECT
        result[labelled & (truth == 1) & (prediction == 0)] = MISSED
        result[labelled & (truth == 0) & (prediction == 1)] = INVENTED
    else:
        result[labelled & (truth != prediction)] = MISSED
    return hatch(result, truth)


PREDICTION_TITLES = ("prediction", "probability, 0 blue, 1 yellow")


def heatmap(probability: NDArray[np.float32]) -> Pixels:
    """Probabilities (H, W) as colours (H, W, 3), from dark blue for 0 to yellow for 1 (viridis)."""
    levels = np.round(np.nan_to_num(probability.clip(0, 1)) * 255).astype(np.uint8)
    colors: Pixels = cv2.cvtColor(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB).astype(np.uint8)
    return colors


def draw_sheet(rows: Sequence[Mapping[str, Any]], colors: Pixels, classes: Sequence[str]) -> Pixels:
    """One RGB picture: one row per sample, with columns input, truth, prediction, its probability and errors; several
    classes have a legend.

    rows: {"image" (H, W, 3) uint8, "truth" (H, W) uint8; optionally "prediction" (H, W) uint8 and "probability" (H, W)
    of the class (of several, the most probable one); optionally "note", a line of text above the row}.
    """
    binary = len(colors) == 1
    wrong = "red missed, blue invented, green found" if binary else "errors: red"
    more = IGNORED * any((row["truth"] == IGNORE_INDEX).any() for row in rows)
    titles = ["input", f"truth{more}", *([*PREDICTION_TITLES, wrong] * any("prediction" in row for row in rows))]
    lines = []
    for row in rows:
        image, truth = row["image"], row["truth"]
        views = [image, overlay(image, truth, colors)]
        if "prediction" in row:
            views += [overlay(image, row["prediction"], colors), heatmap(row["probability"])]
            views.append(draw_errors(image, truth, row["prediction"], binary))
        lines.append((str(row.get("note", "")), views))
    return draw_table(lines, titles, colors, classes)


def draw_table(
    rows: Sequence[tuple[str, Sequence[Pixels]]], titles: Sequence[str], colors: Pixels, classes: Sequence[str]
) -> Pixels:
    """One RGB picture: rows of views below their titles, each row with its note above it unless that is empty; several
    classes have a legend."""
    lines = [_captions(titles)]
    for note, views in rows:
        if note:
            lines.append(_line([(2, note, None)], len(titles)))
        tiles = [_tile(view) for view in views]
        tiles += [np.full((1, TILE + 6, 3), 255, np.uint8)] * (len(titles) - len(views))
        height = max(len(tile) for tile in tiles)
        lines.append(
            np.hstack([np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0)), constant_values=255) for tile in tiles])
        )
    if len(colors) > 1:
        lines[:0] = _legend(classes, colors, len(titles))
    return np.vstack([np.pad(line, ((0, 6), (0, 0), (0, 0)), constant_values=255) for line in lines])


def _tile(view: Pixels) -> Pixels:
    """`view` with its longest side scaled to TILE, centred on white as wide as a tile."""
    scale = TILE / max(view.shape[:2])
    size = max(round(view.shape[1] * scale), 1), max(round(view.shape[0] * scale), 1)
    small = cv2.resize(view, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST)
    tile = np.full((size[1], TILE + 6, 3), 255, np.uint8)
    left = (TILE - size[0]) // 2
    tile[:, left : left + size[0]] = small
    return tile


def _captions(titles: Sequence[str]) -> Pixels:
    return _line([(column * (TILE + 6) + 2, title, None) for column, title in enumerate(titles)], len(titles))


def _legend(classes: Sequence[str], colors: Pixels, columns: int) -> list[Pixels]:
    """Lines of colour boxes with the names of the classes beside them."""
    lines: list[list[tuple[int, str, Any]]] = [[]]
    left = 2
    for name, color in zip(classes, colors.tolist(), strict=True):
        needed = 36 + round(FONT.getlength(name))
        if left + needed > columns * (TILE + 6) and lines[-1]:
            lines.append([])
            left = 2
        lines[-1].append((left, name, color))
        left += needed
    return [_line(entries, columns) for entries in lines]


def _line(entries: Sequence[tuple[int, str, Sequence[int] | None]], columns: int) -> Pixels:
    """Texts at their positions on white, as wide as a row of tiles; text with a colour follows a box of it."""
    line = Image.new("RGB", (columns * (TILE + 6), 22), "white")
    draw = ImageDraw.Draw(line)
    for left, text, color in entries:
        if color is not None:
            draw.rectangle((left, 4, left + 15, 17), fill=tuple(color))
        draw.text((left + (22 if color is not None else 0), 3), text, fill=(30, 30, 30), font=FONT)
    return np.asarray(line)
