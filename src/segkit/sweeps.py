"""What a sweep says at its end: how every job of it ended."""

import json
import sys
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf


class Summary(Callback):
    """A table of a sweep's jobs; where one failed or is missing, the command ends with exit code 1.

    Jobs do not raise in a sweep (see `configs.command`), so that the others go on; each one's results.json says
    how it ended.
    """

    def __init__(self) -> None:
        self.jobs: dict[Path, bool] = {}  # run folder, and whether the job gave a result
        self.metric = "test/iou"
        self.modules: set[str] = set()  # of one's own, that the jobs' models come from

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        from segkit.checkpoints import foreign

        self.modules.update(foreign(OmegaConf.to_container(config.model, resolve=False)))
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
        if config.report and sum(entry["status"] == "finished" for entry in results.values()) > 1:
            mine = [folder for folder, entry in results.items() if entry["status"] != "refused"]
            write_report(mine, sorted(self.modules))
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


def write_report(folders: list[Path], trust: list[str]) -> None:
    """What the runs of a sweep have shown, on a page beside them; a failure of that is said and no more. `trust`:
    modules that this command itself has trained models of."""
    from segkit.configs import compose, explain
    from segkit.report import report

    try:
        cfg = compose("runs=[]", config="report")
        cfg.runs, cfg.trust = [str(folder) for folder in folders if folder.exists()], trust
        report(cfg)
    except Exception as error:
        print(f"no report: {explain(error)}", file=sys.stderr)


def read_results(folder: Path) -> dict[str, Any]:
    """A run's results.json; {"status": "missing"} where there is none that can be read."""
    try:
        results: dict[str, Any] = json.loads((folder / "results.json").read_text())
    except (OSError, ValueError):
        return {"status": "missing", "error": "no results.json"}
    return results
