"""The layout of a folder of pictures and masks, judged by names alone: before a file is read or torch imported."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segkit.datasets.findings import Finding, Kind, gather_findings, report_faults
from segkit.datasets.reading import EXTENSIONS

EMPTY = Kind("folder without pictures", "folders without pictures", "Add some, or convert those that are there.")


def check_layout(config: Mapping[str, Any]) -> None:
    """FileNotFoundError, ValueError or DataError if a command's data set is a folder whose layout `Folder` does not
    accept, or that has no pictures."""
    dataset = config["dataset"]
    if dataset.get("_target_") != "segkit.datasets.folder.Folder" or config.get("resume") is not None:
        return
    root = Path(dataset["root"]).expanduser()
    folders = find_split_folders(root, dataset["download"] if isinstance(dataset.get("download"), str) else "")
    with gather_findings():
        for folder in folders.values() if folders else [root]:
            check_pair_folders(folder)
            if empty := [name for name in ("images", "masks") if not may_have_pictures(folder / name)]:
                report_faults(find_no_pictures(folder, empty))


def check_pair_folders(folder: Path) -> None:
    """FileNotFoundError unless a folder has an images and a masks folder."""
    for name in ("images", "masks"):
        if not (folder / name).is_dir():
            raise FileNotFoundError(f"{folder} has no {name} folder; expected images and masks in it. Add it.")


def may_have_pictures(folder: Path) -> bool:
    """Whether a folder has a picture, or a link that may lead to one; stops at the first."""
    for above, folders, files in os.walk(folder):
        if any(Path(name).suffix.lower() in EXTENSIONS and not name.startswith(".") for name in files):
            return True
        if any(Path(above, name).is_symlink() for name in folders):
            return True
    return False


def find_split_folders(root: Path, download: str) -> dict[str, Path]:
    """The folders of the splits that exist; none if there are `images` and `masks` instead."""
    here = {name: root / name for name in ("train", "val", "valid", "test") if (root / name).is_dir()}
    if "val" in here and "valid" in here:
        raise ValueError(f"{root} has both a val and a valid folder; expected one of them. Remove the other.")
    if "valid" in here:
        here["val"] = here.pop("valid")
    if here and (root / "images").is_dir():
        raise ValueError(
            f"{root} has an images folder and split folders ({', '.join(sorted(here))}); "
            "expected one or the other.\n"
            "Remove one of them, or set dataset.root to a folder with one layout."
        )
    if not here and not (root / "images").is_dir():
        found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) or "nothing"
        raise FileNotFoundError(
            f"dataset.root={root} holds {found}; expected train, val (or valid) and test, each "
            "with images and masks in it, or one pair of images and masks.\n"
            f"{download or 'Set dataset.root to the folder that holds them.'}"
        )
    return here


def find_no_pictures(folder: Path, names: list[str]) -> Finding:
    """The finding that folders hold no pictures, with what they hold instead."""
    others = sorted(path.name for name in names for path in (folder / name).iterdir() if path.name[0] != ".")
    more = f" but {', '.join(others[:5])}{', …' * (len(others) > 5)}" if others else ""
    hold = "folders hold" if len(names) > 1 else "folder holds"
    endings = " ".join(sorted(EXTENSIONS))
    fact = f"{folder}: its {' and '.join(names)} {hold} no pictures{more}; expected files ending in {endings}."
    return Finding(EMPTY, fact)
