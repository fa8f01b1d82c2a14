"""Quality against seconds an epoch of finished runs, mean ± sd over the seeds of every group of them, as a picture.

python benchmarks/cost.py outputs/ph2_fine_tuning/*/ --metric test/iou --output cost.png
"""

import argparse
import csv
import statistics
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from table import read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--metric", default="test/iou")
    parser.add_argument("--output", type=Path, default=Path("cost.png"))
    options = parser.parse_args()
    groups: dict[str, tuple[str, list[tuple[float, float]]]] = {}
    for folder in options.runs:
        group, title, _, results = read(folder)
        if results["status"] == "finished":
            point = seconds_of_an_epoch(folder), results["metrics"][options.metric]
            groups.setdefault(group, (title, []))[1].append(point)
    draw(groups, options.metric).savefig(options.output, dpi=110)
    for title, points in groups.values():
        seconds, score = (statistics.mean(values) for values in zip(*points, strict=True))
        print(f"{title}: {options.metric} {score:.3f} in {seconds:.1f} s an epoch, {len(points)} seeds")


def seconds_of_an_epoch(folder: Path) -> float:
    """The median of a run's epochs."""
    with (folder / "metrics.csv").open() as file:
        return statistics.median(float(row["seconds"]) for row in csv.DictReader(file))


def draw(groups: dict[str, tuple[str, list[tuple[float, float]]]], metric: str) -> Any:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for title, points in groups.values():
        (seconds, slower), (score, wider) = (
            (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
            for values in zip(*points, strict=True)
        )
        axes.errorbar(seconds, score, wider, slower, marker="o", capsize=3, label=title)
    axes.set(xlabel="seconds an epoch", ylabel=metric, xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


if __name__ == "__main__":
    main()
