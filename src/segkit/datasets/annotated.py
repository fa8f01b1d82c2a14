"""Finding the picture of each entry in an annotation file. Names in the file are only compared with those of pictures
below one folder; nothing else is ever opened, whatever they say."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import unquote

from segkit.datasets.findings import Finding, Kind, report_faults
from segkit.files.reading import PICTURE_SUFFIXES
from segkit.formats.model import Picture

OUTSIDE = Kind(
    "name that leads out of the folder of pictures",
    "names that lead out of the folder of pictures",
    "Expected names of files below images=…. by_name=true looks there for the file name alone, ignoring the path or "
    "address before it.",
)
MISSING = Kind(
    "missing picture",
    "missing pictures",
    "Copy them there, set images= to their folder, or say missing=skip to leave them out.",
)
SEVERAL = Kind(
    "ambiguous name",
    "ambiguous names",
    "Set images= to the folder that is meant, or remove the other pictures.",
)
TWICE = Kind(
    "picture that is listed twice",
    "pictures that are listed twice",
    "Expected one entry for each picture. Merge them in the tool, or remove one of them.",
)
SAME_MASK = Kind(
    "two pictures whose masks would have the same name",
    "pairs of pictures whose masks would have the same name",
    "A mask has the name of its picture up to the extension. Rename one of the two, also in the annotation file.",
)
LINK_OUT = Kind(
    "link that leads out of the folder of pictures",
    "links that lead out of the folder of pictures",
    "Copy the files there.",
)


class Match(NamedTuple):
    """An entry, the file of its picture, and that file's path below the folder of pictures."""

    picture: Picture
    file: Path
    key: str


class Matches(NamedTuple):
    """Entries with their files, names of entries without one, and the number of pictures without an entry."""

    found: list[Match]
    missing: list[str]
    unlisted: int


def match_entries(pictures: Sequence[Picture], folder: Path, missing: str, by_name: bool) -> Matches:
    """The file of each picture. A missing one is a fault unless `missing` is `skip`; all faults are reported (see
    `findings.report_faults`)."""
    index = Index(folder)
    found: list[Match] = []
    skipped: list[str] = []
    for picture in pictures:
        keys: list[str] = []
        for name in (picture.name, *picture.others):
            plain = resolve_name(name, folder, picture.base, by_name)
            if plain is None:
                report_faults(Finding(OUTSIDE, f"{picture.where}: {name!r} is {describe_name(name)}."))
                break
            keys = index.find(plain, picture.stem)
            if keys:
                break
        else:
            if missing == "skip":
                skipped.append(picture.name)
            else:
                report_faults(Finding(MISSING, f"{picture.where}: there is no {picture.name} in {folder}."))
        if len(keys) > 1:
            report_faults(
                Finding(SEVERAL, f"{picture.where}: {picture.name} may be {' or '.join(keys[:4])} in {folder}.")
            )
        elif keys and index.is_inside(keys[0]):
            found.append(Match(picture, folder / keys[0], keys[0]))
    check_unique(found)
    return Matches(found, skipped, index.count - len(found))


class Index:
    """The pictures below a folder, by their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.by_name: dict[str, list[str]] = defaultdict(list)
        for above, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
            for name in sorted(names):
                path = PurePosixPath(Path(above, name).relative_to(folder).as_posix())
                if path.suffix.lower() in PICTURE_SUFFIXES and not name.startswith("."):
                    self.count += 1
                    self.by_name[compose_letters(path.name)].append(str(path))
                    self.by_name[compose_letters(path.stem) + "/"].append(str(path))  # no file is called that

    def find(self, name: str, stem: bool) -> list[str]:
        """The pictures that a name may mean: the one with that path, or those whose path ends with it or is its end."""
        name = compose_letters(name)
        last = name.rpartition("/")[2]
        keys = self.by_name.get(last + "/" if stem else last, [])
        paths = [(key, compose_letters(f"/{PurePosixPath(key).with_suffix('') if stem else key}")) for key in keys]
        same = [key for key, path in paths if path == f"/{name}"]
        return same or [key for key, path in paths if path.endswith(f"/{name}") or f"/{name}".endswith(path)]

    def is_inside(self, key: str) -> bool:
        """Whether a picture is in the folder, with links resolved; if not, that is reported."""
        target = (self.folder / key).resolve()
        if target.is_relative_to(self.folder.resolve()) and target.is_file():
            return True
        report_faults(Finding(LINK_OUT, f"{self.folder / key} is a link to {target}, outside {self.folder}."))
        return False


def compose_letters(name: str) -> str:
    """A name with letters such as ü as one character; some file systems store them as two."""
    return unicodedata.normalize("NFC", name)


def describe_name(name: str) -> str:
    """What a name is if it is not that of a file in a folder, else ""."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", name):
        return "an address"
    if re.match(r"[/\\~]|[A-Za-z]:", name):
        return "a path from the root of a disk"
    if ".." in re.split(r"[/\\]", name):
        return "a path that leads upwards"
    if not name.strip() or re.search(r"[\x00-\x1f]", name):
        return "not the name of a file"
    return ""


def resolve_name(name: str, folder: Path, base: Path | None, by_name: bool) -> str | None:
    """A name as a path below the folder of pictures, with `/` between its parts; None if it leads out of it. base: the
    folder that names with .. are relative to."""
    if by_name:
        is_address = describe_name(name) == "an address"
        name = re.split(r"[/\\]", unquote(re.sub(r"[?#].*", "", name)) if is_address else name)[-1]
    if base is not None and describe_name(name) == "a path that leads upwards":
        full = Path(os.path.normpath(base.absolute() / name.replace("\\", "/")))
        root = Path(os.path.normpath(folder.absolute()))
        return full.relative_to(root).as_posix() if full.is_relative_to(root) else None
    if describe_name(name):
        return None
    return "/".join(part for part in re.split(r"[/\\]", name) if part not in ("", "."))


def check_unique(found: Sequence[Match]) -> None:
    """Report pictures that are listed twice, and those whose masks would be the same file."""
    first: dict[str, Match] = {}
    masks: dict[str, str] = {}
    for one in found:
        if one.key in first:
            report_faults(
                Finding(TWICE, f"{one.key} is listed by {first[one.key].picture.where} and by {one.picture.where}.")
            )
            continue
        first[one.key] = one
        stem = str(PurePosixPath(one.key).with_suffix("")).casefold()
        if stem in masks:
            report_faults(Finding(SAME_MASK, f"{masks[stem]} and {one.key} would have the same mask."))
        masks[stem] = one.key
