"""Paths that a pattern with wildcards matches."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

WILDCARD = re.compile(r"[*?\[]")


def split_pattern(pattern: str) -> tuple[Path, tuple[str, ...]]:
    """The path before a pattern's first wildcard, and the parts from there on; what exists is not a pattern."""
    path = Path(pattern).expanduser()
    if path.exists():
        return path, ()
    parts = path.parts
    first = next((at for at, part in enumerate(parts) if WILDCARD.search(part)), len(parts))
    return Path(*parts[:first]), parts[first:]


def find_matches(start: Path, parts: Sequence[str]) -> set[Path]:
    """The paths below a folder that the parts of a pattern match."""
    found = {start} if start.exists() else set()
    for part in parts:
        if part == "**":
            found = {folder for path in found for folder in walk_folders(path)}
        elif WILDCARD.search(part):
            found = {match for path in found for match in path.glob(part)}
        else:
            found = {path / part for path in found if (path / part).exists()}
    return found


def walk_folders(folder: Path) -> Iterator[Path]:
    """A folder and all folders below it. Links are not followed: they could form a cycle."""
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            entries = [entry for entry in here.iterdir() if entry.is_dir() and not entry.is_symlink()]
        except OSError:  # unreadable
            continue
        waiting += entries
        yield here
