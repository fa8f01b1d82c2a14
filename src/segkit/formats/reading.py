"""Annotation files as data: whatever stands in them, it costs a bounded time and memory, and a mistake in them is told
with the file, the entry, what it has and what was expected."""

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from segkit.files.reading import check_depth, first_line
from segkit.formats.model import FormatError, Json, Points

MEGABYTE = 2**20
LARGEST = 512 * MEGABYTE  # of a file: the largest annotation file of COCO 2017 has 450 MB
LARGEST_NUMBER = 2**53  # up to which floats are exact
MOST_NODES = 10_000_000  # of an XML file
DEEPEST = 24  # elements inside each other
AGAIN = "Export it again, or mend the entry."
KINDS = {dict: "names with values", list: "a list", str: "text"}


def read_bytes(path: Path) -> bytes:
    """The content of a plain file that is no larger than `LARGEST`."""
    if not path.is_file():
        what = "is no plain file" if path.exists() else "does not exist"
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
    """A text in UTF-8, with or without a mark at its beginning."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path} is no text in UTF-8 ({error.reason} at byte {error.start}).") from None


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    text = read_text(path)
    try:
        found = json.loads(text)
        check_depth(found)
    except json.JSONDecodeError as error:
        if len(text.rstrip()) - error.pos < 6 or "Unterminated" in error.msg:
            raise FormatError(f"{path} ends in the middle (line {error.lineno}): it is cut. Export it again.") from None
        raise FormatError(f"{path} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} cannot be read as JSON: {first_line(error)}.") from None
    return found


def read_xml(path: Path) -> ET.Element:
    """The root of an XML file. One that declares a document type or entities is refused: no annotation tool writes
    these, and a small one can unfold to gigabytes or name other files."""
    builder, parser = ET.TreeBuilder(), expat.ParserCreate()
    depth = nodes = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, nodes
        depth, nodes = depth + 1, nodes + 1
        if depth > DEEPEST or nodes > MOST_NODES:
            raise FormatError(f"{path} has more than {DEEPEST} elements inside each other, or {MOST_NODES:,} in all.")
        builder.start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(name)

    def refuse(*_: object) -> None:
        raise FormatError(
            f"{path} declares a document type or entities, which no annotation tool writes and segkit does not read. "
            "If you trust the file, remove <!DOCTYPE …> from it."
        )

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(read_bytes(path), True)
        return builder.close()
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        cut = error.code in (3, 5)  # no element found, unclosed token
        what = "ends in the middle: it is cut" if cut else f"is no XML: {reason}"
        raise FormatError(f"{path} {what} (line {error.lineno}). Export it again.") from None


def files_below(folder: Path, endings: Sequence[str]) -> Iterator[Path]:
    """The files below a folder that end so, sorted. Hidden ones are left out, links to folders are not followed, and a
    link to a file elsewhere is refused."""
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


def shown(value: Any) -> str:
    """A value in a message."""
    if isinstance(value, dict | list):
        return f"{KINDS[type(value)]} of {len(value)}"
    return json.dumps(value)[:80]


def wrong(where: str, what: str, value: Any, expected: str) -> FormatError:
    """What to raise of a value that is not what was expected."""
    return FormatError(f"{where}: {what} is {shown(value)}; expected {expected}. {AGAIN}")


def mapping(value: Any, where: str, what: str) -> Json:
    if not isinstance(value, dict):
        raise wrong(where, what, value, KINDS[dict])
    return value


def sequence(value: Any, where: str, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise wrong(where, what, value, KINDS[list])
    return value


def text(value: Any, where: str, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise wrong(where, what, value, KINDS[str])
    return value


def name(value: Any, where: str, what: str) -> str:
    """A class's name, which some tools have as a number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(value, where, what).strip()


def number(value: Any, where: str, what: str) -> float:
    """A number, in JSON or as the text of an XML attribute. It may be infinite or none, which drawing refuses."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            raise wrong(where, what, value, "a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong(where, what, value, "a number")
    return float(value) if abs(value) <= LARGEST_NUMBER or isinstance(value, float) else float("inf")


def whole(value: Any, where: str, what: str) -> int:
    """A whole number of moderate size."""
    found = number(value, where, what)
    if not (found.is_integer() and abs(found) <= LARGEST_NUMBER):
        raise wrong(where, what, value, "a whole number")
    return int(found)


def picture_size(height: Any, width: Any, where: str) -> tuple[int, int]:
    """(height, width) of a picture as a file has it."""
    found = whole(height, where, "its height"), whole(width, where, "its width")
    if min(found) < 1:
        raise FormatError(f"{where}: its size is {found[1]}×{found[0]}; expected pixels, 1 or more. {AGAIN}")
    return found


def numbers(value: Any, where: str, what: str) -> NDArray[np.float64]:
    found = sequence(value, where, what)
    if all(type(one) in (int, float) and abs(one) < LARGEST_NUMBER for one in found):  # quickly, as there are millions
        return np.array(found, float)
    return np.array([number(one, where, f"a number of {what}") for one in found], float)


def counts(value: Any, where: str, what: str) -> list[int]:
    found = sequence(value, where, what)
    if all(type(one) is int and abs(one) < LARGEST_NUMBER for one in found):
        return found
    return [whole(one, where, f"a number of {what}") for one in found]


def flat_points(value: Any, where: str, what: str) -> Points:
    """[x1, y1, x2, y2, …] as (N, 2)."""
    found = numbers(value, where, what)
    if len(found) % 2:
        raise FormatError(f"{where}: {what} has {len(found)} numbers; expected an x and a y for each point. {AGAIN}")
    return found.reshape(-1, 2)


def points(value: Any, where: str, what: str) -> Points:
    """[[x1, y1], [x2, y2], …] as (N, 2)."""
    pairs = [numbers(pair, where, f"a point of {what}") for pair in sequence(value, where, what)]
    if wrong_ones := [len(pair) for pair in pairs if len(pair) != 2]:
        raise FormatError(f"{where}: a point of {what} has {wrong_ones[0]} numbers; expected an x and a y. {AGAIN}")
    return np.array(pairs, float).reshape(-1, 2)


def xy_points(xs: Any, ys: Any, where: str) -> Points:
    """Two lists, of all x and of all y, as (N, 2)."""
    x, y = numbers(xs, where, "its x"), numbers(ys, where, "its y")
    if len(x) != len(y):
        raise FormatError(f"{where}: it has {len(x)} x and {len(y)} y; expected as many of both. {AGAIN}")
    return np.stack([x, y], axis=1)
