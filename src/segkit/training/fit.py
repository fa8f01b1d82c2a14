"""The story of a run: build, describe, fit, test, tell the loggers."""

import logging
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig

from segkit.configs.composing import LAST_EPOCH, parse_budget
from segkit.evaluation.score import score_best
from segkit.runs import checkpoints
from segkit.runs.build import Run, build
from segkit.runs.console import log_to_console
from segkit.runs.fits import check_checkpoints
from segkit.runs.folder import Record, open_run, seconds_of_epochs
from segkit.training import budget, learning_rate, stages
from segkit.training.budget import Budget
from segkit.training.callbacks import EpochTable
from segkit.training.loggers import end_wandb, log_hyperparameters, overlay_curves
from segkit.training.profiling import Compiled, DataWaitProfiler
from segkit.training.telling import describe, findings

log = logging.getLogger("segkit")


def run_one(cfg: DictConfig, own: bool = True, follow_links: bool = False) -> Record:
    """`train` of settings that were checked, without a word about the result.

    own: whether what lies in the run folder is known to be one's own. follow_links: see `build_data`; so it is also
    where the config is one's own or the command names the root.
    """
    log_to_console()
    done = False
    try:
        own = own and cfg.resume is None  # a folder may come from anybody
        follow_links = follow_links or own or names_root(cfg)
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
    """The run itself, in its open folder: build, fit, test the best weights, tell the loggers."""
    check_checkpoints(record.config)
    if record.config["lr_find"] and record.resume_from is None:
        learning_rate.find(cfg, record, follow_links)
    run = build(record.config, record.resume_from is None, follow_links, watching(record.config))
    if record.resume_from is not None:
        check_same_network(run, record)
    describe(run, record, own)
    for logger in run.trainer.loggers:
        overlay_curves(logger, record.config["monitor"])
    before = sum(seconds_of_epochs(record.folder)) if record.resume_from is not None else 0.0
    started = time.perf_counter()
    clock = limit(run, record, started) if record.config.get("budget") is not None else None
    run.trainer.fit(run.task, run.data, ckpt_path=record.resume_from, weights_only=True)
    torch._C._jit_clear_class_registry()  # else it keeps the graph traced for TensorBoard, and a sweep's memory grows
    seconds = before + time.perf_counter() - started
    if clock is not None:
        state = checkpoints.read(record.folder)["callbacks"][clock.state_key]  # ddp leaves the callback here at 0
        record.facts["budget"] = {"seconds": clock.total, "used": round(state["used"], 2)}
        log.info("budget: %.0f s of %.0f s used", state["used"], clock.total)
    log.info("testing %s", budget.test_ahead(run, validation_seconds(run)))
    record.metrics, cost, seen = score_best(run, record.folder, record.config, own)
    record.facts |= {"train_seconds": round(seconds, 2), "epochs": epochs_of(record, "last")} | cost
    best = epochs_of(record, "best")
    monitor = record.config["monitor"]
    chosen = "the last" if monitor == LAST_EPOCH else f"the best by {monitor}"
    log.info("tested the weights of epoch %d, %s", best, chosen)
    record.facts["advice"] = findings(run, record, best, seen)
    for finding in record.facts["advice"]:
        log.warning("%s", finding)
    for logger in run.trainer.loggers:
        log_hyperparameters(logger, record.config, record.metrics)
        logger.finalize("success")


def watching(config: Mapping[str, Any]) -> list[Callback]:
    """The callbacks of `compile` and `profile`."""
    compiled = [Compiled()] if config.get("compile") else []
    return [*compiled, DataWaitProfiler()] if config.get("profile") else [*compiled]


def names_root(cfg: DictConfig) -> bool:
    """Whether the command that resumes a run says where its data set lies."""
    words = [str(word).lstrip("+") for word in cfg.overrides]
    return cfg.resume is not None and any(word.startswith("dataset.root=") for word in words)


def check_same_network(run: Run, record: Record) -> None:
    """ValueError where last.ckpt is of another network than the one that goes on."""

    found, expected = checkpoints.read(record.folder)["state_dict"], run.task.state_dict()
    for name in [*expected, *(name for name in found if name not in expected)]:
        shapes = [str(tuple(state[name].shape)) if name in state else "missing" for state in (found, expected)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{record.resume_from} is of another network than {record.folder / 'config.yaml'}: {name} is "
                f"{shapes[0]} in the one and {shapes[1]} in the other. One of the two is another run's: bring this "
                "run's own back, or start a new run."
            )


def validation_seconds(run: Run) -> float:
    """How long the last validations took, by their median; 0 where none was in this process."""

    tables = [one for one in run.trainer.callbacks if isinstance(one, EpochTable)]  # type: ignore[attr-defined]
    times = [seconds for one in tables for seconds in one.validations]
    return statistics.median(times) if times else 0.0


def limit(run: Run, record: Record, started: float) -> Budget:
    """Let the training end when its budget does."""

    clock = budget.Budget(parse_budget(record.config["budget"]), started)
    if record.resume_from is None:
        clock.plan(run)
    else:
        clock.go_on(run, checkpoints.read(record.folder))
    run.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    return clock


def epochs_of(record: Record, name: str) -> int:
    """How many epochs a checkpoint was trained for: spawned processes (ddp) leave the trainer here at 0."""

    return int(checkpoints.read(record.folder, name)["epoch"]) + 1
