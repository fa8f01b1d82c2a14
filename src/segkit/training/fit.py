"""A run from start to end: build, describe, fit, test, report to the loggers."""

import logging
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from segkit import VIEWS
from segkit.configs.composing import LAST_EPOCH, parse_budget
from segkit.evaluation.calibration import calibrate_run
from segkit.evaluation.score import score_best
from segkit.runs import checkpoints
from segkit.runs.build import Run, build
from segkit.runs.console import log_to_console
from segkit.runs.fits import check_checkpoints
from segkit.runs.folder import Record, open_run, seconds_of_epochs
from segkit.runs.loading import load
from segkit.training import budget, learning_rate, stages
from segkit.training.budget import Budget
from segkit.training.callbacks import EpochTable
from segkit.training.loggers import end_wandb, log_hyperparameters, overlay_curves
from segkit.training.memory import fit_in_memory
from segkit.training.profiling import Compiled, DataWaitProfiler
from segkit.training.telling import collect_findings, describe

log = logging.getLogger("segkit")


def run_one(cfg: DictConfig, own: bool = True, follow_links: bool = False) -> Record:
    """`train` for checked settings, without printing the result.

    own: whether the content of the run folder is known to be the user's own. follow_links: see `build_data`; also on if
    the config is the user's own or the command names the root.
    """
    log_to_console()
    done = False
    try:
        own = own and cfg.resume is None  # a folder may come from anyone
        follow_links = follow_links or own or has_named_root(cfg)
        with open_run(cfg, own) as record:
            if not record.finished:
                if record.config.get("stages"):
                    stages.run(cfg, record, own, follow_links, run_one)
                else:
                    fit_and_test(cfg, record, own, follow_links)
        done = True
    finally:
        end_wandb(cfg, done)
    return record


def fit_and_test(cfg: DictConfig, record: Record, own: bool, follow_links: bool) -> None:
    """Do the run in its open folder: build, fit, test the best weights, report to the loggers."""
    check_checkpoints(record.config)
    if record.config["lr_find"] and record.resume_from is None:
        learning_rate.find(cfg, record, follow_links)
    before = sum(seconds_of_epochs(record.folder)) if record.resume_from is not None else 0.0
    since = time.perf_counter() - planned_seconds(record)

    def attempt(config: dict[str, Any]) -> tuple[Run, float]:
        nonlocal before
        spent = planned_seconds(record)
        if config is not record.config:  # memory ran out before
            spent, last = time.perf_counter() - since, record.folder / "checkpoints" / "last.ckpt"
            if last.exists():  # of an epoch that did fit
                record.resume_from, spent, before = last, 0.0, sum(seconds_of_epochs(record.folder))
        return fit(config, record, spent, own, follow_links)

    run, seconds = fit_in_memory(record.config, attempt)
    if (size := run.data.batch_size) != record.config["dataset"]["batch_size"]:
        record.facts["batch"] = {"size": size, "accumulated": run.trainer.accumulate_grad_batches}
    path = record.folder / "checkpoints" / "best.ckpt"
    task = load(str(path), record.config["trust"], own=own)
    if record.config.get("calibrate"):
        record.facts["calibration"] = calibrate_run(task, run.data, record.config, path)
    elif found := task.facts.get("calibration"):  # by `segkit calibrate`, before the run was resumed
        record.facts["calibration"] = found
    log.info("testing %s", budget.describe_test(run, validation_seconds(run)))
    record.metrics, cost, seen = score_best(task, run, record.folder, record.config)
    record.facts |= {"train_seconds": round(before + seconds, 2), "epochs": epochs_of(record, "last")} | cost
    best = epochs_of(record, "best")
    monitor = record.config["monitor"]
    chosen = "the last" if monitor == LAST_EPOCH else f"the best by {monitor}"
    views = VIEWS[record.config.get("tta", "none")]
    seen_in = f", in {views} views of each picture" * (views > 1) + ", calibrated" * ("calibration" in record.facts)
    log.info("tested the weights of epoch %d, %s%s", best, chosen, seen_in)
    record.facts["advice"] = collect_findings(run, record, best, seen)
    for finding in record.facts["advice"]:
        log.warning("%s", finding)
    for logger in run.trainer.loggers:
        log_hyperparameters(logger, record.config, record.metrics)
        logger.finalize("success")


def fit(config: dict[str, Any], record: Record, spent: float, own: bool, follow_links: bool) -> tuple[Run, float]:
    """Build what a config says and train it; the run, and its seconds. spent: those that a budget has paid before."""
    run = build(config, record.resume_from is None, follow_links, profiling_callbacks(config))
    if record.resume_from is not None:
        check_same_network(run, record)
    else:  # a run that goes on may change its device
        check_plan(run, config)
    if not record.facts:  # else this is another attempt
        describe(run, record, own)
    for logger in run.trainer.loggers:
        overlay_curves(logger, config["monitor"])
    started = time.perf_counter() - spent
    clock = start_budget(run, record, started) if config.get("budget") is not None else None
    run.trainer.fit(run.task, run.data, ckpt_path=record.resume_from, weights_only=True)
    torch._C._jit_clear_class_registry()  # else it keeps the graph traced for TensorBoard, and a sweep's memory grows
    if clock is not None:
        state = checkpoints.read(record.folder)["callbacks"][clock.state_key]  # ddp leaves the callback here at 0
        record.facts["budget"] = {"seconds": clock.total, "used": round(state["used"], 2)}
        log.info("budget: %.0f s of %.0f s used", state["used"], clock.total)
    return run, time.perf_counter() - started


def planned_seconds(record: Record) -> float:
    """What planning took of the budget, if this session planned."""
    plan = record.config.get("plan") or {}
    return float(plan.get("seconds", 0.0)) if record.resume_from is None else 0.0


def profiling_callbacks(config: Mapping[str, Any]) -> list[Callback]:
    """The callbacks for `compile` and `profile`."""
    compiled = [Compiled()] if config.get("compile") else []
    return [*compiled, DataWaitProfiler()] if config.get("profile") else [*compiled]


def has_named_root(cfg: DictConfig) -> bool:
    """Whether the command that resumes a run names the root of its data set."""
    words = [str(word).lstrip("+") for word in cfg.overrides]
    return cfg.resume is not None and any(word.startswith("dataset.root=") for word in words)


def check_same_network(run: Run, record: Record) -> None:
    """Raise ValueError if last.ckpt belongs to another network than the resumed one."""

    found, expected = checkpoints.read(record.folder)["state_dict"], run.task.state_dict()
    for name in [*expected, *(name for name in found if name not in expected)]:
        shapes = [str(tuple(state[name].shape)) if name in state else "missing" for state in (found, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{record.resume_from} belongs to another network than {record.folder / 'config.yaml'}: {name} is "
                f"{shapes[0]} in the one and {shapes[1]} in the other. One of the two is another run's: restore "
                "this run's own, or start a new run."
            )


def check_plan(run: Run, config: Mapping[str, Any]) -> None:
    """ValueError for a plan that was made for other data, or for a GPU that is gone, unless the config says `force`."""
    plan = config.get("plan") or {}
    planned_on_gpu = not str(plan.get("machine") or "cpu").startswith("cpu")
    why = []
    if plan.get("data", run.fingerprint) != run.fingerprint:
        why.append(f"was made for other data: their fingerprint is {plan['data']}, and that of these {run.fingerprint}")
    if planned_on_gpu and not torch.accelerator.is_available():
        why.append(f"was made for {plan['machine']}, and torch finds no GPU here")
    if why and not config.get("force"):
        raise ValueError(
            f"The plan {' and '.join(why)}. python -m segkit.plan makes one for what is here; force=true trains as "
            "planned."
        )


def validation_seconds(run: Run) -> float:
    """The median time of the last validations; 0 if none ran in this process."""

    tables = [one for one in run.trainer.callbacks if isinstance(one, EpochTable)]  # type: ignore[attr-defined]
    times = [seconds for one in tables for seconds in one.validations]
    return statistics.median(times) if times else 0.0


def start_budget(run: Run, record: Record, started: float) -> Budget:
    """Make training end when its budget does."""

    clock = budget.Budget(parse_budget(record.config["budget"]), started)
    if record.resume_from is None:
        clock.plan(run)
    else:
        clock.resume(run, checkpoints.read(record.folder))
    run.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    return clock


def epochs_of(record: Record, name: str) -> int:
    """How many epochs a checkpoint was trained for. (Spawned processes, as with ddp, leave the trainer here at 0.)"""

    return int(checkpoints.read(record.folder, name)["epoch"]) + 1
