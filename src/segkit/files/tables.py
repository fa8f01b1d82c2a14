"""CSV files of run folders: written so that no spreadsheet runs a cell, and read in a bounded time."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segkit.files.reading import MOST_CSV, read_text
from segkit.files.writing import write_text


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """As `write_json`, a CSV with every column that some row has; no spreadsheet takes a cell for a formula."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_text(path, csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)]))


MOST_ROWS, MOST_CELLS = 500_000, 2_000_000  # in a CSV file
STARTS = "=+-@＝＋－＠"  # of a formula in a spreadsheet
SEPARATORS = ";\t|\r\n"  # at which some program splits a line of CSV, whether a quote stands before or not
FORMULA = rf"[\s\"']*[{STARTS.replace('-', '')}-]"
MOST_COLUMNS, LONGEST_NAME = 4096, 1000  # and letters of a column's name


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, each with every column, as `records.write_rows` had them."""
    rows: list[dict[str, str]] = []
    try:
        reader = csv.reader(io.StringIO(read_text(path, MOST_CSV), newline=""), strict=True)
        head = next(reader, [])
        names, most = [bare(name) for name in head], min(MOST_ROWS, MOST_CELLS // max(len(head), 1))
        if len(head) > MOST_COLUMNS or any(len(name) > LONGEST_NAME for name in head):
            raise ValueError(
                f"{path} has more than {MOST_COLUMNS} columns, or one with a name of {LONGEST_NAME} letters."
            )
        for row in reader:
            if len(row) != len(head) or len(set(head)) < len(head):
                raise ValueError(f"{path} is cut short or damaged: not every row has its {len(head)} cells.")
            if len(rows) == most:
                raise ValueError(f"{path} has more than {most} rows of {len(head)} cells, which segkit does not read.")
            rows.append({name: bare(cell) for name, cell in zip(names, row, strict=True)})
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from None
    return rows


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as a CSV file has them; a line break of any kind in a cell stays in it."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator=SEPARATORS).writerow(map(inert, row))  # quotes cells with one of these
        lines.append(line.getvalue().removesuffix(SEPARATORS))
    return "".join(f"{line}\n" for line in lines)


def inert(cell: object) -> object:
    """A cell of CSV in which no spreadsheet finds a formula, also where it takes a part of it for a cell, as Excel does
    in countries where `;` separates them; `bare` takes back what is added."""
    if not isinstance(cell, str):
        return cell
    start = "'" if is_formula(cell.lstrip("'")) else ""
    return start + re.sub(rf"([{SEPARATORS}])(?={FORMULA})", r"\1'", cell)


def bare(cell: str) -> str:
    """A cell as it was before `inert`."""
    inner = cell[1:] if cell.startswith("'") and is_formula(cell.lstrip("'")) else cell
    return re.sub(rf"([{SEPARATORS}])'(?={FORMULA})", r"\1", inner)


def is_formula(text: str) -> bool:
    return text.startswith((*STARTS, "\t", "\r", "\n"))
