"""How the trainings of a report's groups went: the table that papers have, how steady they were, and their curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segkit.pictures.charts import score_of
from segkit.reporting.analysis import Analysis
from segkit.reporting.groups import Group, Run
from segkit.reporting.words import escape_markdown, format_spread, markdown_table, stated_values

STEADY_SD = 0.02  # standard deviation of a score up to which a training is called steady
LEAST_EPOCHS = 8  # fewer epochs have no meaningful last quarter
MOST_POINTS = 400  # of a curve
LOG_SPAN = 1000  # a chart's axis is logarithmic if largest / smallest value exceeds this, as with sums beside Dice
MOST_CURVES = 24  # groups in the chart of all


@dataclass(frozen=True)
class Training:
    """A row of the table of trainings; texts are empty where nothing is known.

    `scores` and `published` are for train, val and test; losses for train and val. `epochs_sd`: the standard deviation
    of the validation score over the last quarter of the epochs, mean over the seeds; `seeds_sd`: that of the test score
    over the seeds. `departs`: how the experiment departs from its source.
    """

    title: str
    epochs: str
    losses: tuple[str, str]
    scores: tuple[str, str, str]
    published: tuple[str, str, str]
    published_losses: tuple[str, str]
    epochs_sd: float | None
    seeds_sd: float | None
    departs: tuple[str, ...]

    @property
    def verdict(self) -> str:
        """Whether it was steady, in words."""
        found = {"from epoch to epoch": self.epochs_sd, "from seed to seed": self.seeds_sd}
        known = {what: sd for what, sd in found.items() if sd is not None}
        moves = [what for what, sd in known.items() if sd > STEADY_SD]
        if not known:
            return "unknown"
        return f"moves {' and '.join(moves)}" if moves else "steady"


def score_name(report: Analysis) -> str:
    """The table's score, without its split: one that is published for all groups, else the one runs are compared by."""
    names = [
        {key.partition("/")[2] for key in stated_values(group, "published") if not key.endswith("loss")}
        for group in report.groups
    ]
    common = [name for name in sorted(set.intersection(*names)) if all(g.metric(f"test/{name}") for g in report.groups)]
    if common:
        return min(common, key=len)
    return (report.metric or "test/iou_image").removeprefix("test/")


def describe_trainings(report: Analysis) -> list[Training]:
    """A row for every group."""
    name = score_name(report)
    return [describe_training(group, name) for group in report.groups]


def describe_training(group: Group, name: str) -> Training:
    def shown(metric: str) -> str:
        values = group.metric(metric)
        return format_spread(values) if values else ""

    epochs = sorted({str(run.results.get("epochs", "")) for run in group.runs}, key=lambda text: (len(text), text))
    published = stated_values(group, "published")
    tests = group.metric(f"test/{name}")
    swings = [sd for run in group.runs if (sd := last_quarter(run, name)) is not None]
    splits = ("train", "val", "test")
    return Training(
        group.title,
        " to ".join([epochs[0], epochs[-1]] if len(epochs) > 1 else epochs),
        (shown("train/loss"), shown("val/loss")),
        (shown(f"train/{name}"), shown(f"val/{name}"), shown(f"test/{name}")),
        tuple(f"{published[key]:.3f}" if (key := f"{split}/{name}") in published else "" for split in splits),  # type: ignore[arg-type]
        tuple(f"{published[key]:g}" if (key := f"{split}/loss") in published else "" for split in splits[:2]),  # type: ignore[arg-type]
        float(np.mean(swings)) if swings else None,
        float(np.std(tests, ddof=1)) if len(tests) > 1 else None,
        tuple(str(text) for text in group.config.get("departs") or ()),
    )


def format_trainings(report: Analysis) -> str:
    """The table of trainings in Markdown, what was published beside what was reached."""
    name, rows = score_name(report), describe_trainings(report)
    titles = ["experiment", "epochs", "train loss", "val loss", f"train {name}", f"val {name}", f"test {name}"]
    lines = [[escape_markdown(row.title), row.epochs, *row.losses, *row.scores] for row in rows]
    if any(any(row.published) for row in rows):
        titles += ["published train", "published val", "published test"]
        lines = [[*line, *row.published] for line, row in zip(lines, rows, strict=True)]
    return markdown_table(titles, lines)


def last_quarter(run: Run, name: str) -> float | None:
    """The standard deviation of a validation score over the last quarter of a run's epochs; None if it is short."""
    values = [row[f"val/{name}"] for row in run.curves if f"val/{name}" in row]
    if len(values) < LEAST_EPOCHS:
        return None
    last = np.asarray(values[-(len(values) // 4) :])
    return float(last.std(ddof=1)) if np.isfinite(last).all() else None


def collect_curves(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Two charts, of loss and of score, as plain containers: `title`, `epochs`, whether the axis is `log`, and `lines`,
    one per group and split with `title`, `group`, `split` and `values` (the mean of the seeds; None where an epoch has
    no value)."""
    shown = list(groups[:MOST_CURVES])
    rows = [row for group in shown for run in group.runs for row in run.curves]
    monitor = str(shown[0].config.get("monitor", "val/iou_image"))
    charts = []
    for name in ("loss", score_of(rows, monitor)):
        lines = {
            (at, split): line
            for at, group in enumerate(shown)
            for split in ("train", "val")
            if (line := mean_curve(group.runs, f"{split}/{name}"))
        }
        epochs = sorted({epoch for line in lines.values() for epoch in line})
        epochs = epochs[:: max(len(epochs) // MOST_POINTS, 1)]
        values = [value for line in lines.values() for value in line.values()]
        charts.append(
            {
                "title": name,
                "log": bool(values) and min(values) > 0 and max(values) > LOG_SPAN * min(values),
                "epochs": epochs,
                "lines": [
                    {
                        "title": f"{shown[at].title}, {split}",
                        "group": at,
                        "split": split,
                        "values": [line.get(epoch) for epoch in epochs],
                    }
                    for (at, split), line in lines.items()
                ],
            }
        )
    return [chart for chart in charts if chart["lines"]]


def mean_curve(runs: Sequence[Run], key: str) -> dict[int, float]:
    """The mean over the runs by epoch, for epochs that all runs have."""
    each = [{int(row["epoch"]): row[key] for row in run.curves if key in row and "epoch" in row} for run in runs]
    each = [one for one in each if one]
    common = set.intersection(*map(set, each)) if each else set()
    values = {epoch: [one[epoch] for one in each] for epoch in sorted(common)}
    return {epoch: float(np.mean(of_it)) for epoch, of_it in values.items() if np.isfinite(of_it).all()}
