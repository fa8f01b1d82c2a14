"""The report's table: a row a group, for people (Markdown, LaTeX, HTML) and for programs (CSV)."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from segkit.evaluate import class_of, classes_in, lesser
from segkit.reporting.collect import Group, experiment_of

if TYPE_CHECKING:
    from segkit.reporting.analysis import Analysis

LEFT_OUT = ("loss", "empty_images")  # of the table for people
COSTS = {  # entries of results.json: title, unit, digits
    "params": ("parameters", 1e6, "{:.2f} M"),
    "flops": ("FLOPs a picture", 1e9, "{:.2f} G"),
    "train_seconds": ("training", 1, "{:.0f} s"),
    "epoch_seconds": ("an epoch", 1, "{:.1f} s"),
    "seconds_a_picture": ("a picture", 1e-3, "{:.1f} ms"),
}


@dataclass(frozen=True)
class Cell:
    """What a cell shows, the number that it is sorted by, and whether it is the best of its column."""

    text: str
    value: float | None = None
    best: bool = False


def metric_names(groups: Sequence[Group]) -> list[str]:
    """The metrics of test that all groups have, of those that people look at: of single classes the IoU; losses of one
    group are not those of another."""
    metrics = groups[0].runs[0].metrics
    names = [name for name in metrics if name.startswith("test/") and not lesser(name)]
    classes = classes_in(metrics, "test")
    names = [name for name in names if name.startswith("test/iou/") or class_of(name) not in classes]
    names = [name for name in names if name.split("/")[1] not in LEFT_OUT]
    return [name for name in names if all(group.metric(name) for group in groups)]


def described(group: Group) -> dict[str, str]:
    """What it has in the columns in which groups differ, after the experiment that it is called by, if it is."""
    return ({"experiment": group.title} if group.title == experiment_of(group.config) else {}) | group.settings


def spread(values: Sequence[float]) -> str:
    """mean ± sd over seeds."""
    sd = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{sd}"


def mean_of(values: Sequence[float]) -> float:
    """To the digits that are shown, so that what looks the same is as good."""
    return round(float(np.mean(values)), 3)


def stated(group: Group, name: str) -> str:
    """What the experiment's file says a metric should be: published, or expected here."""
    found = [(kind, (group.config.get(kind) or {}).get(name)) for kind in ("published", "expected")]
    return ", ".join(f"{kind} {value:.3f}" for kind, value in found if isinstance(value, int | float))


def rows(report: "Analysis") -> tuple[list[str], list[list[Cell]]]:
    """Titles and cells: settings, seeds, metrics (that of the comparison first), what was stated, costs, hardware. Best
    is who is it of the groups that were tested on the same pictures."""
    groups, metrics = report.groups, sorted(metric_names(report.groups), key=lambda name: name != report.metric)
    seeds = {name: [group.metric(name) for group in groups] for name in metrics}
    if report.metric is None:
        own = [np.nanmean(group.values(report.column), axis=1).tolist() for group in groups]
        seeds = {report.label: own} | seeds
    compared = [group in report.paired for group in groups]
    best = {name: max(mean_of(values) for values, has in zip(each, compared, strict=True) if has)
            for name, each in seeds.items()}  # fmt: skip
    told = [metric for metric in metrics if any(stated(group, metric) for group in groups)]
    costs = [key for key in COSTS if any(group.cost(key) is not None for group in groups)]
    settings = [described(group) for group in groups]
    titles = [*settings[0], "seeds", *(name.removeprefix("test/") for name in seeds)]
    titles += [f"{metric.removeprefix('test/')} as stated" for metric in told]
    titles += [*(COSTS[key][0] for key in costs), "hardware"]
    cells = []
    for at, group in enumerate(groups):
        line = [Cell(value) for value in settings[at].values()]
        line.append(Cell(", ".join(str(run.seed) for run in group.runs), len(group.runs)))
        for name, each in seeds.items():
            is_best = mean_of(each[at]) == best[name] and compared[at] and len(report.paired) > 1
            line.append(Cell(spread(each[at]), float(np.mean(each[at])), is_best))
        line += [Cell(stated(group, metric)) for metric in told]
        for key in costs:
            value, (_, unit, form) = group.cost(key), COSTS[key]
            line.append(Cell("" if value is None else form.format(value / unit), value))
        line.append(Cell(hardware(group)))
        cells.append(line)
    return titles, cells


def hardware(group: Group) -> str:
    found = dict.fromkeys(one_hardware(run.environment, str(run.results.get("precision", ""))) for run in group.runs)
    return "; ".join(found)


def one_hardware(environment: dict[str, object], precision: str) -> str:
    gpus = environment.get("gpus")
    where = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else str(environment.get("cpu", ""))
    threads = environment.get("threads")
    used = f"{threads} thread{'s' * (threads != 1)}" if threads and not gpus else ""
    return ", ".join(filter(None, [where, used, precision]))


def markdown(titles: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    lines = [[plain(title) for title in titles], ["---"] * len(titles)]
    lines += [[f"**{plain(cell.text)}**" if cell.best else plain(cell.text) for cell in line] for line in cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def plain(text: str) -> str:
    """Text of which Markdown makes nothing else; an underscore inside a word stays as it is."""
    return re.sub(r"([\\|*`<>\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)


def latex(titles: Sequence[str], cells: Sequence[Sequence[Cell]]) -> str:
    """A tabular with the rules of the booktabs package."""
    kinds = "".join("l" if cells[0][at].value is None else "r" for at in range(len(titles)))
    body = [
        " & ".join(rf"\textbf{{{tex(cell.text)}}}" if cell.best else tex(cell.text) for cell in line) for line in cells
    ]
    head = " & ".join(map(tex, titles))
    inner = " \\\\\n".join(body)
    rules = f"\\toprule\n{head} \\\\\n\\midrule\n{inner} \\\\\n\\bottomrule\n"
    return f"\\begin{{tabular}}{{{kinds}}}\n{rules}\\end{{tabular}}\n"


SPECIAL = {"\\": r"\textbackslash{}", "±": r"$\pm$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "²": "$^2$",
           "×": r"$\times$", **{character: f"\\{character}" for character in "&%$#_{}"}}  # fmt: skip


def tex(text: str) -> str:
    """Text of LaTeX; nothing after a line's end is taken for an argument of it."""
    escaped = "".join(SPECIAL.get(character, character) for character in text)
    return f"{{}}{escaped}" if escaped.startswith(("[", "*")) else escaped


def full(groups: Sequence[Group]) -> str:
    """CSV: a row a group, every metric of every split with mean and sd, and what it cost."""
    names = list(dict.fromkeys(name for group in groups for run in group.runs for name in run.metrics))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    of_names = [f"{name} {kind}" for name in names for kind in ("mean", "sd")]
    writer.writerow(map(inert, [*described(groups[0]), "seeds", *of_names, *COSTS, "hardware", "runs"]))
    for group in groups:
        line: list[object] = [*described(group).values(), " ".join(str(run.seed) for run in group.runs)]
        for name in names:
            values = group.metric(name)
            line += [np.mean(values) if values else "", np.std(values, ddof=1) if len(values) > 1 else ""]
        line += ["" if (cost := group.cost(key)) is None else cost for key in COSTS]
        writer.writerow(map(inert, [*line, hardware(group), " ".join(str(run.folder) for run in group.runs)]))
    return stream.getvalue()


def outcomes(report: "Analysis") -> str:
    """CSV: the mean of every compared group, every comparison and every main effect, with its interval and test."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["what", "of", "against", "estimate", "low", "high", "p", "p (Holm)", "verdict"])
    titles = [group.title for group in report.paired]
    for title, mean in zip(titles, report.means, strict=True):
        writer.writerow(map(inert, ["mean", title, "", mean.mean, mean.low, mean.high, "", "", ""]))
    found = [("difference", titles[one.one], titles[one.other], one.outcome) for one in report.comparisons]
    found += [(f"effect of {factor}", level, "mean of all", outcome)
              for factor, levels in report.effects.items() for level, outcome in levels.items()]  # fmt: skip
    for what, of, against, outcome in found:
        value = outcome.difference
        numbers = [value.mean, value.low, value.high, outcome.p, outcome.adjusted]
        writer.writerow(map(inert, [what, of, against, *numbers, outcome.verdict]))
    return stream.getvalue()


def inert(cell: object) -> object:
    """A cell of CSV that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t")) else cell
