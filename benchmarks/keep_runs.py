"""Keep what a report reads of finished runs: python benchmarks/keep_runs.py outputs/ph2 benchmarks/runs/ph2

Of each run folder: config, results, the scores of each test picture, and of each epoch the losses and scores that
tables have. No weights, pictures or events; paths of the machine become `…`. A report then compares runs of
different days: python -m segkit.report runs='benchmarks/runs/ph2/*' output=outputs/ph2_report gallery=false
"""

import argparse
import csv
import json
import re
from pathlib import Path

COLUMNS = re.compile(r"epoch|seconds|lr|(train|val)/(loss|score|iou_image|iou)")
PLACES = re.compile(r"(?<![\w:/])(/[\w.@+-]+){2,}")  # absolute paths, not addresses


def keep(run: Path, folder: Path) -> None:
    """Write the light copy of one run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("config.yaml", "results.json", "per_image.csv"):
        text = (run / name).read_text()
        (folder / name).write_text(text if name.endswith("csv") else PLACES.sub("…", text))
    environment = json.loads((run / "environment.json").read_text())
    for name in ("platform", "git_commit", "git_diff"):
        environment.pop(name, None)
    (folder / "environment.json").write_text(json.dumps(environment, indent=2) + "\n")
    with (run / "metrics.csv").open() as file:
        rows = [*csv.DictReader(file)]
    columns = [name for name in rows[0] if COLUMNS.fullmatch(name)]
    with (folder / "metrics.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([f"{float(row[name]):.6g}" for name in columns] for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="a folder of run folders")
    parser.add_argument("to", type=Path)
    arguments = parser.parse_args()
    for results in sorted(arguments.runs.glob("*/results.json")):
        if json.loads(results.read_text())["status"] == "finished":
            keep(results.parent, arguments.to / results.parent.name)
            print(arguments.to / results.parent.name)


if __name__ == "__main__":
    main()
