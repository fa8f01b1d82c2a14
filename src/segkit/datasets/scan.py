"""Reading every sample of a data set once: on several threads, with all that is wrong with the files in one list."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from segkit import console
from segkit.datasets.findings import DataError, Finding, Kind, gathered, join, remark
from segkit.datasets.reading import read_picture
from segkit.datasets.source import Source, extras_of

CUT = Kind(
    "picture whose data end too early",
    "pictures whose data end too early",
    "What is missing is grey. Copy them again, or remove them together with their masks or images.",
)
DAMAGED = Kind(
    "JPEG with damaged data",
    "JPEGs with damaged data",
    "They are used as they are: look at them (a part may be shifted or wrongly coloured), and copy them again or "
    "remove them together with their masks or images.",
)
COMPLAINT = re.compile(
    r"corrupt jpeg|premature end|jpeg datastream|bogus|invalid .*(jpeg|scan|huffman|progressive)", re.I
)


def read_all(one: Callable[[int], object], source: Source, threads: int = 4) -> None:
    """Call `one`, which reads a sample, for every index of `source`; DataError with what is wrong, at the end.

    Decoders take over what is damaged in a JPEG with a word on standard error alone. It is heard here, and the files
    that it was of are named: those that end too early are faults, others a remark.
    """
    with gathered() as found:
        files = extras_of(source).files

        def guarded(index: int) -> tuple[Finding, ...]:
            try:
                one(index)
            except DataError as error:
                return error.findings
            return ()

        with (
            heard() as said,
            ThreadPoolExecutor(threads if files else 1, initializer=join, initargs=(found,)) as pool,
        ):
            try:  # drawn data may not like several threads
                faults = [fault for faults in pool.map(guarded, range(len(source))) for fault in faults]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if files and said and said[0]:
            faults += _complained_of([path for pair in files for path in pair])
        if faults:
            raise DataError(*dict.fromkeys(faults))


def _complained_of(paths: Sequence[Path]) -> list[Finding]:
    """Decode JPEGs one by one, to find those that a decoder has something to say of."""
    faults: list[Finding] = []
    for path in paths:
        try:
            if _is_jpeg(path):
                read_whole(path)
        except DataError as error:
            faults += [fault for fault in error.findings if fault.kind == CUT]  # others were told where it was read
    return faults


def read_whole(path: Path) -> NDArray[np.uint8]:
    """A picture as of `read_picture`; DataError also for a JPEG that ends too early, and a remark for a damaged one."""
    with heard() as said:
        picture = read_picture(path)
    if said and "premature end" in said[0].lower():
        raise DataError(Finding(CUT, f"{path} ends too early, though it is closed as a whole one would be."))
    if said and said[0]:
        remark(DAMAGED, f"{path} ({said[0].strip().splitlines()[0]})")
    return picture


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\xff\xd8"


@contextmanager
def heard() -> Iterator[list[str]]:
    """What JPEG decoders write to standard error meanwhile, as the one item of a list, at the end.

    Decoders in C know nothing of `sys.stderr`. What others write there is passed on."""
    said: list[str] = []
    try:
        outer = os.dup(2)
    except OSError:  # there is none
        yield said
        return
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield said
        finally:
            sys.stderr.flush()
            os.dup2(outer, 2)
            os.close(outer)
            said.append(_passed_on(file))


def _passed_on(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").splitlines()
    for line in lines:
        if not COMPLAINT.search(line):
            console.say(line, stderr=True)
    return "\n".join(line for line in lines if COMPLAINT.search(line))
