"""An evaluation from start to end: load, announce, score, write, report."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit import hardware
from segkit.configs.places import find_checkpoint, find_runs
from segkit.datasets.module import DataModule
from segkit.datasets.source import extras_of
from segkit.evaluation import advice, gate
from segkit.evaluation.other_data import evaluation_config
from segkit.evaluation.rows import write_scores
from segkit.evaluation.score import describe_scores, score_split
from segkit.evaluation.sheets import save_sheet
from segkit.evaluation.tables import show_metrics
from segkit.evaluation.tiled import WHOLE, score_tiled, see_as_predicted
from segkit.files.writing import write_json
from segkit.models.presence import find_gated
from segkit.runs.build import build_data
from segkit.runs.folder import check_unseen
from segkit.runs.loading import load
from segkit.runs.together import load_together, views_of
from segkit.tasks.contract import Task
from segkit.tasks.deciding import set_threshold

log = logging.getLogger("segkit")


def evaluate_run(settings: dict[str, Any], folder: Path) -> dict[str, float]:
    """Score the run named by the settings of `segkit evaluate`, write everything to `folder`, and return the
    metrics."""
    runs = find_runs(settings["run"])
    task = load_together(runs, load, settings["trust"], settings["tta"])
    set_threshold(task, settings["threshold"])
    set_tolerance(task, settings["cliou"])
    config, split = evaluation_config(task.facts["config"], settings), settings["split"]
    chosen = gate.apply_gate(task, config, settings)
    how = None
    if settings["tile"] is not None:
        how = see_as_predicted(task, config, settings["tile"], settings["overlap"])
        config = config | {"dataset": config["dataset"] | WHOLE}
    named = bool((settings["dataset"] or {}).get("root"))  # on the command line
    data = build_data(config, splits=[split], follow_links=named)
    if len(runs) > 1 and split != "train" and "_target_" not in (settings["dataset"] or {}):
        for run in runs:  # those of folds were trained on each other's validation pictures
            check_unseen(find_checkpoint(run).parent.parent, data.sources[split].names)
    announce(data, settings)
    metrics = score_split(task, data, split, config) if how is None else score_tiled(task, data, split, config, how)
    write_scores(task, data, split, folder)
    findings = advice.judge_scores(describe_scores(task, data, split, metrics), task.facts["config"])
    if chosen == "sweep":
        log.info("sweeping the gate")
        device = hardware.device(settings["accelerator"])
        gate.sweep(task, data, split, hardware.precision(config), device, folder)
    if settings["pictures"]:
        save_sheet(task, data, split, folder, settings["pictures"], how)
    entry = {
        "status": "finished",
        **describe_evaluation(task, config, settings, runs),
        "metrics": metrics,
        "advice": findings,
    }
    write_json(folder / "results.json", entry)
    for finding in findings:
        log.warning("%s", finding)
    show_metrics(metrics, folder, f"gate {entry['gate']:g}" if entry.get("gate") is not None else None)
    return metrics


def set_tolerance(task: Task, cliou: float | None) -> None:
    """Score centre lines with a tolerance in pixels; None keeps the run's own, if it has one."""
    if cliou is None:
        return
    if len(task.classes) > 1:
        raise ValueError(f"cliou={cliou}: the IoU of centre lines is of one class; this run has {len(task.classes)}.")
    task.scores("test").cliou = cliou


def announce(data: DataModule, settings: Mapping[str, Any]) -> None:
    """Log how many pictures of how many are scored, and how to score them all."""
    source = data.sources[settings["split"]]
    whole = extras_of(source).shared
    more = f" of {whole}" if whole > len(source) else ""
    plus = "" if "_target_" in settings["dataset"] else "+"  # the run's own data set is not in the composed config
    hint = f"; '{plus}dataset.fractions=[0,0,1]' scores all" if more and settings["split"] == "test" else ""
    log.info("scoring %d%s pictures, the %s split%s", len(source), more, settings["split"], hint)


def describe_evaluation(
    task: Task, config: Mapping[str, Any], settings: Mapping[str, Any], runs: Sequence[str]
) -> dict[str, Any]:
    """What results.json has besides metrics: the run, or all of an ensemble, the data, the threshold and gate."""
    paths = [str(Path(run).absolute()) for run in runs]
    entry: dict[str, Any] = {
        "run": paths[0],
        **({"ensemble": paths} if len(paths) > 1 else {}),
        "split": settings["split"],
        "dataset": config["dataset"],
        "precision": hardware.precision(config),
        **{name: settings[name] for name in ("tile", "overlap") if settings[name] is not None},
    }
    if len(task.classes) == 1:
        entry |= {"threshold": task.threshold, "smallest": task.smallest}
    entry |= {"temperature": task.temperature, "tta": views_of(task.net)}
    if (gated := find_gated(task.net)) is not None:
        entry["gate"] = gated.gate
    if "protocol" in config["dataset"]:
        entry["protocol"] = config["dataset"]["protocol"]
    return entry
