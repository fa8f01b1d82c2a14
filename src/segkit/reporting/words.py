"""The names of groups, metrics and hardware in a report."""

import re
from collections.abc import Sequence

import numpy as np

from segkit.metrics.names import class_of, classes_in, is_minor_metric
from segkit.reporting.groups import Group, experiment_of

LEFT_OUT = ("loss", "empty_images")  # of the table for people


def metric_names(groups: Sequence[Group]) -> list[str]:
    """The main test metrics that all groups have. Of single classes it is only the IoU; losses are left out, because
    they differ between groups."""
    metrics = groups[0].runs[0].metrics
    names = [name for name in metrics if name.startswith("test/") and not is_minor_metric(name)]
    classes = classes_in(metrics, "test")
    names = [name for name in names if name.startswith("test/iou/") or class_of(name) not in classes]
    names = [name for name in names if name.split("/")[1] not in LEFT_OUT]
    return [name for name in names if all(group.metric(name) for group in groups)]


def describe_settings(group: Group) -> dict[str, str]:
    """The settings in which groups differ, preceded by the experiment if that is the group's title."""
    return ({"experiment": group.title} if group.title == experiment_of(group.config) else {}) | group.settings


def format_spread(values: Sequence[float]) -> str:
    """mean ± sd over seeds."""
    sd = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{sd}"


def stated_values(group: Group, kind: str) -> dict[str, float]:
    """What the experiment's file states, by metric; kind: published, or expected here."""
    found = group.config.get(kind) or {}
    return {name: float(value) for name, value in found.items() if isinstance(value, int | float)}


def format_stated(group: Group, name: str) -> str:
    """The stated values of a metric."""
    found = [(kind, stated_values(group, kind).get(name)) for kind in ("published", "expected")]
    return ", ".join(f"{kind} {value:.3f}" for kind, value in found if value is not None)


def hardware(group: Group) -> str:
    found = dict.fromkeys(one_hardware(run.environment, str(run.results.get("precision", ""))) for run in group.runs)
    return "; ".join(found)


def one_hardware(environment: dict[str, object], precision: str) -> str:
    gpus = environment.get("gpus")
    where = ", ".join(map(str, gpus)) if isinstance(gpus, list) and gpus else str(environment.get("cpu", ""))
    threads = environment.get("threads")
    used = f"{threads} thread{'s' * (threads != 1)}" if threads and not gpus else ""
    return ", ".join(filter(None, [where, used, precision]))


def markdown_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in [titles, ["---"] * len(titles), *rows])


def escape_markdown(text: str) -> str:
    """Text with Markdown's special characters escaped; an underscore inside a word stays as it is."""
    return re.sub(r"([\\|*`<>\[\]]|(?<!\w)_|_(?!\w))", r"\\\1", text)
