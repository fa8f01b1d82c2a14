"""What bfloat16 does to scores: the same weights scored in bfloat16 and in float32, the validation IoU over all pixels.

Two trainings of one seed, one in each, are not compared: rounding sends them different ways, as another seed would.
Takes about a minute on two cores.
"""

import statistics
import tempfile
from typing import Any

from segkit.configs.composing import compose
from segkit.evaluate import evaluate
from segkit.train import train

SEEDS = (0, 1, 2)
FULL, HALF = "32-true", "bf16-mixed"


def measure() -> list[dict[str, Any]]:
    scored: dict[str, list[float]] = {FULL: [], HALF: []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            run = f"{folder}/{seed}"
            train(
                compose(
                    "dataset=synthetic_lesions",
                    "dataset.size=48",
                    "dataset.counts=[80,60,10]",
                    "dataset.epochs=10",
                    "optimizer.lr=3e-3",
                    "model.net.widths=[8,16,32]",
                    "monitor=val/iou",
                    "trainer.accelerator=cpu",
                    f"precision={FULL}",
                    f"seed={seed}",
                    f"run_dir={run}",
                )
            )
            for precision in (FULL, HALF):
                words = [
                    f"run={run}",
                    "split=val",
                    "accelerator=cpu",
                    f"precision={precision}",
                    f"hydra.run.dir={folder}/scored{precision}{seed}",
                ]
                scored[precision].append(evaluate(compose(*words, config="evaluate"))["val/iou"])
    apart = [half - full for full, half in zip(scored[FULL], scored[HALF], strict=True)]
    each = "; ".join(f"{name} {', '.join(f'{score:.4f}' for score in found)}" for name, found in scored.items())
    return [
        {
            "name": "largest difference of validation IoU, the same weights scored in bfloat16 and in float32, 3 seeds",
            "ratio": round(max(map(abs, apart)), 4),
            "target": 0.005,
            "better": "lower",
            "detail": f"drawn lesions at 48²: {each}; mean {statistics.mean(apart):+.4f}",
        }
    ]
