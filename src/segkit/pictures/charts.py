"""Charts: curves of a training, presence, confusion, gates."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from segkit.pictures.overlays import Pixels

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FEW_PIXELS = 100  # of a confidence, which say too little to be drawn


def draw_curves(rows: Sequence[Mapping[str, float]], monitor: str, path: Path) -> None:
    """Loss and score over the epochs, training and validation, as PNG. rows: {"epoch": 1, "train/loss": …}."""
    from matplotlib.figure import Figure  # slow to import, and pyplot would open a display

    figure = Figure(figsize=(9, 3.5))  # margins by hand: searching for them takes as long as the drawing
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.14, top=0.91, wspace=0.2)
    for axes, name in zip(figure.subplots(1, 2), ("loss", score_of(rows, monitor)), strict=True):
        for split, colour in (("train", "tab:blue"), ("val", "tab:orange")):
            points = [(row["epoch"], row[f"{split}/{name}"]) for row in rows if f"{split}/{name}" in row]
            if points:
                axes.plot(*zip(*points, strict=True), label=split, color=colour, marker=".")
        axes.set(xlabel="epoch", title=name)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)  # even for one epoch
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
    figure.savefig(path, dpi=110)


def score_of(rows: Sequence[Mapping[str, float]], monitor: str) -> str:
    """The score to draw: the monitored one if training has it, too. Trainings on crops do not score whole pictures."""
    monitored = monitor.split("/", 1)[-1]
    wanted = [] if monitored.startswith("loss") else [monitored, f"{monitored}_crops"]
    names = [name for name in [*wanted, "presence_f1", "iou", "iou_crops"] if any(f"val/{name}" in row for row in rows)]
    both = [name for name in names if any(f"train/{name}" in row for row in rows)]
    return (both or names or ["iou"])[0]


def draw_presence(confusion: NDArray[np.int64], curve: tuple[NDArray[Any], NDArray[Any]] | None, name: str) -> Pixels:
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
    name = escape_formulas(name)
    ticks = [f"no {name}", name]
    left.set(xticks=[0, 1], yticks=[0, 1], xticklabels=ticks, yticklabels=ticks, xlabel="prediction", ylabel="truth")
    if curve is not None:
        right.step(*curve, where="post")
    right.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02), title=f"presence of {name}")
    right.grid(alpha=0.3)
    return _render(figure)


def draw_confusion(counts: NDArray[np.int64], classes: Sequence[str]) -> Pixels:
    """Pixels by truth and prediction (C, C) as an RGB picture (H, W, 3): for each true class, the share predicted as
    each class."""
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
    places, classes = range(len(classes)), [escape_formulas(name) for name in classes]
    axes.set_xticks(places, classes, rotation=60, ha="right")
    totals = counts.sum(1) / max(counts.sum(), 1)
    axes.set_yticks(places, [f"{name} ({total:.1%})" for name, total in zip(classes, totals, strict=True)])
    axes.set(xlabel="prediction", ylabel="truth (share of the pixels)")
    figure.colorbar(shown, shrink=0.7)
    return _render(figure)


def draw_reliability(found: Mapping[str, Any]) -> Pixels:
    """How often pixels are right, over their confidence, before and after calibration, where there are enough of them,
    and how many there are of each confidence, as an RGB picture (H, W, 3). found: of `before` and
    `after` the sums of each bin, `pixels`, `confidence` and `right`, and the `error`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, colour in (("after", "tab:blue"), ("before", "tab:orange")):
        one = found[name]
        pixels, confidence, hits = (np.array(one[key]) for key in ("pixels", "confidence", "right"))
        some = pixels >= FEW_PIXELS
        label = f"{name}, error {one['error']:.3f}"
        style = {"color": colour, "linestyle": "-" if name == "after" else "--"}
        left.plot(confidence[some] / pixels[some], hits[some] / pixels[some], marker=".", label=label, **style)
        right.step((np.arange(len(pixels)) + 0.5) / len(pixels), pixels / pixels.sum(), where="mid", **style)
    left.set(xlabel="confidence", ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    right.set(xlabel="confidence", ylabel="share of the pixels", xlim=(0, 1), yscale="log")
    left.legend(loc="upper left")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return _render(figure)


def escape_formulas(name: str) -> str:
    """A name in which Matplotlib sees no formula: it would read text between two $ as one."""
    return name.replace("$", r"\$")


def draw_gate_curves(rows: Sequence[Mapping[str, Any]], own: float | None) -> Pixels:
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
    times.set_ylabel("milliseconds per crop", color="tab:red")
    times.set_ylim(0, None)
    return _render(figure)


def _render(figure: "Figure") -> Pixels:
    """A figure as an RGB picture (H, W, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    drawn = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return drawn[..., :3].copy()
