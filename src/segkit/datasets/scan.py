"""Reading every sample of a data set once: on several threads, with all faults of the files in one list."""

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
from segkit.datasets.findings import DataError, Finding, Kind, add_remark, gather_findings, gather_into
from segkit.datasets.reading import read_picture
from segkit.datasets.source import Source, extras_of

CUT = Kind(
    "truncated picture",
    "truncated pictures",
    "The missing part is grey. Copy them again, or remove them together with their masks or images.",
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
    """Call `one`, which reads a sample, for every index of `source`; DataError with all faults at the end.

    For a damaged JPEG, decoders only print a line to standard error. It is captured here, and the files concerned are
    named: truncated ones are faults, others remarks.
    """
    with gather_findings() as found:
        files = extras_of(source).files

        def guarded(index: int) -> tuple[Finding, ...]:
            try:
                one(index)
            except DataError as error:
                return error.findings
            return ()

        with (
            capture_complaints() as complaints,
            ThreadPoolExecutor(threads if files else 1, initializer=gather_into, initargs=(found,)) as pool,
        ):
            try:  # a data set without files may not be thread-safe
                faults = [fault for faults in pool.map(guarded, range(len(source))) for fault in faults]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if files and complaints and complaints[0]:
            faults += _find_damaged([path for pair in files for path in pair])
        if faults:
            raise DataError(*dict.fromkeys(faults))


def _find_damaged(paths: Sequence[Path]) -> list[Finding]:
    """Decode JPEGs one by one, to find those that a decoder complains about."""
    faults: list[Finding] = []
    for path in paths:
        try:
            if _is_jpeg(path):
                read_whole(path)
        except DataError as error:
            faults += [fault for fault in error.findings if fault.kind == CUT]  # others have been reported already
    return faults


def read_whole(path: Path) -> NDArray[np.uint8]:
    """A picture as from `read_picture`; DataError also for a truncated JPEG, and a remark for a damaged one."""
    with capture_complaints() as complaints:
        picture = read_picture(path)
    if complaints and "premature end" in complaints[0].lower():
        raise DataError(
            Finding(CUT, f"{path} ends too early, although it has the end marker of a complete file.", files=(path,))
        )
    if complaints and complaints[0]:
        add_remark(DAMAGED, f"{path} ({complaints[0].strip().splitlines()[0]})", files=(path,))
    return picture


def _is_jpeg(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\xff\xd8"


@contextmanager
def capture_complaints() -> Iterator[list[str]]:
    """Capture what JPEG decoders write to standard error; on exit it is the only item of the list.

    Decoders in C bypass `sys.stderr`, so its file descriptor is redirected. Other output is passed on."""
    complaints: list[str] = []
    try:
        outer = os.dup(2)
    except OSError:  # there is no standard error
        yield complaints
        return
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield complaints
        finally:
            sys.stderr.flush()
            os.dup2(outer, 2)
            os.close(outer)
            complaints.append(_pass_on(file))


def _pass_on(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").splitlines()
    for line in lines:
        if not COMPLAINT.search(line):
            console.say(line, stderr=True)
    return "\n".join(line for line in lines if COMPLAINT.search(line))
