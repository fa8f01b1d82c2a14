"""What the file-backed data sets share: the sample, listing, pairing, splitting and telling splits apart."""

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple, Protocol, TypedDict

import cv2
import numpy as np
import torch
from torch import Tensor

from segkit.datasets.masks import Mask, MaskValues
from segkit.datasets.reading import EXTENSIONS, read_picture

Split = Literal["train", "val", "test"]
Color = tuple[int, int, int]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Sample(TypedDict):
    """image (3, H, W) uint8 RGB, mask (H, W) uint8 of class indices and 255 = ignore, and the unique name."""

    image: Tensor
    mask: Tensor
    name: str


class Pair(NamedTuple):
    """The files of one sample."""

    image: Path
    mask: Path


class FileBacked(Protocol):
    """A data set whose samples are pairs of files."""

    @property
    def files(self) -> Sequence[Pair]: ...


def read_sample(pair: Pair, name: str, values: MaskValues, resize_masks: bool) -> Sample:
    """One sample at the size of its image.

    With `resize_masks` a mask of the same shape in another scale is brought to that size (nearest neighbour).
    Raises ValueError if the sizes differ otherwise, and what `read_picture` and `MaskValues.read` raise.
    """
    image = read_picture(pair.image)
    mask = values.read(pair.mask)
    if mask.shape != image.shape[:2]:
        mask = _resized(mask, image.shape[:2], pair, resize_masks)
    # A view: whoever resizes or augments turns it back to (H, W, 3), which then costs no copy.
    return {"image": torch.from_numpy(image).permute(2, 0, 1), "mask": torch.from_numpy(mask), "name": name}


def _resized(mask: Mask, size: tuple[int, int], pair: Pair, resize_masks: bool) -> Mask:
    (height, width), (mask_height, mask_width) = size, mask.shape
    scale = mask_height / height
    same_shape = abs(width * scale - mask_width) <= max(1.0, scale)  # to within a pixel of the smaller one
    if resize_masks and same_shape:
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return resized.astype(np.uint8, copy=False)
    advice = (
        "Masks must match their images; these differ in shape, not only in scale, so that "
        "dataset.resize_masks=true does not help."
        if resize_masks
        else "Masks must match their images; if they only differ in scale, set dataset.resize_masks=true."
    )
    if (mask_width, mask_height) == (height, width):
        advice += (
            " This one lies on its side: if its image is a photo with an EXIF orientation, which is "
            "applied, the mask was drawn on the unturned pixels: turn it, or remove the tag from the photo."
        )
    raise ValueError(
        f"mask {pair.mask} is {mask_width}×{mask_height} but its image {pair.image} is {width}×{height}.\n{advice}"
    )


def existing_root(root: str | Path, download: str) -> Path:
    """The folder of a data set; FileNotFoundError with its `download` hint if there is none."""
    path = Path(root).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"dataset.root={root} {what}; expected the folder of the data set (looked at "
            f"{path.absolute()}).\n" + (download or "Set dataset.root to the folder that has the images and masks.")
        )
    return path


def pictures(folder: Path, root: Path, suffix: str = "") -> dict[str, Path]:
    """The pictures below `folder` by their path in it without extension and `suffix`, sorted.

    Hidden files and what has no picture's extension are left out. Raises ValueError for two pictures of one
    name and for links that leave `root`, FileNotFoundError for links to nothing.
    """
    inside = root.resolve()
    found: dict[str, Path] = {}
    above = len(folder.parts)
    for path in sorted(_walk(_contained(folder, inside), inside, frozenset()), key=str):
        key = "/".join((*path.parts[above:-1], path.stem)).removesuffix(suffix)
        if key in found:
            raise ValueError(
                f"{found[key]} and {path} have the same name; expected one picture of a name, since the "
                "name is what pairs images and masks.\n"
                "Remove or rename one of them."
            )
        found[key] = path
    return found


def _walk(folder: Path, inside: Path, above: frozenset[Path]) -> Iterable[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "__MACOSX", "@eaDir")):
                continue
            path = Path(entry.path)
            if entry.is_symlink():
                _contained(path, inside)
            if entry.is_dir():
                here = above | {folder.resolve()}
                if path.resolve() in here:
                    raise ValueError(f"{path} is a link to a folder above itself. Remove it.")
                yield from _walk(path, inside, here)
            elif path.suffix.lower() in EXTENSIONS:
                yield path


def _contained(path: Path, inside: Path) -> Path:
    target = path.resolve()
    if not target.is_relative_to(inside):
        raise ValueError(
            f"{path} is a link to {target}, outside of dataset.root ({inside}); links are followed inside "
            "of it only.\n"
            "Copy the files there, or set dataset.root to a folder that holds both."
        )
    if not target.exists():
        raise FileNotFoundError(f"{path} is a link to {target}, which does not exist. Fetch that file or remove both.")
    return path


def matched(images: Mapping[str, Path], masks: Mapping[str, Path], where: Path) -> list[Pair]:
    """Images and masks of the same key, sorted by key; ValueError if any is left over."""
    alone = [path for key, path in images.items() if key not in masks]
    spare = [path for key, path in masks.items() if key not in images]
    if alone or spare:
        parts = [_listed(alone, "image", "a mask"), _listed(spare, "mask", "an image")]
        ending = _common_ending(images, masks)
        advice = (
            f"The masks' names end in {ending}: set dataset.mask_suffix={ending}."
            if ending
            else "Add the missing files or remove these. An image and its mask have the same name up to the "
            "extension (and dataset.mask_suffix)."
        )
        raise ValueError(f"{where}: " + " and ".join(part for part in parts if part) + f".\n{advice}")
    return [Pair(images[key], masks[key]) for key in sorted(images)]


def _listed(paths: list[Path], kind: str, partner: str) -> str:
    if not paths:
        return ""
    few = ", ".join(path.name for path in paths[:3]) + (", …" if len(paths) > 3 else "")
    return f"{len(paths)} {kind}{'s' * (len(paths) > 1)} without {partner} ({few})"


def _common_ending(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    """What to cut off the masks' keys so that they are the images' keys; empty if there is no such thing."""
    mask = next(iter(masks), "")
    for image in images:
        ending = mask.removeprefix(image)
        if ending not in ("", mask) and all(image + ending in masks for image in images):
            return ending
    return ""


def split_indices(n: int, fractions: Sequence[float], seed: int) -> tuple[list[int], list[int], list[int]]:
    """0..n-1 shared out to train, val and test, each in ascending order.

    The indices are put in the order of blake2b("seed/index") and cut at the rounded cumulative fractions: the
    same split on every machine, for ever, which NumPy's and torch's generators do not promise. Pass the
    sorted names' indices. A part may be empty. Raises ValueError if the fractions are not three shares that
    sum to 1.
    """
    if len(fractions) != 3 or any(not 0 <= part <= 1 for part in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"dataset.fractions={list(fractions)} sum to {sum(fractions):g}; expected three shares, of "
            "train, val and test, that sum to 1, like [0.7, 0.15, 0.15]."
        )
    order = sorted(range(n), key=lambda index: blake2b(f"{seed}/{index}".encode(), digest_size=16).digest())
    first, second = (int(n * share + 0.5 + 1e-9) for share in (fractions[0], fractions[0] + fractions[1]))
    return sorted(order[:first]), sorted(order[first:second]), sorted(order[second:])


def part(pairs: Sequence[Pair], split: Split, fractions: Sequence[float], seed: int) -> list[Pair]:
    """The pairs of one split; ValueError if it is empty."""
    shares = split_indices(len(pairs), fractions, seed)
    chosen = shares[SPLITS.index(split)]
    if pairs and not chosen:
        counts = ", ".join(f"{len(share)} {name}" for name, share in zip(SPLITS, shares, strict=True))
        raise ValueError(
            f"the {split} split is empty: {len(pairs)} pictures split by "
            f"{[round(share, 6) for share in fractions]} give {counts}.\n"
            f"Add pictures, or give {split} a larger share (dataset.fractions, or dataset.holdout where val "
            "is held out of train)."
        )
    return [pairs[index] for index in chosen]


def check_split(split: str) -> None:
    """ValueError for anything but train, val and test."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}; expected one of {', '.join(SPLITS)}.")


def fingerprint(files: Iterable[Path]) -> list[str]:
    """The blake2b digest (32 hex digits) of each file's bytes, in order; a file is read once a process."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_digest, files))


def _digest(path: Path) -> str:
    status = path.stat()
    return _digest_of(path, status.st_size, status.st_mtime_ns)


@cache
def _digest_of(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        digest = blake2b(digest_size=16)
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_disjoint(train: FileBacked, val: FileBacked, test: FileBacked) -> None:
    """ValueError if two splits share a picture, judged by the bytes of the files.

    Only if val and test are the same pictures altogether (`protocol: published`) may they be.
    """
    seen: dict[str, tuple[str, Path]] = {}
    same = [pair.image for pair in val.files] == [pair.image for pair in test.files]
    for split, data in (("train", train), ("val", val)) + (() if same else (("test", test),)):
        images = [pair.image for pair in data.files]
        for image, digest in zip(images, fingerprint(images), strict=True):
            other, twin = seen.setdefault(digest, (split, image))
            if other != split:
                raise ValueError(
                    f"{other} and {split} share a picture: {twin} and {image} have the same content; "
                    "expected splits without a common picture, or the scores are of pictures the model was "
                    "trained or chosen on.\n"
                    "Remove one of the two with its mask, or move both into one split."
                )
