"""Scores of trainings in bfloat16 against float32: the same seeds, the validation IoU of the best epoch."""

import statistics
import tempfile
from typing import Any

from segkit.configs import compose
from segkit.train import train

SEEDS = (0, 1, 2)


def measure() -> list[dict[str, Any]]:
    scores: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("32-true", "bf16-mixed"):
            for seed in SEEDS:
                words = ["dataset=synthetic_lesions", "dataset.size=48", "dataset.counts=[80,60,10]",
                         "dataset.epochs=10", "optimizer.lr=3e-3", "model.net.widths=[8,16,32]",
                         "trainer.accelerator=cpu", f"precision={precision}",
                         f"seed={seed}", f"run_dir={folder}/{precision}{seed}"]  # fmt: skip
                scores.setdefault(precision, []).append(train(compose(*words))["val/iou"])
    apart = [half - full for full, half in zip(*scores.values(), strict=True)]
    each = "; ".join(f"{name} {', '.join(f'{score:.4f}' for score in found)}" for name, found in scores.items())
    return [{
        "name": "largest difference of the validation IoU in bfloat16 and in float32 over 3 seeds",
        "ratio": round(max(map(abs, apart)), 4),
        "target": 0.005, "better": "lower",
        "detail": f"drawn lesions at 48²: {each}; mean {statistics.mean(apart):+.4f}",
    }]  # fmt: skip
