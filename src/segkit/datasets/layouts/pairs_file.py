"""A table or text file that says which mask belongs to which picture, and perhaps their splits and groups."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from segkit.datasets.findings import Finding, Kind, report_faults
from segkit.datasets.layouts.folder_names import role_of, split_of
from segkit.datasets.listing import LEADS_OUT, Pair
from segkit.files.reading import MOST_CSV, PICTURE_SUFFIXES, is_file, read_text
from segkit.files.tables import MOST_CELLS, MOST_ROWS

COLUMNS = ("image", "mask", "split", "group")
EXPECTED = "expected the columns image and mask, and perhaps split and group"
OUTSIDE = Kind(
    "name that leads out of the data set",
    "names that lead out of the data set",
    "dataset.pairs names files below dataset.root. Set dataset.root to a folder that holds all pictures and masks.",
)
DOUBLED = Kind(
    "picture that dataset.pairs names twice", "pictures that dataset.pairs names twice", "Remove one of the two lines."
)
NOT_THERE = Kind(
    "file of dataset.pairs that is not there",
    "files of dataset.pairs that are not there",
    "Names are looked up in dataset.images and dataset.masks if these are set, else below dataset.root, else beside "
    "the file. Correct them, or remove their lines.",
)
LONGEST = 100_000  # letters of a line of words
SHOWN = 80  # letters of a line or cell in a message


class Row(NamedTuple):
    """One line: the number of the line, the names of the files as they are written, the split and the group."""

    line: int
    image: str
    mask: str
    split: str
    group: str


def find_pairs_file(root: Path, pairs: str, follow_links: bool) -> Path:
    """The file below `root`; if there is none, and the command is the user's own, the file of that path."""
    inside = root / pairs
    if inside.is_file() and (follow_links or inside.resolve().is_relative_to(root.resolve())):
        return inside
    path = Path(pairs).expanduser()
    if not follow_links:
        raise FileNotFoundError(
            f"dataset.pairs={pairs}: there is no such file below dataset.root={root}. A file elsewhere is read only if "
            "your own command line names the root: say dataset.root=… (+dataset.root=… for a resumed run)."
        )
    if not path.is_file():
        raise FileNotFoundError(
            f"dataset.pairs={pairs}: there is no such file, neither below dataset.root={root} nor here. Each of its "
            "lines names a picture and its mask: images/a.jpg,masks/a.png"
        )
    return path


def read_pairs_file(path: Path) -> list[Row]:
    """The rows of a CSV file (with commas, semicolons or tabs) or a text file of two names a line, with a header or
    without; ValueError, naming the line, for what cannot be meant."""
    text = read_text(path, MOST_CSV).removeprefix("\ufeff")
    lines = split_lines(text, path)
    number, head = next(lines, (0, []))
    if not head:
        raise ValueError(f"{path} is empty; {EXPECTED}: images/a.jpg,masks/a.png")
    columns, rows = find_columns(head, path), list[Row]()
    if columns is None:
        columns = {name: at for at, name in enumerate(COLUMNS[: len(head)])}
        rows.append(make_row(number, head, columns, len(head), path))
    for number, cells in lines:
        if len(rows) == MOST_ROWS:
            raise ValueError(f"{path} has more than {MOST_ROWS} lines, which segkit does not read.")
        rows.append(make_row(number, cells, columns, len(head), path))
    if not rows:
        raise ValueError(f"{path} has a header and no line below it. Add a line for each picture.")
    return rows


def split_lines(text: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The number and the cells of each line that is neither empty nor a comment."""
    first = next(filter(is_content, io.StringIO(text, newline=None)), "").strip()
    delimiter = max(",;\t", key=first.count)
    if delimiter not in first:
        for number, line in enumerate(io.StringIO(text, newline=None), 1):
            if len(line) > LONGEST:
                raise ValueError(f"{path}, line {number} has more than {LONGEST} letters, which segkit does not read.")
            if is_content(line):
                yield number, line.split()
        return
    if text.count(delimiter) > MOST_CELLS:
        raise ValueError(f"{path} has more than {MOST_CELLS} cells, which segkit does not read.")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cells) and not cells[0].startswith("#"):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}. Write it as a plain CSV file.") from None


def is_content(line: str) -> bool:
    return bool(line.strip()) and not line.lstrip().startswith("#")


def find_columns(head: Sequence[str], path: Path) -> dict[str, int] | None:
    """Where each column is, by a header; None if the first line is a pair itself."""
    if any(PurePosixPath(cell).suffix.lower() in PICTURE_SUFFIXES for cell in head):
        if len(head) < 2:
            raise ValueError(f"{path}: its first line has one cell, {head[0][:SHOWN]!r}; {EXPECTED}.")
        return None
    found: dict[str, int] = {}
    for at, cell in enumerate(head):
        name = cell.casefold()
        column = name if name in COLUMNS else {"pictures": "image", "masks": "mask"}.get(role_of(cell), "")
        if column in found:
            raise ValueError(
                f"{path}: its columns {head[found[column]]!r} and {cell!r} may both be the {column}. Call one {column} "
                "and rename the other."
            )
        if column:
            found[column] = at
    if missing := [name for name in ("image", "mask") if name not in found]:
        raise ValueError(
            f"{path}: its header is {', '.join(head)[:SHOWN]}, without a column {' or '.join(missing)}; {EXPECTED}. "
            "A file without a header begins with the names of a picture and its mask, with their extensions."
        )
    return found


def make_row(line: int, cells: Sequence[str], columns: Mapping[str, int], count: int, path: Path) -> Row:
    if len(cells) != count:
        raise ValueError(
            f"{path}, line {line} has {len(cells)} cells and the first has {count}: {', '.join(cells)[:SHOWN]}. Give "
            "every line the same columns; put names with spaces into a CSV file."
        )
    told = {name: cells[at] for name, at in columns.items()}
    if empty := [name for name in ("image", "mask") if not told[name]]:
        raise ValueError(f"{path}, line {line} names no {empty[0]}. Add its name, or remove the line.")
    if told["image"] == told["mask"]:
        raise ValueError(
            f"{path}, line {line}: {told['image'][:SHOWN]} is named as its own mask. Name the mask's file."
        )
    split = split_of(told.get("split", ""))
    if "split" in columns and not split:
        raise ValueError(
            f"{path}, line {line}: its split is {told['split'][:SHOWN]!r}; expected train, val or test. Without splits "
            "of its own, leave the column out."
        )
    return Row(line, told["image"], told["mask"], split, told.get("group", ""))


def find_files(
    rows: Sequence[Row], path: Path, images: Sequence[Path], masks: Sequence[Path], inside: Path | None
) -> list[tuple[Row, Pair]]:
    """The files of every row, in the first of the folders that has them. Names that lead out of these, missing files,
    pictures that are named twice, and links that leave `inside` are reported."""
    found, lines = [], dict[Path, int]()
    for row in rows:
        files = []
        for column, name, folders in (("image", row.image, images), ("mask", row.mask, masks)):
            file = find_file(name, folders)
            what = f"{path}, line {row.line}: the {column} {name[:SHOWN]}"
            if file is None:
                report_faults(Finding(OUTSIDE, f"{what} is outside of {' and '.join(map(str, folders))}."))
            elif not is_file(file):
                report_faults(Finding(NOT_THERE, f"{what} is not in {' and '.join(map(str, folders))}."))
            elif inside is not None and not file.resolve().is_relative_to(inside):
                report_faults(
                    Finding(LEADS_OUT, f"{file} is a link to {file.resolve()}, outside of {inside}.", files=(file,))
                )
            else:
                files.append(file)
        if len(files) < 2:
            continue
        first = lines.setdefault(files[0], row.line)
        if first != row.line:
            fact = f"{path}, lines {first} and {row.line} name the same picture, {files[0]}."
            report_faults(Finding(DOUBLED, fact, files=(files[0],)))
        found.append((row, Pair(*files)))
    return found


def find_file(name: str, folders: Sequence[Path]) -> Path | None:
    """The file that a cell names, in the first folder that has it; None if its name leads out of all of them."""
    given = PurePosixPath(name if "/" in name else name.replace("\\", "/"))
    places = []
    for folder in folders:
        whole = PurePosixPath(folder.absolute().as_posix())
        below = given.relative_to(whole) if given.is_absolute() and given.is_relative_to(whole) else given
        if not below.is_absolute() and ".." not in below.parts:
            places.append(folder / below)
    return next((place for place in places if is_file(place)), places[0] if places else None)
