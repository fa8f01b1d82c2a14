"""`python -m segkit.evaluate run=outputs/…`: the metrics of a run on its own test pictures, or on other data."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segkit.configs import command, to_plain

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger

    from segkit.datasets.module import DataModule
    from segkit.runs import Run
    from segkit.tasks import SegmentationTask


def evaluate(cfg: DictConfig) -> dict[str, float]:
    """Score a run's best weights; writes results.json and per_image.csv to `cfg.output_dir`, returns the metrics."""
    from segkit import records, runs

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
    data = runs.build_data(config, splits=[settings["split"]])
    source = data.sources[settings["split"]]
    whole = getattr(source, "shared", 0)
    more = f" of {whole}" if whole > len(source) else ""
    hint = "; 'dataset.fractions=[0,0,1]' scores all" if more and settings["split"] == "test" else ""
    records.log.info("scoring %d%s pictures, the %s split%s", len(source), more, settings["split"], hint)
    metrics = score(task, data, settings["split"], config, folder)
    sheet = settings["pictures"]
    if sheet:
        save_sheet(task, data, settings["split"], folder, sheet)
    entry = {
        "status": "finished", "run": str(Path(settings["run"]).absolute()), "split": settings["split"],
        "dataset": config["dataset"], "precision": runs.precision(config), "metrics": metrics,
    }  # fmt: skip
    if "protocol" in config["dataset"]:
        entry["protocol"] = config["dataset"]["protocol"]
    records.write_json(folder / "results.json", entry)
    show(metrics, folder)
    return metrics


def evaluation_config(stored: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The run's config with the data to score on: pictures and the meaning of their masks come from `settings`,
    size, classes, normalisation and threshold stay the run's."""
    from torch.utils.data import Dataset

    from segkit import checkpoints

    other = {key: value for key, value in (settings["dataset"] or {}).items() if value is not None}
    own = stored["dataset"]
    if "_target_" in other:
        if settings["dataset"].get("root", "") is None and "download" in other:
            raise ValueError(f"dataset.root is not set: add dataset.root=… to the command line. {other['download']}")
        several = len(own["classes"]) > 1  # one class may be called otherwise elsewhere
        if len(other["classes"]) != len(own["classes"]) or (several and other["classes"] != own["classes"]):
            raise ValueError(
                f"run={settings['run']} and the data disagree: the run knows the classes {own['classes']}, the data "
                f"set {other['classes']}. State the run's classes as dataset.classes, in its order."
            )
        dataset = other | {"classes": own["classes"]} | {key: own[key] for key in ("size", "train", "eval")}
    else:
        allowed = (*checkpoints.DATASETS, *checkpoints.modules(settings["trust"]))
        checkpoints.check_targets(own, allowed, settings["run"], Dataset)
        dataset = own | other
    precision = settings["precision"] or stored["precision"]
    return stored | {
        "dataset": dataset,
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
    """Metrics of a task on one split, named `<split>/…`; with a folder, per_image.csv is written into it."""
    import lightning

    from segkit import records, runs

    trainer = lightning.Trainer(
        accelerator=config["trainer"].get("accelerator", "auto"),
        devices=1,
        precision=runs.precision(config),  # type: ignore[arg-type]
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        enable_progress_bar=False,
    )
    trainer.test(task, dataloaders=data.eval_dataloader(split), verbose=False)
    if folder is not None:
        names = data.sources[split].names
        rows = [{"name": names[int(row["index"] or 0)], **row} for row in task.test_metrics.per_image()]
        records.write_rows(folder / "per_image.csv", rows)
    losses = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("test/loss")}
    scores = {f"test/{name}": float(value) for name, value in task.test_metrics.compute().items()}
    task.test_metrics.reset()
    return {f"{split}/{name.removeprefix('test/')}": value for name, value in (losses | scores).items()}


def final(run: "Run", folder: Path, config: dict[str, Any], own: bool) -> dict[str, float]:
    """The best weights of a finished training on all three splits, without augmentation, by the path that the
    evaluate command takes: a task made anew from the checkpoint, in a trainer of its own. `own`: as in `runs.load`."""
    from segkit import runs

    task = runs.load(str(folder), config["trust"], own=own)
    metrics: dict[str, float] = {}
    for split in ("train", "val", "test"):
        metrics |= score(task, run.data, split, config, folder if split == "test" else None)
    save_sheet(task, run.data, "test", folder, 8)
    return metrics


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


def show(metrics: dict[str, float], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("metric", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    Console().print(table)
    print(f"Written to {folder}")


main = command("evaluate", evaluate)

if __name__ == "__main__":
    main()
