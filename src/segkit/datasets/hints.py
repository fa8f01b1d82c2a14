"""What a person could set so that a data set is read, split or judged better: proposals, which nothing applies."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from segkit.datasets.module import DataModule
from segkit.datasets.survey import Survey

Topic = Literal["layout", "mask values", "groups", "enough pictures"]


class Hint(NamedTuple):
    """A sentence about how the data are read, or could be; `setting`, if any, is what to type for it.

    Hints stand in the summary (`brief`), on the page and, if there is something to type, among the findings.
    """

    topic: Topic
    text: str
    setting: str = ""
    brief: bool = False


def find_hints(data: DataModule, survey: Survey) -> Iterator[Hint]:
    """All hints, in the order of topics. Each topic is one function's, called here."""
    yield from ()
