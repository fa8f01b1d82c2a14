"""Files, written whole or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

LONGEST_NAME = 240  # bytes; a file's name has at most 255
DISK_FULL = (errno.EFBIG, errno.ENOSPC, errno.EDQUOT)


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all: see `replacing`."""
    with replacing(path) as part, part.open("xb") as file:
        file.write(content)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """The name of a temporary file, which is moved into place at the end: a reader sees the old file or the new one,
    never half of it.

    Raises OSError with the file's name, which Python leaves out if the disk is full.
    """
    name = os.fsencode(path.name)
    short = path.name if len(name) <= LONGEST_NAME else blake2b(name, digest_size=16).hexdigest()
    part = path.with_name(f".{short}.part")  # in the same folder: a move between file systems is a copy
    try:
        part.unlink(missing_ok=True)  # left by a killed process; or a planted pipe, on which opening would block
        yield part
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def part_of(folder: Path, name: str, known: Collection[str] = ()) -> Iterator[Path]:
    """A temporary folder in `folder`, for one process alone and removed at the end. FileExistsError if another process
    has it, or if `folder` holds anything but files of the `known` names, as another one may have finished by now."""
    part = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        part.mkdir()
    except FileExistsError:
        raise FileExistsError(describe_part(part)) from None
    try:
        if others := sorted(path.name for path in folder.iterdir() if path.name not in (name, *known)):
            raise FileExistsError(f"{folder} holds other files, such as {others[0]}. Choose a new folder.")
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def describe_part(part: Path) -> str:
    return (
        f"{part} is there: another command is writing into {part.parent}, or one was killed. Wait for it, or remove "
        "that folder and start again."
    )


def write_json(path: Path, content: Any) -> None:
    """Write JSON as `write_bytes` does: never half of it."""
    write_text(path, json.dumps(content, indent=2, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write text as `write_bytes` does: never half of it. What a name has beyond Unicode is written out: \\udcff."""
    write_bytes(path, text.encode(errors="backslashreplace"))
