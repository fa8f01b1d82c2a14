"""`python -m segkit.evaluate run=outputs/…`: the metrics of a run on its own test pictures, or on other data."""

import re
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from omegaconf import DictConfig

from segkit.configs import command, to_plain

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from segkit.datasets.module import DataModule
    from segkit.runs import Run
    from segkit.scores import Scores
    from segkit.tasks import SegmentationTask


TIMED = 10  # pictures
KEPT = ("size", "train", "eval", "crops", "presence_threshold")  # of dataset.*: what stays the run's on other pictures


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Score a run's best weights; writes results.json and per_image.csv to `cfg.output_dir`, returns the metrics."""
    from segkit import gate, inference, records, runs
    from segkit.models.presence import UNetClassifier

    records.log_to_console()
    settings = to_plain(cfg)
    folder = Path(settings["output_dir"])
    if (folder / "config.yaml").exists():
        raise ValueError(
            f"hydra.run.dir={folder} is a run folder: evaluation writes results of its own. Choose another."
        )
    folder.mkdir(parents=True, exist_ok=True)
    task = runs.load(settings["run"], settings["trust"])
    config = evaluation_config(task.facts["config"], settings)
    chosen = set_gate(task, config, settings)
    data = runs.build_data(config, splits=[settings["split"]])
    source = data.sources[settings["split"]]
    whole = getattr(source, "shared", 0)
    more = f" of {whole}" if whole > len(source) else ""
    hint = "; 'dataset.fractions=[0,0,1]' scores all" if more and settings["split"] == "test" else ""
    records.log.info("scoring %d%s pictures, the %s split%s", len(source), more, settings["split"], hint)
    metrics = score(task, data, settings["split"], config, folder)
    if chosen == "sweep":
        records.log.info("sweeping the gate")
        device = inference.device(settings["accelerator"])
        gate.sweep(task, data, settings["split"], runs.precision(config), device, folder)
    sheet = settings["pictures"]
    if sheet:
        save_sheet(task, data, settings["split"], folder, sheet)
    entry = {
        "status": "finished", "run": str(Path(settings["run"]).absolute()), "split": settings["split"],
        "dataset": config["dataset"], "precision": runs.precision(config), "metrics": metrics,
    }  # fmt: skip
    if isinstance(task.net, UNetClassifier):
        entry["gate"] = task.net.gate
    if "protocol" in config["dataset"]:
        entry["protocol"] = config["dataset"]["protocol"]
    records.write_json(folder / "results.json", entry)
    show(metrics, folder, f"gate {entry['gate']:g}" if entry.get("gate") is not None else None)
    return metrics


def set_gate(task: "SegmentationTask", config: dict[str, Any], settings: dict[str, Any]) -> float | str | None:
    """Give a detector the gate that `settings` ask for; returns it, "sweep", or None for the detector's own."""
    from segkit import gate
    from segkit.models.presence import UNetClassifier

    chosen = gate.parse(settings["gate"], task)
    if isinstance(chosen, str) and config["dataset"].get("presence_threshold") is None:
        raise ValueError(f"gate={chosen} wants to know which samples show the class: set dataset.presence_threshold.")
    if isinstance(chosen, str) and chosen != "sweep":
        moved = {} if "_target_" in settings["dataset"] else settings["dataset"]
        chosen = gate_for(chosen, task, evaluation_config(task.facts["config"], settings | {"dataset": moved}))
    if isinstance(chosen, float):
        cast(UNetClassifier, task.net).gate = chosen
    return chosen


def gate_for(wanted: str, task: "SegmentationTask", config: dict[str, Any]) -> float:
    """The gate that keeps a recall ("recall:0.99") on the run's validation split."""
    from segkit import gate, presence, records, runs

    share = gate.wanted_recall(wanted)
    score(task, runs.build_data(config, splits=["val"]), "val", config)
    seen = task.scores("test").presence
    if seen is None:
        raise ValueError(f"gate={wanted}: the run's validation samples have no labels (dataset.presence_threshold).")
    found = presence.gate_for_recall(seen.answers(), share)
    records.log.info("gate=%r keeps a recall of %g on the run's own validation pictures", found, share)
    return found


def evaluation_config(stored: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The run's config with the data to score on: pictures and the meaning of their masks come from `settings`,
    size, classes, normalisation and threshold stay the run's."""
    from torch.utils.data import Dataset

    from segkit import checkpoints

    other = {key: value for key, value in (settings["dataset"] or {}).items() if value is not None}
    own = stored["dataset"]
    if "_target_" in other:
        if settings["dataset"].get("root", "") is None and "download" in other:
            where = other["download"] if isinstance(other["download"], str) else ""  # of pets it is a switch
            raise ValueError(f"dataset.root is not set: add dataset.root=… to the command line. {where}".rstrip())
        if other["classes"] == "auto":
            other["classes"] = own["classes"]
        several = len(own["classes"]) > 1  # one class may be called otherwise elsewhere
        if len(other["classes"]) != len(own["classes"]) or (several and other["classes"] != own["classes"]):
            raise ValueError(
                f"run={settings['run']} and the data disagree: the run knows the classes {own['classes']}, the data "
                f"set {other['classes']}. State the run's classes as dataset.classes, in its order."
            )
        dataset = other | {"classes": own["classes"]} | {key: own[key] for key in KEPT if key in own}
    else:
        allowed = (*checkpoints.DATASETS, *checkpoints.modules(settings["trust"]))
        checkpoints.check_targets(own, allowed, settings["run"], Dataset)
        dataset = own | other
    precision = settings["precision"] or stored["precision"]
    return stored | {
        "dataset": dataset | {"cache": "off"},  # every picture is read once
        "precision": precision,
        "augment": None,
        "trainer": {"accelerator": settings["accelerator"]},
    }


def score(
    task: "SegmentationTask",
    data: "DataModule",
    split: str,
    config: dict[str, Any],
    folder: Path | None = None,
) -> dict[str, float]:
    """Metrics of a task on one split, named `<split>/…`; with a folder, per_image.csv is written into it, and of
    several classes or of presence their tables and pictures."""
    import lightning

    from segkit import pictures, records, runs

    trainer = lightning.Trainer(
        accelerator=config["trainer"].get("accelerator", "auto"),
        devices=1,
        precision=runs.precision(config),  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    scores = task.scores("test")
    scores.reset()
    trainer.test(task, dataloaders=data.eval_dataloader(split), verbose=False)
    if scores.presence is not None:
        label = scores.presence.answers().label
        records.log.info("%s: %d of %d samples show %s", split, label.sum(), len(label), task.classes[0])
        if label.min() == label.max():
            records.log.warning("%s has samples of one kind alone, so presence_… says little there", split)
    if folder is not None:
        names = data.sources[split].names
        records.write_rows(folder / "per_image.csv", image_rows(scores, names))
        if (confusion := scores.confusion) is not None:
            rows = [{"truth": name} | dict(zip(task.classes, counts, strict=True))
                    for name, counts in zip(task.classes, confusion.tolist(), strict=True)]  # fmt: skip
            records.write_rows(folder / "confusion.csv", rows)
            pictures.save(
                folder / "pictures" / f"confusion_{split}.png", pictures.confusion(confusion.numpy(), task.classes)
            )
        if scores.presence is not None:
            records.write_rows(folder / "presence.csv", presence_rows(scores, names))
            pictures.save(folder / "pictures" / f"presence_{split}.png", scores.presence.figure(task.classes[0]))
    losses = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/loss")}
    metrics = losses | {f"test/{name}": float(value) for name, value in scores.compute().items()}
    return {f"{split}/{name.removeprefix('test/')}": value for name, value in metrics.items()}


def final(run: "Run", folder: Path, config: dict[str, Any], own: bool) -> tuple[dict[str, float], dict[str, float]]:
    """The best weights of a finished training on all three splits, without augmentation, by the path that the
    evaluate command takes: a task made anew from the checkpoint, in a trainer of its own. `own`: as in `runs.load`.

    Also what a picture costs."""
    from segkit import runs

    task = runs.load(str(folder), config["trust"], own=own)
    metrics: dict[str, float] = {}
    for split in ("train", "val", "test"):
        metrics |= score(task, run.data, split, config, folder if split == "test" else None)
    save_sheet(task, run.data, "test", folder, 8)
    return metrics, cost(task, run.data)


def cost(task: "SegmentationTask", data: "DataModule") -> dict[str, float]:
    """What the network spends on a test picture as it is scored, all its crops together: `flops`, a multiply-add
    counted as 2, of the first one, and `seconds_a_picture`, the median over ten, one by one, from pixels to logits."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from segkit.datasets.module import collate
    from segkit.models.presence import gate_open

    prepared, seconds = data.eval_dataloader("test").dataset, []
    images = [collate([prepared[(0, index, True)]])["image"] for index in range(min(len(data.sources["test"]), TIMED))]
    with torch.inference_mode(), gate_open(task.net):
        with FlopCounterMode(display=False) as counter:
            task.detect(images[0].to(task.device))
        for image in images:
            started = time.perf_counter()
            said = task.detect(image.to(task.device))
            (said.presence if said.masks is None else said.masks).cpu()  # type: ignore[union-attr]  # once it is computed
            seconds.append(time.perf_counter() - started)
    return {"flops": int(counter.get_total_flops()), "seconds_a_picture": round(statistics.median(seconds), 6)}


def image_rows(scores: "Scores", names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a picture: its scores; and where presence is asked for, whether the class is there and how probable the
    network finds it, of crops the most probable one."""
    rows = {int(row["index"] or 0): dict[str, Any](row) for row in scores.per_image()}
    for answer in presence_rows(scores, names):
        row = rows.setdefault(answer["index"], {"index": answer["index"], "label": 0, "probability": 0.0})
        for key in ("label", "probability"):
            row[key] = max(row.get(key, 0), answer[key])
    return [{"name": names[index], **row} for index, row in sorted(rows.items())]


def presence_rows(scores: "Scores", names: Sequence[str]) -> list[dict[str, Any]]:
    """A row a sample of which presence is asked: a picture, or a crop, by its number in it."""
    from segkit.datasets.module import CROPS_A_PICTURE

    if scores.presence is None:
        return []
    answers = scores.presence.answers()
    found = zip(*(values.tolist() for values in answers), strict=True)
    each = CROPS_A_PICTURE if scores.of_crops else 1
    return [
        {"name": names[sample // each], "index": sample // each, "crop": sample % each, "label": label,
         "probability": probability}
        for sample, label, probability in found
    ]  # fmt: skip


def save_sheet(task: "SegmentationTask", data: "DataModule", split: str, folder: Path, count: int) -> None:
    from segkit import callbacks, pictures

    pictures.save(folder / "pictures" / f"{split}.png", callbacks.sample_sheet(task.cpu().eval(), data, count, split))


def log_hyperparameters(logger: "Logger", config: dict[str, Any], metrics: dict[str, float]) -> None:
    """What distinguishes runs, with their final test metrics, so that TensorBoard's HPARAMS tab compares them."""
    from lightning.pytorch.loggers import TensorBoardLogger

    parameters = config["choices"] | {
        "seed": config["seed"], "lr": config["optimizer"].get("lr"), "batch_size": config["dataset"]["batch_size"],
        "size": str(config["dataset"]["size"]), "max_epochs": config["trainer"].get("max_epochs"),
    }  # fmt: skip
    known = {"ablation", "dataset", "model", "loss", "optimizer", "scheduler", "augment", *parameters}
    extra = (str(override).split("=", 1) for override in config["overrides"] if "=" in str(override))
    parameters |= {key: value for key, value in extra if key not in known and not key.endswith(("root", "run_dir"))}
    tests = {name: value for name, value in metrics.items() if name.startswith("test/")}
    if isinstance(logger, TensorBoardLogger):
        logger.log_hyperparams(parameters, tests)
    else:
        logger.log_hyperparams(parameters)
        logger.log_metrics(tests)


def overlay_curves(logger: "Logger", monitor: str) -> None:
    """A page of TensorBoard's custom scalars with training and validation in one chart, for all runs of a sweep."""
    from lightning.pytorch.loggers import TensorBoardLogger

    if isinstance(logger, TensorBoardLogger):
        names = dict.fromkeys(["loss", monitor.removeprefix("val/")])
        logger.experiment.add_custom_scalars(
            {"training and validation": {name: ["Multiline", [f"train/{name}", f"val/{name}"]] for name in names}}
        )


def show(metrics: dict[str, float], folder: Path, title: str | None) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value", title=title)
    split = next(iter(metrics)).partition("/")[0]
    classes = classes_in(metrics, split)
    for name, value in metrics.items():
        if not lesser(name) and class_of(name) not in classes:
            table.add_row(name, written(name, value))
    Console().print(table)
    if classes:
        show_classes(metrics, classes, split)
    print(f"Written to {folder}; its results.json has all {len(metrics)} metrics")


def classes_in(metrics: dict[str, float], split: str) -> list[str]:
    """The classes, of several, that a split was scored on each for itself."""
    start = f"{split}/iou/"
    return [name.removeprefix(start) for name in metrics if name.startswith(start)]


def class_of(metric: str) -> str:
    """Of test/iou/car the class, car; empty of one over all classes."""
    return metric.split("/", 1)[1].partition("/")[2]


def show_classes(metrics: dict[str, float], classes: Sequence[str], split: str) -> None:
    """The metrics of each class, a row a class."""
    from rich.console import Console
    from rich.table import Table

    columns = ("iou", "dice", "precision", "recall")
    table = Table("class", *columns, title=f"{split}, by class")
    for title in classes:
        found = [metrics.get(f"{split}/{name}/{title}") for name in columns]
        table.add_row(title, *("" if value is None else f"{value:.4f}" for value in found))
    Console().print(table)


def written(name: str, value: float) -> str:
    """A metric for people: a count as a whole number."""
    return f"{value:.0f}" if name.endswith("empty_images") else f"{value:.4f}"


def lesser(name: str) -> bool:
    """Whether the table at the end leaves a metric out; results.json has all."""
    variants = r"\b(dice|precision|recall|iou_image)_(crops|ungated)|soft_.*_ungated"
    return re.search(rf"fbeta|(precision|recall|accuracy)_image|{variants}", name) is not None


main = command("evaluate", evaluate)

if __name__ == "__main__":
    main()
