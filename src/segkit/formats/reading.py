"""Reading annotation files as data. Even untrusted files take a bounded time and memory, and an error names the file,
the entry, what was found and what was expected."""

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from segkit.files.reading import check_depth, first_line
from segkit.formats.model import FormatError, Json, Points

MEGABYTE = 2**20
LARGEST = 512 * MEGABYTE  # the largest annotation file of COCO 2017 has 450 MB
MOST_CONTAINERS = 20_000_000  # in a JSON file: each point of most tools is one
MOST_NODES = 10_000_000  # in an XML file
DEEPEST = 24  # XML elements inside each other
LARGEST_NUMBER = 2**53  # up to which floats are exact
AGAIN = "Export it again, or correct the entry."
KINDS = {dict: "names with values", list: "a list", str: "text"}


def read_bytes(path: Path) -> bytes:
    """The content of a regular file of at most `LARGEST` bytes."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise FormatError(f"{path} {what}.")
    if (size := path.stat().st_size) > LARGEST:
        raise FormatError(
            f"{path} has {size / MEGABYTE:,.0f} MB; at most {LARGEST // MEGABYTE} MB are read. Export it in parts."
        )
    content = path.read_bytes()
    if not content.strip():
        raise FormatError(f"{path} is empty. Export it again.")
    return content


def read_text(path: Path) -> str:
    """A UTF-8 text, with or without a byte order mark."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}).") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    text = read_text(path)
    try:
        if text.count("[") + text.count("{") > MOST_CONTAINERS:
            raise ValueError(f"it has more than {MOST_CONTAINERS:,} lists and mappings; export it in parts")
        found = json.loads(text)
        check_depth(found)
    except json.JSONDecodeError as error:
        if len(text.rstrip()) - error.pos < 6 or "Unterminated" in error.msg:
            raise FormatError(f"{path} is cut off in line {error.lineno}. Export it again.") from None
        more = " Export VIA's project (.json), not its table." if text.startswith("filename,file_size") else ""
        where = f"in line {error.lineno}, column {error.colno}"
        raise FormatError(f"{path} is not JSON: {error.msg} {where}.{more}") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {first_line(error)}.") from None
    return found


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file. A document type or entities are refused: no annotation tool writes them, and a few lines
    of them can expand to gigabytes or name other files."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    depth = nodes = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, nodes
        depth, nodes = depth + 1, nodes + 1
        if depth > DEEPEST or nodes > MOST_NODES:
            raise FormatError(
                f"{path} has more than {DEEPEST} elements inside each other, or more than {MOST_NODES:,} in all."
            )
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise FormatError(
            f"{path} declares a document type or entities. No annotation tool writes them, and segkit does not read "
            "them. If you trust the file, remove <!DOCTYPE …> from it."
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(read_bytes(path), True)
        return builder.close()
    except FormatError:
        raise
    except (LookupError, ValueError):  # what expat says of encodings
        raise FormatError(f"{path} names an unknown encoding in its first line. Export it again.") from None
    except expat.ExpatError as error:
        is_cut_off = error.code in (3, 5)  # no element found, unclosed token
        what = "is cut off" if is_cut_off else f"is not XML: {expat.ErrorString(error.code)},"
        raise FormatError(f"{path} {what} in line {error.lineno}. Export it again.") from None


def find_files(folder: Path, endings: Sequence[str]) -> Iterator[Path]:
    """The files below a folder with these endings, sorted. Hidden files are left out, links to folders not followed,
    and a link to a file elsewhere is refused."""
    inside = folder.resolve()
    for above, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            path = Path(above, name)
            if name.startswith(".") or path.suffix.lower() not in endings:
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                raise FormatError(f"{path} is a link to {path.resolve()}, outside of {folder}. Copy the file there.")
            yield path


def read_each(paths: Iterable[Path], recognise: Callable[[Any], bool], title: str) -> Iterator[tuple[Path, Json]]:
    """The contents of JSON files that a tool writes, one for each picture; FormatError for another's."""
    for path in paths:
        document = read_json(path)
        if not recognise(document):
            raise FormatError(f"{path} is not a {title} file, unlike others in its folder. Remove it from there.")
        yield path, document


def format_value(value: Any) -> str:
    """A value as a message shows it."""
    if isinstance(value, dict | list):
        return f"{KINDS[type(value)]} of {len(value)}"
    return json.dumps(value)[:80]


def mismatch(where: str, what: str, value: Any, expected: str) -> FormatError:
    """The error for a value that is not what was expected."""
    return FormatError(f"{where}: {what} is {format_value(value)}; expected {expected}. {AGAIN}")


def as_mapping(value: Any, where: str, what: str) -> Json:
    if not isinstance(value, dict):
        raise mismatch(where, what, value, KINDS[dict])
    return value


def as_list(value: Any, where: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise mismatch(where, what, value, KINDS[list])
    return value


def as_entries(value: Any, path: Path, what: str, one: str) -> Iterator[tuple[str, Json]]:
    """The mappings in a list of a file, each with its name: `one` and its number."""
    for at, entry in enumerate(as_list(value, str(path), what)):
        yield f"{one} {at}", as_mapping(entry, f"{path}: {one} {at}", "it")


def as_text(value: Any, where: str, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise mismatch(where, what, value, KINDS[str])
    return value


def as_name(value: Any, where: str, what: str) -> str:
    """The name of a class, which some tools write as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return as_text(value, where, what).strip()


def as_number(value: Any, where: str, what: str) -> float:
    """A number from JSON, or from the text of an XML attribute. Drawing refuses infinities and NaN."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise mismatch(where, what, value, "a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mismatch(where, what, value, "a number")
    return float(value) if abs(value) <= LARGEST_NUMBER or isinstance(value, float) else float("inf")


def as_integer(value: Any, where: str, what: str) -> int:
    """A whole number up to `LARGEST_NUMBER`."""
    found = as_number(value, where, what)
    if not (found.is_integer() and abs(found) <= LARGEST_NUMBER):
        raise mismatch(where, what, value, "a whole number")
    return int(found)


def as_size(height: Any, width: Any, where: str) -> tuple[int, int]:
    """(height, width) of a picture, as the file states them."""
    found = as_integer(height, where, "its height"), as_integer(width, where, "its width")
    if min(found) < 1:
        raise FormatError(f"{where}: its size is {found[1]}×{found[0]}; expected at least 1 pixel. {AGAIN}")
    return found


def as_numbers(value: Any, where: str, what: str) -> NDArray[np.float64]:
    found = as_list(value, where, what)
    if all(type(one) in (int, float) and abs(one) < LARGEST_NUMBER for one in found):  # there may be millions
        return np.array(found, float)
    return np.array([as_number(one, where, f"a number of {what}") for one in found], float)


def as_integers(value: Any, where: str, what: str) -> list[int]:
    found = as_list(value, where, what)
    if all(type(one) is int and abs(one) < LARGEST_NUMBER for one in found):
        return found
    return [as_integer(one, where, f"a number of {what}") for one in found]


def as_flat_points(value: Any, where: str, what: str) -> Points:
    """[x1, y1, x2, y2, …] as (N, 2)."""
    found = as_numbers(value, where, what)
    if len(found) % 2:
        raise FormatError(f"{where}: {what} has {len(found)} numbers; expected an x and a y for each point. {AGAIN}")
    return found.reshape(-1, 2)


def as_points(value: Any, where: str, what: str) -> Points:
    """[[x1, y1], [x2, y2], …] as (N, 2)."""
    pairs = [as_numbers(pair, where, f"a point of {what}") for pair in as_list(value, where, what)]
    if wrong_ones := [len(pair) for pair in pairs if len(pair) != 2]:
        raise FormatError(f"{where}: a point of {what} has {wrong_ones[0]} numbers; expected an x and a y. {AGAIN}")
    return np.array(pairs, float).reshape(-1, 2)


def as_xy_points(xs: Any, ys: Any, where: str) -> Points:
    """A list of all x and a list of all y, as (N, 2)."""
    x, y = as_numbers(xs, where, "its x"), as_numbers(ys, where, "its y")
    if len(x) != len(y):
        raise FormatError(f"{where}: it has {len(x)} x and {len(y)} y; expected the same number of each. {AGAIN}")
    return np.stack([x, y], axis=1)
