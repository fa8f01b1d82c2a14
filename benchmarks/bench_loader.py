"""Loading on one core: from the cache against decoding every time, as systems 1 and 2 of the published ones do."""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import functional

from segkit.configs.composing import compose, to_plain
from segkit.datasets.common import Pair
from segkit.runs.build import build_data

ROUNDS, PICTURES = 15, 60


def measure() -> list[dict[str, Any]]:
    """In one process on one core: how fast a single loader is."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.dict(os.environ, {"XDG_CACHE_HOME": f"{folder}/cache"}),
        ):
            return [five_crops(Path(folder) / "crack"), resized(Path(folder) / "ph2")]
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])


def write(root: Path, size: tuple[int, int], ending: str) -> None:
    """Smooth pictures with some noise, as photographs compress, and masks with a blot."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (root / kind).mkdir(parents=True)
    for number in range(PICTURES):
        smooth = cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(smooth.astype(int) + rng.integers(-8, 8, smooth.shape), 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / f"images/{number}{ending}"), noisy)
        mask = cv2.circle(np.zeros(size[::-1], np.uint8), (size[0] // 2, size[1] // 2), 90, 255, -1)
        cv2.imwrite(str(root / f"masks/{number}.png"), mask)


def five_crops(root: Path) -> dict[str, Any]:
    write(root, (448, 448), ".jpg")
    words = [
        "dataset=crack",
        "+dataset.fractions=[0.8,0.1,0.1]",
        "augment=flips",
        "dataset.workers=0",
        "run_dir=unused",
    ]
    data = build_data(to_plain(compose(f"dataset.root={root}", *words)))
    pairs = data.sources["train"].files  # type: ignore[attr-defined]
    loader = DataLoader(Thesis(pairs), batch_size=data.batch_size, shuffle=True, drop_last=True)

    def thesis() -> int:
        return sum(image.shape[0] * image.shape[1] for image, _ in loader)

    own = epochs(data.train_dataloader, 5)
    name = "loading, five crops of 448² JPEG pictures from the cache / Pillow and torchvision"
    return compare(name, own, thesis, 10.0, "crops")


class Thesis(Dataset[tuple[Tensor, Tensor]]):
    """Decode, mirror both ways, turn by a quarter, take five crops and make floats of them, by Pillow and torchvision.

    An item is the crops of a picture (5, 3, 224, 224) and of its mask (5, 1, 224, 224), in 0 … 1.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs
        self.five = transforms.FiveCrop(224)
        self.to_tensor = transforms.ToTensor()

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        pair = self.pairs[index]
        image, mask = Image.open(pair.image).convert("RGB"), Image.open(pair.mask).convert("L")
        if torch.rand(()) < 0.5:
            image, mask = functional.vflip(image), functional.vflip(mask)
        if torch.rand(()) < 0.5:
            image, mask = functional.hflip(image), functional.hflip(mask)
        angle = 90 * int(torch.randint(4, ()))
        image, mask = functional.rotate(image, angle), functional.rotate(mask, angle)
        image_crops, mask_crops = ([self.to_tensor(crop) for crop in self.five(whole)] for whole in (image, mask))
        return torch.stack(image_crops), torch.stack(mask_crops)


def resized(root: Path) -> dict[str, Any]:
    write(root, (768, 560), ".bmp")

    def pictures(cache: str) -> Callable[[], int]:
        words = [
            "dataset=folder",
            f"dataset.root={root}",
            "dataset.size=256",
            "dataset.batch_size=8",
            "augment=flips",
            f"dataset.cache={cache}",
            "dataset.workers=0",
            "run_dir=unused",
        ]
        data = build_data(to_plain(compose(*words)))
        return epochs(data.train_dataloader, 5 if cache == "disk" else 1)

    return compare(
        "loading, 768×560 BMP pictures at 256² from the cache / decoded and resized every time",
        pictures("disk"),
        pictures("off"),
        8.0,
        "pictures",
    )


def epochs(loader: Callable[[], Any], number: int) -> Callable[[], int]:
    """Load everything `number` times, and count."""
    return lambda: sum(len(batch["image"]) for _ in range(number) for batch in loader())


def compare(name: str, own: Callable[[], int], other: Callable[[], int], target: float, what: str) -> dict[str, Any]:
    rates: list[list[float]] = [[], []]
    for turn in range(ROUNDS + 1):
        for rate, load in zip(rates, (own, other), strict=True):
            started = time.perf_counter()
            count = load()
            if turn:
                rate.append(count / (time.perf_counter() - started))
    fast, slow = (statistics.median(rate) for rate in rates)
    return {
        "name": name,
        "ratio": round(fast / slow, 2),
        "target": target,
        "better": "higher",
        "detail": f"{fast:,.0f} and {slow:,.0f} {what}/s on one core, medians of {ROUNDS}",
    }
