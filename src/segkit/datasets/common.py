"""What the file-backed data sets share: reading a sample, splitting, and checking that splits are disjoint."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import blake2b
from itertools import combinations
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch

from segkit import IGNORE_INDEX
from segkit.datasets.findings import DataError, Finding, Kind, add_remark, can_repair, report_faults
from segkit.datasets.layouts.field_of_view import read_field
from segkit.datasets.listing import Pair
from segkit.datasets.masks import Mask, MaskValues
from segkit.datasets.reading import UNREADABLE, orientation_of, read_oriented, turn
from segkit.datasets.source import Sample, Source, extras_of
from segkit.datasets.strata import Strata, balance

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

OTHER_SCALE = Kind(
    "mask whose size differs from its image's",
    "masks whose size differs from their images'",
    "Masks must match their images; if they only differ in scale, set dataset.resize_masks=true.",
)
OTHER_SHAPE = Kind(
    "mask whose shape differs from its image's",
    "masks whose shape differs from their images'",
    "Masks must match their images; these differ in shape, not only in scale, so dataset.resize_masks=true does not "
    "help.",
)
ON_ITS_SIDE = Kind(
    "mask that lies on its side",
    "masks that lie on their side",
    "Masks must match their images; these differ in shape, not only in scale. If the image is a photo with an EXIF "
    "orientation, which is applied, the mask was drawn on the unturned pixels: turn it, or remove the tag.",
)
TURNED = Kind(
    "picture with an EXIF orientation whose mask has none",
    "pictures with an EXIF orientation whose masks have none",
    "The pictures are read as viewers show them, the masks as they are. If the masks were drawn on the unturned "
    "pixels (python -m segkit.check shows them), remove the tag from the pictures or turn the masks.",
)
SHARED = Kind(
    "picture in two splits",
    "pictures in two splits",
    "Expected splits that share no picture; otherwise scores include pictures that the model was trained or chosen on. "
    "Remove one of the two with its mask, or move both into one split.",
)


def read_sample(
    pair: Pair, name: str, values: MaskValues, resize_masks: bool, ignore_file: Path | None = None
) -> Sample:
    """One sample at the size of its image.

    With `resize_masks`, a mask of the same shape but another scale is resized to the image (nearest neighbour).
    ignore_file: a mask of the field of view; pixels outside of it are ignored. Raises DataError if the sizes differ
    otherwise, and whatever `read_picture`, `read_field` and `MaskValues.read` raise.
    """
    image, orientation = read_oriented(pair.image)
    mask = values.read(pair.mask)
    height, width = image.shape[:2]
    if orientation > 1 and (orientation < 5 or height == width) and orientation_of(pair.mask) == 1:
        # otherwise the shapes differ
        add_remark(TURNED, f"{pair.image} (orientation {orientation})", files=(pair.image,))
    if mask.shape != image.shape[:2]:
        mask = _resized(mask, image.shape[:2], pair, resize_masks, orientation)
    if ignore_file is not None:
        inside = read_field(ignore_file)
        if inside.shape != image.shape[:2]:
            inside = _resized(inside, image.shape[:2], Pair(pair.image, ignore_file), resize_masks, orientation)
        mask = np.where(inside, mask, np.uint8(IGNORE_INDEX))
    # A view: resizing and augmentation turn it back to (H, W, 3), which then costs no copy.
    return {"image": torch.from_numpy(image).permute(2, 0, 1), "mask": torch.from_numpy(mask), "name": name}


def _resized(mask: Mask, size: tuple[int, int], pair: Pair, resize_masks: bool, orientation: int) -> Mask:
    (height, width), (mask_height, mask_width) = size, mask.shape
    fact = f"mask {pair.mask} is {mask_width}×{mask_height} but its image {pair.image} is {width}×{height}."
    other = Finding(OTHER_SHAPE if resize_masks else OTHER_SCALE, fact, files=(pair.mask, pair.image))
    done = f"mask resized from {mask_width}×{mask_height} to {width}×{height}"
    if _same_shape(size, mask.shape) and (resize_masks or can_repair(other, pair.mask, done)):
        resized = cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        return resized.astype(np.uint8, copy=False)
    if (mask_width, mask_height) == (height, width):
        aside = Finding(ON_ITS_SIDE, f"{fact[:-1]}: it lies on its side.", files=other.files)
        if orientation >= 5 and can_repair(aside, pair.mask, "mask turned as the EXIF orientation of its picture says"):
            return turn(mask, orientation).astype(np.uint8, copy=False)
        raise DataError(aside)
    raise DataError(other)


def _same_shape(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether two sizes differ in scale alone: one is the other scaled by either side's ratio, to within a pixel."""
    return any(
        abs(small[1 - side] - large[1 - side] * small[side] / large[side]) <= 1
        for small, large in (sorted((one, other), key=min),)
        for side in (0, 1)
    )


def split_indices(
    n: int, fractions: Sequence[float], seed: int, groups: Sequence[str] = ()
) -> tuple[list[int], list[int], list[int]]:
    """The indices 0..n-1 divided among train, val and test, each in ascending order.

    The indices are sorted by blake2b("seed/index") and cut at the rounded cumulative fractions: the same split on
    every machine, forever, which NumPy's and torch's generators do not promise. Index i must stand for the i-th
    sorted name. With `groups`, the group of each index, whole groups are divided in the same way: each goes to the
    part that contains its middle. A part may be empty. Raises ValueError if the fractions are not three shares that
    sum to 1.
    """
    if len(fractions) != 3 or any(not 0 <= share <= 1 for share in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(
            f"dataset.fractions={list(fractions)} sum to {sum(fractions):g}; expected three shares, for "
            "train, val and test, that sum to 1, such as [0.7, 0.15, 0.15]."
        )
    members = units_of(n, groups)
    order = sorted(range(len(members)), key=lambda at: blake2b(f"{seed}/{at}".encode(), digest_size=16).digest())
    limits = [n * share + 1e-9 for share in (fractions[0], fractions[0] + fractions[1])]
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    before = 0
    for at in order:
        middle = before + len(members[at]) / 2
        parts[sum(middle > limit for limit in limits)].extend(members[at])
        before += len(members[at])
    return sorted(parts[0]), sorted(parts[1]), sorted(parts[2])


def units_of(n: int, groups: Sequence[str] = ()) -> list[list[int]]:
    """The indices 0..n-1 by group, in the order of their first ones; each alone without groups."""
    together: dict[str | int, list[int]] = {}
    for index in range(n):
        together.setdefault(groups[index] if groups else index, []).append(index)
    return list(together.values())


def select_split(
    pairs: Sequence[Pair],
    split: Split,
    fractions: Sequence[float],
    seed: int,
    groups: Sequence[str] = (),
    strata: Sequence[Strata] = (),
) -> list[Pair]:
    """The pairs of one split, with groups kept whole, and with `strata`, what each picture shows, similar to the other
    splits (see `balance`); ValueError if it is empty."""
    shares: Sequence[Sequence[int]] = split_indices(len(pairs), fractions, seed, groups)
    if strata:
        shares = balance(shares, fractions, units_of(len(pairs), groups), strata)
    chosen = shares[SPLITS.index(split)]
    if pairs and not chosen:
        counts = ", ".join(f"{len(share)} {name}" for name, share in zip(SPLITS, shares, strict=True))
        raise ValueError(
            f"the {split} split is empty: {len(pairs)} pictures{f' in {len({*groups})} groups' if groups else ''} "
            f"split by {[round(share, 6) for share in fractions]} give {counts}.\n"
            f"Add pictures, or give {split} a larger share (dataset.fractions, or dataset.holdout where val "
            "is held out of train)."
        )
    return [pairs[index] for index in chosen]


def describe_shared_groups(sources: Mapping[str, Source]) -> str:
    """A warning about groups whose pictures lie in several splits, or "" if there are none. Splits that are the same
    pictures altogether do not count."""
    members = {split: (tuple(source.names), {*extras_of(source).groups}) for split, source in sources.items()}
    found = []
    for one, other in combinations(members, 2):
        common = members[one][1] & members[other][1]
        if common and members[one][0] != members[other][0]:
            found.append(f"{len(common)} in {one} and {other} (such as {min(common)})")
    if not found:
        return ""
    return (
        f"groups of pictures are spread over several splits: {'; '.join(found)}. Pictures of one group are alike, so "
        "scores are better than they would be on new groups"
    )


def check_split(split: str) -> None:
    """ValueError for anything but train, val and test."""
    if split not in SPLITS:
        raise ValueError(f"split={split!r}; expected one of {', '.join(SPLITS)}.")


def fingerprint(files: Iterable[Path]) -> list[str]:
    """The blake2b digest (32 hex digits) of each file's bytes, in order; each process reads a file once.

    The digest of an unreadable file, which is reported, is empty.
    """
    with ThreadPoolExecutor(8) as pool:
        digests = list(pool.map(_digest_or_fault, files))
    report_faults(*(found for found in digests if isinstance(found, Finding)))
    return ["" if isinstance(found, Finding) else found for found in digests]


def _digest_or_fault(path: Path) -> str | Finding:
    try:
        return _digest(path)
    except OSError as error:
        return Finding(UNREADABLE, f"{path} cannot be read ({error.strerror or error}).", files=(path,))


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


def check_disjoint(train: Sequence[Pair], val: Sequence[Pair], test: Sequence[Pair]) -> None:
    """Report pictures that two splits share, judging by the bytes of their `files`.

    Val and test may share pictures only if they are the same pictures altogether (`protocol: published`).
    """
    seen: dict[str, tuple[str, Path]] = {}
    same = [pair.image for pair in val] == [pair.image for pair in test]
    for split, files in (("train", train), ("val", val)) + (() if same else (("test", test),)):
        images = [pair.image for pair in files]
        for image, digest in zip(images, fingerprint(images), strict=True):
            other, twin = seen.setdefault(digest, (split, image))
            if digest and other != split and image.stat().st_size > 0:  # an empty file is reported as damaged
                fact = f"{other} and {split} share a picture: {twin} and {image} have the same content."
                report_faults(Finding(SHARED, fact, files=(twin, image)))
