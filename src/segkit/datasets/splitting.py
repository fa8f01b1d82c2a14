"""A split that a file states, so that it can be repeated."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from segkit.datasets.findings import Kind, add_remark
from segkit.files.reading import read_json
from segkit.files.tables import read_rows

KEY = "dataset.split_file"
WORDS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
WORDS |= {"test": "test", "testing": "test"}
COLUMNS = ("name", "image", "picture", "file", "path")  # of a CSV: any of these names the picture
NOT_NAMED = Kind(
    f"picture that {KEY} does not name",
    f"pictures that {KEY} does not name",
    "They are in no split. To use them, add them to the file.",
)


def pick_named(names: Sequence[str], split: str, file: Path) -> list[int]:
    """The indices of the pictures, by their paths below the root, that a file puts into a split, in ascending order.

    The file is a run's split.json, or a CSV with a column `split` (train, val or test) and one of `name`, `image`,
    `picture`, `file` or `path`. A name may lack folders at its front and the extension if it is unambiguous. Pictures
    that the file does not name are remarked upon. Raises ValueError for a file that says anything else.
    """
    entries = read_split(file)
    index = find_pictures_by_name(names)
    found: dict[int, set[str]] = {}
    unknown: list[str] = []
    for name, part in entries:
        at = index.get(_plain(name), set())
        if len(at) > 1:
            several = " and ".join(sorted(names[one] for one in at)[:2])
            raise ValueError(f"{KEY}={file}: {name} may be {several}. Give its path below dataset.root.")
        unknown += [] if at else [name]
        for one in at:
            found.setdefault(one, set()).add(part)
    if unknown:
        more = f" and {len(unknown) - 1} more of its {len(entries)} pictures" if len(unknown) > 1 else ""
        raise ValueError(
            f"{KEY}={file} names {unknown[0]}{more}, not among the {len(names)} pictures of the data set, such as "
            f"{next(iter(names), 'none')}. Restore the pictures, or correct the file."
        )
    if twice := [names[at] for at, parts in found.items() if "train" in parts and len(parts) > 1]:
        raise ValueError(f"{KEY}={file} puts {twice[0]} into train and another split. Keep it in one of them.")
    if left := [name for at, name in enumerate(names) if at not in found]:
        add_remark(NOT_NAMED, f"{left[0]}{f' and {len(left) - 1} more' if len(left) > 1 else ''}.")
    chosen = sorted(at for at, parts in found.items() if split in parts)
    if not chosen:
        raise ValueError(f"{KEY}={file} puts no picture into {split}; expected some in each of train, val and test.")
    return chosen


def find_pictures_by_name(names: Sequence[str]) -> dict[str, set[int]]:
    """The indices that a name may mean: a whole path, or its end, with or without the extension. What is a whole path
    means that alone."""
    found: dict[str, set[int]] = {}
    for at, name in enumerate(map(_plain, names)):
        parts = name.split("/")
        for start in range(len(parts)):
            end = "/".join(parts[start:])
            for key in {end, end.rpartition(".")[0] or end}:
                found.setdefault(key, set()).add(at)
    return found | {_plain(name): {at} for at, name in enumerate(names)}


def read_split(file: Path) -> list[tuple[str, str]]:
    """The pictures' names in a split file, and the split of each."""
    if not file.is_file():
        raise FileNotFoundError(f"{KEY}={file}: there is no such file. Give a run's split.json, or a CSV.")
    entries = _from_json(file) if file.suffix.lower() == ".json" else _from_csv(file)
    if wrong := [word for _, word in entries if word.strip().lower() not in WORDS]:
        raise ValueError(f"{KEY}={file} has the split {wrong[0]!r}; expected train, val or test.")
    if len({*entries}) < len(entries):
        (name, _), _ = Counter(entries).most_common(1)[0]
        raise ValueError(f"{KEY}={file} names {name} twice. Remove one of the two.")
    return [(name, WORDS[word.strip().lower()]) for name, word in entries]


def _from_json(file: Path) -> list[tuple[str, str]]:
    found = read_json(file)
    if not isinstance(found, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in found.values()
    ):
        raise ValueError(
            f"{KEY}={file}: expected lists of names for train, val and test, as in the split.json of a run folder."
        )
    return [(name, split) for split, names in found.items() for name in names]


def _from_csv(file: Path) -> list[tuple[str, str]]:
    rows = [{key.strip().lower(): cell for key, cell in row.items()} for row in read_rows(file)]
    columns = [*rows[0]] if rows else []
    named = next((name for name in COLUMNS if name in columns), None)
    if named is None or "split" not in columns:
        raise ValueError(
            f"{KEY}={file} has the columns {', '.join(columns) or 'of no row'}; expected a header with name and split, "
            "separated by a comma, and a row for each picture."
        )
    return [(row[named], row["split"]) for row in rows]


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip().replace("\\", "/").removeprefix("./"))
