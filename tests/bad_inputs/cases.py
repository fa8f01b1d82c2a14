"""What a row of bad input is."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Case:
    """A command line and how it must end. What holds for every row stands in `tests/test_bad_inputs.py`."""

    name: str
    verb: str  # train, predict, evaluate, report, check, annotations
    words: tuple[str, ...]  # the command line after the verb; it is run in an empty folder
    says: tuple[str, ...]  # what its output must contain: the file or key, and the remedy
    make: Callable[[Path], None] | None = None  # writes the files it needs into that folder, see `makers`
    ends: int = 1  # exit code; 0 where the input is read as it is meant, and that is said
    seconds: float = 10  # of processor time, at most
