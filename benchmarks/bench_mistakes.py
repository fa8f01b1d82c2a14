"""Mistakes: seconds until a mistyped value, path, budget or run is answered, in every verb."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROUNDS = 5
TARGET = 2.0  # seconds
MISTAKES = {
    "train: a value": ("train", "dataset.size=big"),
    "train: a path": ("train", "dataset=folder", "dataset.root=nowhere"),
    "train: an empty folder": ("train", "dataset=folder", "dataset.root=empty"),
    "train: a folder without pictures": ("train", "dataset=folder", "dataset.root=no_pictures"),
    "train: a monitor": ("train", "monitor=iou"),
    "train: a loss of several classes": ("train", "loss=ce"),
    "train: float16 on a CPU": ("train", "trainer=cpu", "precision=16"),
    "train: quotes left out": ("train", "dataset.groups=(IMG)"),
    "train: a setting of another data set": ("train", "datset.root=x"),
    "train: a budget": ("train", "budget=long"),
    "train: a run": ("train", "resume=nowhere"),
    "train: a setting that nothing reads": ("train", "+optimizer.weight_decai=1"),
    "evaluate: a value": ("evaluate", "run=.", "threshold=2"),
    "evaluate: a run": ("evaluate", "run=nowhere"),
    "predict: a value": ("predict", "run=.", "input=.", "output=out", "gate=high"),
    "predict: a path": ("predict", "run=best.ckpt", "input=nowhere", "output=out"),
    "predict: a run": ("predict", "run=nowhere", "input=.", "output=out"),
    "check: a value": ("check", "count=0"),
    "check: a path": ("check", "dataset=folder", "dataset.root=nowhere"),
    "report: a value": ("report", "runs=.", "gallery=maybe"),
    "report: a path": ("report", "runs=nowhere"),
}


def measure() -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {name: [] for name in MISTAKES}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "best.ckpt").touch()
        for path in ("empty", "no_pictures/images", "no_pictures/masks"):
            (Path(folder) / path).mkdir(parents=True)
        for turn in range(ROUNDS + 1):
            for name, words in MISTAKES.items():
                taken = seconds_of(words, folder)
                if turn:  # the first reads everything from the disk
                    seconds[name].append(taken)
    return [
        {
            "name": f"answer to a mistake, seconds: {name}",
            "ratio": round(statistics.median(times), 3),
            "target": TARGET,
            "better": "lower",
            "detail": f"median of {ROUNDS}",
        }
        for name, times in seconds.items()
    ]


def seconds_of(words: tuple[str, ...], folder: str) -> float:
    verb, *rest = words
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", f"segkit.{verb}", *rest], cwd=folder, capture_output=True, text=True, check=False
    )
    taken = time.perf_counter() - started
    if done.returncode != 1:
        raise RuntimeError(f"{words} ended with {done.returncode}: {done.stderr[-2000:]}")
    return taken
