"""Run folders as training leaves them, with made-up scores, and reports of them."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from segkit.configs.composing import compose
from segkit.report import report
from segkit.reporting import collect
from segkit.reporting.groups import Group, Run, group_runs


def write_run(
    root: Path,
    name: str,
    scores: Sequence[float] | npt.NDArray[Any],
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    model: str = "unet",
    loss: str = "bce",
    status: str = "finished",
    column: str = "iou",
    train: float = 0.9,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A run whose test pictures have these scores; `config` overrides keys of its config."""
    folder = root / name
    folder.mkdir(parents=True)
    names = names or [f"p{number:03d}.png" for number in range(len(scores))]
    mean = float(np.nanmean(scores))
    metrics = {f"{split}/{column}_image": value for split, value in (("train", train), ("val", mean), ("test", mean))}
    results = {
        "status": status,
        "metrics": metrics,
        "params": 1000,
        "train_seconds": 60.0,
        "flops": 2e9,
        "precision": "32-true",
    }
    own = {
        "seed": seed,
        "name": "made_up",
        "monitor": f"val/{column}_image",
        "run_dir": str(folder),
        "overrides": [],
        "choices": {
            "dataset": "folder",
            "model": model,
            "loss": loss,
            "optimizer": "adam",
            "scheduler": "cosine",
            "augment": "none",
        },
        "dataset": {"root": "/nowhere", "classes": ["object"]},
        "model": {"_target_": model, "threshold": 0.5},
        "loss": {"_target_": loss},
        "optimizer": {"lr": 0.001},
        "trainer": {"max_epochs": 2, "accelerator": "auto"},
    }
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "config.yaml").write_text(yaml.safe_dump(own | dict(config or {})))
    (folder / "environment.json").write_text(json.dumps({"cpu": "a processor", "gpus": [], "threads": 2}))
    with (folder / "per_image.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "index", column])
        rows.writerows([name, index, score] for index, (name, score) in enumerate(zip(names, scores, strict=True)))
    (folder / "metrics.csv").write_text(
        f"epoch,seconds,train/loss,val/loss,train/{column},val/{column}\n1,2.0,0.7,0.8,0.3,0.2\n2,2.0,0.4,0.5,{train},{mean}\n"
    )
    return folder


def write_grid(root: Path, effect: float = 0.1, pictures: int = 40, seeds: int = 3) -> None:
    """Two models × two losses; the loss dice is better by `effect`, the models are equal."""
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.7, 0.08, pictures)
    for model in ("unet", "segnet"):
        for loss in ("bce", "dice"):
            for seed in range(seeds):
                scores = difficulty + effect * (loss == "dice") + rng.normal(0, 0.005) + rng.normal(0, 0.02, pictures)
                write_run(root, f"{model}-{loss}-{seed}", scores.clip(0, 1), seed=seed, model=model, loss=loss)


SETTINGS: dict[str, Any] = {
    "metric": None,
    "groups": None,
    "baseline": None,
    "gallery": False,
    "trust": [],
    "notes": None,
}
SCORES = np.random.default_rng(0).uniform(0.5, 0.9, 30)


def groups_in(root: Path) -> list[Group]:
    found = [collect.read(folder, collect.named_folders(str(root))) for folder in collect.find(str(root))]
    return group_runs([one for one in found if isinstance(one, Run)])


def report_of(root: Path, *words: str) -> Path:
    cfg = compose("runs=unused", "gallery=false", *words, config="report")
    cfg.runs = str(root)
    cfg.output = str(root / "report")
    return report(cfg)
