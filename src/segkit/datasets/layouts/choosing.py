"""The one way to read a folder that is clear, or an error that says what to type."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segkit.configs.composing import format_argument
from segkit.console import one_line
from segkit.datasets.layouts.families import all_files
from segkit.datasets.layouts.folder_names import Role
from segkit.datasets.layouts.places import Place, find_places, place_at
from segkit.datasets.layouts.search import (
    Reading,
    count_files,
    describe_reading,
    drop_fields_of_view,
    find_field_of_view,
    pair_places,
    search,
    settings_of,
)
from segkit.datasets.layouts.unclear import PAIRS, describe_no_match, describe_places, find_further_masks
from segkit.datasets.listing import Names

MOST = 6  # ways to read that are written out


class Given(NamedTuple):
    """What the settings say about where files are; see `Folder`."""

    images: str | None = None
    masks: str | None = None
    pairs: str | None = None
    image_pattern: str | None = None
    mask_pattern: str | None = None
    mask_suffix: str = ""
    ignore_masks: str | None = None
    only_masked: bool = False

    @property
    def is_searched(self) -> bool:
        """Whether nothing says where pictures and masks are."""
        return self.pairs is None and not (self.images or self.masks or self.image_pattern or self.mask_pattern)


class Choice(NamedTuple):
    """A way to read a folder, and what else is to be said about it."""

    reading: Reading
    remark: str = ""


def choose_reading(names: Names, given: Given) -> Choice | None:
    """The way to read a folder that its names tell; None if none fits. ValueError if there are several, if it is not
    sure which are the masks, or if a split has none."""
    places = find_places(names.root, names.paths)
    found = drop_fields_of_view(search(places, places))
    found = [reading for reading in found if {"", "train"} & {*reading.images.files}] or found
    if not found:
        return None
    best = keep_least_doubtful(found)
    if len(best) > 1:
        raise ValueError(f"{names.root} can be read in {len(best)} ways. Say which one is meant:\n{list_ways(best)}")
    if best[0].doubt > 1:
        raise ValueError(
            f"{names.root}: no name says where the masks are, and segkit does not guess. If this is right, say so:\n"
            f"{list_ways(best)}"
        )
    check_further(best[0], names)
    check_splits(best[0].without_unmasked() if given.only_masked else best[0])
    return Choice(best[0], "" if given.ignore_masks else describe_field(best[0], places))


def keep_least_doubtful(found: Sequence[Reading]) -> list[Reading]:
    """Of several ways to read, the least doubtful; of those, if there are still several, those within one folder."""
    best = [reading for reading in found if reading.doubt == found[0].doubt]
    parents = [{one.folder.rpartition("/")[0] for one in (reading.images, reading.masks)} for reading in best]
    together = [
        reading for reading, folders in zip(best, parents, strict=True) if len(folders) == 1 and folders != {""}
    ]
    return together if len(together) > 1 else best


def list_ways(found: Sequence[Reading]) -> str:
    """Ways to read, each with the settings to type."""
    without = [f" ({lacking} without a mask)" if (lacking := one.images.size - one.matched) else "" for one in found]
    lines = [
        f"{describe_reading(reading)}{lacking}:\n  {settings_of(reading) or PAIRS}"
        for reading, lacking in zip(found[:MOST], without, strict=False)
    ]
    return "\n".join([*lines, *(["…"] if len(found) > MOST else []), f"or, for any other way:\n  {PAIRS}"])


def check_further(reading: Reading, names: Names) -> None:
    """ValueError, with the settings to type, if pictures have further masks, which would be left out."""
    if further := find_further_masks(reading, names):
        raise ValueError(
            f"{names.root}: there are further masks of the same pictures, such as {one_line(further[0])}, and segkit "
            f"reads one mask for each picture. Merge them into one file, or say this, to leave {len(further)} out:\n"
            f"{list_ways([reading])}"
        )


def check_splits(reading: Reading) -> None:
    """ValueError, with the settings to type, if no picture of a split has a mask, or no mask of one a picture."""
    alone = {
        "pictures": {split: len(reading.images.files[split]) for split in reading.missing},
        "masks": {split: len(keys) for split, keys in reading.masks.files.items() if split not in reading.images.files},
    }
    if "" in reading.masks.files or "" in reading.images.files:
        alone["masks"] = {}
    for kind, other in (("pictures", "masks"), ("masks", "pictures")):
        if not alone[kind]:
            continue
        kept = [split for split in reading.matches if split not in reading.missing]
        settings = settings_of(reading, kept[0] if len(kept) == 1 else "") or PAIRS
        split_up = f" and have {kept[0]} split" if len(kept) == 1 else ""
        raise ValueError(
            f"{reading.images.base}: {count_files(alone[kind], kind)} have no {other}, so they cannot be scored. The "
            f"others: {describe_reading(reading.of(kept))}.\n"
            f"Add the {other}, or say this, to leave those {kind} out{split_up}:\n  {settings}"
        )


def describe_field(reading: Reading, places: Sequence[Place]) -> str:
    """A remark on masks that may be fields of view: what to type if they are."""
    folder = find_field_of_view(reading, places)
    setting = format_argument("dataset.ignore_masks", folder)
    told = f"; {one_line(folder)} is not read: if its black is outside of the field of view, say {setting}"
    return told if folder and one_line(folder) == folder else ""


def read_given(names: Names, given: Given) -> Choice:
    """How to read a folder where settings name folders or patterns; what they leave open is searched."""
    for key, folder in (("images", given.images), ("masks", given.masks)):
        check_folder(names.root, key, folder)
    image_paths, mask_paths = divide_paths(names, given)
    images = given_places(names.root, image_paths, given.images, given.image_pattern, "pictures")
    masks = given_places(names.root, mask_paths, given.masks, given.mask_pattern, "masks")
    for key, folder, pattern, places in (
        ("image", given.images, given.image_pattern, images),
        ("mask", given.masks, given.mask_pattern, masks),
    ):
        if not any(place.size for place in places):
            words = [format_argument(f"dataset.{key}s", folder)] if folder else []
            words += [format_argument(f"dataset.{key}_pattern", pattern)] if pattern else []
            raise FileNotFoundError(f"{' '.join(words)}: there are no such pictures. {describe_places(names)}")
    same = (given.images, given.image_pattern) == (given.masks, given.mask_pattern)
    one_way = given.images and given.masks and not same
    found = [pair_places(images[0], masks[0])] if one_way else search(images, masks)
    best = keep_least_doubtful(found) if found else []
    if len(best) > 1:
        raise ValueError(f"{names.root} can still be read in {len(best)} ways. Say which:\n{list_ways(best)}")
    if not best or not best[0].matched:
        raise ValueError(describe_no_match(images[0], masks[0]))
    if own := best[0].own_masks:
        raise ValueError(
            f"{names.root}: {one_line(own[0])} would be its own mask. Say which files are masks, and which are "
            "pictures: dataset.mask_pattern=…, such as '*_mask.png', or other folders in dataset.images "
            "and dataset.masks."
        )
    if not (given.image_pattern or given.mask_pattern):
        check_further(best[0], names)
    missing = {split: len(best[0].images.files[split]) for split in best[0].missing}
    remark = f"; {count_files(missing)} without masks are left out" if missing else ""
    if not given.ignore_masks:
        remark += describe_field(best[0], find_places(names.root, names.paths))
    return Choice(best[0], remark)


def check_folder(root: Path, key: str, folder: str | None) -> None:
    """ValueError for a folder that is not below the root."""
    if folder and (Path(folder).expanduser().is_absolute() or ".." in Path(folder).parts):
        raise ValueError(
            f"dataset.{key}={folder} leads out of dataset.root={root}; expected a folder below it, such as {key} or "
            f"'{{split}}/{key}'. Set dataset.root to a folder that holds both images and masks."
        )


def divide_paths(names: Names, given: Given) -> tuple[list[str], list[str]]:
    """The paths that may be pictures and those that may be masks: what both settings describe belongs to the narrower
    one, and what one describes is not searched for the other."""

    def chosen(folder: str | None, pattern: str | None) -> set[str]:
        place = place_at(names.root, folder or "", pattern or "", "", names.paths)
        return {path for paths in all_files(place).values() for several in paths.values() for path in several}

    images, masks = chosen(given.images, given.image_pattern), chosen(given.masks, given.mask_pattern)
    narrow = [
        (len(PurePosixPath(folder or "").parts), len(pattern or ""))
        for folder, pattern in ((given.images, given.image_pattern), (given.masks, given.mask_pattern))
    ]
    if narrow[1] > narrow[0]:
        images -= masks
    elif narrow[0] > narrow[1]:
        masks -= images
    return sorted(images), sorted(masks)


def given_places(root: Path, paths: Iterable[str], folder: str | None, pattern: str | None, role: Role) -> list[Place]:
    """The place that settings name, with this role; without a folder, all places whose files match the pattern."""
    if folder:
        return [place_at(root, folder, pattern or "", role, paths)]
    found = find_places(root, paths, pattern or "")
    return [place._replace(role=role) for place in found] if pattern else found
