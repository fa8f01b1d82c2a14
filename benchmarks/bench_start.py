"""Start-up: seconds until the command answers, and until the built-in job takes its first training step."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lightning import Callback
from PIL import Image

ROUNDS = 5
REACHED = 77  # exit code of a process that took its first step
RUN = [sys.executable, "-m", "segkit.train"]
PLANNED = ["model=lite_unet", "dataset.size=64", "dataset.counts=[8,2,2]", "trainer.max_epochs=1"]  # as plans choose
FIRST_STEP = ["+callbacks.stop._target_=bench_start.StopAtFirstStep", "dataset.counts=[64,16,16]"]


class StopAtFirstStep(Callback):
    def on_train_batch_end(self, *_: Any) -> None:
        os._exit(REACHED)


def measure() -> list[dict[str, Any]]:
    commands = {
        "python -c 'import torch'": ([sys.executable, "-c", "import torch"], 0),
        "predict one picture": ([sys.executable, "-m", "segkit.predict", "run=run", "input=a.png", "output=out"], 0),
        "python -c 'import lightning'": ([sys.executable, "-c", "import lightning"], 0),
        "first step": ([*RUN, *FIRST_STEP], REACHED),
        "--cfg job": ([*RUN, "--cfg", "job"], 0),
        "a misspelt option": ([*RUN, "model=unett"], 1),
        "--help": ([*RUN, "--help"], 0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with tempfile.TemporaryDirectory() as folder:
        seconds_of([*RUN, *PLANNED, "hydra.run.dir=run"], folder, 0)
        Image.new("RGB", (480, 320)).save(Path(folder) / "a.png")
        for turn in range(ROUNDS + 1):
            for name, (command, code) in commands.items():
                taken = seconds_of(command, folder, code)
                if turn:  # the first reads everything from the disk
                    seconds[name].append(taken)
    median = {name: statistics.median(times) for name, times in seconds.items()}
    (_, torch), (_, predicted), (alone, lightning), (_, first), *rest = median.items()
    found = [
        entry(
            "a picture predicted by a whole command, seconds after import torch",
            predicted - torch,
            1.5,
            f"{predicted:.2f} s against {torch:.2f} s, model=lite_unet",
        ),
        entry(
            "first training step of the built-in job, seconds after import lightning",
            first - lightning,
            3.0,
            f"{first:.2f} s against {lightning:.2f} s of {alone}",
        ),
    ]
    limits = {"--cfg job": 1.0, "a misspelt option": 1.0, "--help": 1.5}
    return found + [entry(f"answer to {name}, seconds", taken, limits[name], "") for name, taken in rest]


def seconds_of(command: list[str], folder: str, code: int) -> float:
    paths = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": paths}, capture_output=True, check=False)
    if done.returncode != code:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stderr.decode()[-2000:]}")
    return time.perf_counter() - started


def entry(name: str, seconds: float, target: float, detail: str) -> dict[str, Any]:
    return {
        "name": name,
        "ratio": round(seconds, 3),
        "target": target,
        "better": "lower",
        "detail": f"{detail}{', ' if detail else ''}medians of {ROUNDS}",
    }
