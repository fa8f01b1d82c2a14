"""CSV files of run folders: written so that no spreadsheet executes a cell, and read in bounded time."""

import csv
import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from segkit.files.reading import MOST_CSV, read_text
from segkit.files.writing import write_text


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write a CSV with every column that any row has, in which no spreadsheet takes a cell for a formula."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    write_text(path, csv_text([columns, *([row.get(name, "") for name in columns] for row in rows)]))


MOST_ROWS, MOST_CELLS = 500_000, 2_000_000  # in a CSV file
STARTS = "=+-@＝＋－＠"  # first characters of a formula in a spreadsheet
SEPARATORS = ";\t|\r\n"  # characters at which some programs split a line of CSV, even inside quotes
LEAD = re.compile(r"([;|]?[\s\"']+|[;|])(?=(.?))", re.DOTALL)  # what may precede one, and what follows; each run once
MOST_COLUMNS, LONGEST_NAME = 4096, 1000  # columns, and letters of a column's name


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, each with every column, as given to `write_rows`."""
    rows: list[dict[str, str]] = []
    try:
        reader = csv.reader(io.StringIO(read_text(path, MOST_CSV), newline=""), strict=True)
        head = next(reader, [])
        names, most = [unescape_cell(name) for name in head], min(MOST_ROWS, MOST_CELLS // max(len(head), 1))
        if len(head) > MOST_COLUMNS or any(len(name) > LONGEST_NAME for name in head):
            raise ValueError(
                f"{path} has more than {MOST_COLUMNS} columns, or one with a name of {LONGEST_NAME} letters."
            )
        for row in reader:
            if len(row) != len(head) or len(set(head)) < len(head):
                raise ValueError(f"{path} is cut short or damaged: not every row has its {len(head)} cells.")
            if len(rows) == most:
                raise ValueError(f"{path} has more than {most} rows of {len(head)} cells, which segkit does not read.")
            rows.append({name: unescape_cell(cell) for name, cell in zip(names, row, strict=True)})
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as CSV: {error}") from None
    return rows


def csv_text(rows: Iterable[Iterable[object]]) -> str:
    """Rows as the text of a CSV file; line breaks of any kind stay inside their cells."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator=SEPARATORS).writerow(map(escape_cell, row))  # quotes cells with one of these
        lines.append(line.getvalue().removesuffix(SEPARATORS))
    return "".join(f"{line}\n" for line in lines)


def escape_cell(cell: object) -> object:
    """A CSV cell in which no spreadsheet finds a formula, even if it splits the cell, as Excel does in countries where
    `;` is the separator. `unescape_cell` reverses it."""
    if not isinstance(cell, str):
        return cell
    start = "'" if is_formula(cell.lstrip("'")) else ""
    return start + _before_formulas(rf"([{SEPARATORS}])", r"\1'", cell)


def unescape_cell(cell: str) -> str:
    """A cell as it was before `escape_cell`."""
    inner = cell[1:] if cell.startswith("'") and is_formula(cell.lstrip("'")) else cell
    return _before_formulas(rf"([{SEPARATORS}])'", r"\1", inner)


def _before_formulas(pattern: str, new: str, cell: str) -> str:
    """A cell with a pattern replaced in all separators, blanks and quotes that precede a formula's first character."""
    return LEAD.sub(lambda run: re.sub(pattern, new, run[1]) if run[2] and run[2] in STARTS else run[1], cell)


def is_formula(text: str) -> bool:
    return text.startswith((*STARTS, "\t", "\r", "\n"))
