"""12,000×9,000 pixels in tiles: the memory above that of one tile, and the time a pixel against pictures of 512²."""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from loops import ACCELERATOR, PRECISION
from numpy.typing import NDArray

from segkit.datasets.rows import open_rows
from segkit.inference.large import write_large
from segkit.inference.outputs import Outputs, Page
from segkit.inference.predictor import Predictor
from segkit.models.unet import UNet
from segkit.pictures import overlays
from segkit.tasks.segmenter import Segmenter

SHAPE, SIDE, ROUNDS, SMALL = (9_000, 12_000), 512, 3, 24
CONFIG = {"dataset": {"size": SIDE, "eval": "native"}, "precision": "auto"}


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = write_picture(Path(folder) / "large.tif")
        one, large = (child(kind, path) for kind in ("tile", "large"))
        small_time, large_time = measure_times(path)
    pixels = SHAPE[0] * SHAPE[1] / 1e6
    return [
        {
            "name": "memory for 12,000×9,000 pixels, with all files that are written, above one tile's, in GB",
            "ratio": round((large - one) / 1e9, 3),
            "target": 2.0,
            "better": "lower",
            "detail": f"peaks {large / 1e6:,.0f} and {one / 1e6:,.0f} MB, U-Net of width 16",
        },
        {
            "name": "time a pixel: 12,000×9,000 in tiles / pictures of 512²",
            "ratio": round(large_time / small_time, 3),
            "target": 1.1,
            "better": "lower",
            "detail": f"{large_time * 1e6 * pixels:.0f} s for {pixels:.0f} million pixels, {PRECISION}, "
            f"{torch.get_num_threads()} threads, medians of {ROUNDS}",
        },
    ]


def make_predictor() -> Predictor:
    torch.manual_seed(0)
    task = Segmenter(UNet(1, (16, 32, 64, 128, 256)), ["crack"], facts={"config": CONFIG}).eval()
    return Predictor(task, ACCELERATOR, tile="auto")


def write_picture(path: Path) -> Path:
    """Noise, which is not compressed and therefore mapped into memory."""
    noise = np.random.default_rng(0).integers(0, 256, (1000, SHAPE[1], 3), dtype=np.uint8) // 32 * 32
    rows = (noise[start : start + 50].tobytes() for _ in range(SHAPE[0] // 1000) for start in range(0, 1000, 50))
    how: dict[str, Any] = {"shape": (*SHAPE, 3), "dtype": np.uint8, "rowsperstrip": 50, "photometric": "rgb"}
    tifffile.imwrite(path, (np.frombuffer(one, np.uint8) for one in rows), **how)
    return path


def measure_times(path: Path) -> tuple[float, float]:
    """Seconds a pixel of small pictures, one by one, and of the large one, from pixels to probabilities."""
    predictor, picture = make_predictor(), open_rows(path)
    band = picture.read(0, SIDE)
    small: list[NDArray[np.uint8]] = [
        np.ascontiguousarray(band[:, SIDE * number % (SHAPE[1] - SIDE) :][:, :SIDE]) for number in range(SMALL)
    ]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for one in small:
            predictor(one)
        times[0].append((time.perf_counter() - started) / SMALL / SIDE**2)
        started = time.perf_counter()
        for _ in predictor.bands(picture):
            pass
        times[1].append((time.perf_counter() - started) / SHAPE[0] / SHAPE[1])
    return statistics.median(times[0]), statistics.median(times[1])


def child(kind: str, path: Path) -> float:
    """The peak memory of a process, in bytes."""
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = [sys.executable, str(here), kind, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": paths})
    return float(done.stdout.splitlines()[-1])


def main(kind: str, path: Path) -> None:
    predictor = make_predictor()
    if kind == "tile":
        predictor(np.zeros((768, 768, 3), np.uint8))
    else:
        wanted = {"masks": None, "overlays": True, "polygons": None, "probabilities": True}
        outputs = Outputs(path.with_name("out"), predictor.classes, 0.5, wanted, overlays.class_colors(1))
        write_large(predictor, path, outputs, Page(outputs.folder, "large", {}))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
