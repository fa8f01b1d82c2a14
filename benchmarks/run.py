"""`make bench` (`make bench only=gate`): measure, and write RESULTS.md for people and results.json for programs.

Every bench_<name>.py beside this file has `measure() -> list of {"name", "ratio", "target", "better", "detail"}`; a
ratio is of medians of two things that took turns within one run. Do not run anything beside it.
"""

import argparse
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import Any

from segkit import environment

HERE = Path(__file__).resolve().parent


def main() -> None:
    known = sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"some of {', '.join(known)}; all of them without")
    chosen = parser.parse_args().only or known
    if unknown := [name for name in chosen if name not in known]:
        sys.exit(f"{unknown[0]} is no benchmark; there are {', '.join(known)}")
    store = HERE / "results.json"
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
        (HERE / "RESULTS.md").write_text(table(results))


def machine() -> str:
    """Hardware and versions, of the last run."""
    facts = environment.current({"seed": 0}, "", "cpu")
    versions = ", ".join(f"{name} {facts['packages'][name]}" for name in ("torch", "lightning", "numpy"))
    return f"{facts['cpu']}, {facts['cores']} cores; Python {facts['python']}, {versions}"


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {machine()}.",
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
