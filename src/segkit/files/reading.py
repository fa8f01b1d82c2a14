"""Reading the files of run folders as data: even untrusted files take a bounded time and memory.

Everything here raises FileNotFoundError or ValueError, with the file's name, for a file that cannot be read.
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from segkit.files.pickles import check_archive_pickle

MEGABYTE = 2**20
MOST_YAML, MOST_JSON, MOST_CSV, MOST_PICKLE = 0.25 * MEGABYTE, 32 * MEGABYTE, 64 * MEGABYTE, 16 * MEGABYTE
DEEPEST = 24  # levels of nested containers
MOST_VALUES = 10_000  # in a config; thousands are read per second
PICTURE_SUFFIXES = {".apng", ".avif", ".bmp", ".dib", ".gif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".mpo"}
PICTURE_SUFFIXES |= {".pbm", ".pcx", ".pgm", ".png", ".pnm", ".ppm", ".ras", ".tga", ".tif", ".tiff", ".webp"}
VIDEO_SUFFIXES = {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"}
VIDEO_SUFFIXES |= {".ts", ".webm", ".wmv"}
MOST_FILES = 100_000  # in a checkpoint: its tensors
MOST_IN_CHECKPOINT = 1_000_000  # values
MOST_SHARED = 8  # tensors may share storage: together they may claim so many times the file's bytes
MOST_CONTAINERS, MOST_ENTRIES = 1_000_000, 4_000_000  # in a JSON file


def read_text(path: Path, most: float) -> str:
    """The text of a regular file of at most `most` bytes."""
    if not path.is_file():
        what = "is not a regular file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{path} {what}.")
    with path.open("rb") as file:
        content = file.read(int(most) + 1)
    if len(content) > most:
        raise ValueError(f"{path} has more than {most / MEGABYTE:g} MB, more than segkit ever writes into such a file.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not a text file in UTF-8 (byte {error.start + 1} is 0x{content[error.start]:02x}). Save it as "
            "UTF-8; Excel calls that CSV UTF-8."
        ) from None


def is_file(path: Path) -> bool:
    """Whether there is a regular file; False, and no error, for a name that is too long or may not be looked up."""
    try:
        return path.is_file()
    except OSError:
        return False


def read_yaml(path: Path) -> Any:
    """A YAML file as plain containers, with expressions left as text; no aliases, no tags, no deep nesting."""
    text = read_text(path, MOST_YAML)
    try:
        check_yaml(text)
        return OmegaConf.to_container(OmegaConf.create(text), resolve=False) if text.strip() else {}
    except Exception as error:  # many types: OmegaConf even asserts what a YAML file can violate
        raise ValueError(f"{path} cannot be read as a config: {first_line(error)}") from None


def check_yaml(text: str) -> None:
    """ValueError for YAML that would expand to something large or build objects."""
    depth = 0
    for at, event in enumerate(yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))):
        if at > MOST_VALUES:
            raise ValueError(f"it has more than {MOST_VALUES} values")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise ValueError("it has an alias or anchor (& or *), which segkit never writes")
        if (tag := getattr(event, "tag", None)) is not None and tag != "!":
            raise ValueError(f"it has the tag {tag}, which segkit never writes")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it has more than {DEEPEST} containers inside each other")


def read_json(path: Path) -> Any:
    """The content of a JSON file; ValueError for more values or deeper nesting than segkit writes."""
    try:
        text = read_text(path, MOST_JSON)
        if text.count("[") + text.count("{") > MOST_CONTAINERS or text.count(",") > MOST_ENTRIES:
            raise ValueError(f"it has more than {MOST_CONTAINERS} lists and mappings, or {MOST_ENTRIES} values")
        found = json.loads(text)
        check_depth(found)
        return found
    except FileNotFoundError:
        raise
    except (ValueError, RecursionError) as error:
        hint = "" if str(path) in str(error) else f"{path} cannot be read as JSON: "
        raise ValueError(f"{hint}{first_line(error)}") from None


def check_depth(found: Any) -> None:
    """ValueError for containers that are nested too deeply."""
    level = [found]
    for _ in range(DEEPEST + 1):
        below = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list)]
        level = [value for values in below for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise ValueError(f"it has more than {DEEPEST} containers inside each other")


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The tensors and plain containers of a checkpoint; the tensors stay on disk until they are used.

    Nothing else is unpickled. As they are mapped from the disk, tensors cannot claim more than the file has.
    """
    import torch

    check_archive(path)
    try:
        check_archive_pickle(path)
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # many types
        raise ValueError(f"{path} is not a segkit checkpoint, or is damaged: {first_line(error)}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} is not a segkit checkpoint: it holds a {type(found).__name__}.")
    check_contents(found, path)
    return found


def check_contents(checkpoint: dict[str, Any], path: Path) -> None:
    """ValueError for containers that are nested too deeply or are too many (one in several places counts each time),
    and for tensors, weights or not, that claim more than the file has."""
    import torch

    level: list[tuple[str, Any]] = [("", checkpoint)]
    stores: dict[int, int] = {}
    values, claimed, most = 0, 0, tensor_bytes(path)
    for _ in range(DEEPEST + 2):
        below: list[tuple[str, Any]] = []
        for key, node in level:
            if isinstance(node, torch.Tensor):
                size, store = node.numel() * node.element_size(), node.untyped_storage()
                stores[store.data_ptr()], claimed = store.nbytes(), claimed + size
                if size > store.nbytes() or claimed > MOST_SHARED * most:
                    raise ValueError(f"{path} is damaged: its tensor {key} claims more than the file has.")
            elif isinstance(node, dict):
                inside = (*node.items(), *getattr(node, "__dict__", {}).items())  # an OrderedDict has _metadata
                below += [(str(name)[:200], one) for name, one in inside]
            elif isinstance(node, list | tuple):
                below += [(key, one) for one in node]
            values += 1
            if len(below) + values > MOST_IN_CHECKPOINT:
                raise ValueError(f"{path} is not a segkit checkpoint: it has more than {MOST_IN_CHECKPOINT} values.")
        level = below
        if not level:
            break
    else:
        raise ValueError(f"{path} is not a segkit checkpoint: it has more than {DEEPEST} containers inside each other.")
    if sum(stores.values()) > most:
        raise ValueError(f"{path} is not a segkit checkpoint, or is damaged: its tensors claim more than the file has.")


def check_archive(path: Path) -> None:
    """ValueError for a file that is not a torch archive, or that would grow when unpacked."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file.")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError) as error:
        raise ValueError(f"{path} is not a segkit checkpoint, or is damaged: {first_line(error)}") from None
    packed = [entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    pickles = [entry for entry in entries if entry.filename.endswith(".pkl") and entry.file_size > MOST_PICKLE]
    total = sum(entry.file_size for entry in entries)
    if packed or pickles or len(entries) > MOST_FILES or total > path.stat().st_size:
        raise ValueError(
            f"{path} is not a segkit checkpoint, or is damaged: unpacked, it would be too large "
            f"({total / MEGABYTE:,.0f} MB in {len(entries)} parts)."
        )


def tensor_bytes(path: Path) -> int:
    """The number of bytes of tensors in a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist() if "/data/" in entry.filename)


def first_line(error: BaseException) -> str:
    """An error's message, without a library's longer advice."""
    text = str(getattr(error, "problem", None) or error).strip()
    if "weights_only" in text:  # torch advises to unpack it regardless
        return "it holds more than tensors and plain values, and nothing else is unpacked"
    return text.splitlines()[0] if text else type(error).__name__
