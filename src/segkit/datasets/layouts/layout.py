"""The layout of a folder of pictures and masks, judged by names alone: before a file is read or torch imported."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from segkit.console import format_count
from segkit.datasets.findings import Finding, gather_findings, report_faults
from segkit.datasets.grouping import check_several, groups_of
from segkit.datasets.layouts.choosing import Choice, Given, choose_reading, read_given
from segkit.datasets.layouts.field_of_view import pair_fields
from segkit.datasets.layouts.pairs_file import Row, find_files, find_pairs_file, read_pairs_file
from segkit.datasets.layouts.places import Place, match_folder
from segkit.datasets.layouts.search import Reading, count_files, describe_reading, settings_of
from segkit.datasets.layouts.unclear import describe_mismatch, describe_splits
from segkit.datasets.layouts.usual import KINDS, find_no_pictures, find_usual_folders, is_usual, list_usual, read_usual
from segkit.datasets.listing import SAME_NAME, Names, Pair, list_names, match_pairs, tell_of_copy


@dataclass(frozen=True)
class Layout:
    """Where the pictures and masks of a data set are.

    splits: a function for each split that lists its pairs and reports what does not fit; "" if there are no splits.
    text: how they were found, in a line. images: the pictures' place. fields: `dataset.ignore_masks`. groups: those of
    a file of pairs, by picture. train_alone: the settings by which train is split where it is alone. empty: findings
    about folders without pictures.
    """

    root: Path
    splits: Mapping[str, Callable[[], list[Pair]]]
    text: str
    images: Place
    fields: str | None = None
    follow_links: bool = False
    groups: Mapping[Path, str] = field(default_factory=dict)
    train_alone: str = ""
    empty: Sequence[Finding] = ()

    @property
    def reading(self) -> str:
        """How files were found, and which pixels are ignored, in a line."""
        return self.text + (f"; what is black in {self.fields} is ignored" if self.fields else "")

    def find_fields(self) -> Mapping[Path, Path]:
        """The mask of the field of view of each picture; empty if there are none."""
        if not self.fields:
            return {}
        return pair_fields(
            self.images, self.fields, list_names(self.root, self.root, self.follow_links), [*self.splits]
        )

    def find_part(self, split: str, protocol: str) -> tuple[str, bool]:
        """Which of the splits a split is read from, and whether it is a share of it; FileNotFoundError if it is not
        there."""
        held_out = [name for name in ("val", "test") if name in self.splits]
        if "" in self.splits:
            return "", True
        if "train" not in self.splits or len(held_out) == 2:
            if split not in self.splits:
                raise FileNotFoundError(
                    f"{self.root} has no {split} folder, only {', '.join(self.splits)}.\n"
                    "Add it, or choose a split that exists."
                )
            return split, False
        if not held_out:
            remedy = f"To have train split, say {self.train_alone}" if self.train_alone else "Name such a split."
            raise FileNotFoundError(
                f"{self.root} has a train folder and nothing to score on; expected val (or valid) or test beside it.\n"
                f"{remedy}"
            )
        if split == "test" or (split == "val" and protocol == "published"):
            return held_out[0], False
        return "train", True


def check_layout(config: Mapping[str, Any]) -> None:
    """FileNotFoundError, ValueError or DataError if a command's data set is a folder whose layout `Folder` does not
    accept, or that has no pictures."""
    dataset = config["dataset"]
    if dataset.get("_target_") != "segkit.datasets.folder.Folder" or config.get("resume") is not None:
        return
    root = Path(dataset["root"]).expanduser()
    download = dataset["download"] if isinstance(dataset.get("download"), str) else ""
    given = Given(**{key: dataset[key] for key in Given._fields if dataset.get(key) is not None})
    with gather_findings():
        layout = read_layout(root, given, True, download)
        report_faults(*layout.empty)
        layout.find_fields()
    for split in ("train", "val", "test") if dataset.get("split_file") is None else ():
        layout.find_part(split, dataset.get("protocol", "honest"))
    names = [path for files in layout.images.files.values() for path in files.values()]
    groups = groups_of(names, dataset.get("groups"))
    if "" in layout.splits:
        check_several(names, groups, dataset.get("groups"))


def read_layout(root: Path, given: Given, follow_links: bool, download: str = "") -> Layout:
    """How to read a folder: by a file of pairs, by what the settings say, as images and masks folders, or by a search.

    FileNotFoundError or ValueError, with the settings to type, if that is not clear.
    """
    if given.pairs is not None:
        return read_pairs(root, given, follow_links)
    if not given.is_searched:
        names = list_names(root, root, follow_links)
        return make_layout(read_given(names, given), names, given, follow_links)
    usual = find_usual_folders(root)
    found = read_usual(root, usual, given.mask_suffix, follow_links) if usual else None
    if found is not None and (given.mask_suffix or is_usual(found)):
        if given.only_masked and found.matched:
            return make_layout(Choice(found), list_names(root, root, follow_links), given, follow_links)
        return make_usual_layout(found, usual, given, follow_links)
    names = list_names(root, root, follow_links)
    choice = choose_reading(names, given)
    if choice is not None:
        return make_layout(choice, names, given, follow_links)
    if found is not None:
        return make_usual_layout(found, usual, given, follow_links)
    report_faults(*(finding for _, finding in names.faults))
    raise FileNotFoundError(describe_nothing(names, download))


def describe_nothing(names: Names, download: str) -> str:
    """That no layout fits: what is there, and what was expected."""
    found = ", ".join(sorted(path.name for path in names.root.iterdir())[:8]) or "nothing"
    there = [kind for kind in KINDS if (names.root / kind).is_dir()]
    lacks = f" and has no {KINDS[1 - KINDS.index(there[0])]} folder" if len(there) == 1 else ""
    return (
        f"dataset.root={names.root} holds {found}{lacks}; expected train, val (or valid) and test, each with images "
        "and masks in it, or one pair of images and masks.\n"
        + (describe_mismatch(names) or download or "Set dataset.root to the folder that holds them.")
    )


def make_usual_layout(found: Reading, folders: Mapping[str, Path], given: Given, follow_links: bool) -> Layout:
    root = found.images.base
    lists = {
        split: partial(list_usual, folder, root, given.mask_suffix, follow_links) for split, folder in folders.items()
    }
    lacking = {
        folder: [kind for kind, place in zip(KINDS, found[:2], strict=True) if not place.files.get(split)]
        for split, folder in folders.items()
    }
    return Layout(
        root,
        lists,
        describe_reading(found),
        found.images,
        given.ignore_masks,
        follow_links,
        train_alone="dataset.images=train/images dataset.masks=train/masks",
        empty=[find_no_pictures(folder, kinds) for folder, kinds in lacking.items() if kinds],
    )


def make_layout(choice: Choice, names: Names, given: Given, follow_links: bool) -> Layout:
    reading = choice.reading.without_unmasked() if given.only_masked else choice.reading
    left_out = choice.reading.images.size - reading.images.size
    remark = f"; {format_count(left_out, 'picture')} without a mask left out" if left_out else ""
    kept = [split for split in reading.matches if split not in reading.missing]
    return Layout(
        names.root,
        {split: partial(list_found, reading, split, names) for split in kept},
        describe_reading(reading.of(kept)) + choice.remark + remark + describe_splits(reading),
        reading.images,
        given.ignore_masks,
        follow_links,
        train_alone=settings_of(reading, "train"),
    )


def list_found(reading: Reading, split: str, names: Names) -> list[Pair]:
    """The pairs of a split; what does not fit, and links that may not be followed, are reported."""
    root, masks = names.root, reading.masks
    for place in (reading.images, masks):
        report_faults(*(found for path, found in names.faults if is_in(place, path)))
        for one, other in place.doubles:
            files = (root / one, root / other)
            report_faults(Finding(SAME_NAME, f"{files[0]} and {files[1]} have the same name.", files=files))
        for one, other in place.copies:
            tell_of_copy(root / other, root / one)
    images = {key: root / path for key, path in reading.images.files[split].items()}
    there = masks.files[split if split in masks.files else ""]
    taken = {other for match in reading.matches.values() for other in match.pairs.values()}
    spare = {key + "*" * (key in images): root / path for key, path in there.items() if key not in taken}
    paired = {key: root / there[other] for key, other in reading.matches[split].pairs.items()}
    return match_pairs(images, spare | paired, root)


def is_in(place: Place, path: str) -> bool:
    """Whether a path below the root, or its folder, belongs to a place."""
    parts, template = path.split("/"), [part for part in place.folder.split("/") if part]
    return match_folder(template, parts[:-1]) is not None or match_folder(template, parts) is not None


def read_pairs(root: Path, given: Given, follow_links: bool) -> Layout:
    """The layout that a file of pairs describes."""
    path = find_pairs_file(root, str(given.pairs), follow_links)
    own = [path.parent] if path.parent.absolute().is_relative_to(root.absolute()) else []
    images, masks = ([root / folder] if folder else [root, *own] for folder in (given.images, given.masks))
    found = find_files(read_pairs_file(path), path, images, masks, None if follow_links else root.resolve())
    by_split: dict[str, list[tuple[Row, Pair]]] = {}
    for row, pair in sorted(found, key=lambda entry: entry[1].image.as_posix()):
        by_split.setdefault(row.split, []).append((row, pair))
    files = {
        split: {str(name.with_suffix("")): str(name) for name in (below(pair.image, root) for _, pair in rows)}
        for split, rows in by_split.items()
    }
    groups = {pair.image: row.group or str(below(pair.image, root)) for row, pair in found}
    counts = count_files({split: len(rows) for split, rows in by_split.items()})
    return Layout(
        root,
        {split: partial(list, [pair for _, pair in rows]) for split, rows in by_split.items()},
        f"{counts} and their masks as {path} pairs them",
        Place(root, "", "", "pictures", files),
        given.ignore_masks,
        follow_links,
        groups if any(row.group for row, _ in found) else {},
    )


def below(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(root).as_posix())
