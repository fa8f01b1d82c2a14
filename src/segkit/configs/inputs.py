"""What `input=` names: files, folders, patterns, names on standard input, videos, cameras and streams."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from segkit import console
from segkit.files.patterns import WILDCARD, find_matches, split_pattern
from segkit.files.reading import PICTURE_SUFFIXES, VIDEO_SUFFIXES

STDIN = "-"
STREAM = re.compile(r"(?:rtsps?|rtmps?|https?|udp|tcp|srt)://.+|camera:\d+", re.IGNORECASE)


class Input(NamedTuple):
    """Something to predict. source: the path or address, as it was given; name: of its results, without a suffix, below
    each folder of them; below: its path below the folder or pattern that named it."""

    source: str
    name: str
    below: str
    kind: Literal["picture", "video", "stream"]

    @property
    def shown(self) -> str:
        """The source without the password of an address."""
        return hide_password(self.source)

    @property
    def key(self) -> str:
        """What it is called in a journal."""
        return key_of(self.source)


class Found(NamedTuple):
    """A source, and its path below the folder or pattern that named it."""

    source: str
    below: PurePosixPath


def as_items(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else [str(item) for item in given]


def is_stream(item: str) -> bool:
    return STREAM.fullmatch(item) is not None


def is_pattern(item: str) -> bool:
    """Whether a name is a pattern: it has * ? or [, and no file is called so."""
    return WILDCARD.search(item) is not None and not os.path.lexists(item)


def kind_of(source: str) -> Literal["picture", "video", "stream"]:
    if is_stream(source):
        return "stream"
    return "video" if Path(source).suffix.lower() in VIDEO_SUFFIXES else "picture"


def check_extra(sources: Iterable[str]) -> None:
    """ValueError if one is a video or a stream, and what reads them is not installed."""
    wanted = next((source for source in sources if kind_of(source) != "picture"), None)
    if wanted is not None and find_spec("av") is None:
        raise ValueError(f"input={hide_password(wanted)}: videos and streams need PyAV: pip install 'segkit[video]'.")


def hide_password(source: str) -> str:
    """An address without its user, password and query."""
    return re.sub(r"(?<=://)[^/@]*@", "", source).partition("?")[0] if is_stream(source) else source


def key_of(source: str) -> str:
    """One text for each file, however its path is written, without the password of an address."""
    return hide_password(source) if is_stream(source) else str(Path(source).absolute())


def find_inputs(given: str | Sequence[str], output: Path, known: Mapping[str, str]) -> list[Input]:
    """Everything that `input=` names, in its order, each once, with the name of its results.

    A folder stands for the picture files in and below it, in the order of their names, a pattern for the files that it
    fits. Files in `output` are left out. known: the names of results that are there, by `key_of` their sources.
    """
    found = dict[str, Found]()
    for item in as_items(given):
        for one in read_names() if item == STDIN else expand(item, output):
            found.setdefault(key_of(one.source), one)
    if not found:
        said = ", ".join(as_items(given))
        raise FileNotFoundError(f"input={said}: no pictures there (looked for {', '.join(sorted(PICTURE_SUFFIXES))}).")
    names = name_all(list(found.values()), known)
    return [Input(one.source, names[one.source], str(one.below), kind_of(one.source)) for one in found.values()]


def read_names() -> Iterator[Found]:
    """The files, folders and addresses on standard input, one a line. What does not exist is found out later: the
    others are done first."""
    for line in sys.stdin.buffer:
        if name := os.fsdecode(line.rstrip(b"\r\n")):
            folder = Path(name).is_dir()
            yield from search(Path(name), None) if folder else [alone(name)]


def expand(item: str, output: Path) -> Iterator[Found]:
    if is_stream(item):
        yield alone(item)
    elif Path(item).is_dir():
        yield from search(Path(item), output)
    elif is_pattern(item):
        yield from match(item, output)
    else:
        yield alone(item)


def alone(source: str) -> Found:
    if is_stream(source):
        parts = urlsplit(source)
        return Found(source, PurePosixPath(re.sub(r"\W+", "_", f"{parts.hostname or 'camera'}{parts.path}").strip("_")))
    return Found(source, PurePosixPath(Path(source).name))


def match(pattern: str, output: Path) -> Iterator[Found]:
    """The files that a pattern fits, with their paths below its first wildcard; hidden ones are left out."""
    start, rest = split_pattern(pattern)
    inside = output.resolve()
    for path in sorted(find_matches(start, rest)):
        if path.is_file() and inside not in path.resolve().parents and not path.name.startswith("."):
            yield Found(str(path), PurePosixPath(path.relative_to(start).as_posix()))


def search(folder: Path, output: Path | None) -> Iterator[Found]:
    """The picture files in and below a folder, without hidden ones and those in `output`; anything else with such a
    name (a pipe, a socket, a device) is named and left out, and so are videos."""
    inside = None if output is None else output.resolve()
    videos = 0
    for path in sorted(folder.rglob("*")):
        suffix = path.suffix.lower()
        if path.name.startswith(".") or suffix not in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
            continue
        if not (path.is_file() or path.is_dir()):
            what = "a pipe, a socket or a device" if path.exists() else "a link that leads nowhere"
            console.say(f"{path} is left out: it is {what}", stderr=True)
        elif path.is_file() and (inside is None or inside not in path.resolve().parents):
            if suffix in PICTURE_SUFFIXES:
                yield Found(str(path), PurePosixPath(path.relative_to(folder).as_posix()))
            videos += suffix in VIDEO_SUFFIXES
    if videos:
        count = console.format_count(videos, "video")
        console.say(f"{folder}: {count} left out; name them, as in 'input={folder}/*.mp4'", stderr=True)


def name_all(found: Sequence[Found], known: Mapping[str, str]) -> dict[str, str]:
    """A name for each source's results, none twice, also where upper and lower case are the same: its path below what
    was named, without the suffix; with it where two would be the same; then with the folders above."""
    names = {one.source: known[key_of(one.source)] for one in found if key_of(one.source) in known}
    taken = {name.casefold() for name in names.values()}
    left = [one for one in found if one.source not in names]
    for ways in _ways_to_name(left):
        counts = Counter(ways[one.source].casefold() for one in left)
        for one in left:
            name = ways[one.source]
            if counts[name.casefold()] == 1 and name.casefold() not in taken:
                names[one.source] = name
                taken.add(name.casefold())
        left = [one for one in left if one.source not in names]
    for one in left:
        name = one.below.as_posix()
        while name.casefold() in taken:
            name += "_"
        names[one.source] = name
        taken.add(name.casefold())
    return names


def _ways_to_name(found: Iterable[Found]) -> Iterator[dict[str, str]]:
    stems = {one: str(one.below.with_name(_stem(one.below.name))) for one in found}
    yield {one.source: stem for one, stem in stems.items()}
    yield {one.source: str(one.below) for one in stems}
    for above in (1, 2, 3):
        yield {one.source: "/".join([*_folders(one)[-above:], stem]) for one, stem in stems.items()}


def _stem(name: str) -> str:
    stem = PurePosixPath(name).stem
    return stem if stem.strip(".") else name  # "...jpg" would be named by a path


def _folders(one: Found) -> list[str]:
    """The names of the folders above what a source's path is below of."""
    parts = Path(one.source).absolute().parts[1:]
    return list(parts[: len(parts) - len(one.below.parts)])
