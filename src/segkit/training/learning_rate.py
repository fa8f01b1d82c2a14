"""`lr_find=true`: Lightning's learning-rate finder before the training."""

import logging
from typing import TYPE_CHECKING

from lightning.pytorch.tuner.tuning import Tuner

from segkit.configs.composing import to_plain
from segkit.runs.build import build
from segkit.runs.folder import Record

if TYPE_CHECKING:
    from omegaconf import DictConfig


log = logging.getLogger("segkit")


def find(cfg: "DictConfig", record: Record, follow_links: bool) -> None:
    """Search on a throw-away copy of the run, save lr_find.png, and set `optimizer.lr` and all that depends on it.

    The rate rises exponentially from 1e-8 to 1 over 100 steps; the one where the smoothed loss falls most steeply is
    taken (Smith, Cyclical Learning Rates, 2017). Raises ValueError if the curve shows none.
    """
    # as many epochs as the search needs, and no schedule that would work against its rising rate
    trainer = record.config["trainer"] | {"max_epochs": -1, "enable_progress_bar": False}
    constant = {"scheduler": None}
    config = record.config | {"callbacks": {}, "logger": {}, "trainer": trainer, "scheduler": constant}
    if "lr" not in config["optimizer"]:
        raise ValueError(f"lr_find=true: optimizer={config['choices']['optimizer']} has no lr to set.")
    run = build(config, follow_links=follow_links)
    finder = Tuner(run.trainer).lr_find(run.task, datamodule=run.data, update_attr=False)
    suggestion = finder.suggestion() if finder is not None else None
    if finder is None or suggestion is None:
        raise ValueError("lr_find=true: the search gave no rate at which the loss falls. Set optimizer.lr by hand.")
    figure = finder.plot(suggest=True)
    if figure is not None:
        figure.savefig(record.folder / "lr_find.png", dpi=110)
    cfg.optimizer.lr = float(suggestion)  # where the schedule's rates are `${optimizer.lr}` they follow
    found = to_plain(cfg)
    record.config |= {"optimizer": found["optimizer"], "scheduler": found["scheduler"]}
    record.save_config()
    log.info("learning rate found: %.3g (lr_find.png)", suggestion)
