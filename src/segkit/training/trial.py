"""A short training, of which only the validation counts."""

import math
import time
from typing import Any

from omegaconf import DictConfig

from segkit.runs.build import Run
from segkit.runs.console import log_to_console
from segkit.runs.folder import open_run, read_epochs
from segkit.training.fit import fit
from segkit.training.memory import fit_in_memory

SCORE = "val/iou"


def try_out(cfg: DictConfig) -> float:
    """Train a config of the user's own in its folder, and give the best IoU over all pixels of validation; 0 if none
    was reached."""
    log_to_console()
    with open_run(cfg) as record:
        started = time.perf_counter()

        def attempt(config: dict[str, Any]) -> tuple[Run, float]:
            return fit(config, record, time.perf_counter() - started, own=True, follow_links=True)

        fit_in_memory(record.config, attempt)
        scores = [row.get(SCORE, 0.0) for row in read_epochs(record.folder)]
        record.metrics = {SCORE: max((score for score in scores if math.isfinite(score)), default=0.0)}
    return record.metrics[SCORE]
