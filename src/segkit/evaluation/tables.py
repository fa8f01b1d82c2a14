"""The metrics of an evaluation as tables for the terminal."""

from collections.abc import Sequence
from pathlib import Path

from segkit import console
from segkit.metrics.names import class_of, classes_in, format_metric, is_minor_metric, title_of


def show_metrics(metrics: dict[str, float], folder: Path, title: str | None) -> None:
    from rich.table import Table

    table = Table("metric", "value", title=title)
    split = next(iter(metrics)).partition("/")[0]
    classes = classes_in(metrics, split)
    for name, value in metrics.items():
        if not is_minor_metric(name) and class_of(name) not in classes:
            table.add_row(f"{split}/{title_of(name.removeprefix(split)[1:])}", format_metric(name, value))
    console.print_table(table)
    if classes:
        show_classes(metrics, classes, split)
    console.say(f"Written to {folder}; its results.json has all {len(metrics)} metrics")


def show_classes(metrics: dict[str, float], classes: Sequence[str], split: str) -> None:
    """The metrics of each class, one row per class."""
    from rich.table import Table

    columns = ("iou", "dice", "precision", "recall")
    table = Table("class", *columns, title=f"{split}, by class")
    for title in classes:
        found = [metrics.get(f"{split}/{name}/{title}") for name in columns]
        table.add_row(title, *("" if value is None else f"{value:.4f}" for value in found))
    console.print_table(table)
