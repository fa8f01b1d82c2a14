"""`make bench` (`make bench only=gate`): measure, and write RESULTS.md for people and results.json for programs.

Every bench_<name>.py beside this file has `measure() -> list of {"name", "ratio", "target", "better", "detail"}`; a
ratio is of medians of two things that took turns within one run. Do not run anything beside it.
"""

import argparse
import importlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import torch

from segkit.runs import environment

ON_GPU = ["train", "inference", "memory"]
HERE = Path(__file__).resolve().parent


def main() -> None:
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(known)}; all of them without")
    parser.add_argument("--gpu", action="store_true", help=f"{', '.join(ON_GPU)} on a GPU, into files of their own")
    words = parser.parse_args()
    chosen, suffix = words.only or (ON_GPU if words.gpu else known), "_gpu" if words.gpu else ""
    if words.gpu:
        if not torch.cuda.is_available():
            sys.exit("bench-gpu is skipped: torch finds no CUDA GPU on this machine")
        os.environ["SEGKIT_BENCH_ACCELERATOR"] = "gpu"
    if unknown := [name for name in chosen if name not in known]:
        sys.exit(f"{unknown[0]} is no benchmark; there are {', '.join(known)}")
    store = HERE / f"results{suffix}.json"
    results: list[dict[str, Any]] = json.loads(store.read_text()) if store.exists() else []
    sys.path.insert(0, str(HERE))
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    for name in chosen:
        found = importlib.import_module(f"bench_{name}").measure()
        for entry in found:
            entry["benchmark"] = name
            higher = entry["better"] == "higher"
            entry["reached"] = bool(entry["ratio"] >= entry["target"] if higher else entry["ratio"] <= entry["target"])
            print(f"{entry['name']}: {entry['ratio']:.3f} (target {entry['target']}), {entry['detail']}", flush=True)
        results = [entry for entry in results if entry["benchmark"] != name] + found
        results.sort(key=lambda entry: entry["benchmark"])
        store.write_text(json.dumps(results, indent=2) + "\n")
        (HERE / f"RESULTS{suffix.upper()}.md").write_text(table(results, words.gpu))


def machine(gpu: bool) -> str:
    """Hardware and versions, of the last run."""
    facts = environment.current({"seed": 0}, "", "cpu", True)
    versions = ", ".join(f"{name} {facts['packages'][name]}" for name in ("torch", "lightning", "numpy"))
    card = f"{', '.join(facts['gpus'])}; " if gpu else ""
    return f"{card}{facts['cpu']}, {facts['cores']} cores; Python {facts['python']}, {versions}"


def table(results: list[dict[str, Any]], gpu: bool = False) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench{'-gpu' if gpu else ''}` on {machine(gpu)}.",
        "",
        "| what | ratio | target | reached | how |",
    ]
    lines.append("| --- | --- | --- | --- | --- |")
    for entry in results:
        sign = "≥" if entry["better"] == "higher" else "≤"
        reached = "yes" if entry["reached"] else "no"
        lines.append(
            f"| {entry['name']} | {entry['ratio']:.3f} | {sign} {entry['target']} | {reached} | {entry['detail']} |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
