"""`python -m segkit.train model=unet loss=dice dataset=ph2 …`: one run, from config to tested metrics."""

import time
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from segkit.configs import command

if TYPE_CHECKING:
    from segkit.records import Record
    from segkit.runs import Run


def train(cfg: DictConfig) -> dict[str, float]:
    """Fit, then test with the best weights; returns every final metric by its name (`test/iou`, …).

    The run folder is `cfg.run_dir`. A finished run of the same config is left alone and its metrics are returned.
    """
    from segkit import records  # imports torch and Lightning, which `--help` need not wait for

    records.log_to_console()
    with records.open_run(cfg) as record:
        if not record.finished:
            fit_and_test(record)
    show(record)
    return record.metrics


def fit_and_test(record: "Record") -> None:
    from segkit import evaluate, learning_rate, runs

    if record.config["lr_find"] and record.resume_from is None:
        learning_rate.find(record)
    run = runs.build(record.config)
    describe(run, record)
    started = time.perf_counter()
    run.trainer.fit(run.task, run.data, ckpt_path=record.resume_from, weights_only=True)
    seconds = time.perf_counter() - started
    record.metrics = evaluate.final(run, record.folder, record.config)
    epochs = len((record.folder / "metrics.csv").read_text().splitlines()) - 1  # also of spawned processes, and resumed
    record.facts |= {"train_seconds": round(seconds, 2), "epochs": epochs}
    for logger in run.trainer.loggers:
        evaluate.log_hyperparameters(logger, record.config, record.metrics)
        logger.finalize("success")


def describe(run: "Run", record: "Record") -> None:
    """Write what the run is before it starts: environment.json, split.json, model.txt; and say it in one line."""
    from segkit import records, runs

    device = str(run.trainer.strategy.root_device)
    environment = records.environment(record.config["seed"], run.fingerprint, device)
    records.write_json(record.folder / "environment.json", environment)
    split = {name: list(source.names) for name, source in run.data.sources.items()}
    records.write_json(record.folder / "split.json", split)
    (record.folder / "model.txt").write_text(runs.summary(run.task) + "\n")
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

    from segkit.configs import in_sweep

    names = [name.removeprefix("test/") for name in record.metrics if name.startswith("test/")]
    if in_sweep():
        print(f"test/iou {record.metrics.get('test/iou', float('nan')):.4f}: {record.folder}")
        return
    table = Table("metric", "test", "val", "train", title=record.folder.name)
    for name in names:
        scores = (record.metrics.get(f"{split}/{name}") for split in ("test", "val", "train"))
        table.add_row(name, *("" if score is None else f"{score:.4f}" for score in scores))
    Console().print(table)
    print(
        f"Run folder: {record.folder}\n"
        "Next:\n"
        f"  tensorboard --logdir {record.folder.parent}\n"
        f"  python -m segkit.predict run={record.folder} input=photos/ output=masks/\n"
        "  python -m segkit.train -m loss=dice,bce,focal seed=0,1,2"
    )


main = command("train", train)

if __name__ == "__main__":
    main()
