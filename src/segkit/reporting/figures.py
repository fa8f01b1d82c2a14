"""The report's charts: matplotlib figures whose text and axes take the colour of the page around them."""

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from segkit.console import printable
from segkit.files.writing import write_bytes, write_text
from segkit.pictures.charts import score_of
from segkit.pictures.overlays import PALETTE
from segkit.reporting.groups import Group, Run
from segkit.reporting.statistics import Interval

INK = "#222222"  # used for text and axes only; SVGs in the page replace it by the page's text colour
COLORS = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in PALETTE if (red, green, blue) != (240, 228, 66)]
TRAIN, VAL = "#2b8cd6", "#e69f00"
MOST_PANELS, MOST_NAMES = 40, 14  # groups
MARKERS = "os^D"
MOST_POINTS = 200  # per curve
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segkit",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.color": INK,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def new_figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write `name`.png and `name`.svg into a folder; returns the SVG as text for a page."""
    pixels, stream = io.BytesIO(), io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # missing from this font; the browser's may have it in the SVG
        figure.savefig(pixels, dpi=130, facecolor="white")
        figure.set_layout_engine("none")  # laid out once for both
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    write_bytes(folder / f"{name}.png", pixels.getvalue())
    text = printable(stream.getvalue())  # XML has no control characters
    write_text(folder / f"{name}.svg", text)
    inline = text[text.index("<svg") :].replace(INK, "currentColor")
    # ids are unique in a page
    inline = re.sub(r'(id="|url\(#|xlink:href="#)', lambda found: f"{found[1]}{name}-", inline)
    opening = r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" aria-hidden="true">'
    return re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', opening, inline, count=1)


def draw_curves(groups: Sequence[Group]) -> Figure:
    """Loss and score over the epochs: one row per group, the mean of its seeds in front of the single ones. Groups
    beyond MOST_PANELS are left out, and the figure says so."""
    shown = groups[:MOST_PANELS]
    figure = new_figure(9, 1.9 * len(shown) + 0.4)
    for row, group in zip(figure.subplots(len(shown), 2, squeeze=False), shown, strict=True):
        score = score_of(
            [line for run in group.runs for line in run.curves], str(group.config.get("monitor", "val/iou"))
        )
        for axes, name in zip(row, ("loss", score), strict=True):
            for split, color, style in (("train", TRAIN, "-"), ("val", VAL, "--")):
                draw_lines(axes, group.runs, f"{split}/{name}", {"color": color, "linestyle": style, "label": split})
            axes.set_title(f"{group.title}: {name}", fontsize=9, loc="left")
        row[0].legend(frameon=False, fontsize=8)
        row[0].set_xlabel("epoch", fontsize=8)
        for axes in row:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if len(groups) > len(shown):
        figure.supxlabel(f"{len(groups) - len(shown)} more groups are not shown", fontsize=9)
    return figure


def draw_overlay(charts: Sequence[Mapping[str, Any]]) -> Figure:
    """The curves of `training.collect_curves`, all groups in one chart each: training thin, validation dashed."""
    figure = new_figure(9, 3.4 * len(charts))
    for axes, chart in zip(figure.subplots(len(charts), 1, squeeze=False)[:, 0], charts, strict=True):
        for line in chart["lines"]:
            held_out, color = line["split"] == "val", COLORS[line["group"] % len(COLORS)]
            values = [np.nan if value is None else value for value in line["values"]]
            axes.plot(
                chart["epochs"],
                values,
                color=color,
                linestyle="--" if held_out else "-",
                label=line["title"],
                linewidth=1.6 if held_out else 0.9,
            )
        if chart["log"]:
            axes.set_yscale("log")
        axes.set_title(chart["title"], fontsize=9, loc="left")
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def draw_lines(axes: Axes, runs: Sequence[Run], key: str, look: dict[str, Any]) -> None:
    lines = [[(row["epoch"], row[key]) for row in run.curves if key in row and "epoch" in row] for run in runs]
    lines = [np.where(np.isfinite(line), line, np.nan).tolist() for line in lines if line]
    for line in lines if len(lines) > 1 else []:
        axes.plot(*zip(*thin(line), strict=True), **look | {"label": None}, alpha=0.3, linewidth=0.8)
    if lines:
        length = min(map(len, lines))
        mean = np.mean([line[:length] for line in lines], axis=0)
        axes.plot(*zip(*thin(mean.tolist()), strict=True), **look, linewidth=1.6)


def thin(line: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    step = max(len(line) // MOST_POINTS, 1)
    return [*line[:-1:step], line[-1]]


def draw_distributions(groups: Sequence[Group], column: str) -> Figure:
    """The scores of all test pictures by group (means over the seeds): quartiles, and each picture as a dot."""
    figure = new_figure(9, 0.45 * len(groups) + 1)
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for place, group in enumerate(reversed(groups)):
        scores = np.nanmean(group.values(column), axis=0)
        scores = scores[np.isfinite(scores)]
        line = {"color": INK}
        axes.boxplot(
            scores,
            positions=[place],
            orientation="horizontal",
            widths=0.5,
            showfliers=False,
            boxprops=line,
            whiskerprops=line,
            capprops=line,
            medianprops=line,
        )
        axes.scatter(scores, place + rng.uniform(-0.2, 0.2, len(scores)), s=7, alpha=0.5, color=TRAIN, linewidths=0)
    axes.set_yticks(range(len(groups)), [group.title for group in reversed(groups)])
    axes.set_xlabel(f"{column} of a test picture")
    return figure


def draw_costs(groups: Sequence[Group], scores: Sequence[Interval], name: str) -> Figure:
    """Quality against training time, an epoch's time and parameters, with the Pareto front as a line. If there are many
    groups, only those on the front are named."""
    figure = new_figure(9, 4.2)
    kinds = {
        "train_seconds": ("minutes of training", 60),
        "epoch_seconds": ("seconds per epoch", 1),
        "params": ("million parameters", 1e6),
    }
    kinds = {key: how for key, how in kinds.items() if len({group.cost(key) for group in groups}) > 1} or {
        "train_seconds": kinds["train_seconds"]  # costs that are equal for all say nothing
    }
    axes_of = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    axes_of[0].set_ylabel(name)
    for axes, (key, (label, unit)) in zip(axes_of, kinds.items(), strict=True):
        points = {}
        for number, (group, score) in enumerate(zip(groups, scores, strict=True)):
            if (cost := group.cost(key)) is not None:
                points[group.title] = (cost / unit, score.mean)
                error = [[max(score.mean - score.low, 0)], [max(score.high - score.mean, 0)]]
                look = {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number // len(COLORS) % len(MARKERS)]}
                seen = group.costs(key)
                spread = [[(cost - min(seen)) / unit], [(max(seen) - cost) / unit]]
                axes.errorbar(cost / unit, score.mean, error, spread, linestyle="", label=group.title, **look)
        best = pareto_front(list(points.values()))
        for title, point in points.items() if len(groups) > MOST_NAMES else ():
            if point in best:
                axes.annotate(title, point, xytext=(5, 4), textcoords="offset points", fontsize=7)
        if best:
            axes.plot(*zip(*best, strict=True), color=INK, alpha=0.5, linewidth=1)
        axes.set_xlabel(label)
        least, most = min(points.values(), default=(1, 0))[0], max(points.values(), default=(1, 0))[0]
        if most > 20 * max(least, 1e-9):
            axes.set_xscale("log")
    if len(groups) <= MOST_NAMES:
        figure.legend(*axes_of[0].get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, quality) that no cheaper or equally cheap point beats in quality, sorted by cost."""
    kept: list[tuple[float, float]] = []
    for point in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or point[1] > kept[-1][1]:
            kept.append(point)
    return kept


def draw_interaction(means: Mapping[tuple[str, str], float], factors: tuple[str, str], name: str) -> Figure:
    """The mean score of every pair of levels of two factors."""
    rows, columns = (list(dict.fromkeys(pair[at] for pair in means)) for at in (0, 1))
    grid: NDArray[np.float64] = np.array([[means.get((row, column), np.nan) for column in columns] for row in rows])
    figure = new_figure(1.3 * len(columns) + 2.6, 0.6 * len(rows) + 1.4)
    axes = figure.subplots()
    image = axes.imshow(grid, cmap="cividis", aspect="auto")
    middle = (np.nanmin(grid) + np.nanmax(grid)) / 2
    for (row, column), value in np.ndenumerate(grid):
        if np.isfinite(value):
            axes.text(
                column, row, f"{value:.3f}", ha="center", va="center", color="black" if value > middle else "white"
            )
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.set(xlabel=factors[1], ylabel=factors[0])
    axes.grid(visible=False)
    figure.colorbar(image, label=name)
    return figure


def report_style() -> AbstractContextManager[None]:
    """A context in which figures have the report's style."""
    return mpl.rc_context(STYLE)
