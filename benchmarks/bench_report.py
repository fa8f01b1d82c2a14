"""A report of 100 runs: how long it takes, and how large it is."""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from segkit.configs.composing import compose
from segkit.report import report
from segkit.train import train

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from made_up import write_run

GROUPS, SEEDS, PICTURES, EPOCHS = 24, 4, 250, 120
TINY = ["dataset.size=224", "dataset.counts=[8,4,250]", "trainer.max_epochs=1", "trainer.accelerator=cpu"]


def measure() -> list[dict[str, Any]]:
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0.7, 0.1, PICTURES)  # a thousandth of it, so that the real ones are the best
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for loss in ("dice", "bce"):  # real ones, so that test pictures are predicted and shown
            for seed in range(2):
                train(compose(*TINY, f"loss={loss}", f"seed={seed}", f"run_dir={root}/real-{loss}-{seed}"))
        names = [row.split(",")[0] for row in (root / "real-dice-0" / "per_image.csv").read_text().splitlines()[1:]]
        for group in range(GROUPS):
            for seed in range(SEEDS):
                scores = (difficulty + 0.002 * group + rng.normal(0, 0.05, PICTURES)).clip(0, 1) / 1000
                folder = write_run(
                    root,
                    f"{group}-{seed}",
                    scores,
                    seed=seed,
                    loss=f"loss{group:02d}",
                    names=names,
                    config={"dataset": {"classes": ["crack"]}},
                )
                curve = "".join(f"{epoch},2,{1 / epoch},{1.1 / epoch},0.7,0.6\n" for epoch in range(1, EPOCHS + 1))
                (folder / "metrics.csv").write_text(f"epoch,seconds,train/loss,val/loss,train/iou,val/iou\n{curve}")
        cfg = compose("runs=unused", config="report")
        cfg.runs = str(root)
        started = time.perf_counter()
        page = report(cfg)
        seconds, size = time.perf_counter() - started, page.stat().st_size / 1e6
        shown = page.read_text().count("data:image/jpeg")
    if shown != 3:
        raise RuntimeError(f"{shown} sheets of test pictures in the page instead of 3: that was no full report")
    detail = (
        f"{GROUPS * SEEDS + 4} runs in {GROUPS + 2} groups, {PICTURES} test pictures, {EPOCHS} epochs, {shown} sheets"
    )
    return [
        {"name": "report of 100 runs, seconds", "ratio": seconds, "target": 30.0, "better": "lower", "detail": detail},
        {
            "name": "report of 100 runs, MB of its page",
            "ratio": size,
            "target": 25.0,
            "better": "lower",
            "detail": detail,
        },
    ]
