"""The metrics of a report with their 95 % intervals, over groups of pictures and over seeds.

Each metric is computed again from a run's rows per picture (or crop), on all of them and with each group of pictures
left out. A metric whose value then differs from results.json, such as a mean over classes, is not shown.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from segkit.files.tables import csv_text
from segkit.metrics.ratios import RATIOS
from segkit.reporting.collect import TOLERANCE
from segkit.reporting.groups import PIXELS, Group, Run
from segkit.reporting.ranking import auroc, auroc_without_each, average_precision, precision_without_each
from segkit.reporting.statistics import Array, Clusters, Interval, score_interval
from segkit.reporting.words import describe_settings, escape_markdown, markdown_table, metric_names

Values = tuple[float, Array]  # of a metric: on all pictures, and with each cluster left out


@dataclass(frozen=True)
class MetricInterval:
    """A metric of a group of runs: each seed's value, and the interval of their mean."""

    seeds: tuple[float, ...]
    interval: Interval

    @property
    def text(self) -> str:
        sd = f" ± {np.std(self.seeds, ddof=1):.3f}" if len(self.seeds) > 1 else ""
        return f"{self.interval.mean:.3f}{sd} ({self.interval.low:.3f} … {self.interval.high:.3f})"


def compute_intervals(groups: Sequence[Group], clusters: Clusters) -> dict[str, list[MetricInterval]]:
    """For each metric (without `test/`) that all groups have, the interval of every group."""
    wanted = [name.removeprefix("test/") for name in metric_names(groups)]
    found = [[values_of(run, clusters, wanted) for run in group.runs] for group in groups]
    names = [name for name in wanted if all(name in one for runs in found for one in runs)]
    return {name: [interval_of([run[name] for run in runs], clusters) for runs in found] for name in names}


def interval_of(runs: Sequence[Values], clusters: Clusters) -> MetricInterval:
    whole = np.array([value for value, _ in runs])
    return MetricInterval(tuple(whole.tolist()), score_interval(whole, np.stack([left for _, left in runs]), clusters))


def values_of(run: Run, clusters: Clusters, wanted: Sequence[str]) -> dict[str, Values]:
    """Those of a run's metrics that can be computed from its rows."""
    found = {}
    for name in wanted:
        made = compute_metric(name, run, clusters)
        if made is not None and abs(made[0] - run.metrics.get(f"test/{name}", np.inf)) <= TOLERANCE:
            found[name] = made
    return found


def compute_metric(name: str, run: Run, clusters: Clusters) -> Values | None:
    kind, _, label = name.removeprefix("presence_").partition("/")
    if name.startswith("presence_"):
        return compute_presence(kind, label, run, clusters) if run.presence else None
    column = name.removesuffix("_image")
    if column in run.images and (column != name or name not in RATIOS):
        return reduce_means(run.images[column], clusters)
    kind = "iou" if name == "iou_micro" else name
    if kind in RATIOS and set(PIXELS) <= run.images.keys():
        counts = np.stack([run.images[count] for count in PIXELS])
        return reduce_sums(counts, RATIOS[kind], clusters)
    return None


def reduce_means(values: Array, clusters: Clusters) -> Values:
    """The mean over the pictures that have the score."""
    has = np.isfinite(values)
    sums = np.stack([np.where(has, values, 0.0), has.astype(np.float64)])
    return reduce_sums(
        sums, lambda total, count: np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0), clusters
    )


def reduce_sums(
    counts: Array, reduce: Callable[..., Array], clusters: Clusters, at: NDArray[np.int64] | None = None
) -> Values:
    """A number that follows from sums of counts (kinds, pictures); `at`: see `Clusters.sums`."""
    total = counts.sum(axis=1)
    left_out = total[:, None] - clusters.sums(counts, at)
    return float(reduce(*total[:, None])[0]), reduce(*left_out)


def compute_presence(kind: str, label: str, run: Run, clusters: Clusters) -> Values | None:
    """A metric of presence (whether samples, i.e. pictures or crops, show the class): for one label, or their mean."""
    picture, truth, probability = (run.presence[key] for key in ("picture", "label", "probability"))
    cluster, has, says = clusters.index[picture.astype(np.int64)], truth == 1, probability > 0.5
    if kind in ("ap", "auroc") and not label:
        score, without_each = (
            (average_precision, precision_without_each) if kind == "ap" else (auroc, auroc_without_each)
        )
        return score(has, probability), without_each(has, probability, cluster, len(clusters))
    if kind not in RATIOS:
        return None
    counts = np.stack([has & says, ~has & says, has & ~says, ~has & ~says]).astype(np.float64)
    if kind == "accuracy":
        return reduce_sums(counts, RATIOS[kind], clusters, cluster)
    both = [reduce_sums(counts[order], RATIOS[kind], clusters, cluster) for order in ([3, 2, 1, 0], [0, 1, 2, 3])]
    if label:
        return both[int(label)]
    return float(np.mean([value for value, _ in both])), np.mean([left for _, left in both], axis=0)


def to_markdown(groups: Sequence[Group], found: dict[str, list[MetricInterval]]) -> str:
    """Markdown: one row per group and one column per metric, with mean ± sd over seeds and the interval of the mean."""
    rows = [
        [escape_markdown(group.title), str(len(group.runs)), *(each[at].text for each in found.values())]
        for at, group in enumerate(groups)
    ]
    return markdown_table(["group", "seeds", *map(escape_markdown, found)], rows)


def to_csv(groups: Sequence[Group], found: dict[str, list[MetricInterval]], clusters: Clusters) -> str:
    """CSV: one row per group and metric."""
    numbers = ["mean", "sd", "low", "high", "seeds", "independent groups"]
    lines: list[list[object]] = [[*describe_settings(groups[0]), "metric", *numbers]]
    for name, each in found.items():
        for group, one in zip(groups, each, strict=True):
            sd = np.std(one.seeds, ddof=1) if len(one.seeds) > 1 else ""
            row = [one.interval.mean, sd, one.interval.low, one.interval.high, len(one.seeds), len(clusters)]
            lines.append([*describe_settings(group).values(), name, *row])
    return csv_text(lines)


def claims_to_csv(groups: Sequence[Group], values: Sequence[Array], names: Sequence[str]) -> str:
    """CSV as Claims Reloaded reads it: one row per test picture, and one column (alg_…) per group with its mean over
    the seeds."""
    titles = [re.sub(r"\W+", "_", group.title, flags=re.ASCII) for group in groups]
    head = ["case_id", *(f"alg_{number:02d}_{title}" for number, title in enumerate(titles, 1))]
    means = np.stack([scores.mean(axis=0) for scores in values])
    return csv_text([head, *([name, *row] for name, row in zip(names, means.T.tolist(), strict=True))])
