"""Pictures decoded and resized once: uint8 arrays in memory, or in a file that workers, jobs and runs share."""

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
from segkit.datasets.findings import Finding, Kind, add_remark, gather_findings
from segkit.datasets.scan import read_all
from segkit.datasets.source import Sample, Source, extras_of
from segkit.hardware import cores

log = logging.getLogger("segkit")

Place = Literal["auto", "ram", "disk", "off"]
Size = tuple[int, int]
Prepare = Callable[[dict[str, Any]], tuple[NDArray[np.uint8], NDArray[np.uint8]]]
DISK_SHARE, RAM_SHARE = 0.1, 0.25  # the largest share of the free space that "auto" takes
DAY = 86_400
KEEP_DAYS = 30  # files unused for so long are deleted when another is built


class CannotWriteError(ValueError):
    """The cache's folder cannot be written."""


class DecodedDataset(Dataset[Sample]):
    """A file-backed data set whose pictures and masks, as `Prepare` returned them, lie in one array of bytes.

    An item is a view of the array, of the size (H, W) in `shapes`; do not write to it.
    """

    def __init__(self, source: Any, shapes: Sequence[Size], data: NDArray[np.uint8], path: Path | None) -> None:
        self.classes, self.names = tuple(source.classes), list(source.names)
        self.shapes, self.path = list(shapes), path
        self.starts = compute_offsets(shapes)
        self.data: NDArray[np.uint8] | None = data

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        pixels, values = view_arrays(cast(NDArray[np.uint8], self.data), self.starts[index], self.shapes[index])
        image, mask = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(values)
        return {"image": image, "mask": mask, "name": self.names[index]}

    def shape(self, index: int) -> Size:
        """(H, W) of a sample."""
        return self.shapes[index]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | ({"data": None} if self.path else {})  # another process opens the file itself

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.path:
            self.data = open_array(self.path)


def compute_offsets(shapes: Sequence[Size]) -> list[int]:
    """Where each sample begins in the array, and where the last one ends."""
    return [0, *np.cumsum([4 * tall * wide for tall, wide in shapes]).tolist()]


def view_arrays(data: NDArray[np.uint8], start: int, shape: Size) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The image (H, W, 3) and mask (H, W) that begin at `start` in `data`."""
    middle, end = start + 3 * shape[0] * shape[1], start + 4 * shape[0] * shape[1]
    return data[start:middle].reshape(*shape, 3), data[middle:end].reshape(shape)


def decode_in_memory(source: Any, shapes: Sequence[Size], prepare: Prepare) -> DecodedDataset:
    """`source` decoded into memory."""
    size = compute_offsets(shapes)[-1]
    log.info("decoding %d pictures into %s of memory", len(shapes), format_size(size))
    data = np.empty(size, np.uint8)
    fill(data, source, shapes, prepare)
    return DecodedDataset(source, shapes, data, None)


def decode_on_disk(source: Any, shapes: Sequence[Size], prepare: Prepare, settings: Any) -> DecodedDataset:
    """`source` decoded into a file, unless that exists already; `settings` as for `path_of`.

    Raises CannotWriteError without room or permission, and whatever reading a picture raises.
    """
    path, size = path_of(source, settings), compute_offsets(shapes)[-1]
    with lock_file(path), gather_findings():  # a second process waits, then finds the file
        if not is_complete(path, size):
            build(path, size, source, shapes, prepare)
            if path_of(source, settings) != path:
                path.unlink()
                raise ValueError("the data set's files changed while they were being decoded. Start again.")
        os.utime(path)
        repeat_remarks(path)
        return DecodedDataset(source, shapes, open_array(path), path)


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Let only one process at a time build a file."""
    lock = FileLock(path.with_suffix(".lock"))
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            log.info("waiting for another process that is decoding the same pictures")
            lock.acquire()
    except OSError as error:
        raise CannotWriteError(describe_write_error(path, error)) from error
    try:
        yield
    finally:
        lock.release()


def build(path: Path, size: int, source: Any, shapes: Sequence[Size], prepare: Prepare) -> None:
    """Write the file under a temporary name, then rename it: a file with the final name is complete."""
    log.info("decoding %d pictures once: %s in %s", len(shapes), format_size(size), path)
    remove_stale_files(path.parent)
    handle, name = tempfile.mkstemp(suffix=".part", dir=path.parent)
    partial = Path(name)
    try:
        reserve(handle, size, path)
        data = np.memmap(partial, np.uint8, "r+", shape=(size,))
        with gather_findings() as found:
            before = set(found.remarks)
            fill(data, source, shapes, prepare)
            save_remarks(path, [finding for finding in found.remarks if finding not in before])
        data.flush()
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def save_remarks(path: Path, remarks: list[Finding]) -> None:
    """Save the remarks about a file's pictures, for processes that find it built."""
    if remarks:
        path.with_suffix(".json").write_text(json.dumps([[found.kind, found.fact] for found in remarks]))


def repeat_remarks(path: Path) -> None:
    """Repeat the remarks that `save_remarks` saved."""
    with suppress(OSError, ValueError, TypeError):
        for kind, fact in json.loads(path.with_suffix(".json").read_text()):
            add_remark(Kind(*kind), fact)


def reserve(handle: int, size: int, path: Path) -> None:
    """Make the open file `size` bytes long, so that a full disk fails here and does not kill the process later."""
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(handle, 0, size)
        os.truncate(handle, size)
    except OSError as error:
        raise CannotWriteError(describe_write_error(path, error)) from error
    finally:
        os.close(handle)


def describe_write_error(path: Path, error: OSError) -> str:
    return (
        f"dataset.cache=disk: {error.strerror or error} in {path.parent}. Make room, set XDG_CACHE_HOME to another "
        "folder, or say dataset.cache=off."
    )


def fill(data: NDArray[np.uint8], source: Any, shapes: Sequence[Size], prepare: Prepare) -> None:
    """Decode everything into `data` on all cores: decoders release Python's lock."""
    begins = compute_offsets(shapes)

    def one(index: int) -> None:
        image, mask = view_arrays(data, begins[index], shapes[index])
        image[...], mask[...] = prepare(source[index])

    read_all(one, source, cores())


def choose_place(size: int, missing: int, where: Place) -> Place:
    """Where to keep `size` bytes, of which all but `missing` are in files already.

    auto: in files if the missing bytes take at most a tenth of the disk's free space, else in memory if all of them
    take at most a quarter of what is free, else nowhere. Raises ValueError if they do not fit where `where` says.
    """
    disk, memory = free_disk(), free_memory()
    if where == "disk" and missing > disk:
        raise ValueError(
            f"dataset.cache=disk: {format_size(missing)} are needed and {format_size(disk)} are free in "
            f"{cache_folder()}. Make room, set XDG_CACHE_HOME to a folder on another disk, or say dataset.cache=off."
        )
    if where == "ram" and size > memory > 0:
        raise ValueError(
            f"dataset.cache=ram: {format_size(size)} are needed and {format_size(memory)} are free. Say "
            "dataset.cache=disk or off."
        )
    if where != "auto":
        return where
    if missing <= DISK_SHARE * disk:
        return "disk"
    if size <= RAM_SHARE * memory:
        log.info(
            "not kept for later runs: they may take a tenth of the %s free in %s", format_size(disk), cache_folder()
        )
        return "ram"
    log.info("pictures are decoded every time: decoded, their %s exceed what may be used", format_size(size))
    return "off"


def path_of(source: Source, settings: Any) -> Path:
    """The cache file of a data set. Its name depends on the content of the files, the settings and the code.

    settings: plain containers with all that a sample depends on besides the files, the code in this folder and that
    of the data set's class.
    """
    code = fingerprint(sorted({*Path(__file__).parent.glob("*.py"), *find_source_files(type(source))}))
    content = fingerprint(extras_of(source).every_file)
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
    return cache_folder() / f"{digest.hexdigest()}.cache"


def find_source_files(made: type) -> list[Path]:
    """The source files of a class and its base classes."""
    files = {getattr(sys.modules.get(one.__module__), "__file__", None) for one in made.__mro__}
    return [Path(file) for file in files if file is not None]


def is_complete(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size == size


def cache_folder() -> Path:
    """The folder of the cache files: segkit below $XDG_CACHE_HOME, ~/.cache by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "segkit"


def open_array(path: Path) -> NDArray[np.uint8]:
    """The bytes of a file, read on demand; do not write to them."""
    data = np.asarray(np.memmap(path, np.uint8, "r"))  # views of a plain array are faster to make
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(data[:1])  # torch warns once per process that the array is read-only
    return data


def remove_stale_files(cache: Path) -> None:
    """Delete files unused for `KEEP_DAYS` days, and what killed processes left behind."""
    for path in (*cache.glob("*.cache"), *cache.glob("*.part")):
        with suppress(OSError, Timeout):  # deleted meanwhile, another user's, or in use
            if time.time() - path.stat().st_mtime > (KEEP_DAYS * DAY if path.suffix == ".cache" else DAY):
                with FileLock(path.with_suffix(".lock"), blocking=False):
                    path.unlink()
                    path.with_suffix(".json").unlink(missing_ok=True)


def free_disk() -> int:
    """Free bytes on the cache's disk; 0 if it cannot be written."""
    place = next(path for path in (cache_folder(), *cache_folder().parents) if path.exists())
    return shutil.disk_usage(place).free if os.access(place, os.W_OK) else 0


def free_memory() -> int:
    """Bytes of memory that are free or can be freed, within a container's limit; 0 if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
        group = Path("/sys/fs/cgroup")
        if (group / "memory.max").exists() and (most := (group / "memory.max").read_text().strip()) != "max":
            free = min(free, int(most) - int((group / "memory.current").read_text()))
        return free
    except (OSError, StopIteration, ValueError):
        return 0


def format_size(size: int) -> str:
    if size < 1e6:
        return f"{size / 1e3:,.0f} kB"
    return f"{size / 1e6:,.0f} MB" if size < 1e10 else f"{size / 1e9:,.0f} GB"
