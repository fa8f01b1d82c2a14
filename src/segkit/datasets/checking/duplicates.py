"""Files that show the same picture: copies, also re-encoded, mirrored, turned, of another exposure or cropped; and
crops of one photograph that overlap almost completely."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from segkit import hardware
from segkit.datasets.checking import sieve
from segkit.datasets.checking.alignment import agreement, fit_window, is_plain
from segkit.datasets.checking.sieve import Candidate
from segkit.datasets.checking.thumbnails import Grey, Reader, Thumbnail, read_thumbnails
from segkit.datasets.findings import DataError
from segkit.datasets.reading import read_picture

TwinKind = Literal[
    "same bytes", "same pixels", "re-encoded", "brighter or darker", "mirrored", "turned", "cropped", "overlapping"
]

# Chosen on CrackForest and drawn pictures: benchmarks/bench_check.py says what they find elsewhere.
ALIKE, NEIGHBOURS = 0.6, 6  # likeness of descriptors for two pictures to be compared, and with how many at most
ALIKE_CROPPED, NEIGHBOURS_CROPPED = 0.55, 3
MATCH = 0.6  # of a crop's template
SAME = 0.9  # agreement in the worst place
OTHER_EXPOSURE = 0.03  # relative difference of mean grey levels
UNCROPPED = 0.985  # share of the sides; above, it is a shift of a pixel or two
INSIDE = 0.005  # how far a crop is seen to reach beyond (0.0017 at most); further, both are parts of a third picture


class Twin(NamedTuple):
    """Two files of one picture, in the order of their paths. score: 1 for identical pixels, else the agreement of
    their details where they agree least."""

    first: Path
    second: Path
    kind: TwinKind
    score: float


class Duplicates(NamedTuple):
    """All twins, by path, and why files could not be read.

    Of several identical files the first stands for the others: they are twins of it, and others are twins of it alone.
    A crop that several pictures hold is cropped from the one that it fits best, and overlapping with the others.
    """

    twins: tuple[Twin, ...]
    unreadable: dict[Path, DataError]


def find_duplicates(files: Iterable[Path], read: Reader = read_picture) -> Duplicates:
    """Twins among picture files, of whatever sizes; their order and number of mentions do not matter.

    Every file is read once. Kept of each are a thumbnail and a descriptor, 15 KB; descriptors propose candidates, and
    only what agrees all over the thumbnails is a twin. Pictures with next to nothing to see are twins of identical
    ones alone. `read` gets a path and its bytes.
    """
    paths = sorted(set(files))
    thumbnails = read_thumbnails(paths, read)
    unreadable = {path: one for path, one in zip(paths, thumbnails, strict=True) if isinstance(one, DataError)}
    read_well = [(path, one) for path, one in zip(paths, thumbnails, strict=True) if isinstance(one, Thumbnail)]
    return Duplicates(find_twins(read_well), unreadable)


def find_twins(pictures: Sequence[tuple[Path, Thumbnail]]) -> tuple[Twin, ...]:
    """Twins among thumbnails, by path. Files are read again only where two have the same pixels."""
    twins, different = _identical(sorted(pictures, key=lambda one: one[0]))
    return tuple(sorted(twins + _near(different)))


def _identical(files: Sequence[tuple[Path, Thumbnail]]) -> tuple[list[Twin], list[tuple[Path, Thumbnail]]]:
    """Twins of the same pixels, and the first file of each picture."""
    alike: dict[bytes, list[tuple[Path, Thumbnail]]] = {}
    for path, one in files:
        alike.setdefault(one.pixels, []).append((path, one))
    twins = []
    for (first, _), *others in alike.values():
        seen = {hash_file(first): first} if others else {}
        for path, _ in others:
            same = seen.setdefault(hash_file(path), path)
            twins.append(Twin(first, path, "same pixels", 1.0) if same == path else Twin(same, path, "same bytes", 1.0))
    return twins, [several[0] for several in alike.values()]


def hash_file(path: Path) -> bytes:
    """A hash of a file's bytes; of its name where there is no such file, as of pictures that are drawn."""
    content = path.read_bytes() if path.is_file() else bytes(path)
    return blake2b(content, digest_size=16).digest()


def _near(files: Sequence[tuple[Path, Thumbnail]]) -> list[Twin]:
    """Twins that differ in their pixels."""
    files = [(path, one) for path, one in files if not is_plain(one.grey())]
    if len(files) < 2:
        return []
    textures = np.stack([sieve.texture(one.grey()) for _, one in files])
    found: dict[tuple[int, int], tuple[TwinKind, float]] = {}

    def confirm(one: Candidate) -> tuple[TwinKind, float] | None:
        return _same_size(files[one.part][1].grey(), files[one.whole][1].grey(), one.way)

    def fit(one: Candidate) -> tuple[TwinKind, float] | None:
        return _cropped(files[one.part][1].grey(), files[one.whole][1].grey(), one.way)

    with ThreadPoolExecutor(min(hardware.cores(), 4)) as pool:
        candidates = sieve.same_size(textures, ALIKE, NEIGHBOURS)
        for one, twin in zip(candidates, pool.map(confirm, candidates), strict=True):
            if twin is not None:
                found[_key(one)] = twin
        candidates = [
            one for one in sieve.cropped(textures, ALIKE_CROPPED, NEIGHBOURS_CROPPED) if _key(one) not in found
        ]
        fits = [
            (*twin, one) for one, twin in zip(candidates, pool.map(fit, candidates), strict=True) if twin is not None
        ]
    copies, wholes = set(found), dict[int, int]()
    for kind, score, one in sorted(fits, key=lambda entry: (-entry[1], entry[2])):
        # a crop is of the picture that it fits best, and of its copies; others are of the same photograph
        best = wholes.setdefault(one.part, one.whole) if kind == "cropped" else one.whole
        is_best = best == one.whole or (min(best, one.whole), max(best, one.whole)) in copies
        found.setdefault(_key(one), (kind if is_best else "overlapping", score))
    return [Twin(files[first][0], files[second][0], *twin) for (first, second), twin in found.items()]


def _key(candidate: Candidate) -> tuple[int, int]:
    return min(candidate.part, candidate.whole), max(candidate.part, candidate.whole)


def _same_size(one: Grey, two: Grey, symmetry: int) -> tuple[TwinKind, float] | None:
    score = agreement(one, sieve.turned(two, symmetry))
    if score < SAME:
        return None
    if symmetry == 0:
        return _exposure(one, two), score
    return ("mirrored" if symmetry >= 4 else "turned"), score


def _exposure(one: Grey, two: Grey) -> TwinKind:
    darker, brighter = sorted((float(one.mean()), float(two.mean())))
    return "brighter or darker" if brighter - darker > max(OTHER_EXPOSURE * brighter, 1) else "re-encoded"


def _cropped(part: Grey, whole: Grey, window: int) -> tuple[TwinKind, float] | None:
    fit = fit_window(part, whole, sieve.WINDOWS[window], MATCH)
    if fit is None or fit.agreement < SAME:
        return None
    if max(fit.window.overhang()) > INSIDE:
        return "overlapping", fit.agreement
    is_whole = min(fit.window.height, fit.window.width) > UNCROPPED
    return _exposure(part, whole) if is_whole else "cropped", fit.agreement
