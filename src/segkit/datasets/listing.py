"""Which files a data set has: pictures below a folder, and images and masks of the same name."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from segkit.datasets.findings import Finding, Kind, remark, tell
from segkit.datasets.reading import EXTENSIONS

NO_MASK = Kind(
    "image without a mask",
    "images without a mask",
    "Add the missing files or remove these. An image and its mask have the same name up to the extension (and "
    "dataset.mask_suffix).",
)
NO_IMAGE = Kind("mask without an image", "masks without an image", NO_MASK.remedy)
OTHER_CASE = Kind(
    "name in upper and lower case",
    "names in upper and lower case",
    "An image and its mask have the same name, also in upper and lower case. Rename one of the two.",
)
SAME_NAME = Kind(
    "name that two files have",
    "names that two files have",
    "The name, up to the extension, is what pairs images and masks. Remove or rename one of the two.",
)
LEADS_OUT = Kind(
    "link that leads out of dataset.root",
    "links that lead out of dataset.root",
    "Links that leave it are followed where your own command line names it: say dataset.root=… (+dataset.root=… of a "
    "resumed run) if you trust what they lead to. Or copy the files there.",
)
LEADS_NOWHERE = Kind(
    "link that leads nowhere", "links that lead nowhere", "Fetch what they lead to, or remove them and their partners."
)
ENDLESS = Kind("link that leads back to itself", "links that lead back to themselves", "Remove them.")
NO_FILE = Kind(
    "picture's name that is no file",
    "pictures' names that are no files",
    "It is a pipe, a socket or a device, from which no picture is read. Remove it.",
)


class Pair(NamedTuple):
    """The files of one sample."""

    image: Path
    mask: Path


def pictures(
    folder: Path, root: Path, suffix: str = "", *, follow_links: bool = False, preferred: str = ""
) -> dict[str, Path]:
    """The pictures below `folder` by their path in it without extension and `suffix`, sorted.

    Hidden files and what has no picture's extension are left out. follow_links: also out of `root`, for a root that the
    person who runs this has named. preferred: of two files of one name, the extension of the one to take. Two files of
    one name otherwise, links that leave `root` or lead nowhere, pipes and devices are told (see `findings.tell`).
    """
    inside = None if follow_links else root.resolve()
    found: dict[str, Path] = {}
    above = len(folder.parts)
    if not _is_sound(folder, inside):
        return found
    for path in sorted(_walk(folder, inside, frozenset()), key=str):
        key = unicodedata.normalize("NFC", "/".join((*path.parts[above:-1], path.stem))).removesuffix(suffix)
        if key in found and preferred in (path.suffix.lower(), found[key].suffix.lower()):
            if path.suffix.lower() == preferred:
                found[key], path = path, found[key]
            kind = Kind(f"file beside a {preferred}", f"files beside a {preferred}", f"The {preferred} is read.")
            remark(kind, f"{path} lies beside {found[key].name}.")
        elif key in found:
            tell(Finding(SAME_NAME, f"{found[key]} and {path} have the same name."))
        else:
            found[key] = path
    return found


def _walk(folder: Path, inside: Path | None, above: frozenset[Path]) -> Iterable[Path]:
    with os.scandir(folder) as entries:
        for entry in entries:
            path = Path(entry.path)
            if entry.name.startswith((".", "__MACOSX", "@eaDir")):
                continue
            if entry.is_symlink() and not _is_sound(path, inside):
                continue
            if entry.is_dir():
                real, target = folder.resolve(), path.resolve()
                here = above | {real}
                if target in here or real.is_relative_to(target):
                    tell(Finding(ENDLESS, f"{path} is a link to a folder above itself."))
                else:
                    yield from _walk(path, inside, here)
            elif path.suffix.lower() in EXTENSIONS:
                if entry.is_file():
                    yield path
                else:
                    tell(Finding(NO_FILE, f"{path} is no file."))


def _is_sound(link: Path, inside: Path | None) -> bool:
    """Whether a link leads to something that may be read; what is wrong with it is told."""
    try:
        target = link.resolve(strict=True)
    except FileNotFoundError:
        tell(Finding(LEADS_NOWHERE, f"{link} is a link to {link.readlink()}, which does not exist."))
        return False
    except (OSError, RuntimeError):
        tell(Finding(ENDLESS, f"{link} is a link that leads back to itself."))
        return False
    if inside is not None and not target.is_relative_to(inside):
        tell(Finding(LEADS_OUT, f"{link} is a link to {target}, outside of dataset.root ({inside})."))
        return False
    return True


def matched(images: Mapping[str, Path], masks: Mapping[str, Path], where: Path) -> list[Pair]:
    """Images and masks of the same key, sorted by key; what is left over is told."""
    alone = {key: path for key, path in images.items() if key not in masks}
    spare = {key: path for key, path in masks.items() if key not in images}
    if ending := _common_ending(images, masks):
        kind = Kind("suffix", "suffixes", f"The masks' names end in {ending}: set dataset.mask_suffix={ending}.")
        tell(Finding(kind, f"{where}: no image has a mask of its name ({next(iter(images.values())).name} has none)."))
        return []
    folded = {key.casefold(): key for key in spare}
    for key, path in alone.items():
        if twin := folded.get(key.casefold()):
            tell(Finding(OTHER_CASE, f"{path} and {spare.pop(twin)} differ in upper and lower case."))
        else:
            tell(Finding(NO_MASK, f"{path} has no mask."))
    for path in spare.values():
        tell(Finding(NO_IMAGE, f"{path} has no image."))
    return [Pair(images[key], masks[key]) for key in sorted(images) if key in masks]


def _common_ending(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    """What to cut off the masks' keys so that they are the images' keys; empty if there is no such thing."""
    mask = next(iter(masks), "")
    for image in images:
        ending = mask.removeprefix(image)
        if ending not in ("", mask) and all(image + ending in masks for image in images):
            return ending
    return ""
