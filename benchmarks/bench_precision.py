"""Scores of trainings in bfloat16 against float32, the same seeds, the validation IoU of the best epoch; and of one
training's weights scored in both, which tells what the numbers do from where another training goes."""

import statistics
import tempfile
from typing import Any

from segkit.configs import compose
from segkit.evaluate import evaluate
from segkit.train import train

SEEDS = (0, 1, 2)
FULL, HALF = "32-true", "bf16-mixed"


def measure() -> list[dict[str, Any]]:
    trained: dict[str, list[float]] = {FULL: [], HALF: []}
    scored: dict[str, list[float]] = {FULL: [], HALF: []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            for precision in (FULL, HALF):
                words = ["dataset=synthetic_lesions", "dataset.size=48", "dataset.counts=[80,60,10]",
                         "dataset.epochs=10", "optimizer.lr=3e-3", "model.net.widths=[8,16,32]",
                         "trainer.accelerator=cpu", f"precision={precision}",
                         f"seed={seed}", f"run_dir={folder}/{precision}{seed}"]  # fmt: skip
                trained[precision].append(train(compose(*words))["val/iou"])
            for precision in (FULL, HALF):
                words = [f"run={folder}/{FULL}{seed}", "split=val", "accelerator=cpu", f"precision={precision}",
                         f"hydra.run.dir={folder}/scored{precision}{seed}"]  # fmt: skip
                scored[precision].append(evaluate(compose(*words, config="evaluate"))["val/iou"])
    what = "largest difference of the validation IoU in bfloat16 and in float32 over 3 seeds"
    return [entry(f"{what}, each trained so", trained), entry(f"{what}, the same weights scored so", scored)]


def entry(name: str, scores: dict[str, list[float]]) -> dict[str, Any]:
    apart = [half - full for full, half in zip(scores[FULL], scores[HALF], strict=True)]
    each = "; ".join(f"{name} {', '.join(f'{score:.4f}' for score in found)}" for name, found in scores.items())
    return {
        "name": name, "ratio": round(max(map(abs, apart)), 4), "target": 0.005, "better": "lower",
        "detail": f"drawn lesions at 48²: {each}; mean {statistics.mean(apart):+.4f}",
    }  # fmt: skip
