"""What names of pictures and masks leave unclear, in words: which are there, and why they do not fit."""

import re
from collections.abc import Collection, Mapping
from itertools import product
from pathlib import PurePosixPath

from segkit.console import one_line
from segkit.datasets.layouts.families import all_files
from segkit.datasets.layouts.folder_names import mark_split, role_of
from segkit.datasets.layouts.places import Place, find_places, place_at
from segkit.datasets.layouts.search import Reading, pair_places, settings_of
from segkit.datasets.listing import Names

MOST = 6  # places that are written out
PAIRS = "dataset.pairs=<a file with a line for each picture and its mask>"
SIGN = re.compile(r"[\W_]")


def describe_mismatch(names: Names) -> str:
    """Why no way to read a folder was found, and what to type; "" if it has no pictures."""
    if not names.paths:
        return ""
    places = find_places(names.root, names.paths)
    told = describe_places(names)
    if parts := describe_parts(places):
        return f"{told} {parts}"
    named = [next((place for place in places if place.role == role), None) for role in ("pictures", "masks")]
    if named[0] is not None and named[1] is not None:
        return f"{told} {describe_no_match(named[0], named[1])}"
    return (
        f"{told} No names tell which are masks: say dataset.images=… and dataset.masks=… (folders below dataset.root), "
        "or dataset.pairs=… (a file with a line for each picture and its mask)."
    )


def describe_places(names: Names) -> str:
    """Where pictures are below the root, with their numbers."""
    places = find_places(names.root, names.paths)
    told = [f"{place.size} in {one_line(place.folder or '.')}" for place in places[:MOST]]
    more = f" and {len(places) - MOST} other places" if len(places) > MOST else ""
    return f"Below dataset.root={names.root} there are pictures: {', '.join(told)}{more}."


def describe_parts(places: Collection[Place]) -> str:
    """The places of masks that belong to some of the pictures of another place, with what to type to use these alone;
    "" if there are none."""
    told = []
    for images, masks in product([*places][:MOST], repeat=2):
        if (images.role, masks.role) == ("pictures", "masks"):
            reading = pair_places(images, masks)
            if 0 < reading.matched == masks.size:
                settings = settings_of(reading)
                told.append(
                    f"{masks.size} of {images.size} pictures in {one_line(images.folder)} have a mask in "
                    f"{one_line(masks.folder)}. To use these alone, say:\n  "
                    + (f"{settings} dataset.only_masked=true" if settings else PAIRS)
                )
    return "\n".join(told)


def describe_no_match(images: Place, masks: Place) -> str:
    """That the names of pictures and masks do not fit, with an example of each or with the several masks of one
    picture."""
    base = images.base
    for split, keys in images.files.items():
        there = masks.files.get(split, {})
        for key, found in group_masks(keys, there).items():
            if len(found) > 1:
                several = f"{len(found)} masks, such as {one_line(PurePosixPath(there[found[0]]).name)}"
                return (
                    f"{base}: {several}, belong to {one_line(keys[key])}, and segkit reads one mask for each picture. "
                    f"Merge them into one file, or name one for each picture: {PAIRS}."
                )
    first = [one_line(next(iter(next(iter(place.files.values())).values()), "")) for place in (images, masks)]
    return (
        f"{base}: the names of pictures and masks do not tell which belong together, such as {first[0]} and "
        f"{first[1]}. Say what they have in common with a * in dataset.image_pattern=… and dataset.mask_pattern=… "
        f"(in quotes, such as '*_mask.png'), or say {PAIRS}."
    )


def group_masks(images: Collection[str], masks: Collection[str]) -> Mapping[str, list[str]]:
    """The masks of each picture, by key, where every mask's key begins with its picture's key and a sign, or has a
    folder with one picture; empty if that does not hold for every mask."""
    alone: dict[str, str] = {}
    for key in images:
        folder = key.rpartition("/")[0]
        alone[folder] = key if folder and folder not in alone else ""
    found: dict[str, list[str]] = {}
    for mask in masks:
        starts = [mask[: sign.start()] for sign in SIGN.finditer(mask)]
        owner = next((start for start in reversed(starts) if start in images), alone.get(mask.rpartition("/")[0], ""))
        if not owner:
            return {}
        found.setdefault(owner, []).append(mask)
    return found


def find_further_masks(reading: Reading, names: Names) -> list[str]:
    """Files beside pictures and masks that are neither, but further masks by their names: `a_mask_1` beside `a` and
    `a_mask`."""
    if not reading.masks.names:
        return []
    sides = [
        {path for keys in all_files(place).values() for paths in keys.values() for path in paths}
        for place in reading[:2]
    ]
    used = sides[0] | sides[1]
    place = place_at(names.root, reading.masks.folder, "", "", names.paths)
    every = {path for keys in all_files(place).values() for paths in keys.values() for path in paths}
    stems = {str(PurePosixPath(path).with_suffix("")) for path in used}
    rest = {str(PurePosixPath(path).with_suffix("")): path for path in every - used}
    return sorted(
        path
        for stem, path in rest.items()
        if role_of(PurePosixPath(stem).name) == "masks"
        and any(stem[: sign.start()] in stems for sign in SIGN.finditer(stem))
    )


def describe_splits(reading: Reading) -> str:
    """A remark on splits that the names of all pictures tell, where no folder does."""
    told: dict[str, str] = {}
    for path in reading.images.files.get("", {}).values():
        stem = PurePosixPath(path).stem
        if not (split := mark_split(stem)[1]):
            return ""
        told.setdefault(split, stem)
    if len(told) < 2:
        return ""
    names = " and ".join(map(one_line, sorted(told.values())))
    return f"; names such as {names} tell splits, and no folder does: dataset.split_file=… can list them"
