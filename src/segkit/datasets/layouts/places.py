"""Places of pictures: folders and names of one kind, such as `{split}/images`, `*/*_lesion` or `*_mask.png`."""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segkit.datasets.layouts.folder_names import FORMATS, SPLIT_OF, Role, mark_split, role_of, split_of

LOSSY = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".webp", ".avif"}
MOST = 0.9  # share of the files that a folder above the data set must hold
WILD = re.compile(r"\*|\?|\[[^]/]+\]")
SPLIT = "{split}"
MOST_WILD, LONGEST = 2, 255  # of a folder's name; letters of a pattern
UNNAMED = "(…)"  # names of files that no pattern tells from others


class Place(NamedTuple):
    """Where the files of one kind lie.

    folder: below `base`, "" for `base` itself; `{split}` stands for a split's name, and `*` for a part of the key.
    names: a pattern of their names, whose wild part is the key, or "" for all. files: the path below `base` of each
    key, by split ("" if there are no splits). copies: files left out for another of their key. doubles: files whose
    key has another file, too, of which none can be preferred.
    """

    base: Path
    folder: str
    names: str
    role: Role
    files: Mapping[str, Mapping[str, str]]
    copies: Sequence[tuple[str, str]] = ()
    doubles: Sequence[tuple[str, str]] = ()

    @property
    def size(self) -> int:
        """How many files there are."""
        return sum(map(len, self.files.values()))


class Spot(NamedTuple):
    """What a folder says: its place's folder, the split, the part of the key, and the role."""

    folder: str
    split: str
    key: str
    role: Role


def find_places(base: Path, paths: Iterable[str], names: str = "") -> list[Place]:
    """The places in which files lie whose names a pattern matches, judged by the names of their folders; those of most
    files first."""
    paths = [path for path in paths if not names or match_name(names, path.rpartition("/")[2]) is not None]
    folders = Counter(path.rpartition("/")[0] for path in paths)
    split_up = {folder: tuple(filter(None, folder.split("/"))) for folder in folders}
    known = Folders.of({split_up[folder]: count for folder, count in folders.items()})
    spots = {folder: known.locate(parts) for folder, parts in split_up.items()}
    found: dict[str, list[tuple[str, str, str]]] = {}
    roles: dict[str, Role] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        spot = spots[folder]
        roles[spot.folder] = spot.role
        key = "/".join(filter(None, [spot.key, match_name(names, name)]))
        found.setdefault(spot.folder, []).append((spot.split, key, path))
    made = [make_place(base, folder, names, roles[folder], entries) for folder, entries in found.items()]
    return sorted(made, key=lambda place: (-place.size, place.folder))


class Folders(NamedTuple):
    """What must be known of all folders to judge one. common: how many names above are those of almost all files.
    strict: splits are named by whole names alone, since else there would be one. named: whether any has a role. above:
    those that have one with a role in them."""

    common: int
    strict: bool
    named: bool
    above: Collection[tuple[str, ...]]

    @classmethod
    def of(cls, folders: Mapping[tuple[str, ...], int]) -> "Folders":
        strict = len({split for parts in folders for name in parts if (split := mark_split(name)[1])}) < 2
        common, rest = 0, dict(folders)
        total = sum(folders.values())
        while True:
            counts: Counter[str] = Counter()
            for parts, count in rest.items():
                if len(parts) > common and not mark_split(parts[common], strict)[1]:
                    counts[parts[common]] += count
            name, count = max(counts.items(), key=lambda entry: entry[1], default=("", 0))
            if count < MOST * total or not count:
                break
            rest = {parts: count for parts, count in rest.items() if len(parts) > common and parts[common] == name}
            common += 1
        roles = [(parts, at) for parts in rest for at in range(common, len(parts)) if role_of(parts[at])]
        return cls(common, strict, bool(roles), {parts[:at] for parts, at in roles})

    def locate(self, parts: tuple[str, ...]) -> Spot:
        """The place of a folder: its names down to the last one with a role or split; what is below, and names without
        either, are part of the key."""
        marks = [mark_split(name, self.strict) for name in parts]
        roles: list[Role] = [role_of(name) if at >= self.common else "" for at, name in enumerate(parts)]
        repeating = [at for at in range(1, len(parts)) if len(parts[at - 1]) > 1 and parts[at - 1] in parts[at]]
        own = [at for at, role in enumerate(roles) if role] or [at for at in repeating if at >= self.common]
        last = max([*own[-1:], *(at for at, (_, split) in enumerate(marks) if split), self.common - 1])
        if self.named and last < self.common <= len(parts) - 1:
            last = self.common
        folder, key = [], []
        for at, name in enumerate(parts[: last + 1]):
            if marks[at][1]:
                folder.append(marks[at][0])
            elif at in repeating and folder[-1] == "*":
                folder.append(name.replace(parts[at - 1], "*"))
            elif (
                at < self.common
                or roles[at]
                or name.lower() in FORMATS
                or (at == last and parts[: at + 1] not in self.above)
            ):
                folder.append(name)
            else:
                folder.append("*")
                key.append(name)
        role: Role = next((role for role in reversed(roles) if role), "")
        split = next((split for _, split in marks if split), "")
        return Spot("/".join(folder), split, "/".join([*key, *parts[last + 1 :]]), role)


def make_place(base: Path, folder: str, names: str, role: Role, entries: Iterable[tuple[str, str, str]]) -> Place:
    """A place from (split, key, path) of each file. If files share keys, those of one extension that all keys have are
    taken, lossless ones before others."""
    found: dict[str, dict[str, list[str]]] = {}
    for split, key, path in entries:
        found.setdefault(split, {}).setdefault(unicodedata.normalize("NFC", key), []).append(path)
    groups = [paths for keys in found.values() for paths in keys.values()]
    copies: list[tuple[str, str]] = []
    doubles: list[tuple[str, str]] = []
    if any(len(paths) > 1 for paths in groups):
        shared = set.intersection(*({extension(path) for path in paths} for paths in groups))
        best = min(shared, key=lambda ending: (ending in LOSSY, ending), default="")
        for paths in groups:
            paths.sort(key=lambda path: (extension(path) != best, path))
            same = doubles if not best or [*map(extension, paths)].count(best) > 1 else copies
            same += [(paths[0], path) for path in paths[1:]]
    files = {split: {key: paths[0] for key, paths in keys.items()} for split, keys in found.items()}
    return Place(base, folder, names, role, files, copies, doubles)


def extension(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


def place_at(base: Path, folder: str, names: str, role: Role, paths: Iterable[str]) -> Place:
    """The place of a folder and of a pattern of names that a person gave; it has no files if there are none."""
    template = tuple(part for part in folder.split("/") if part not in ("", "."))
    spots: dict[str, tuple[str, str] | None] = {}
    entries = []
    for path in paths:
        above, _, name = path.rpartition("/")
        if above not in spots:
            spots[above] = match_folder(template, tuple(filter(None, above.split("/"))))
        spot, key = spots[above], match_name(names, name)
        if spot is not None and key is not None:
            entries.append((spot[0], "/".join(filter(None, [spot[1], key])), path))
    return make_place(base, "/".join(template), names, role, entries)


def match_folder(template: Sequence[str], parts: Sequence[str]) -> tuple[str, str] | None:
    """The split and the key's part of a folder that a template describes, or that lies below such a one; else None."""
    if len(parts) < len(template):
        return None
    split, key = "", []
    for wanted, name in zip(template, parts, strict=False):
        if wanted == name:
            continue
        found = compile_folder(wanted).fullmatch(name)
        if found is None:
            return None
        told = {split_of(word, alone=False) or mark_split(word)[1] for word in found.groupdict("").values() if word}
        if len(told | {split} - {""}) > 1:
            return None
        split = next(iter(told), split)
        if "*" in wanted and SPLIT not in wanted:
            key.append(name)
    return split, "/".join([*key, *parts[len(template) :]])


@cache
def compile_folder(name: str) -> re.Pattern[str]:
    """The pattern of a folder's name with `{split}` and `*`; ValueError for more than two of either, which could take
    long (a stored config may come from anyone)."""
    if name.count("*") > MOST_WILD or name.count(SPLIT) > MOST_WILD:
        raise ValueError(f"{name[:80]}: expected a folder's name with at most two * and two {SPLIT} in it.")
    words = "|".join(sorted((re.escape(word) for word in SPLIT_OF), key=len, reverse=True))
    pieces = [re.escape(piece) for piece in re.split(r"\{split\}", name)]
    pattern = pieces[0]
    for at, piece in enumerate(pieces[1:]):
        pattern += f"(?P<s{at}>(?i:{words}|train[ _-]?val))" + piece
    return re.compile(pattern.replace(r"\*", ".*"))


def match_name(pattern: str, name: str) -> str | None:
    """The key of a file: the part of its name that the wild part of a pattern matches, or without a pattern its name
    without extension; None if the pattern does not match."""
    if not pattern:
        return PurePosixPath(name).stem
    found = compile_names(pattern).fullmatch(name)
    return found["key"] if found else None


def is_pattern(text: str) -> bool:
    """Whether a text may be a pattern of names: a file's own name may have any number of `*`, a pattern has one."""
    return text.count("*") <= 1 and len(text) <= LONGEST


@cache
def compile_names(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern of names with one `*` and any `?` and `[…]`; ValueError for others."""
    if not is_pattern(pattern):
        raise ValueError(f"{pattern[:80]}: expected a pattern of files' names with one *, such as '*_mask.png'.")
    wild = list(WILD.finditer(pattern))
    if not wild:
        return re.compile(f"(?P<key>){re.escape(pattern)}", re.IGNORECASE)
    start, end = wild[0].start(), wild[-1].end()
    inside, at = "", start
    for piece in wild:
        inside += re.escape(pattern[at : piece.start()])
        inside += {"*": ".*", "?": "."}.get(piece[0], piece[0].replace("\\", r"\\").replace("[!", "[^"))
        at = piece.end()
    try:
        return re.compile(f"{re.escape(pattern[:start])}(?P<key>{inside}){re.escape(pattern[end:])}", re.IGNORECASE)
    except re.error as error:
        raise ValueError(f"{pattern}: not a pattern of files' names ({error}).") from None


def name_split(place: Place, split: str) -> str:
    """The folder of a split as it is called, from the path of its first file."""
    first = next(iter(place.files[split].values()), "")
    template = place.folder.split("/") if place.folder else []
    return "/".join(first.split("/")[: len(template)])
