"""The files of a data set: pictures below a folder, and images paired with masks of the same name."""

import os
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from segkit.configs.composing import format_argument
from segkit.datasets.findings import Finding, Kind, add_remark, report_faults
from segkit.files.reading import PICTURE_SUFFIXES

NO_MASK = Kind(
    "image without a mask",
    "images without a mask",
    "Add the missing files or remove these; dataset.only_masked=true leaves such images out. An image and its mask "
    "have the same name up to the extension (and dataset.mask_suffix).",
)
NO_IMAGE = Kind(
    "mask without an image",
    "masks without an image",
    "Add the missing files or remove these. An image and its mask have the same name up to the extension (and "
    "dataset.mask_suffix).",
)
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


NO_ACCESS = Kind("folder without permission", "folders without permission", "Allow yourself to read it: chmod u+rx.")
TOO_DEEP = Kind("folder that lies too deep", "folders that lie too deep", "Move it up, or remove it.")
MOST_NAMES = 500_000  # pictures below a root that is searched
MOST_FOLDERS, MOST_LEVELS = 500_000, 100
MOST_AGAIN = 1000  # linked folders that were entered before: a few links on each level make endless ways
SMALLER = "Set dataset.root to the folder of the data set."
SHOWN = 80  # letters of a path that is very long


class Pair(NamedTuple):
    """The files of one sample."""

    image: Path
    mask: Path


class Names(NamedTuple):
    """The paths of the pictures below `root`, sorted; and what may not be read, with its path and why."""

    root: Path
    paths: list[str]
    faults: list[tuple[str, Finding]]


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
    for path in sorted(Walk(inside, report_faults).find(folder), key=str):
        key = unicodedata.normalize("NFC", "/".join((*path.parts[above:-1], path.stem))).removesuffix(suffix)
        if key in found and preferred in (path.suffix.lower(), found[key].suffix.lower()):
            if path.suffix.lower() == preferred:
                found[key], path = path, found[key]
            tell_of_copy(path, found[key])
        elif key in found:
            report_faults(Finding(SAME_NAME, f"{found[key]} and {path} have the same name.", files=(found[key], path)))
        else:
            found[key] = path
    return found


def list_names(folder: Path, root: Path, follow_links: bool) -> Names:
    """The names of all pictures below a folder, in one walk that opens no file. Links as for `find_pictures`. What may
    not be read is not reported, since it need not belong to the data set."""
    faults: list[tuple[str, Finding]] = []
    inside = None if follow_links else root.resolve()
    above = len(str(folder)) + (str(folder) != folder.anchor)

    def keep(finding: Finding) -> None:
        faults.append((finding.files[0].as_posix()[above:], finding))

    paths = [path.as_posix()[above:] for path in islice(Walk(inside, keep).find(folder), MOST_NAMES + 1)]
    if len(paths) > MOST_NAMES:
        raise ValueError(f"{folder} has more than {MOST_NAMES:,} pictures in it, too many to search. {SMALLER}")
    return Names(folder, sorted(paths), faults)


def tell_of_copy(path: Path, chosen: Path) -> None:
    """A remark on a file beside the one of its name that is read."""
    ending = chosen.suffix.lower()
    kind = Kind(f"file beside a {ending}", f"files beside a {ending}", f"The {ending} is read.")
    add_remark(kind, f"{path} lies beside {chosen.name}.", files=(path,))


@dataclass
class Walk:
    """One walk through a folder and all below it. inside: links that leave it are not followed. report: gets what may
    not be read. folders: how many were entered; links: what linked folders led to; again: how often to the same."""

    inside: Path | None
    report: Callable[[Finding], None]
    folders: int = 0
    again: int = 0
    links: set[Path] = field(default_factory=set)

    def find(self, folder: Path) -> Iterator[Path]:
        """The pictures below a folder."""
        return self._enter(folder, folder.resolve(), frozenset()) if self._is_sound(folder) else iter(())

    def _enter(self, folder: Path, real: Path, above: frozenset[Path]) -> Iterator[Path]:
        self.folders += 1
        if self.folders > MOST_FOLDERS or self.again > MOST_AGAIN:
            more = f"{MOST_FOLDERS:,} folders" if self.folders > MOST_FOLDERS else f"{MOST_AGAIN:,} links to the same"
            raise ValueError(f"{folder}: {more} and more lead here, too many to search. {SMALLER}")
        if len(above) > MOST_LEVELS:
            fact = f"{folder.as_posix()[:SHOWN]}… is {MOST_LEVELS} levels deep."
            self.report(Finding(TOO_DEEP, fact, files=(folder,)))
            return
        try:
            entries = os.scandir(folder)
        except PermissionError:
            self.report(Finding(NO_ACCESS, f"{folder} may not be read.", files=(folder,)))
            return
        with entries:
            for entry in entries:
                path = Path(entry.path)
                linked = entry.is_symlink()
                if entry.name.startswith((".", "__MACOSX", "@eaDir")) or (linked and not self._is_sound(path)):
                    continue
                if entry.is_dir():
                    target, here = path.resolve() if linked else real / entry.name, above | {real}
                    if target in here or real.is_relative_to(target):
                        fact = f"{path} is a link to a folder above itself."
                        self.report(Finding(ENDLESS, fact, files=(path,)))
                        continue
                    self.again += linked and target in self.links
                    self.links |= {target} if linked else set()
                    yield from self._enter(path, target, here)
                elif path.suffix.lower() in PICTURE_SUFFIXES:
                    if entry.is_file():
                        yield path
                    else:
                        self.report(Finding(NO_FILE, f"{path} is not a regular file.", files=(path,)))

    def _is_sound(self, link: Path) -> bool:
        """Whether a link leads to something that may be read; if not, the reason is reported."""
        try:
            target = link.resolve(strict=True)
        except FileNotFoundError:
            fact = f"{link} is a link to {link.readlink()}, which does not exist."
            self.report(Finding(LEADS_NOWHERE, fact, files=(link,)))
            return False
        except (OSError, RuntimeError):
            self.report(Finding(ENDLESS, f"{link} is a link that leads back to itself.", files=(link,)))
            return False
        if self.inside is not None and not target.is_relative_to(self.inside):
            fact = f"{link} is a link to {target}, outside of dataset.root ({self.inside})."
            self.report(Finding(LEADS_OUT, fact, files=(link,)))
            return False
        return True


def match_pairs(images: Mapping[str, Path], masks: Mapping[str, Path], where: Path) -> list[Pair]:
    """Images and masks of the same key, sorted by key; unmatched files are reported."""
    alone = {key: path for key, path in images.items() if key not in masks}
    spare = {key: path for key, path in masks.items() if key not in images}
    if ending := _find_mask_suffix(images, masks):
        kind = Kind(
            "suffix",
            "suffixes",
            f"The masks' names end in {ending}: set {format_argument('dataset.mask_suffix', ending)}.",
        )
        first = next(iter(images.values())).name
        report_faults(Finding(kind, f"{where}: no image has a mask of its name ({first} has none)."))
        return []
    folded = {key.casefold(): key for key in spare}
    for key, path in alone.items():
        if twin := folded.get(key.casefold()):
            other = spare.pop(twin)
            fact = f"{path} and {other} differ in upper and lower case."
            report_faults(Finding(OTHER_CASE, fact, files=(path, other)))
        else:
            report_faults(Finding(NO_MASK, f"{path} has no mask.", files=(path,)))
    for path in spare.values():
        report_faults(Finding(NO_IMAGE, f"{path} has no image.", files=(path,)))
    return [Pair(images[key], masks[key]) for key in sorted(images) if key in masks]


def _find_mask_suffix(images: Mapping[str, Path], masks: Mapping[str, Path]) -> str:
    """The suffix that all masks' keys have beyond their images' keys, or "" if there is none."""
    mask = next(iter(masks), "")
    for image in images:
        ending = mask.removeprefix(image)
        if ending not in ("", mask) and all(image + ending in masks for image in images):
            return ending
    return ""
