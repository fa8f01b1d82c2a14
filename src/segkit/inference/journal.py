"""What was predicted into a folder, by which run and settings: so that a command goes on where it was stopped."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

from segkit.files.tables import csv_text
from segkit.files.writing import replacing, write_text

NAME, TABLE = ".predictions.jsonl", "predictions.csv"
# Settings that the predictions do not depend on.
NOT_IDENTITY = ("run", "input", "output", "accelerator", "trust", "overwrite", "overrides")


@dataclass
class Entry:
    """What the journal has of a source: where in it, how many lines, and whether that is all. stamp: size and time of
    change of the file; files: what was written, below the output."""

    start: int
    name: str = ""
    lines: int = 0
    done: bool = False
    stamp: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def identify(checkpoints: Iterable[Path], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What predictions depend on: the contents of the checkpoints, and settings."""
    content = blake2b(digest_size=16)
    for checkpoint in checkpoints:
        with checkpoint.open("rb") as file:
            while block := file.read(2**20):
                content.update(block)
    kept = {key: value for key, value in settings.items() if key not in NOT_IDENTITY}
    return {"checkpoint": content.hexdigest()} | kept


def stamp_of(source: str) -> list[int]:
    """What tells a changed file: its size and time of change; nothing for what is no file."""
    try:
        found = Path(source).stat()
    except (OSError, ValueError):
        return []
    return [found.st_size, found.st_mtime_ns]


class Journal:
    """A file of lines beside the predictions. The first says what made them; then each picture has a line, written when
    all of its files are there, and a video a line for each frame and one at its end. A cut line is as if it were not
    there. `predictions.csv` is made from it: it grows with it, and is in the order of the inputs at the end.

    `begin` comes before the first row.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any], overwrite: bool = False) -> None:
        """ValueError if other settings or another run have written there, unless that may be overwritten."""
        self.folder, self.path = folder, folder / NAME
        self.identity, self.overwrite = identity, overwrite
        self.entries: dict[str, Entry] = {}
        self.columns: list[str] = []
        before = self.read()
        is_new = before is None and not (folder / TABLE).exists()
        differs = "" if is_new or overwrite else describe_difference(before, json.loads(json.dumps(identity)))
        if differs:
            raise ValueError(
                f"output={folder} holds predictions {differs}. Choose another folder, or say overwrite=true to replace "
                "them."
            )

    @property
    def names(self) -> dict[str, str]:
        """The names that the results of sources have."""
        return {source: entry.name for source, entry in self.entries.items() if entry.done}

    def begin(self) -> None:
        """Get ready for rows; what is to be overwritten is removed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.overwrite:
            self.remove_all()
        if not self.path.exists():
            write_text(self.path, json.dumps({"made_by": self.identity}) + "\n")
        self.entries = {source: entry for source, entry in self.entries.items() if entry.done}
        self.write_table(self.entries)

    def read(self) -> Any:
        """Fill the entries from the file; returns what made it, None if there is none. The rest of a line that was cut
        is removed."""
        if not self.path.is_file():
            return None
        end, made_by = 0, None
        with self.path.open("rb") as file:
            for line in file:
                try:
                    content = json.loads(line)
                    if not line.endswith(b"\n"):
                        break
                    if end == 0:
                        made_by = content["made_by"]
                    else:
                        self._note(content, end)
                except (ValueError, KeyError, TypeError, AttributeError):
                    break
                end += len(line)
        if 0 < end < self.path.stat().st_size:
            with self.path.open("r+b") as file:
                file.truncate(end)
        return made_by if made_by is not None else {}

    def _note(self, line: Mapping[str, Any], start: int) -> None:
        source = line["source"]
        if line.get("first") or source not in self.entries:
            self.entries[source] = Entry(start)
        entry = self.entries[source]
        entry.lines += 1
        if "files" in line:
            entry.name, entry.stamp, entry.files = str(line["name"]), list(line["stamp"]), list(line["files"])
            entry.done = True

    def remove_all(self) -> None:
        """Remove the files that the journal lists, and itself."""
        inside = self.folder.resolve()
        for name in [name for entry in self.entries.values() for name in entry.files]:
            path = self.folder / name
            if path.is_file() and inside in path.resolve().parents:
                path.unlink()
        self.entries = {}
        self.path.unlink(missing_ok=True)

    def is_done(self, source: str) -> bool:
        """Whether all of a source's files are there, made from the file that is there now."""
        entry = self.entries.get(source)
        if entry is None or not entry.done or entry.stamp != stamp_of(source):
            return False
        return all((self.folder / name).is_file() for name in entry.files)

    def add(self, source: str, row: Mapping[str, Any], **more: Any) -> None:
        """Add a row; with `name`, `stamp` and `files` the source is done, and begins again with its next row."""
        before = self.entries.get(source)
        first = before is None or before.done
        line = {"source": source} | ({"first": True} if first else {}) | {"row": dict(row)} | more
        self._note(line, append(self.path, json.dumps(line) + "\n"))
        if not row.keys() <= {*self.columns}:
            self.write_table(self.entries)
        elif row:
            append(self.folder / TABLE, csv_text([[row.get(name, "") for name in self.columns]]))

    def lines_of(self, sources: Iterable[str]) -> Iterator[dict[str, Any]]:
        with self.path.open("rb") as file:
            for source in sources:
                entry = self.entries[source]
                file.seek(entry.start)
                for _ in range(entry.lines):
                    yield json.loads(file.readline())

    def write_table(self, sources: Iterable[str]) -> None:
        """Write predictions.csv anew, with the rows of these sources in this order; later rows follow."""
        sources = list(sources)
        self.columns = list(dict.fromkeys(key for line in self.lines_of(sources) for key in line["row"]))
        with (
            replacing(self.folder / TABLE) as part,
            part.open("x", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.write(csv_text([self.columns]))
            for line in self.lines_of(sources):
                if line["row"]:
                    file.write(csv_text([[line["row"].get(name, "") for name in self.columns]]))


def append(path: Path, text: str) -> int:
    """Add text at the end of a file; returns where it begins."""
    with path.open("ab") as file:
        start = file.seek(0, 2)
        file.write(text.encode(errors="backslashreplace"))
    return start


def describe_difference(before: Any, now: Mapping[str, Any]) -> str:
    """How what made older predictions differs from what would make new ones, or ""."""
    if not before or not isinstance(before, dict):
        return "without a record of what made them"
    if before.get("checkpoint") != now["checkpoint"]:
        return "by another run, or by this one before it was trained or calibrated again"
    for key in {**now, **before}:
        if before.get(key) != now.get(key):
            return f"made with {key}={json.dumps(before.get(key))}, and now it is {json.dumps(now.get(key))}"
    return ""
