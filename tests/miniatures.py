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


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def draw(number: int, size: tuple[int, int] = (36, 40)) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A picture of its own for each number, a mask of 0 and 255, and a field of view that leaves out the border."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 3), dtype=np.uint8)
    mask, field = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    mask[6 + number % 9 : 20 + number % 9, 8:30], field[4:-4, 4:-4] = 255, 255
    return pixels // 2 + mask[..., None] // 2, mask, field


def write_drive(root: Path, truth_of_test: bool = True) -> None:
    """DRIVE: fields of view in `mask`, the masks in `1st_manual`; of test a second one, or none in some downloads."""
    for split, numbers in (("training", range(21, 29)), ("test", range(1, 7))):
        for number in numbers:
            image, mask, field = draw(number)
            save(root / split / "images" / f"{number:02}_{split}.tif", image)
            save(root / split / "mask" / f"{number:02}_{split}_mask.gif", field)
            if split == "training" or truth_of_test:
                save(root / split / "1st_manual" / f"{number:02}_manual1.gif", mask)
            if split == "test" and truth_of_test:
                save(root / split / "2nd_manual" / f"{number:02}_manual2.gif", mask)


def write_chase(root: Path) -> None:
    """CHASE_DB1: both eyes of each child, and the masks of two observers, in one folder."""
    for number in range(1, 7):
        for eye in "LR":
            image, mask, _ = draw(2 * number + (eye == "L"))
            name = f"Image_{number:02}{eye}"
            save(root / f"{name}.jpg", image, quality=95)
            for observer in ("1stHO", "2ndHO"):
                save(root / f"{name}_{observer}.png", mask)


def write_cwfid(root: Path) -> None:
    """CWFID: `annotations` in colours, crop green and weeds red, and `masks` of all plants, the plants black."""
    for number in range(1, 11):
        image, mask, _ = draw(number)
        colors = np.zeros((*mask.shape, 3), np.uint8)
        colors[mask > 0], colors[:4, :4] = (0, 255, 0), (255, 0, 0)
        save(root / "images" / f"{number:03}_image.png", image)
        save(root / "annotations" / f"{number:03}_annotation.png", colors)
        save(root / "masks" / f"{number:03}_mask.png", 255 - mask)
        (root / "annotations" / f"{number:03}_annotation.yaml").write_text("filename: …")
    (root / "train_test_split.yaml").write_text("train: [1, 2]")


def write_ph2(root: Path) -> None:
    """PH²: a folder for each case, regions beside the lesions, and JPEGs that somebody has made of the pictures."""
    for number in range(1, 13):
        image, mask, _ = draw(number)
        case = f"IMD{number:03}"
        folder = root / "PH2 Dataset images" / case
        save(folder / f"{case}_Dermoscopic_Image" / f"{case}.bmp", image)
        save(folder / f"{case}_Dermoscopic_Image" / f"{case}.jpg", image)
        save(folder / f"{case}_lesion" / f"{case}_lesion.bmp", mask > 0)
        for region in range(1, 1 + number % 3):
            save(folder / f"{case}_roi" / f"{case}_R{region}_Label{region}.bmp", mask)
    (root / "PH2_dataset.txt").write_text("a table")


def write_pet_archives(root: Path) -> None:
    """Oxford-IIIT Pet as its two archives unpack, with what macOS left in them."""
    write_pets(root / "unpacked")
    (root / "unpacked" / "oxford-iiit-pet").rename(root / "pets")
    (root / "unpacked").rmdir()
    for name in PETS:
        (root / "pets" / "annotations" / "trimaps" / f"._{name}.png").write_bytes(b"Mac OS X")
    (root / "pets" / "annotations" / "xmls").mkdir()
    (root / "pets" / "annotations" / "xmls" / f"{PETS[0]}.xml").write_text("<annotation/>")
    (root / "pets" / "annotations" / "list.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n")
    (root / "pets" / "images" / f"{PETS[0]}.mat").write_bytes(b"MATLAB")


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
