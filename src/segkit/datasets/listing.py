"""The files of a data set: pictures below a folder, and images paired with masks of the same name."""

import os
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from segkit.datasets.findings import Finding, Kind, add_remark, report_faults
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
    "The names of an image and its mask must also match in upper and lower case. Rename one of the two.",
)
SAME_NAME = Kind(
    "name that two files share",
    "names that two files share",
    "Images and masks are paired by their names without the extension. Remove or rename one of the two.",
)
LEADS_OUT = Kind(
    "link that leads out of dataset.root",
    "links that lead out of dataset.root",
    "Links that leave it are followed only if your own command line names the root: say dataset.root=… "
    "(+dataset.root=… for a resumed run) if you trust what they lead to. Or copy the files there.",
)
LEADS_NOWHERE = Kind("broken link", "broken links", "Fetch what they point to, or remove them and their partners.")
ENDLESS = Kind("link that leads back to itself", "links that lead back to themselves", "Remove them.")
NO_FILE = Kind(
    "picture that is not a regular file",
    "pictures that are not regular files",
    "It is a pipe, a socket or a device, from which no picture is read. Remove it.",
)


class Pair(NamedTuple):
    """The files of one sample."""

    image: Path
    mask: Path


def find_pictures(
    folder: Path, root: Path, suffix: str = "", *, follow_links: bool = False, preferred: str = ""
) -> dict[str, Path]:
    """The pictures below `folder`, sorted, keyed by their path in it without extension and `suffix`.

    Hidden files and files without a picture's extension are left out. follow_links: follow links out of `root`, too;
    only for a root that the user has named. preferred: which extension to take where two files have one name. Other
    files of the same name, links that are broken or leave `root`, pipes and devices are faults (see
    `findings.report_faults`).
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
            add_remark(kind, f"{path} lies beside {found[key].name}.")
        elif key in found:
            report_faults(Finding(SAME_NAME, f"{found[key]} and {path} have the same name."))
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
                    report_faults(Finding(ENDLESS, f"{path} is a link to a folder above itself."))
                else:
                    yield from _walk(path, inside, here)
            elif path.suffix.lower() in EXTENSIONS:
                if entry.is_file():
                    yield path
                else:
                    report_faults(Finding(NO_FILE, f"{path} is not a regular file."))


def _is_sound(link: Path, inside: Path | None) -> bool:
    """Whether a link leads to something that may be read; if not, the reason is reported."""
    try:
        target = link.resolve(strict=True)
    except FileNotFoundError:
        report_faults(Finding(LEADS_NOWHERE, f"{link} is a link to {link.readlink()}, which does not exist."))
        return False
    except (OSError, RuntimeError):
        report_faults(Finding(ENDLESS, f"{link} is a link that leads back to itself."))
        return False
    if inside is not None and not target.is_relative_to(inside):
        report_faults(Finding(LEADS_OUT, f"{link} is a link to {target}, outside of dataset.root ({inside})."))
        return False
    return True


def match_pairs(images: Mapping[str, Path], masks: Mapping[str, Path], where: Path) -> list[Pair]:
    """Images and masks of the same key, sorted by key; unmatched files are reported."""
    alone = {key: path for key, path in images.items() if key not in masks}
    spare = {key: path for key, path in masks.items() if key not in images}
    if ending := _find_mask_suffix(images, masks):
        kind = Kind("suffix", "suffixes", f"The masks' names end in {ending}: set dataset.mask_suffix={ending}.")
        first = next(iter(images.values())).name
        report_faults(Finding(kind, f"{where}: no image has a mask of its name ({first} has none)."))
        return []
    folded = {key.casefold(): key for key in spare}
    for key, path in alone.items():
        if twin := folded.get(key.casefold()):
            report_faults(Finding(OTHER_CASE, f"{path} and {spare.pop(twin)} differ in upper and lower case."))
        else:
            report_faults(Finding(NO_MASK, f"{path} has no mask."))
    for path in spare.values():
        report_faults(Finding(NO_IMAGE, f"{path} has no image."))
    return [Pair(images[key], masks[key]) for key in sorted(images) if key in masks]


def _find_mask_suffix(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    """The suffix that all masks' keys have beyond their images' keys, or "" if there is none."""
    mask = next(iter(masks), "")
    for image in images:
        ending = mask.removeprefix(image)
        if ending not in ("", mask) and all(image + ending in masks for image in images):
            return ending
    return ""
