"""Pictures decoded, and resized, once: uint8 arrays in memory or in a file that workers, jobs and runs share."""

import hashlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, cast

import cv2
import numpy as np
import PIL
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch.utils.data import Dataset

from segkit.datasets.common import fingerprint
from segkit.datasets.findings import Finding, Kind, gathered, remark
from segkit.datasets.scan import read_all
from segkit.datasets.source import Sample, Source, extras_of
from segkit.hardware import cores

log = logging.getLogger("segkit")

Where = Literal["auto", "ram", "disk", "off"]
Size = tuple[int, int]
Prepare = Callable[[dict[str, Any]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
DISK_SHARE, RAM_SHARE = 0.1, 0.25  # of what is free, the most that "auto" takes
DAY = 86_400
KEPT_DAYS = 30  # a file that nobody opened for so long goes when another is built


class CannotWriteError(ValueError):
    """The folder of the cache takes no file."""


class Decoded(Dataset[Sample]):
    """A file-backed data set with every picture and mask as `Prepare` left it, in one array of bytes.

    An item is a view of the array, at the size (H, W) that `shapes` says; it is not to be written to.
    """

    def __init__(self, source: Any, shapes: Sequence[Size], data: NDArray[np.uint8], path: Path | None) -> None:
        self.classes, self.names = tuple(source.classes), list(source.names)
        self.shapes, self.path = list(shapes), path
        self.starts = starts(shapes)
        self.data: NDArray[np.uint8] | None = data

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        pixels, values = arrays(cast(NDArray[np.uint8], self.data), self.starts[index], self.shapes[index])
        image, mask = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(values)
        return {"image": image, "mask": mask, "name": self.names[index]}

    def shape(self, index: int) -> Size:
        """(H, W) of a sample."""
        return self.shapes[index]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | ({"data": None} if self.path else {})  # another process opens the file for itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.path:
            self.data = opened(self.path)


def starts(shapes: Sequence[Size]) -> list[int]:
    """Where each sample begins in the array, and where the last one ends."""
    return [0, *np.cumsum([4 * tall * wide for tall, wide in shapes]).tolist()]


def arrays(data: NDArray[np.uint8], start: int, shape: Size) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image (H, W, 3) and mask (H, W) that lie in `data` from `start` on."""
    middle, end = start + 3 * shape[0] * shape[1], start + 4 * shape[0] * shape[1]
    return data[start:middle].reshape(*shape, 3), data[middle:end].reshape(shape)


def in_memory(source: Any, shapes: Sequence[Size], prepare: Prepare) -> Decoded:
    """`source` decoded into memory."""
    size = starts(shapes)[-1]
    log.info("decoding %d pictures into %s of memory", len(shapes), megabytes(size))
    data = np.empty(size, np.uint8)
    fill(data, source, shapes, prepare)
    return Decoded(source, shapes, data, None)


def on_disk(source: Any, shapes: Sequence[Size], prepare: Prepare, settings: Any) -> Decoded:
    """`source` decoded into a file, unless it is there already; `settings` as for `path_of`.

    Raises CannotWriteError where there is no room or no permission, and what reading a picture raises.
    """
    path, size = path_of(source, settings), starts(shapes)[-1]
    with locked(path), gathered():  # a second process waits, and finds the file
        if not is_there(path, size):
            build(path, size, source, shapes, prepare)
            if path_of(source, settings) != path:
                path.unlink()
                raise ValueError("files of the data set changed while they were being decoded. Start again.")
        os.utime(path)
        recall(path)
        return Decoded(source, shapes, opened(path), path)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """The right to build a file, alone among processes."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            log.info("waiting for another process that decodes the same pictures")
            lock.acquire()
    except OSError as error:
        raise CannotWriteError(unwritable(path, error)) from error
    try:
        yield
    finally:
        lock.release()


def build(path: Path, size: int, source: Any, shapes: Sequence[Size], prepare: Prepare) -> None:
    """Write the file under a name of its own, then rename it: what has the final name is complete."""
    log.info("decoding %d pictures once: %s in %s", len(shapes), megabytes(size), path)
    purge(path.parent)
    handle, name = tempfile.mkstemp(suffix=".part", dir=path.parent)
    partial = Path(name)
    try:
        reserve(handle, size, path)
        data = np.memmap(partial, np.uint8, "r+", shape=(size,))
        with gathered() as found:
            before = set(found.remarks)
            fill(data, source, shapes, prepare)
            note(path, [remark for remark in found.remarks if remark not in before])
        data.flush()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def note(path: Path, remarks: list[Finding]) -> None:
    """Keep what was to be said of the pictures of a file, for those who find it built."""
    if remarks:
        path.with_suffix(".json").write_text(json.dumps([[found.kind, found.fact] for found in remarks]))


def recall(path: Path) -> None:
    """Say it again."""
    with suppress(OSError, ValueError, TypeError):
        for kind, fact in json.loads(path.with_suffix(".json").read_text()):
            remark(Kind(*kind), fact)


def reserve(handle: int, size: int, path: Path) -> None:
    """Make the open file `size` bytes long. A disk that is full says so here, not by killing the process later."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        os.truncate(handle, size)
    except OSError as error:
        raise CannotWriteError(unwritable(path, error)) from error
    finally:
        os.close(handle)


def unwritable(path: Path, error: OSError) -> str:
    return (
        f"dataset.cache=disk: {error.strerror or error} in {path.parent}. Make room, set XDG_CACHE_HOME to another "
        "folder, or say dataset.cache=off."
    )


def fill(data: NDArray[np.uint8], source: Any, shapes: Sequence[Size], prepare: Prepare) -> None:
    """Decode everything into `data`, on all cores: decoders run without Python's lock."""
    begins = starts(shapes)

    def one(index: int) -> None:
        image, mask = arrays(data, begins[index], shapes[index])
        image[...], mask[...] = prepare(source[index])

    read_all(one, source, cores())


def choose(size: int, missing: int, where: Where) -> Where:
    """Where `size` bytes are to go, of which files have all but `missing`.

    auto: into files if what is missing takes at most a tenth of what is free on their disk, else into memory if all of
    it takes at most a quarter of what is free, else nowhere. Raises ValueError for what does not fit where it is to go.
    """
    disk, memory = free_disk(), free_memory()
    if where == "disk" and missing > disk:
        raise ValueError(
            f"dataset.cache=disk: {megabytes(missing)} are needed and {megabytes(disk)} are free in {folder()}. Make "
            "room, set XDG_CACHE_HOME to a folder on another disk, or say dataset.cache=off."
        )
    if where == "ram" and size > memory > 0:
        raise ValueError(
            f"dataset.cache=ram: {megabytes(size)} are needed and {megabytes(memory)} are free. Say dataset.cache=disk "
            "or off."
        )
    if where != "auto":
        return where
    if missing <= DISK_SHARE * disk:
        return "disk"
    if size <= RAM_SHARE * memory:
        log.info("not kept for later runs: %s are free in %s, of which a tenth may be taken", megabytes(disk), folder())
        return "ram"
    log.info("pictures are decoded every time: %s decoded are too much for what is free", megabytes(size))
    return "off"


def path_of(source: Source, settings: Any) -> Path:
    """The file for the content of a data set's files, what is done with it, and how: any change gives another name.

    settings: plain containers, all that a sample depends on beside the files, the code in this folder and that of
    the data set's class.
    """
    code = fingerprint(sorted({*Path(__file__).parent.glob("*.py"), *code_of(type(source))}))
    content = fingerprint([path for pair in extras_of(source).files for path in pair])
    facts = [
        type(source).__module__,
        type(source).__qualname__,
        settings,
        content,
        code,
        cv2.__version__,
        PIL.__version__,
    ]
    digest = hashlib.blake2b(json.dumps(facts, sort_keys=True).encode(), digest_size=16)
    return folder() / f"{digest.hexdigest()}.cache"


def code_of(made: type) -> list[Path]:
    """The files in which a class and those it is derived from are written."""
    files = {getattr(sys.modules.get(one.__module__), "__file__", None) for one in made.__mro__}
    return [Path(file) for file in files if file is not None]


def is_there(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def folder() -> Path:
    """Where the files lie: segkit below $XDG_CACHE_HOME, ~/.cache by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "segkit"


def opened(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, read as they are needed, and not to be written to."""
    data = np.asarray(np.memmap(path, np.uint8, "r"))  # views of a plain array are made faster
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(data[:1])  # torch says once a process that such an array must not be written to
    return data


def purge(cache: Path) -> None:
    """Remove files that nobody opened for long, and what killed processes left."""
    for path in (*cache.glob("*.cache"), *cache.glob("*.part")):
        with suppress(OSError, Timeout):  # gone already, somebody else's, or about to be opened
            if time.time() - path.stat().st_mtime > (KEPT_DAYS * DAY if path.suffix == ".cache" else DAY):
                with FileLock(path.with_suffix(".lock"), blocking=False):
                    path.unlink()
                    path.with_suffix(".json").unlink(missing_ok=True)


def free_disk() -> int:
    """Bytes free where the files lie; 0 where nothing can be written."""
    place = next(path for path in (folder(), *folder().parents) if path.exists())
    return shutil.disk_usage(place).free if os.access(place, os.W_OK) else 0


def free_memory() -> int:
    """Bytes of memory that are free or can be freed, in a container of what it may have; 0 where nothing tells."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        if (group / "memory.max").exists() and (most := (group / "memory.max").read_text().strip()) != "max":
            free = min(free, int(most) - int((group / "memory.current").read_text()))
        return free
    except (OSError, StopIteration, ValueError):
        return 0


def megabytes(size: int) -> str:
    if size < 1e6:
        return f"{size / 1e3:,.0f} kB"
    return f"{size / 1e6:,.0f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB"
