"""The README's tables, from finished runs: mean ± sd over seeds of every group of runs.

python benchmarks/table.py outputs/ph2_models_losses/*/ --metrics train/score val/score test/score test/iou_image

Runs that differ only in their seed are one group. A folder that `evaluate` wrote counts for the run it scored.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf


def read(folder: Path) -> tuple[str, int, dict[str, Any]]:
    """(group, seed, results) of one folder."""
    results = json.loads((folder / "results.json").read_text())
    run = Path(results.get("run", folder))
    config = OmegaConf.load(run / "config.yaml")
    group = next((str(word).split("=", 1)[1] for word in config.overrides if str(word).startswith("experiment=")), "")
    name = group or f"{config.choices.dataset} {config.choices.model} {config.choices.loss}"
    return name, int(config.seed), results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--metrics", nargs="+", default=["test/iou", "test/iou_image", "test/dice"])
    options = parser.parse_args()
    names = options.metrics
    groups: dict[str, dict[int, dict[str, Any]]] = {}
    for folder in options.runs:
        if (folder / "results.json").exists():
            group, seed, results = read(folder)
            if results["status"] == "finished":
                groups.setdefault(group, {})[seed] = results
    print("| runs | seeds |", *(f"{name} |" for name in names), "parameters | minutes |")
    print("| --- | --- |", *("--- |" for _ in names), "--- | --- |")
    for group, seeds in groups.items():
        cells = []
        for name in names:
            values = [results["metrics"][name] for results in seeds.values()]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread} |")
        minutes = [results["train_seconds"] / 60 for results in seeds.values() if "train_seconds" in results]
        time = f"{statistics.median(minutes):.1f}" if minutes else ""
        parameters = next((f"{r['params'] / 1e6:.2f} M" for r in seeds.values() if "params" in r), "")
        print(f"| {group} | {', '.join(map(str, sorted(seeds)))} |", *cells, f"{parameters} | {time} |")


if __name__ == "__main__":
    main()
