"""The report's table, one row per group: for people (Markdown, LaTeX, HTML) and for programs (CSV)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segkit.files.tables import csv_text
from segkit.metrics.names import title_of
from segkit.reporting.analysis import Analysis
from segkit.reporting.groups import Group
from segkit.reporting.words import (
    describe_settings,
    escape_markdown,
    format_spread,
    format_stated,
    hardware,
    markdown_table,
    metric_names,
)

COSTS = {  # entries of results.json: title, unit, digits
    "params": ("parameters", 1e6, "{:.2f} M"),
    "flops": ("FLOPs per picture", 1e9, "{:.2f} G"),
    "train_seconds": ("training", 1, "{:.0f} s"),
    "epoch_seconds": ("per epoch", 1, "{:.1f} s"),
    "seconds_a_picture": ("per picture", 1e-3, "{:.1f} ms"),
}


@dataclass(frozen=True)
class Cell:
    """A cell's text, the number that it is sorted by, and whether it is the best of its column."""

    text: str
    value: float | None = None
    best: bool = False


def rounded_mean(values: Sequence[float]) -> float:
    """The mean, rounded as it is shown, so that equal-looking values are equally good."""
    return round(float(np.mean(values)), 3)


def make_rows(report: Analysis) -> tuple[list[str], list[list[Cell]]]:
    """Titles and cells: settings, seeds, metrics (the compared one first), stated values, costs, hardware. Only groups
    tested on the same pictures can be the best."""
    groups, metrics = report.groups, sorted(metric_names(report.groups), key=lambda name: name != report.metric)
    seeds = {name: [group.metric(name) for group in groups] for name in metrics}
    if report.metric is None:
        own = [np.nanmean(group.values(report.column), axis=1).tolist() for group in groups]
        seeds = {report.label: own} | seeds
    compared = [group in report.paired for group in groups]
    best = {
        name: max(rounded_mean(values) for values, has in zip(each, compared, strict=True) if has)
        for name, each in seeds.items()
    }
    stated = [metric for metric in metrics if any(format_stated(group, metric) for group in groups)]
    costs = [key for key in COSTS if any(group.cost(key) is not None for group in groups)]
    settings = [describe_settings(group) for group in groups]
    titles = [
        *settings[0],
        "seeds",
        *(title_of(name.removeprefix("test/")) if name in metrics else name for name in seeds),
    ]
    titles += [f"{metric.removeprefix('test/')} as stated" for metric in stated]
    titles += [*(COSTS[key][0] for key in costs), "hardware"]
    cells = []
    for at, group in enumerate(groups):
        line = [Cell(value) for value in settings[at].values()]
        line.append(Cell(", ".join(str(run.seed) for run in group.runs), len(group.runs)))
        for name, each in seeds.items():
            is_best = rounded_mean(each[at]) == best[name] and compared[at] and len(report.paired) > 1
            line.append(Cell(format_spread(each[at]), float(np.mean(each[at])), is_best))
        line += [Cell(format_stated(group, metric)) for metric in stated]
        for key in costs:
            value, (_, unit, form) = group.cost(key), COSTS[key]
            line.append(Cell("" if value is None else form.format(value / unit), value))
        line.append(Cell(hardware(group)))
        cells.append(line)
    return titles, cells


def to_markdown(titles: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    rows = [
        [f"**{escape_markdown(cell.text)}**" if cell.best else escape_markdown(cell.text) for cell in line]
        for line in cells
    ]
    return markdown_table([escape_markdown(title) for title in titles], rows)


def to_latex(titles: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    """A tabular with the rules of the booktabs package."""
    kinds = "".join("l" if cells[0][at].value is None else "r" for at in range(len(titles)))
    body = [
        " & ".join(rf"\textbf{{{escape_latex(cell.text)}}}" if cell.best else escape_latex(cell.text) for cell in line)
        for line in cells
    ]
    head = " & ".join(map(escape_latex, titles))
    inner = " \\\\\n".join(body)
    rules = f"\\toprule\n{head} \\\\\n\\midrule\n{inner} \\\\\n\\bottomrule\n"
    return f"\\begin{{tabular}}{{{kinds}}}\n{rules}\\end{{tabular}}\n"


SPECIAL = {
    "\\": r"\textbackslash{}",
    "±": r"$\pm$",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "²": "$^2$",
    "×": r"$\times$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def escape_latex(text: str) -> str:
    """Text of LaTeX; nothing after a line's end is taken for an argument of it."""
    escaped = "".join(SPECIAL.get(character, character) for character in text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def full_csv(groups: Sequence[Group]) -> str:
    """CSV: one row per group, with mean and sd of every metric of every split, and the costs."""
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.metrics))
    of_names = [f"{name} {kind}" for name in names for kind in ("mean", "sd")]
    lines: list[list[object]] = [[*describe_settings(groups[0]), "seeds", *of_names, *COSTS, "hardware", "runs"]]
    for group in groups:
        line: list[object] = [*describe_settings(group).values(), " ".join(str(run.seed) for run in group.runs)]
        for name in names:
            values = group.metric(name)
            line += [np.mean(values) if values else "", np.std(values, ddof=1) if len(values) > 1 else ""]
        line += ["" if (cost := group.cost(key)) is None else cost for key in COSTS]
        lines.append([*line, hardware(group), " ".join(str(run.folder) for run in group.runs)])
    return csv_text(lines)


def outcomes_to_csv(report: Analysis) -> str:
    """CSV: the mean of every compared group, every comparison and every main effect, each with interval and test."""
    lines: list[list[object]] = [
        [
            "what",
            "of",
            "against",
            "estimate",
            "low",
            "high",
            "p",
            "p (Holm)",
            "verdict",
            "smallest difference",
            "P(false claim)",
        ]
    ]
    titles = [group.title for group in report.paired]
    for title, mean in zip(titles, report.means, strict=True):
        lines.append(["mean", title, "", mean.mean, mean.low, mean.high, *[""] * 5])
    found = [("difference", titles[one.one], titles[one.other], one.outcome) for one in report.comparisons]
    found += [
        (f"effect of {factor}", level, "mean of all", outcome)
        for factor, levels in report.effects.items()
        for level, outcome in levels.items()
    ]
    for what, of, against, outcome in found:
        value = outcome.difference
        numbers = [value.mean, value.low, value.high, outcome.p, outcome.adjusted]
        more = [outcome.verdict, outcome.detectable, outcome.false_claim]
        lines.append([what, of, against, *numbers, *more])
    return csv_text(lines)
