"""What commands print. Names of classes, folders and metrics, and errors in stored files, are untrusted: tables do not
interpret markup in them ([/b], :key:), and they never control the terminal."""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


def format_count(number: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 picture, 2 pictures, 2 classes (`many`: the plural, if it is not the noun with an s)."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


# Control characters except tab and line feed, line separators, marks of text direction, and lone surrogates
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """Text in which characters that would control a terminal are written out, such as \\x1b."""
    return STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """A name that stays in its line: with a line break in it, it could look like a line of segkit's own."""
    return printable(text).replace("\n", "\\n")


def say(text: str, stderr: bool = False) -> None:
    """Print a line, or several."""
    print(printable(text), file=sys.stderr if stderr else sys.stdout, flush=True)


def print_table(table: "Table", stderr: bool = False) -> None:
    """Print a table."""
    from rich.console import Console
    from rich.segment import Segment, Segments

    console = Console(stderr=stderr, markup=False, emoji=False)
    parts = [Segment(printable(part.text), part.style, part.control) for part in console.render(table)]
    console.print(Segments(parts), soft_wrap=True)


@contextmanager
def show_progress(text: str, total: int, wanted: bool = True) -> Iterator[Callable[[], object]]:
    """A progress bar on standard error, if that is a terminal; what it yields is called for each of `total` steps, by
    any thread. It keeps its own descriptor: decoders' complaints may be captured meanwhile."""
    if not (wanted and sys.stderr.isatty()):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        with Progress(*columns, console=Console(file=terminal), transient=True) as progress:
            task = progress.add_task(text, total=total)
            yield lambda: progress.advance(task)
