"""Data sets of others in their real layout, with a few small pictures."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

PETS = [f"Abyssinian_{number}" for number in range(1, 9)] + [f"beagle_{number}" for number in range(1, 9)]
TRAIN = [
    "Coffee Table",
    "sofa",
    "Floor-Lamp",
    "sofa",
    "Coffee table",
    "rug",
    "sofa",
    "floor lamp",
    "Sofa",
    "coffee table",
]
VALIDATION = ["sofa", "coffee table", "floor lamp", "mirror"]


def write_pets(root: Path) -> None:
    """Oxford-IIIT Pet: every other picture to train; the pet of each is a box with a border of four pixels."""
    base, rng = root / "oxford-iiit-pet", np.random.default_rng(0)
    (base / "images").mkdir(parents=True)
    (base / "annotations" / "trimaps").mkdir(parents=True)
    for number, name in enumerate(PETS):
        size = (40 + number, 60)
        cv2.imwrite(str(base / "images" / f"{name}.jpg"), rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        trimap = np.full(size, 2, np.uint8)
        trimap[10:30, 10:40] = 3
        trimap[14:26, 14:36] = 1
        cv2.imwrite(str(base / "annotations" / "trimaps" / f"{name}.png"), trimap)
    for split, names in (("trainval", PETS[::2]), ("test", PETS[1::2])):
        lines = [f"{name} {1 + name.startswith('beagle')} {1 + name.startswith('beagle')} 1" for name in names]
        (base / "annotations" / f"{split}.txt").write_text("\n".join(lines) + "\n")


def product_rows(categories: Sequence[str | int]) -> dict[str, list[Any]]:
    """Columns of product masks: a box of 30×20 pixels in each picture of 64×48."""
    rng = np.random.default_rng(len(categories))
    found: dict[str, list[Any]] = {"image": [], "mask": [], "category": list(categories), "bbox": []}
    for number in range(len(categories)):
        mask = np.zeros((48, 64), np.uint8)
        top, left = 5 + number, 10 + number
        mask[top : top + 20, left : left + 30] = 255
        found["image"].append(png(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) // 2 + mask[..., None] // 2))
        found["mask"].append(png(mask))
        found["bbox"].append([left, top, 30, 20])
    return found


def write_products(root: Path) -> None:
    """Product masks as parquet files."""
    import datasets

    datasets.disable_progress_bars()
    root.mkdir(parents=True, exist_ok=True)
    for split, categories in (("train", TRAIN), ("validation", VALIDATION)):
        datasets.Dataset.from_dict(product_rows(categories)).to_parquet(root / f"{split}-00000.parquet")


def png(pixels: np.ndarray) -> dict[str, Any]:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}
