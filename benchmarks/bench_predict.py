"""`segkit predict` on a folder of pictures against a plain float32 loop that decodes, predicts and writes one picture
after the other; and what a resident predictor takes beside its network."""

import csv
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from loops import DEVICE, NATIVE, PRECISION, noise_config
from torch import nn

from segkit.configs.composing import compose
from segkit.hardware import computing
from segkit.inference.predictor import Predictor, prepare
from segkit.predict import predict
from segkit.runs.build import build_task
from segkit.runs.making import make

COUNT, ROUNDS, PASSES = 500, 3, 200
HEIGHT, WIDTH, SIDE = 320, 480, 224


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        return [compare_folders(Path(name)), measure_overhead(Path(name))]


def compare_folders(folder: Path) -> dict[str, Any]:
    checkpoint, config = store_network(folder, "model=unet")
    net = make(config["model"]["net"]).eval().to(DEVICE)
    draw(folder / "photos")
    words = [f"run={checkpoint}", f"input={folder}/photos", f"output={folder}/out", f"accelerator={accelerator()}"]
    both = (
        lambda: predict_plainly(net, folder / "photos", folder / "out"),
        lambda: predict(compose(*words, config="predict")),
    )
    loop, own = take_turns(both, ROUNDS, lambda: shutil.rmtree(folder / "out", ignore_errors=True))
    return {
        "name": f"masks, overlays and table of {COUNT} pictures of {WIDTH}×{HEIGHT}, thesis U-Net at {SIDE}²: plain "
        "float32 loop / segkit predict",
        "ratio": round(loop / own, 3),
        "target": 3.0 if NATIVE else 1.8,
        "better": "higher",
        "detail": f"{1000 * loop / COUNT:.1f} and {1000 * own / COUNT:.1f} ms a picture, {PRECISION}, "
        f"{torch.get_num_threads()} threads, medians of {ROUNDS}",
    }


@torch.no_grad()
def measure_overhead(folder: Path) -> dict[str, Any]:
    checkpoint, _ = store_network(folder, "model=unet_small")
    predictor = Predictor.load(checkpoint, accelerator=accelerator())
    image = cv2.imread(str(next((folder / "photos").iterdir())))
    batch = prepare(image, predictor.how).pixels[None].to(predictor.task.device)
    with computing(predictor.task.device, predictor.precision):
        own, alone = take_turns(
            (lambda: predictor(image), lambda: predictor.task.detect(batch).masks.cpu()),  # type: ignore[union-attr]
            PASSES,
        )
    return {
        "name": f"a resident predictor above its network, ms a picture of {WIDTH}×{HEIGHT}",
        "ratio": round(1000 * (own - alone), 3),
        "target": 1.0,
        "better": "lower",
        "detail": f"{1000 * own:.2f} and {1000 * alone:.2f} ms, unet_small at {SIDE}², {PRECISION}, "
        f"{torch.get_num_threads()} threads, medians of {PASSES}",
    }


def take_turns(both: tuple[Callable[[], Any], ...], rounds: int, before: Callable[[], Any] = int) -> list[float]:
    """The median seconds of each; a first round warms up."""
    times: list[list[float]] = [[] for _ in both]
    for turn in range(rounds + 1):
        for taken, run in zip(times, both, strict=True):
            before()
            started = time.perf_counter()
            run()
            if turn:
                taken.append(time.perf_counter() - started)
    return [statistics.median(taken) for taken in times]


def store_network(folder: Path, model: str) -> tuple[Path, dict[str, Any]]:
    """A checkpoint of an untrained network, and its config."""
    config = noise_config(SIDE, 1, 4, model)
    task = build_task(config).eval()
    path = folder / f"{model.partition('=')[2]}.ckpt"
    torch.save({"segkit": task.facts, "state_dict": task.state_dict()}, path)
    return path, config


def accelerator() -> str:
    return "cpu" if str(DEVICE) == "cpu" else "gpu"


def draw(folder: Path) -> None:
    """Photographs of walls, more or less: noise of several sizes, as JPEG."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        noise = [rng.normal(0, 20, (HEIGHT // by, WIDTH // by, 3)) for by in (1, 4, 16)]
        layers = [cv2.resize(one, (WIDTH, HEIGHT)) for one in noise]
        cv2.imwrite(str(folder / f"{number:04}.jpg"), (128 + sum(layers)).clip(0, 255).astype(np.uint8))


@torch.no_grad()
def predict_plainly(net: nn.Module, photos: Path, output: Path) -> None:
    for name in ("masks", "overlays"):
        (output / name).mkdir(parents=True)
    with (output / "predictions.csv").open("w") as file:
        table = csv.writer(file)
        for path in sorted(photos.iterdir()):
            image = cv2.imread(str(path))
            pixels = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (SIDE, SIDE))
            batch = torch.from_numpy(pixels).permute(2, 0, 1)[None].float().to(DEVICE) / 255
            shares = F.interpolate(net(batch).sigmoid(), image.shape[:2], mode="bilinear", align_corners=False)
            mask = (shares[0, 0] > 0.5).cpu().numpy().astype(np.uint8)
            painted = image.copy()
            painted[mask == 1] = (0, 159, 230)
            cv2.imwrite(str(output / "masks" / f"{path.stem}.png"), 255 * mask)
            cv2.imwrite(str(output / "overlays" / f"{path.stem}.jpg"), cv2.addWeighted(image, 0.55, painted, 0.45, 0))
            table.writerow([path.name, mask.sum(), mask.mean()])
