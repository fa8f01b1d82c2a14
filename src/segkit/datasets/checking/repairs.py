"""A repaired copy of a data set: what the settings mean, in files that mean it by themselves. The original is never
touched."""

import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX, hardware
from segkit.configs.composing import format_argument, key_of, list_argument
from segkit.configs.kinds import LOADING
from segkit.configs.places import COPY, OF_A_CHECK
from segkit.console import format_count
from segkit.datasets.checking.checkup import Checkup
from segkit.datasets.checking.problems import NEAR_ACROSS
from segkit.datasets.checking.survey import distinct
from segkit.datasets.common import SHARED, SPLITS
from segkit.datasets.findings import DataError, Findings, collect_findings
from segkit.datasets.listing import Pair
from segkit.datasets.reading import orientation_of, read_mask_file
from segkit.datasets.scan import read_all
from segkit.datasets.source import Source, extras_of
from segkit.files.tables import csv_text
from segkit.files.writing import part_of, write_bytes, write_text

PAIRS = "pairs.csv"
GREY = 128  # in the copy's masks of one class: ignored
USUAL_SIZE = 256  # of dataset=folder


class Repair(NamedTuple):
    """What was done for a file of the original."""

    split: str
    file: str
    done: str


class Copied(NamedTuple):
    """A row of the copy's pairs.csv: files below the copy's folder."""

    image: str
    mask: str
    split: str
    group: str


class Done(NamedTuple):
    """What became of a split: what was repaired, its files, and whether masks have ignored pixels."""

    repairs: list[Repair]
    copied: list[Copied]
    ignored: bool


def write_copy(checkup: Checkup, folder: Path, words: Sequence[str]) -> tuple[list[Repair], str]:
    """Write {train,val,test}/{images,masks} and repairs.csv into a folder, and pairs.csv for groups; returns
    what was repaired, and the command that trains on the copy. words: of the command line that read the original.

    Masks become PNG of 0 and 255, or of the classes' numbers; those of another scale are resized, and those drawn on
    unturned pixels turned with their pictures. Pictures are copied as they are, but for those with an EXIF orientation,
    which become turned PNG. What cannot be read is left out, and so are training pictures that are the same as ones of
    validation or test. Raises ValueError if that leaves a split empty.
    """
    leave_out = find_left_out(checkup)
    splits = dict(distinct(checkup.data.sources))
    same = "test" not in splits  # val and test are the same pictures
    places = {split: "test" if same and split == "val" else split for split in splits}
    made = list[Done]()
    with part_of(folder, COPY, OF_A_CHECK) as part:
        for split, source in splits.items():
            made.append(copy_split(part, split, places[split], source, leave_out))
            if not made[-1].copied:
                raise ValueError(f"nothing of {split} can be copied: see findings.csv. Add pictures to it first.")
        for place in places.values():
            (part / place).rename(folder / place)
    repairs = [one for done in made for one in done.repairs]
    copied = [one for done in made for one in done.copied]
    named = {repair.file for repair in repairs}
    paired = {str(path) for source in splits.values() for pair in extras_of(source).files for path in pair}
    lost = [one for one in checkup.of("error") if one.file and one.file not in named | paired]
    repairs += [Repair(one.split, one.file, f"left out: {one.fact}") for one in lost]
    write_text(folder / "repairs.csv", csv_text([Repair._fields, *repairs]))
    if grouped := any(one.group for one in copied):
        write_text(folder / PAIRS, csv_text([Copied._fields, *copied]))
    ignores = any(done.ignored for done in made)
    return repairs, describe_command(checkup, folder, words, ignores, same, grouped)


def find_left_out(checkup: Checkup) -> dict[str, str]:
    """Files to leave out with their partners, and why: what training refuses, and what training (or validation) shares
    with test."""
    order = {record.image: SPLITS.index(record.split) for record in checkup.survey.unique()}
    found = {}
    for problem in checkup.problems:
        if problem.finding.kind in (SHARED, NEAR_ACROSS):
            first, second = sorted((problem.file, problem.other), key=lambda file: order[file])
            found[first] = f"left out with its mask: {second} is the same picture"
        elif problem.severity == "error" and problem.file:
            found[problem.file] = f"left out: {problem.fact}"
    return found


def copy_split(part: Path, split: str, place: str, source: Source, leave_out: Mapping[str, str]) -> Done:
    """Copy a split into the folder `place` of `part`."""
    files, groups, targets = extras_of(source).files, extras_of(source).groups, choose_places(source.names)
    done, copied = dict[int, list[str]](), dict[int, Copied]()
    ignored = set[bool]()
    with collect_findings(repair=True) as found:

        def one(index: int) -> None:
            pair = files[index] if files else None
            if pair is not None and (why := [leave_out[str(path)] for path in pair if str(path) in leave_out]):
                done[index] = why
                return
            try:
                sample = source[index]
            except DataError as error:
                done[index] = [f"left out: {finding.fact}" for finding in error.findings]
                return
            mask = sample["mask"].numpy()
            ignored.add(bool((mask == IGNORE_INDEX).any()))
            values = spell_out(mask, len(source.classes))
            image = np.ascontiguousarray(sample["image"].permute(1, 2, 0).numpy())
            picture, done[index] = write_image(part / place / "images", targets[index], pair, image)
            drawn = part / place / "masks" / f"{targets[index]}.png"
            done[index] = [*done[index], *write_mask(drawn, pair, values, found)]
            names = [path.relative_to(part).as_posix() for path in (picture, drawn)]
            copied[index] = Copied(names[0], names[1], place, groups[index] if groups else "")

        with suppress(DataError):  # of files that are left out
            read_all(one, source, hardware.cores())
    names = [str(files[index].image) if files else source.names[index] for index in range(len(source))]
    repairs = [Repair(split, names[index], text) for index in sorted(done) for text in done[index]]
    return Done(repairs, [copied[index] for index in sorted(copied)], True in ignored)


def choose_places(names: Sequence[str]) -> list[PurePosixPath]:
    """A place for each picture, without its suffix, below images and masks: its name below what all have in common."""
    parts = [[part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")] for name in names]
    common = 0
    while all(len(some) > common + 1 for some in parts) and len({some[common] for some in parts}) == 1:
        common += 1
    found, taken = [], set[str]()
    for some in parts:
        place = PurePosixPath(*some[common:]).with_suffix("") if some else PurePosixPath("picture")
        while str(place) in taken:
            place = place.with_name(f"{place.name}_")
        taken.add(str(place))
        found.append(place)
    return found


def spell_out(mask: NDArray[np.uint8], classes: int) -> NDArray[np.uint8]:
    """A mask's values as the copy has them: of one class 0, 255 and 128 for what is ignored."""
    if classes > 1:
        return mask
    return np.where(mask == IGNORE_INDEX, GREY, np.where(mask == 1, 255, 0)).astype(np.uint8)


def write_image(
    folder: Path, place: PurePosixPath, pair: Pair | None, image: NDArray[np.uint8]
) -> tuple[Path, list[str]]:
    """Copy a picture; returns where it is, and what was done to it."""
    if pair is not None and orientation_of(pair.image) == 1:
        target = folder / f"{place}{pair.image.suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(pair.image, target)
        return target, []
    target = folder / f"{place}.png"
    write_png(target, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    turned = "picture turned as its EXIF orientation says, and saved as PNG without the tag"
    return target, [] if pair is None else [turned]


def write_mask(target: Path, pair: Pair | None, values: NDArray[np.uint8], found: Findings) -> list[str]:
    """Write a mask; returns what was done to it."""
    write_png(target, values)
    if pair is None:
        return []
    done = [text for file, text in (found.repairs or {}).items() if file == str(pair.mask)]
    stored = read_mask_file(pair.mask).values
    if not done and not np.array_equal(stored, values):
        colors = stored.reshape(-1, stored.shape[2]) if stored.ndim == 3 else stored.reshape(-1, 1)
        meant = ", ".join(map(str, np.unique(values).tolist()))
        count = format_count(len(np.unique(colors, axis=0)), "value")
        done = [f"mask written as it is meant: {count} became {meant}"]
    return done


def write_png(path: Path, pixels: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, encoded = cv2.imencode(".png", pixels)
    write_bytes(path, encoded.tobytes())


def describe_command(
    checkup: Checkup, folder: Path, words: Sequence[str], ignores: bool, same: bool, grouped: bool
) -> str:
    """The command line that trains on the copy."""
    data, classes = checkup.data, list(checkup.survey.classes)
    kept = [word for word in words if key_of(word) in {*LOADING, "augment"} - {"dataset.classes"}]
    line = ["dataset=folder", format_argument("dataset.root", folder), list_argument("dataset.classes", classes)]
    line += [f"dataset.ignore_values=[{GREY}]"] if ignores and len(classes) == 1 else []
    line += ["dataset.protocol=published"] if same else []
    line += [f"dataset.pairs={PAIRS}"] if grouped else []
    if not any(word.startswith("dataset.size=") for word in kept) and data.size != (USUAL_SIZE, USUAL_SIZE):
        line.append(f"dataset.size=[{data.size[0]},{data.size[1]}]")
    return " ".join(["python -m segkit.train", *line, *map(shlex.quote, kept)])
