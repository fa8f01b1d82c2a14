"""What loggers get besides the curves of a run."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from segkit.configs.composing import find_test_metric

if TYPE_CHECKING:
    from lightning.pytorch.loggers import Logger


def log_hyperparameters(logger: "Logger", config: dict[str, Any], metrics: dict[str, float]) -> None:
    """What distinguishes runs, with their final test metrics, so that TensorBoard's HPARAMS tab compares them."""
    from lightning.pytorch.loggers import TensorBoardLogger

    parameters = config["choices"] | {
        "seed": config["seed"],
        "lr": config["optimizer"].get("lr"),
        "batch_size": config["dataset"]["batch_size"],
        "size": str(config["dataset"]["size"]),
        "max_epochs": config["trainer"].get("max_epochs"),
    }
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
        names = dict.fromkeys(["loss", find_test_metric(monitor).removeprefix("test/")])
        logger.experiment.add_custom_scalars(
            {"training and validation": {name: ["Multiline", [f"train/{name}", f"val/{name}"]] for name in names}}
        )


def end_wandb(cfg: DictConfig, done: bool) -> None:
    """Close this run at Weights & Biases, or the next job of a sweep would be logged into it."""
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None and Path(wandb.run.dir).is_relative_to(Path(cfg.run_dir).absolute()):
        wandb.finish(exit_code=0 if done else 1)
