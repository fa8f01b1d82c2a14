"""Pictures for people: overlays, error colours, sheets of samples, curves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segkit import IGNORE_INDEX

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
MISSED, INVENTED, RIGHT = (255, 64, 64), (64, 128, 255), (80, 200, 120)
TILE = 256  # longest side of a picture on a sheet
BANDS = 80  # along the longer side, at most, of which every third is grey
IGNORED = ", ignored hatched"  # of a title
FONT = ImageFont.load_default(13)


def class_colors(count: int, given: Sequence[Sequence[int]] | None = None) -> Pixels:
    """(C, 3) RGB colours of the classes: the data set's own, else the palette's. One class is the foreground alone."""
    if given is not None and len(given) >= count:
        return np.array(given[:count], np.uint8)
    extra = max(count - len(PALETTE), 0)
    hues = np.array([[(180 * number // extra, 200, 230) for number in range(extra)]], np.uint8).reshape(1, -1, 3)
    more = cv2.cvtColor(hues, cv2.COLOR_HSV2RGB)[0].tolist() if extra else []
    return np.array([*PALETTE, *more][:count], np.uint8)


def paint(mask: Pixels, colors: Pixels) -> tuple[Pixels, NDArray[np.bool_]]:
    """mask (H, W) of class numbers to RGB (H, W, 3), and where it shows a class at all.

    With one colour, 0 is background and 1 the class; with several, number n has colour n. 255 shows nothing.
    """
    table = np.zeros((256, 3), np.uint8)
    first = 1 if len(colors) == 1 else 0
    table[first : first + len(colors)] = colors
    shown = (mask >= first) & (mask < first + len(colors))
    return table[mask], shown


def overlay(image: Pixels, mask: Pixels, colors: Pixels, opacity: float = 0.45) -> Pixels:
    """The classes of `mask` (H, W) laid over `image` (H, W, 3) in their colours; what is ignored is hatched."""
    painted, shown = paint(mask, colors)
    mixed = cv2.addWeighted(image, 1 - opacity, painted, opacity, 0)
    return hatched(np.where(shown[..., None], mixed, image).astype(np.uint8), mask)


def hatched(image: Pixels, mask: Pixels) -> Pixels:
    """`image` (H, W, 3), changed in place, with grey stripes where `mask` (H, W) is to be ignored."""
    ignored = mask == IGNORE_INDEX
    if ignored.any():
        height, width = mask.shape
        band = max(height, width) // BANDS + 1
        ignored &= np.add.outer(np.arange(height), np.arange(width)) // band % 3 == 0
        image[ignored] = 150
    return image


def errors(image: Pixels, truth: Pixels, prediction: Pixels, binary: bool) -> Pixels:
    """Where a prediction is wrong, over the dimmed picture: missed red, invented blue, found green.

    With several classes there is no background to invent in: every wrong pixel is red. Ignored pixels are hatched.
    """
    result = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] // 2, 3, axis=2).astype(np.uint8)
    labelled = truth != IGNORE_INDEX
    if binary:
        result[labelled & (truth == 1) & (prediction == 1)] = RIGHT
        result[labelled & (truth == 1) & (prediction == 0)] = MISSED
        result[labelled & (truth == 0) & (prediction == 1)] = INVENTED
    else:
        result[labelled & (truth != prediction)] = MISSED
    return hatched(result, truth)


def sheet(rows: Sequence[Mapping[str, Any]], colors: Pixels, classes: Sequence[str]) -> Pixels:
    """One RGB picture: a row a sample, with columns input, truth, prediction and errors; several classes have a legend.

    rows: {"image" (H, W, 3) uint8, "truth" (H, W) uint8, "prediction" (H, W) uint8 if there is one, and perhaps "note",
    a line of text above the row}.
    """
    binary = len(colors) == 1
    wrong = "red missed, blue invented, green found" if binary else "errors: red"
    more = IGNORED * any((row["truth"] == IGNORE_INDEX).any() for row in rows)
    titles = ["input", f"truth{more}", *(["prediction", wrong] * any("prediction" in row for row in rows))]
    lines = []
    for row in rows:
        image, truth = row["image"], row["truth"]
        views = [image, overlay(image, truth, colors)]
        if "prediction" in row:
            views += [overlay(image, row["prediction"], colors), errors(image, truth, row["prediction"], binary)]
        lines.append((str(row.get("note", "")), views))
    return table(lines, titles, colors, classes)


def table(
    rows: Sequence[tuple[str, Sequence[Pixels]]], titles: Sequence[str], colors: Pixels, classes: Sequence[str]
) -> Pixels:
    """One RGB picture of pictures: each row has a note above it, if that is not empty, and views below the titles;
    several classes have a legend."""
    lines = [_captions(titles)]
    for note, views in rows:
        if note:
            lines.append(_line([(2, note, None)], len(titles)))
        tiles = [_tile(view) for view in views]
        tiles += [np.full((1, TILE + 6, 3), 255, np.uint8)] * (len(titles) - len(views))
        height = max(len(tile) for tile in tiles)
        lines.append(np.hstack([np.pad(tile, ((0, height - len(tile)), (0, 0), (0, 0)), constant_values=255)
                                for tile in tiles]))  # fmt: skip
    if len(colors) > 1:
        lines[:0] = _legend(classes, colors, len(titles))
    return np.vstack([np.pad(line, ((0, 6), (0, 0), (0, 0)), constant_values=255) for line in lines])


def _tile(view: Pixels) -> Pixels:
    """`view` with its longest side scaled to a tile's, centred on white as wide as a tile."""
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
    """Text at its places on white, as wide as a row of tiles; with a colour, behind a box of it."""
    line = Image.new("RGB", (columns * (TILE + 6), 22), "white")
    draw = ImageDraw.Draw(line)
    for left, text, color in entries:
        if color is not None:
            draw.rectangle((left, 4, left + 15, 17), fill=tuple(color))
        draw.text((left + (22 if color is not None else 0), 3), text, fill=(30, 30, 30), font=FONT)
    return np.asarray(line)


def save(path: Path, picture: Pixels) -> None:
    """Write an RGB (H, W, 3) or grey (H, W) picture; the suffix says the format. A failure leaves no half file."""
    bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR) if picture.ndim == 3 else picture
    done, encoded = cv2.imencode(path.suffix, bgr)
    if not done:
        raise ValueError(f"cannot write {path}: OpenCV has no encoder for {path.suffix}; use .png or .jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(encoded.tobytes())
    part.replace(path)


def curves(rows: Sequence[Mapping[str, float]], monitor: str, path: Path) -> None:
    """Loss and score over the epochs, training and validation, as PNG. rows: {"epoch": 1, "train/loss": …}."""
    from matplotlib.figure import Figure  # slow to import, and pyplot would open a display

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", score_of(rows, monitor)), strict=True):
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            points = [(row["epoch"], row[f"{split}/{name}"]) for row in rows if f"{split}/{name}" in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=split, color=colour, marker=".")
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=110)


def score_of(rows: Sequence[Mapping[str, float]], monitor: str) -> str:
    """The score whose curve is worth a look: the monitored one, where training has it too. Of crops whole pictures are
    not scored in training."""
    monitored = monitor.split("/", 1)[-1]
    wanted = [] if monitored.startswith("loss") else [monitored, f"{monitored}_crops"]
    names = [name for name in [*wanted, "presence_f1", "iou", "iou_crops"] if any(f"val/{name}" in row for row in rows)]
    both = [name for name in names if any(f"train/{name}" in row for row in rows)]
    return (both or names or ["iou"])[0]


def presence(confusion: NDArray[np.int64], curve: tuple[NDArray[Any], NDArray[Any]] | None, name: str) -> Pixels:
    """Confusion matrix (2, 2), truth by prediction, and (recall, precision) of `curve`, as an RGB picture (H, W, 3)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(confusion, cmap="Blues")
    for row, column in np.ndindex(2, 2):
        dark = confusion[row, column] > confusion.max() / 2
        left.text(
            column, row, int(confusion[row, column]), ha="center", va="center", color="white" if dark else "black"
        )
    ticks = [f"no {name}", name]
    left.set(xticks=[0, 1], yticks=[0, 1], xticklabels=ticks, yticklabels=ticks, xlabel="prediction", ylabel="truth")
    if curve is not None:
        right.step(*curve, where="post")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title=f"presence of {name}")
    right.grid(alpha=0.3)
    return _drawn(figure)


def confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Pixels:
    """Pixels by truth and prediction (C, C) as an RGB picture (H, W, 3): of each true class, the share that is said to
    be each class."""
    from matplotlib.figure import Figure

    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = max(4.0, 0.55 * len(classes) + 2)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(classes) <= 20:
        for row, column in np.ndindex(*counts.shape):
            if shares[row, column] >= 0.005:
                color = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=color, fontsize=8)
    places = range(len(classes))
    axes.set_xticks(places, classes, rotation=60, ha="right")
    totals = counts.sum(1) / max(counts.sum(), 1)
    axes.set_yticks(places, [f"{name} ({total:.1%})" for name, total in zip(classes, totals, strict=True)])
    axes.set(xlabel="prediction", ylabel="truth (share of the pixels)")
    figure.colorbar(shown, shrink=0.7)
    return _drawn(figure)


def gate(rows: Sequence[Mapping[str, Any]], own: float | None) -> Pixels:
    """The rows of gate.csv as an RGB picture (H, W, 3), with a line at the run's `own` gate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = [
        (("presence_recall/1", "presence_precision/1"), (0, 1.02)),
        (("iou_crops" if "iou_crops" in rows[0] else "iou",), (0, 1.02)),
        (("false_positive_area",), (0, None)),
        (("share_decoded",), (0, 1.02)),
    ]
    for axes, (names, limits) in zip(figure.subplots(2, 2).flat, panels, strict=True):
        for name in names:
            points = [(row["gate"], row[name]) for row in rows if row[name] is not None]
            axes.plot(*zip(*points, strict=True), marker=".", label=name)
        if own is not None:
            axes.axvline(own, color="grey", linestyle=":")
        axes.set(xlabel="gate", ylim=limits)
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left")
    times = axes.twinx()
    milliseconds = [1000 * row["seconds_per_crop"] for row in rows]
    times.plot([row["gate"] for row in rows], milliseconds, color="tab:red", marker=".")
    times.set_ylabel("milliseconds a crop", color="tab:red")
    times.set_ylim(0, None)
    return _drawn(figure)


def _drawn(figure: "Figure") -> Pixels:
    """A figure as an RGB picture (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return drawn[..., :3].copy()
