"""What mask files hold, judged by a sample of them, and which settings fit that."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from segkit import IGNORE_INDEX, hardware
from segkit.datasets.findings import DataError, Finding, Findings, format_remedy, gather_into, suggest_settings
from segkit.datasets.masks import MaskValues, find_colors, find_shades, to_grey
from segkit.datasets.reading import ALPHA, MaskFile, Values, read_mask_file
from segkit.datasets.remedies import NUMBERS, settings_for_values

SAMPLE = 64  # masks
FEW = 16  # values of a mask that may be numbers of classes
MOST = 300  # values of a mask that are kept
MIDDLE = 0.1  # of a lossy mask's pixels, at most, that are neither near black nor near white
EDGES = 0.2  # of a mask's pixels, at most, that are soft edges


class MaskMeaning(NamedTuple):
    """What masks hold.

    masks: how many there are; read: how many of them were; kinds: what they hold, in words, with the number of masks,
    the most frequent first; values: of grey masks without loss; fits: whether the settings fit all that were read;
    misread: whether they do not although each mask can be read by them; fact: why not, for the first of the most
    frequent reason; settings: what to type instead, "" if nothing is known; remedy: the same as a sentence, with what
    else may help.
    """

    masks: int
    read: int
    kinds: dict[str, int]
    values: tuple[float, ...]
    fits: bool
    misread: bool = False
    fact: str = ""
    settings: str = ""
    remedy: str = ""

    @property
    def sentence(self) -> str:
        """Such as "64 of 200 masks read: 63 hold 0 and 1, 1 holds 0 alone"."""
        many = f"{self.read} of {self.masks} masks read" if self.read < self.masks else f"{self.masks} masks"
        kinds = (f"{count} hold{'s' * (count == 1)} {kind}" for kind, count in self.kinds.items())
        return f"{many}: {', '.join(kinds)}"


class _Seen(NamedTuple):
    kind: str
    values: tuple[float, ...] = ()
    findings: tuple[Finding, ...] = ()


def describe_masks(files: Sequence[Path], settings: MaskValues, most: int = SAMPLE) -> MaskMeaning:
    """Read a sample of mask files, at most `most`, spread evenly, and say what they hold and whether `settings` fit.

    They do not fit if a mask cannot be read by them, if shades that cover areas are read as one class, if black and
    white are read as several, or if 1, 2, … and 255 are read as one class by a threshold between them.
    """
    chosen = [files[int(at)] for at in np.linspace(0, len(files) - 1, min(most, len(files)))]
    with ThreadPoolExecutor(min(hardware.cores(), 4)) as pool:
        seen = list(pool.map(lambda path: _look(path, settings), chosen))
    kinds = dict(Counter(one.kind for one in seen).most_common())
    values = tuple(sorted({value for one in seen for value in one.values}))
    found = MaskMeaning(len(files), len(chosen), kinds, values, True)
    if findings := [finding for one in seen for finding in one.findings]:
        reason = Counter(finding.kind.many for finding in findings).most_common(1)[0][0]
        alike = [finding for finding in findings if finding.kind.many == reason]
        few = 2 * sum(bool(one.findings) for one in seen) <= len(seen)  # settings are for all: those files are odd
        settings_for_all = "" if few else suggest_settings(alike)
        return found._replace(fits=False, fact=alike[0].fact, settings=settings_for_all, remedy=format_remedy(alike))
    if is_misread(values, settings):
        line = settings_for_values(values, settings.classes)
        fact = f"the masks hold {', '.join(f'{value:g}' for value in values)}"
        return found._replace(
            fits=False, misread=True, fact=f"{fact}.", settings=line, remedy=f"If that is meant, type {line}."
        )
    return found


def is_misread(values: Sequence[float], settings: MaskValues) -> bool:
    """Whether settings by which every single mask can be read do not fit the values of all together."""
    others = {*values} - {0, IGNORE_INDEX}
    if settings.colors is not None or settings.ignore_values:
        return False
    if len(settings.classes) > 1:
        return not others and IGNORE_INDEX in values
    return bool(others) and IGNORE_INDEX in values and max(others) < min(NUMBERS, settings.threshold + 1)


def _look(path: Path, settings: MaskValues) -> _Seen:
    try:
        file = read_mask_file(path)
    except DataError as error:
        alpha = error.findings[0].kind == ALPHA
        return _Seen("an alpha channel alone" if alpha else "nothing that can be read", (), error.findings)
    kind, values = name_contents(file)
    found = Findings()
    gather_into(found)  # remarks of this thread
    try:
        settings.read(path)
    except DataError as error:
        return _Seen(kind, values, error.findings)
    return _Seen(kind, values, tuple(one for one in found.remarks if one.kind.suggest is not None))


def name_contents(file: MaskFile) -> tuple[str, tuple[float, ...]]:
    """What a mask holds, in words, and its values, if it is grey and not compressed with loss."""
    loss = ", compressed with loss" if file.lossy else ""
    if find_colors(file):
        numbers = tuple(np.unique(file.values).tolist()) if file.palette is not None else ()
        return (f"numbers {_join(numbers)} of a palette in colour" if numbers else f"colours{loss}"), ()
    grey = to_grey(file)
    shades = np.unique(grey)
    kind = _name_shades(grey, shades, file.lossy)
    if grey.dtype.itemsize == 2:
        kind += " of 16 bits"
    if file.values.ndim == 3:
        kind += " in three channels"
    return kind + loss, () if file.lossy else tuple(shades[:MOST].astype(float).tolist())


def _name_shades(grey: Values, shades: Values, lossy: bool) -> str:
    if grey.dtype.kind == "f" and not (np.isfinite(shades).all() and (shades == np.floor(shades)).all()):
        return "numbers that are no shades"
    if lossy:
        middle = float(np.mean((grey > 64) & (grey < 191)))
        return "black and white" if middle <= MIDDLE and shades[-1] > 191 else "shades of grey"
    if len(shades) == 1:
        return f"{shades[0]:g} alone"
    if len(shades) == 2:
        return f"{shades[0]:g} and {shades[1]:g}"
    numbers = shades[shades != IGNORE_INDEX]
    if len(shades) <= FEW and numbers.max() < NUMBERS:
        return "numbers of classes"
    if len(shades) <= FEW and len(find_shades(grey)) > 2:
        return "several shades"
    soft = float(np.mean((grey > shades[0]) & (grey < shades[-1])))
    return f"{shades[0]:g} to {shades[-1]:g} with soft edges" if soft <= EDGES else "many shades of grey"


def _join(values: Sequence[float]) -> str:
    more = f" and {len(values) - FEW} more" if len(values) > FEW else ""
    return ", ".join(f"{value:g}" for value in values[:FEW]) + more
