"""`python -m segkit.train model=unet loss=dice dataset=ph2 …`: one run, from config to tested metrics."""

import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segkit.configs import argument, budget_seconds, command, in_sweep, own_config_dirs

if TYPE_CHECKING:
    from segkit.budget import Budget
    from segkit.records import Record
    from segkit.runs import Run


def train(cfg: DictConfig) -> dict[str, float]:
    """Fit, then test with the best weights; returns every final metric by its name (`test/iou`, …).

    The run folder is `cfg.run_dir`. A finished run of the same config is left alone and its metrics are returned.
    """
    record = run_one(cfg)
    show(record)
    return record.metrics


def run_one(cfg: DictConfig, own: bool = True) -> "Record":
    """`train` without a word about the result. `own`: whether what lies in the run folder is known to be one's own."""
    from segkit import records, stages  # these import torch and Lightning, which `--help` need not wait for

    records.log_to_console()
    done = False
    try:
        with records.open_run(cfg) as record:
            if not record.finished:
                several = record.config.get("stages")
                (stages.run if several else fit_and_test)(cfg, record, own and cfg.resume is None)
        done = True
    finally:
        end_wandb(cfg, done)
    return record


def end_wandb(cfg: DictConfig, done: bool) -> None:
    """Close this run at Weights & Biases, or the next job of a sweep would be logged into it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None and Path(wandb.run.dir).is_relative_to(Path(cfg.run_dir).absolute()):
        wandb.finish(exit_code=0 if done else 1)


def fit_and_test(cfg: DictConfig, record: "Record", own: bool) -> None:
    """The run itself, in its open folder: build, fit, test the best weights, tell the loggers."""
    import torch

    from segkit import checkpoints, evaluate, learning_rate, records, runs

    if not own:  # a folder may come from anybody
        allowed = (*checkpoints.TRAINING, *checkpoints.modules(cfg.trust))
        checkpoints.check_targets(record.config | {"overrides": []}, allowed, str(record.folder))
    runs.check_checkpoints(record.config)
    if record.config["lr_find"] and record.resume_from is None:
        learning_rate.find(cfg, record)
    run = runs.build(record.config, fresh=record.resume_from is None)
    describe(run, record)
    for logger in run.trainer.loggers:
        evaluate.overlay_curves(logger, record.config["monitor"])
    before = sum(records.seconds_of_epochs(record.folder)) if record.resume_from is not None else 0.0
    started = time.perf_counter()
    clock = limit(run, record, started) if record.config.get("budget") is not None else None
    run.trainer.fit(run.task, run.data, ckpt_path=record.resume_from, weights_only=True)
    torch._C._jit_clear_class_registry()  # else it keeps the graph traced for TensorBoard, and a sweep's memory grows
    seconds = before + time.perf_counter() - started
    if clock is not None:
        state = checkpoints.read(record.folder)["callbacks"][clock.state_key]  # ddp leaves the callback here at 0
        record.facts["budget"] = {"seconds": clock.total, "used": round(state["used"], 2)}
        records.log.info("budget: %.0f s of %.0f s used", state["used"], clock.total)
    record.metrics, cost = evaluate.final(run, record.folder, record.config, own)
    if found := advice(record.metrics, record.config):
        records.log.warning(found)
    record.facts |= {"train_seconds": round(seconds, 2), "epochs": epochs_of(record, "last")} | cost
    best = epochs_of(record, "best")
    records.log.info("tested the weights of epoch %d, the best by %s", best, record.config["monitor"])
    for logger in run.trainer.loggers:
        evaluate.log_hyperparameters(logger, record.config, record.metrics)
        logger.finalize("success")


def limit(run: "Run", record: "Record", started: float) -> "Budget":
    """Let the training end when its budget does."""
    from segkit import budget, checkpoints

    clock = budget.Budget(budget_seconds(record.config["budget"]), started)
    if record.resume_from is None:
        clock.plan(run)
    else:
        clock.go_on(run, checkpoints.read(record.folder))
    run.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    return clock


def advice(metrics: dict[str, float], config: dict[str, Any]) -> str:
    """What to do where the best weights find nothing in validation; empty where they do."""
    if metrics.get("val/presence_recall/1") == 0:
        return "no validation sample is found to show the class: train longer, or try another optimizer.lr"
    if metrics.get("val/recall", 1) > 0:
        return ""
    if "unet" in config["model"].get("freeze", ()):
        return "the masks that were taken over find nothing in validation: train the run of init_from for longer"
    return (
        "the best weights find nothing of what the validation masks show: train longer, or try another loss "
        "(loss=bce_dice) or optimizer.lr"
    )


def epochs_of(record: "Record", name: str) -> int:
    """How many epochs a checkpoint was trained for: spawned processes (ddp) leave the trainer here at 0."""
    from segkit import checkpoints

    return int(checkpoints.read(record.folder, name)["epoch"]) + 1


def describe(run: "Run", record: "Record") -> None:
    """Write what the run is before it starts: environment.json, split.json, model.txt; and say it in one line."""
    from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

    from segkit import environment, records, runs

    device = str(run.trainer.strategy.root_device)
    split = {name: list(source.names) for name, source in run.data.sources.items()}
    made_with = environment.current(record.config, run.fingerprint, device)
    if record.resume_from is not None:
        records.check_same_data(record.folder, split, run.fingerprint)
        path = record.folder / "environment.json"
        earlier = json.loads(path.read_text()) if path.exists() else {}
        made_with["before"] = [*earlier.pop("before", []), earlier]  # what the epochs before were trained with
    records.write_json(record.folder / "environment.json", made_with)
    records.write_json(record.folder / "split.json", split)
    records.write_text(record.folder / "model.txt", str(ModelSummary(run.task, max_depth=4)) + "\n")
    parameters = sum(p.numel() for p in run.task.net.parameters())
    precision = runs.precision(record.config)
    record.facts = {"params": parameters, "device": device, "precision": precision}
    if "protocol" in record.config["dataset"]:
        record.facts["protocol"] = record.config["dataset"]["protocol"]
    record.write("running")
    chosen, counts = record.config["choices"], " / ".join(str(len(names)) for names in split.values())
    records.log.info(
        "%s, %.2f M parameters, on %s (%s); %s: %s train / val / test pictures",
        chosen["model"], parameters / 1e6, device, precision, chosen["dataset"], counts,
    )  # fmt: skip


def show(record: "Record") -> None:
    """The end of a run: its metrics, its folder, and what to do next; in a sweep one line."""
    from rich.console import Console
    from rich.table import Table

    from segkit import checkpoints, evaluate

    classes = evaluate.classes_in(record.metrics, "test")
    tested = [name for name in record.metrics if name.startswith("test/") and evaluate.class_of(name) not in classes]
    shown = [name.removeprefix("test/") for name in tested if not evaluate.lesser(name)]
    if in_sweep():
        name = record.config["monitor"].replace("val/", "test/")
        print(f"{name} {record.metrics.get(name, float('nan')):.4f}: {record.folder}")
        return
    table = Table("metric", "test", "val", "train", title=record.folder.name)
    for name in shown:
        scores = (record.metrics.get(f"{split}/{name}") for split in ("test", "val", "train"))
        table.add_row(name, *("" if score is None else evaluate.written(name, score) for score in scores))
    Console().print(table)
    if classes:
        evaluate.show_classes(record.metrics, classes, "test")
    words = [str(word) for word in record.config["overrides"]]
    kept = [shlex.quote(word) for word in words if not word.startswith(("seed=", "hydra.", "run_dir=", "resume="))]
    chosen = any(word.startswith(("loss", "experiment=")) for word in words)
    compared = [] if chosen else [several_losses(record.config)]
    own = checkpoints.foreign(record.config["model"])
    predict = [argument("run", record.folder), "input=photos/ output=predicted/"]
    predict += [shlex.quote(f"trust=[{','.join(own)}]")] if own else []
    print(f"Run folder: {record.folder} (all {len(record.metrics)} metrics are in its results.json)\nNext:")
    if "tensorboard" in (record.config.get("logger") or {}):
        print(f"  tensorboard --logdir '{record.folder.parent}'")
    print(f"  python -m segkit.predict {' '.join(predict)}")
    folders = [f"--config-dir {shlex.quote(os.path.relpath(path))}" for path in own_config_dirs()]
    print(f"  python -m segkit.train {' '.join([*folders, '-m', *kept, *compared])} seed=0,1,2")


def several_losses(config: dict[str, Any]) -> str:
    """Losses worth comparing on this data."""
    return "loss=dice,bce,focal" if len(config["dataset"]["classes"]) == 1 else "loss=dice,ce,focal"


main = command("train", train)

if __name__ == "__main__":
    main()
