"""The scores of whole pictures at their own size, as prediction with tiles sees them."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from segkit import hardware
from segkit.datasets.module import DataModule
from segkit.models.presence import Detection, find_gated
from segkit.models.views import to_logits
from segkit.tasks.contract import Task
from segkit.tasks.seeing import InputMode, choose_tiles, find_input_mode, see

log = logging.getLogger("segkit")

WHOLE = {"eval": "native", "crops": "none", "scale": 1.0, "batch_size": 1}  # settings of a data set of whole pictures


def see_as_predicted(task: Task, config: Mapping[str, Any], tile: Any, overlap: int | None) -> InputMode:
    """Move a task to the device of a config, and say how it sees pictures in tiles: see `choose_tiles`."""
    task.to(hardware.device(config["trainer"].get("accelerator", "auto"))).eval()
    how = find_input_mode(task.facts["config"])
    with hardware.computing(task.device, hardware.precision(config)):
        tiles = choose_tiles(task, how, tile, overlap)
    if tiles is not None:
        log.info("%s; all are scored at their own size", tiles.describe())
    return how._replace(tiles=tiles)


def score_tiled(
    task: Task, data: DataModule, split: str, config: Mapping[str, Any], how: InputMode
) -> dict[str, float]:
    """Metrics of a task on whole pictures at their own size, as `score_split` names them, without losses. `data` has
    the settings WHOLE. A gate decides on each tile, and presence is that of the picture."""
    scores, gated = task.scores("test"), find_gated(task.net)
    scores.reset()
    with hardware.computing(task.device, hardware.precision(config)):
        for batch in data.eval_dataloader(split):
            seen = see(task, [batch["image"][0].permute(1, 2, 0).numpy()], how)[0]
            if seen.presence is not None:
                scores.gate = None if gated is None else gated.gate
                logit = torch.tensor([seen.presence], dtype=torch.float64).logit(1e-12)
                scores.update(Detection(logit, None, None), batch)
            if seen.probabilities is not None:
                scores.gate, scores.smallest = None, task.smallest * seen.scale
                scores.update(Detection(None, to_logits(seen.probabilities[None].cpu()), None), batch)
    return {f"{split}/{name}": float(value) for name, value in scores.compute().items()}
