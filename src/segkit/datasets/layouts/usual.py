"""The usual layout: `images` and `masks` with equal names, in one folder or in those of the splits."""

import os
from collections.abc import Mapping
from pathlib import Path

from segkit.datasets.findings import Finding, Kind, report_faults
from segkit.datasets.layouts.folder_names import mark_split
from segkit.datasets.layouts.matching import NAMES, Match, as_they_are, join
from segkit.datasets.layouts.places import SPLIT, place_at
from segkit.datasets.layouts.search import Reading
from segkit.datasets.listing import Pair, find_pictures, list_names, match_pairs
from segkit.files.reading import PICTURE_SUFFIXES

EMPTY = Kind("folder without pictures", "folders without pictures", "Add some, or convert those that are there.")
KINDS = ("images", "masks")


def find_usual_folders(root: Path) -> dict[str, Path]:
    """The folders with `images` and `masks` in them: those of the splits, or `root` itself as ""; none if there are
    none, or if one of the splits lacks either."""
    here = {name: root / name for name in ("train", "val", "valid", "test") if (root / name).is_dir()}
    if "val" in here and "valid" in here:
        raise ValueError(f"{root} has both a val and a valid folder; expected one of them. Remove the other.")
    if "valid" in here:
        here["val"] = here.pop("valid")
    pictured = [name for name, folder in here.items() if may_have_pictures(folder)]
    if pictured and (root / "images").is_dir():
        raise ValueError(
            f"{root} has an images folder and split folders ({', '.join(sorted(here))}); "
            "expected one or the other.\n"
            "Remove one of them, set dataset.root to a folder with one layout, or say what to read:\n"
            "  dataset.images=images dataset.masks=masks"
        )
    found = here if pictured or not (root / "images").is_dir() else {"": root}
    there = {folder: [kind for kind in KINDS if (folder / kind).is_dir()] for folder in found.values()}
    for folder, kinds in there.items():
        if len(kinds) == 1 and not may_have_pictures(folder):
            missing = KINDS[1 - KINDS.index(kinds[0])]
            raise FileNotFoundError(f"{folder} has no {missing} folder; expected images and masks in it. Add it.")
    return found if all(len(kinds) == 2 for kinds in there.values()) else {}


def read_usual(root: Path, folders: Mapping[str, Path], suffix: str, follow_links: bool) -> Reading:
    """Images with masks of the same name (and `suffix`) in the usual folders."""
    paths = [
        f"{(folder / kind).relative_to(root).as_posix()}/{path}"
        for folder in folders.values()
        for kind in KINDS
        for path in list_names(folder / kind, root, follow_links).paths
    ]
    above = "" if "" in folders else f"{SPLIT}/"
    images = place_at(root, f"{above}images", "", "pictures", paths)
    masks = place_at(root, f"{above}masks", "", "masks", paths)
    files = {
        split: {key.removesuffix(suffix): path for key, path in keys.items()} for split, keys in masks.files.items()
    }
    masks = masks._replace(files=files)
    matches = {
        split: Match(NAMES, join(as_they_are(keys), as_they_are(files.get(split, {}))))
        for split, keys in images.files.items()
    }
    return Reading(images, masks, matches)


def is_usual(found: Reading) -> bool:
    """Whether images and masks folders are what they seem: some names are equal, or a folder is empty. Folders of
    splits in both, such as images/train, are another layout."""
    if not (found.images.size and found.masks.size):
        return True
    tops = [{key.partition("/")[0] for keys in place.files.values() for key in keys} for place in found[:2]]
    nested = "" in found.images.files and all(mark_split(top, strict=True)[1] for both in tops for top in both)
    return found.matched > 0 and not (nested and len(tops[0]) > 1)


def list_usual(folder: Path, root: Path, suffix: str, follow_links: bool) -> list[Pair]:
    """The pairs of a folder with images and masks; what does not fit is reported."""
    images = find_pictures(folder / "images", root, follow_links=follow_links)
    masks = find_pictures(folder / "masks", root, suffix, follow_links=follow_links)
    if not (images and masks):
        empty = [name for name, found in (("images", images), ("masks", masks)) if not found]
        report_faults(find_no_pictures(folder, empty))
        return []
    return match_pairs(images, masks, folder)


def may_have_pictures(folder: Path) -> bool:
    """Whether a folder has a picture, or a link that may lead to one; stops at the first."""
    for above, folders, files in os.walk(folder):
        if any(Path(name).suffix.lower() in PICTURE_SUFFIXES and not name.startswith(".") for name in files):
            return True
        if any(Path(above, name).is_symlink() for name in folders):
            return True
    return False


def find_no_pictures(folder: Path, names: list[str]) -> Finding:
    """The finding that folders hold no pictures, with what they hold instead."""
    others = sorted(path.name for name in names for path in (folder / name).iterdir() if path.name[0] != ".")
    more = f" but {', '.join(others[:5])}{', …' * (len(others) > 5)}" if others else ""
    hold = "folders hold" if len(names) > 1 else "folder holds"
    endings = " ".join(sorted(PICTURE_SUFFIXES))
    fact = f"{folder}: its {' and '.join(names)} {hold} no pictures{more}; expected files ending in {endings}."
    return Finding(EMPTY, fact)
