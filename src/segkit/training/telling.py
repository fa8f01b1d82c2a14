"""What training reports before and after it."""

import logging
import math
import os
import shlex
from pathlib import Path
from typing import Any

from segkit import console, hardware
from segkit.configs.composing import find_test_metric, format_argument, has_experiment, is_in_sweep, own_config_dirs
from segkit.configs.experiment_files import as_typed
from segkit.evaluation import advice
from segkit.evaluation.advice import SplitScores
from segkit.evaluation.tables import show_classes
from segkit.files.reading import read_json
from segkit.files.writing import write_bytes, write_json, write_text
from segkit.metrics.names import class_of, classes_in, format_metric, is_minor_metric, title_of
from segkit.pictures import network
from segkit.runs import checkpoints, environment
from segkit.runs.build import Run
from segkit.runs.folder import Record, check_same_data, read_epochs
from segkit.security import stored_configs

log = logging.getLogger("segkit")


def collect_findings(run: Run, record: Record, best: int, seen: dict[str, SplitScores]) -> list[str]:
    """Findings about a finished training that the user should know."""

    epochs = record.facts["epochs"]
    batches = math.ceil(len(run.data.train_dataloader()) / run.trainer.world_size)
    steps = int(checkpoints.read(record.folder)["global_step"]) * run.trainer.accumulate_grad_batches
    passes = min(epochs, steps / batches) if record.config.get("budget") is not None else epochs  # its last may be part
    history = read_epochs(record.folder)
    findings = advice.judge_scores(seen["val"], record.config, epochs)
    findings += [text for split in ("val", "test") for text in advice.judge_truth(seen[split])]
    passes *= run.data.passes
    return findings + advice.judge_training(record.config, history, passes, best, seen["train"])


def draw_network(run: Run, folder: Path) -> None:
    """Write model.svg if the extra `graph` is installed and the network can be drawn."""

    if not network.can_draw():
        return
    try:
        write_bytes(folder / "model.svg", network.draw(run.task.net, run.data.size))
    except Exception as error:  # a custom network may do anything that cannot be traced
        if isinstance(error, OSError):
            raise
        log.debug("model.svg is left out: %s", error)


def describe(run: Run, record: Record, own: bool) -> None:
    """Before a run starts, write environment.json, split.json, model.txt and model.svg, and log a summary line."""
    from lightning.pytorch.utilities.model_summary.model_summary import ModelSummary

    device = str(run.trainer.strategy.root_device)
    split = {name: list(source.names) for name, source in run.data.sources.items()}
    made_with = environment.current(record.config, run.fingerprint, device, own)
    if record.resume_from is not None:
        check_same_data(record.folder, split, run.fingerprint)
        path = record.folder / "environment.json"
        earlier = read_json(path) if path.exists() else {}
        made_with["before"] = [*earlier.pop("before", []), earlier]  # what the earlier epochs were trained with
    write_json(record.folder / "environment.json", made_with)
    write_json(record.folder / "split.json", split)
    write_text(record.folder / "model.txt", str(ModelSummary(run.task, max_depth=4)) + "\n")
    draw_network(run, record.folder)
    parameters = sum(p.numel() for p in run.task.net.parameters())
    precision = hardware.precision(record.config)
    record.facts = {"params": parameters, "device": device, "precision": precision}
    if "protocol" in record.config["dataset"]:
        record.facts["protocol"] = record.config["dataset"]["protocol"]
    if plan := record.config.get("plan"):
        record.facts["plan"] = plan
    record.write("running")
    chosen, counts = record.config["choices"], " / ".join(str(len(names)) for names in split.values())
    for line in run.summary:
        log.info("%s", line)
    for choice in (plan or {}).get("choices", ()):
        log.info("plan: %s (%s)", " ".join(choice.get("words", ())), choice.get("why", ""))
    log.info(
        "%s, %.2f M parameters, on %s (%s); %s: %s train / val / test pictures",
        chosen["model"],
        parameters / 1e6,
        device,
        precision,
        chosen["dataset"],
        counts,
    )


def show_results(record: Record) -> None:
    """Print a run's metrics, its folder, and what to do next; in a sweep, one line."""
    from rich.table import Table

    classes = classes_in(record.metrics, "test")
    tested = [name for name in record.metrics if name.startswith("test/") and class_of(name) not in classes]
    shown = [name.removeprefix("test/") for name in tested if not is_minor_metric(name)]
    if is_in_sweep():
        name = find_test_metric(record.config["monitor"])
        console.say(f"{name} {record.metrics.get(name, float('nan')):.4f}: {record.folder}")
        return
    table = Table("metric", "test", "val", "train", title=record.folder.name)
    for name in shown:
        scores = (record.metrics.get(f"{split}/{name}") for split in ("test", "val", "train"))
        table.add_row(title_of(name), *("" if score is None else format_metric(name, score) for score in scores))
    console.print_table(table)
    if classes:
        show_classes(record.metrics, classes, "test")
    words = as_typed([str(word) for word in record.config["overrides"]])
    kept = [shlex.quote(word) for word in words if not word.startswith(("seed=", "hydra.", "run_dir=", "resume="))]
    chosen = any(word.startswith(("loss", "experiment=")) for word in words)
    compared = [] if chosen else [suggest_losses(record.config)]
    own = stored_configs.find_foreign_modules([record.config["model"], record.config["loss"]])
    predict = [format_argument("run", record.folder), "input=photos/ output=predicted/"]
    predict += [shlex.quote(f"trust=[{','.join(own)}]")] if own else []
    console.say(f"Run folder: {record.folder} (all {len(record.metrics)} metrics are in its results.json)\nNext:")
    if "tensorboard" in (record.config.get("logger") or {}):
        console.say(f"  tensorboard --logdir '{record.folder.parent}'")
    console.say(f"  python -m segkit.predict {' '.join(predict)}")
    folders = [f"--config-dir {shlex.quote(os.path.relpath(path))}" for path in own_config_dirs()]
    if record.config.get("recipe") == "auto":  # a grid is not planned, so it starts from the plan
        console.say(f"  python -m segkit.plan {' '.join([*folders, *kept])}")
        kept = ["experiment=plan/plan.yaml", *(word for word in kept if word.startswith("dataset.root="))]
    if has_experiment(kept):
        console.say(f"  python -m segkit.train {' '.join([*folders, '-m', *kept, *compared])} seed=0,1,2")


def suggest_losses(config: dict[str, Any]) -> str:
    """Losses worth comparing on this data."""
    return "loss=dice,bce,focal" if len(config["dataset"]["classes"]) == 1 else "loss=dice,ce,focal"
