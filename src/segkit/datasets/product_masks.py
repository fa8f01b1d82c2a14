"""Pictures of products with masks and categories: a Hugging Face data set, by its name or from a folder."""

import hashlib
import logging
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from segkit import IGNORE_INDEX
from segkit.configs.errors import explain
from segkit.datasets.common import Split, check_split, split_indices
from segkit.datasets.masks import MaskValues
from segkit.datasets.reading import picture_size, read_picture
from segkit.datasets.source import Sample

log = logging.getLogger("segkit")

COLUMNS = ("image", "mask", "category")  # and, to crop, bbox
BACKGROUND = "background"
TESTS = (
    "validation",
    "val",
    "valid",
    "test",
)  # the first of these splits that exists is the test; the set has validation
PRODUCT = MaskValues(["the product"])  # above half of the file's scale


class ProductMasks(Dataset[Sample]):
    """Pictures with the mask of one product each, whose class is its category.

    root: a folder with the set in parquet or arrow files (`train*.parquet` and `validation*.parquet`, or what
    `save_to_disk` writes); None for the set `name` on the Hugging Face hub. Columns: image, mask, category and, for
    `crop`, bbox [x, y, width, height] in pixels. classes: 2 to 255 normalised names of categories. background: pixels
    outside of the product are "ignore"d, or the "class" background. crop: crop pictures to their box, enlarged by
    `margin` times its size on each side; flips and turns come afterwards, so the box need not follow them. Samples of
    other categories are left out. The share `holdout` of the training samples, chosen by `split_seed`, is val; the
    set's validation samples are the test.
    """

    def __init__(
        self,
        split: Split,
        classes: Sequence[str],
        root: str | Path | None = None,
        name: str | None = None,
        *,
        background: Literal["ignore", "class"] = "ignore",
        crop: bool = False,
        margin: float = 0.0,
        holdout: float = 0.1,
        split_seed: int = 0,
    ) -> None:
        check_split(split)
        if background not in ("ignore", "class"):
            raise ValueError(f"dataset.background={background}: expected ignore or class.")
        if (background == "class") != (BACKGROUND in classes):
            raise ValueError(
                f"dataset.background={background} and dataset.classes={list(classes)} disagree: name background among "
                "them exactly where it is a class."
            )
        if not 2 <= len(classes) <= IGNORE_INDEX:
            raise ValueError(f"dataset.classes has {len(classes)} names; expected 2 to {IGNORE_INDEX} categories.")
        if not 0 < holdout < 1:
            raise ValueError(
                f"dataset.holdout={holdout:g}; expected the share of training that becomes val, in (0, 1)."
            )
        self.classes, self.crop, self.margin = tuple(classes), crop, margin
        part = "test" if split == "test" else "train"
        self.rows = load_parts(root, name)[part]
        if crop and "bbox" not in self.rows.column_names:
            raise ValueError(
                "dataset.crop=true needs the column bbox, [x, y, width, height] in pixels; the set has "
                f"{', '.join(self.rows.column_names)}."
            )
        found = read_categories(self.rows)
        numbers = {name: number for number, name in enumerate(self.classes)}
        kept = [row for row, category in enumerate(found) if category in numbers]
        if split != "test":
            train, val, _ = split_indices(len(kept), (1 - holdout, holdout, 0.0), split_seed)
            kept = [kept[at] for at in (train if split == "train" else val)]
        if not kept:
            raise ValueError(
                f"dataset.classes={list(classes)}: no {split} sample of {root or name} has one of these categories."
            )
        self.kept, self.values = kept, [numbers[found[row]] for row in kept]
        self.background = numbers.get(BACKGROUND, IGNORE_INDEX)
        self.names = [f"{part}/{row:06d}-{found[row]}" for row in kept]

    @staticmethod
    def find_classes(
        root: str | Path | None = None, name: str | None = None, background: str = "ignore", **_: Any
    ) -> list[str]:
        """The sorted class names of a set: the categories that both training and validation have; others are logged.
        "background" comes first if it is a class."""
        found = {part: set(read_categories(rows)) for part, rows in load_parts(root, name).items()}
        both = sorted(found["train"] & found["test"])
        if not both:
            raise ValueError(
                f"{root or name}: no category is in both training ({', '.join(sorted(found['train'])[:8])}, …) and "
                f"validation ({', '.join(sorted(found['test'])[:8])}, …)."
            )
        if dropped := sorted(found["train"] ^ found["test"]):
            log.warning(
                "%d categories are not in both training and validation and are left out: %s",
                len(dropped),
                ", ".join(dropped[:20]),
            )
        return [BACKGROUND, *both] if background == "class" else both

    def __len__(self) -> int:
        return len(self.kept)

    def __getitem__(self, index: int) -> Sample:
        row, name = self.rows[self.kept[index]], Path(self.names[index])
        image = read_picture(name, picture_bytes(row, "image", name))
        product = PRODUCT.read(name, picture_bytes(row, "mask", name))
        if product.shape != image.shape[:2]:
            raise ValueError(f"{name}: its mask is {product.shape[::-1]}, its picture {image.shape[1::-1]}.")
        mask = np.where(product, self.values[index], self.background).astype(np.uint8)
        if self.crop:
            window = self.window(row["bbox"], mask.shape, name)
            image, mask = image[window].copy(), mask[window].copy()
        return {
            "image": torch.from_numpy(image).permute(2, 0, 1),
            "mask": torch.from_numpy(mask),
            "name": self.names[index],
        }

    def window(self, box: Any, shape: Sequence[int], name: Path) -> tuple[slice, slice]:
        """The rows and columns of the enlarged box, at least one of each."""
        if not isinstance(box, Sequence) or len(box) != 4 or not all(isinstance(side, int | float) for side in box):
            raise ValueError(f"{name}: its bbox is {box}; expected [x, y, width, height].")
        left, top, width, height = box
        x, y = self.margin * width, self.margin * height
        first, last = max(int(top - y), 0), min(int(np.ceil(top + height + y)), shape[0])
        begin, end = max(int(left - x), 0), min(int(np.ceil(left + width + x)), shape[1])
        if first >= last or begin >= end:
            raise ValueError(
                f"{name}: its bbox {list(box)} lies outside its picture of {shape[1]}×{shape[0]}; expected [x, y, "
                "width, height]."
            )
        return slice(first, last), slice(begin, end)

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a sample."""
        row, name = self.rows[self.kept[index]], Path(self.names[index])
        size = picture_size(name, picture_bytes(row, "image", name))
        if not self.crop:
            return size
        rows, columns = self.window(row["bbox"], size, name)
        return rows.stop - rows.start, columns.stop - columns.start

    def fingerprint(self) -> str:
        """One digest of the content of all samples."""
        digest = hashlib.blake2b(digest_size=16)
        for at, name in zip(self.kept, self.names, strict=True):
            row = self.rows[at]
            for part in (picture_bytes(row, "image", Path(name)), picture_bytes(row, "mask", Path(name))):
                digest.update(hashlib.blake2b(part).digest())
            digest.update(f"{name} {row.get('bbox')}".encode())
        return digest.hexdigest()


def picture_bytes(row: dict[str, Any], column: str, name: Path) -> bytes:
    """The bytes of a picture, which must be in the set itself: a path in their place is not opened."""
    found = row[column]
    data = found.get("bytes") if isinstance(found, dict) else None
    if not data:
        raise ValueError(
            f"{name}: its {column} is not in the set (only {found}); expected the bytes of a picture file."
        )
    return bytes(data)


def read_categories(rows: Any) -> list[str]:
    """The normalised category of every row."""
    named = rows.features["category"]
    return [normalise(named.int2str(value) if hasattr(named, "int2str") else str(value)) for value in rows["category"]]


def normalise(category: str) -> str:
    """A category's name in lower case, with underscores."""
    return re.sub(r"\W+", "_", category.strip().lower()).strip("_")


@cache
def load_parts(root: str | Path | None, name: str | None) -> dict[str, Any]:
    """The parts {"train", "test"} of a set; "test" is its validation split, or else its test split. Pictures stay
    encoded."""
    try:
        import datasets
    except ImportError:
        raise ValueError("dataset=product_masks needs the package datasets: pip install 'segkit[datasets]'.") from None
    datasets.disable_progress_bars()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # else it reports every set, even one in a folder, to a server
    setting = f"dataset.name={name}" if root is None else f"dataset.root={root}"
    try:
        whole = datasets.load_dataset(name) if root is None else load_folder(Path(root).expanduser(), setting)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except Exception as error:  # many types, some of them the library's own
        hint = " Without the hub, dataset.root=<folder> reads parquet or arrow files." if root is None else ""
        raise ValueError(f"{setting} cannot be loaded: {explain(error).splitlines()[0].rstrip('.')}.{hint}") from error
    parts = {"train": "train", "test": next((split for split in TESTS if split in whole), "")}
    if "train" not in whole or not parts["test"]:
        raise ValueError(f"{setting} has the splits {', '.join(whole)}; expected train and validation.")
    for split in parts.values():
        if missing := [column for column in COLUMNS if column not in whole[split].column_names]:
            raise ValueError(
                f"{setting} lacks the columns {', '.join(missing)} in {split}; it has "
                f"{', '.join(whole[split].column_names)}. Expected {', '.join(COLUMNS)}."
            )
    encoded = {column: datasets.Image(decode=False) for column in ("image", "mask")}
    return {part: cast_columns(whole[split], encoded) for part, split in parts.items()}


def cast_columns(rows: Any, columns: dict[str, Any]) -> Any:
    for name, feature in columns.items():
        rows = rows.cast_column(name, feature)
    return rows


def load_folder(folder: Path, setting: str) -> Any:
    """The set in a folder: parquet files, or what `save_to_disk` writes."""
    import datasets

    if not folder.is_dir():
        raise FileNotFoundError(f"{setting}: there is no such folder.")
    if (folder / "dataset_dict.json").exists():
        return datasets.load_from_disk(str(folder))
    files = {split: sorted(map(str, folder.rglob(f"{split}*.parquet"))) for split in ("train", *TESTS)}
    test = next((split for split in TESTS if files[split]), "")
    if not files["train"] or not test:
        raise FileNotFoundError(
            f"{setting} has no {'train' if test else 'validation'} files; expected train*.parquet and "
            "validation*.parquet, or what datasets.save_to_disk writes."
        )
    return datasets.load_dataset("parquet", data_files={"train": files["train"], test: files[test]})
