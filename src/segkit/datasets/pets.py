"""Oxford-IIIT Pet: 7,349 pictures of cats and dogs with trimaps (Parkhi et al., CVPR 2012)."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from segkit import IGNORE_INDEX
from segkit.datasets.common import Split, check_split, select_split
from segkit.datasets.listing import Pair
from segkit.datasets.reading import picture_size, read_mask_file, read_picture
from segkit.datasets.source import Sample
from segkit.files.reading import MOST_CSV, read_text

log = logging.getLogger("segkit")

CLASSES = ("pet", "background", "border")
PET, BACKGROUND, BORDER = 1, 2, 3  # values of a trimap


class Pets(Dataset[Sample]):
    """`images` and `annotations` as in the set's two archives, in `root` or in `oxford-iiit-pet` below it, where
    torchvision downloads them and checks the hashes.

    Three classes are pet, background and border, in that order (or other names for them); two are pet and background;
    one is pet. border: what the border's pixels become if it is not a class: "ignore", or "pet". The share `holdout`
    of trainval, chosen by `split_seed`, is val. Files that cannot be read are left out, with a warning.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split,
        classes: Sequence[str] = CLASSES,
        *,
        border: Literal["ignore", "pet"] = "ignore",
        holdout: float = 0.1,
        split_seed: int = 0,
        download: bool = False,
    ) -> None:
        check_split(split)
        # the classes may be renamed, but not with each other's names
        in_order = all(known not in CLASSES or known == CLASSES[at] for at, known in enumerate(classes[:3]))
        if not 1 <= len(classes) <= 3 or not in_order:
            raise ValueError(
                f"dataset.classes={list(classes)}: expected [pet,background,border], [pet,background] or [pet], in "
                "this order."
            )
        if border not in ("ignore", "pet"):
            raise ValueError(f"dataset.border={border}: expected ignore or pet.")
        if not 0 < holdout < 1:
            raise ValueError(
                f"dataset.holdout={holdout:g}; expected the share of trainval that becomes val, in (0, 1)."
            )
        self.classes, self.root = tuple(classes), Path(root).expanduser()
        self._table = trimap_table(len(classes), border)
        pairs = keep_readable(tuple(list_pairs(self.root, "test" if split == "test" else "trainval", download)))
        shares = (1 - holdout, holdout, 0.0)
        self.files = list(pairs) if split == "test" else select_split(pairs, split, shares, split_seed)
        self.names = [pair.image.stem for pair in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Sample:
        pair = self.files[index]
        image, trimap = read_picture(pair.image), read_mask_file(pair.mask).values
        mask = self._table[trimap]
        if (mask == UNKNOWN).any():
            raise ValueError(
                f"{pair.mask} holds {np.unique(trimap).tolist()}; expected 1 (pet), 2 (background), 3 (border)."
            )
        return {
            "image": torch.from_numpy(image).permute(2, 0, 1),
            "mask": torch.from_numpy(mask),
            "name": self.names[index],
        }

    def shape(self, index: int) -> tuple[int, int]:
        """(H, W) of a sample, from the header of its image."""
        return picture_size(self.files[index].image)


UNKNOWN = 254


def trimap_table(classes: int, border: str) -> Any:
    """The class of each trimap value, (256,) uint8."""
    values = np.full(256, UNKNOWN, np.uint8)
    values[PET], values[BACKGROUND] = (1, 0) if classes == 1 else (0, 1)
    values[BORDER] = 2 if classes == 3 else values[PET] if border == "pet" else IGNORE_INDEX
    return values


def list_pairs(root: Path, split: str, download: bool) -> list[Pair]:
    """The pairs of a split as its list names them, some perhaps damaged; with `download` they are fetched first."""
    if download:
        fetch(root)
    here = root if (root / "annotations").is_dir() else root / "oxford-iiit-pet"
    names, images, trimaps = here / f"annotations/{split}.txt", here / "images", here / "annotations/trimaps"
    if not (names.is_file() and images.is_dir() and trimaps.is_dir()):
        raise FileNotFoundError(
            f"dataset.root={root}: no Oxford-IIIT Pet there; expected images and annotations (with {split}.txt and "
            "trimaps in it), in this folder or in oxford-iiit-pet below it. Say dataset.download=true to download it "
            "there (800 MB)."
        )
    lines = [line.split() for line in read_text(names, MOST_CSV).splitlines()]
    found = [Path(words[0]).name for words in lines if words and not words[0].startswith("#")]
    return [Pair(images / f"{name}.jpg", trimaps / f"{name}.png") for name in found]


def fetch(root: Path) -> None:
    """Download the data set below `root`, unless it is there."""
    from torchvision.datasets import OxfordIIITPet

    try:
        OxfordIIITPet(str(root), "trainval", "segmentation", download=True)
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(f"dataset.root={root}: {error}") from error


@cache
def keep_readable(pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """The pairs whose files can both be read and have one size; the others, a few in the original, are logged."""
    log.info("checking %d pictures of Oxford-IIIT Pet", len(pairs))
    with ThreadPoolExecutor() as pool:
        wrong = list(pool.map(find_fault, pairs))
    for pair, reason in zip(pairs, wrong, strict=True):
        if reason:
            log.warning("left out: %s (%s)", pair.image, reason)
    kept = tuple(pair for pair, reason in zip(pairs, wrong, strict=True) if not reason)
    if not kept:
        raise ValueError(
            f"none of {len(pairs)} pictures can be read, such as {pairs[0].image}. Get the data set again."
        )
    return kept


def find_fault(pair: Pair) -> str:
    """Why a pair cannot be used, or "" if it can."""
    try:
        image, mask = read_picture(pair.image), read_mask_file(pair.mask).values
    except (ValueError, OSError) as error:
        return str(error).splitlines()[0]
    return "" if image.shape[:2] == mask.shape[:2] else f"its mask is {mask.shape[1]}×{mask.shape[0]}"
