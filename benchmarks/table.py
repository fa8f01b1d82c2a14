"""The README's tables, from finished runs: mean ± sd over seeds of every group of runs.

python benchmarks/table.py outputs/ph2_models_losses/*/ --metrics train/score val/score test/score test/iou_image

Runs whose configs differ only in their seed are one group. A folder that `evaluate` wrote counts for the run it scored.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from segkit.configs import config_hash, to_plain
from segkit.runs import checkpoint_path


def read(folder: Path) -> tuple[str, str, int, dict[str, Any]]:
    """(identity of the group, its title, seed, results) of one folder."""
    results = json.loads((folder / "results.json").read_text())
    run = checkpoint_path(results.get("run", str(folder))).parents[1]
    config = to_plain(OmegaConf.load(run / "config.yaml"))
    scored = results.get("dataset", {}).get("root", "")
    title = next((word.split("=", 1)[1] for word in config["overrides"] if word.startswith("experiment=")), None)
    chosen = config["choices"]
    title = title or f"{chosen['dataset']} {chosen['model']} {chosen['loss']}"
    return f"{config_hash(config | {'seed': 0})} {scored}", title, int(config["seed"]), results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    parser.add_argument("--metrics", nargs="+", default=["test/iou", "test/iou_image", "test/dice"])
    options = parser.parse_args()
    names = options.metrics
    groups: dict[str, tuple[str, dict[int, dict[str, Any]]]] = {}
    for folder in options.runs:
        if not (folder / "results.json").exists():
            continue
        group, title, seed, results = read(folder)
        if results["status"] != "finished":
            print(f"{folder} is {results['status']}: left out", file=sys.stderr)
            continue
        seeds = groups.setdefault(group, (title, {}))[1]
        if seed in seeds:
            sys.exit(f"{folder}: seed {seed} of {title} is given twice")
        seeds[seed] = results
    print("| runs | seeds |", *(f"{name} |" for name in names), "parameters | minutes |")
    print("| --- | --- |", *("--- |" for _ in names), "--- | --- |")
    for title, seeds in groups.values():
        cells = []
        for name in names:
            values = [results["metrics"][name] for results in seeds.values()]
            spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread} |")
        minutes = [results["train_seconds"] / 60 for results in seeds.values() if "train_seconds" in results]
        time = f"{statistics.median(minutes):.1f}" if minutes else ""
        parameters = next((f"{r['params'] / 1e6:.2f} M" for r in seeds.values() if "params" in r), "")
        print(f"| {title} | {', '.join(map(str, sorted(seeds)))} |", *cells, f"{parameters} | {time} |")


if __name__ == "__main__":
    main()
