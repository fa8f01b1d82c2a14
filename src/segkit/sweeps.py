"""What a sweep says at its end: how every job of it ended."""

import json
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Summary(Callback):
    """A table of a sweep's jobs; where one failed or is missing, the command ends with exit code 1.

    Jobs do not raise in a sweep (see `configs.command`), so that the others go on; each one's results.json says
    how it ended.
    """

    def __init__(self) -> None:
        self.jobs: dict[Path, bool] = {}  # run folder, and whether the job gave a result
        self.metric = "test/iou"

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        self.jobs[Path(config.hydra.runtime.output_dir)] = job_return.return_value is not None
        self.metric = str(config.monitor).replace("val/", "test/")

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        from rich.console import Console
        from rich.table import Table

        results = {folder: read_results(folder) for folder in self.jobs}
        scored = [entry.get("metrics", {}) for entry in results.values()]
        more = [name for name in ("test/presence_f1", "test/iou") if name != self.metric]
        names = [self.metric, *(name for name in more if any(name in metrics for metrics in scored))]
        table = Table("job", "status", *names, "seconds")
        table.columns[0].overflow = "fold"
        for folder, entry in results.items():
            if entry["status"] == "finished" and not self.jobs[folder]:
                entry |= {"status": "refused", "metrics": {}, "error": "the folder holds another run, see above"}
            found = [entry.get("metrics", {}).get(name) for name in names]
            seconds = entry.get("train_seconds")
            table.add_row(folder.name, entry["status"], *("" if score is None else f"{score:.4f}" for score in found),
                          "" if seconds is None else f"{seconds:.0f}")  # fmt: skip
        Console(stderr=True).print(table)
        bad = {folder: entry for folder, entry in results.items() if entry["status"] != "finished"}
        if bad:
            print(f"\n{len(bad)} of {len(results)} jobs did not finish:", file=sys.stderr)
            for folder, entry in bad.items():
                reason = str(entry.get("error", "")).splitlines() or [""]
                print(f"  {folder}: {entry['status']}: {reason[0]}", file=sys.stderr)
            if any(entry["status"] != "refused" for entry in bad.values()):
                print("Their train.log has the traceback. The same command again runs only these.", file=sys.stderr)
            if any(entry["status"] == "refused" for entry in bad.values()):
                print("Those refused want a folder of their own: add name=… to the command.", file=sys.stderr)
            sys.exit(1)


def read_results(folder: Path) -> dict[str, Any]:
    """A run's results.json; {"status": "missing"} where there is none that can be read."""
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    except (OSError, ValueError):
        return {"status": "missing", "error": "no results.json"}
    return results
