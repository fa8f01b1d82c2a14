"""A training that does not fit into memory goes on with half the batch, accumulated to the same number of pictures."""

import gc
import logging
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch.utilities.memory import is_oom_error

from segkit import hardware
from segkit.runs.build import Run

Trained = tuple[Run, float]  # and its seconds
log = logging.getLogger("segkit")


def fit_in_memory(config: dict[str, Any], attempt: Callable[[dict[str, Any]], Trained]) -> Trained:
    """Call `attempt` with a config; again with half the batch as long as memory runs out.

    With batch norm, a step's statistics are then those of half as many pictures. Raises the error at a batch of one
    picture, and where several processes would have to agree.
    """
    while True:
        try:
            return attempt(config)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not can_halve(config):
                raise
            reason = str(error).partition("\n")[0].rstrip(".")
        config = halve_batch(config)  # here, where the error no longer holds what filled the memory
        gc.collect()
        hardware.empty_cache()
        log.warning(
            "out of memory (%s): going on with dataset.batch_size=%d and trainer.accumulate_grad_batches=%d",
            reason,
            config["dataset"]["batch_size"],
            config["trainer"]["accumulate_grad_batches"],
        )


def is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or is_oom_error(error)


def can_halve(config: dict[str, Any]) -> bool:
    alone = config["trainer"].get("devices", 1) == 1 and config["trainer"].get("num_nodes", 1) == 1
    return bool(alone and config["dataset"]["batch_size"] > 1)


def halve_batch(config: dict[str, Any]) -> dict[str, Any]:
    """The config with half the batch, rounded up, and twice as many batches a step."""
    size, steps = config["dataset"]["batch_size"], config["trainer"].get("accumulate_grad_batches", 1)
    return config | {
        "dataset": config["dataset"] | {"batch_size": -(-size // 2)},
        "trainer": config["trainer"] | {"accumulate_grad_batches": 2 * steps},
    }
