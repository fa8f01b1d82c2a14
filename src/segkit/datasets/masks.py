"""What the values of mask files mean: foreground by a threshold, class indices, or colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX
from segkit.datasets.findings import DataError, Finding, Kind, add_remark
from segkit.datasets.reading import MaskFile, Values, read_mask_file
from segkit.datasets.remedies import NUMBERS, Form, Remedy

Mask = NDArray[np.uint8]
Packed = NDArray[np.uint32]

FEW = 16  # most grey values of a mask that may still be classes
SHARE = 0.002  # of a lossy mask's pixels: more than these in colour are no artefacts
AREA = 0.02  # of a lossy mask's pixels: a colour of more than these is named
SHOWN = 300  # values of a mask, at most, that a remedy takes into account
STRONG = 48  # a pixel of a lossy mask is in colour if its channels differ by more

WITH_LOSS = Kind(
    "mask compressed with loss",
    "masks compressed with loss",
    "Class indices, colours and ignored values need exact files: export the masks again as PNG. A mask of one class "
    "may stay as it is: name one in dataset.classes, with no dataset.colors and ignore_values.",
)
NO_NUMBERS = Kind(
    "mask with values that are no shades",
    "masks with values that are no shades",
    "Expected finite values of 0 or more. Export the masks again, as 8-bit PNG.",
)


@dataclass(frozen=True)
class MaskValues:
    """What the values of the mask files mean, and how to read them.

    One class: values above `threshold`, in the file's own scale, are foreground (8-bit 0..255, 16-bit 0..65535;
    for colours, including a palette's, the luminance). Several: the values are class indices (a palette's index,
    not its colour), and 255 is ignored. With `colors`, masks of either kind are read as colours: one [r, g, b] per
    class in the order of the classes, or a mapping from class names; for one class, a colour for `background` comes
    first, and a mapping may name a colour to `ignore`. `ignore_values`: further file values to be ignored.
    """

    classes: Sequence[str]
    threshold: float = 127
    colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None
    ignore_values: Sequence[int] = ()
    _table: dict[int, int] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        names = list(self.classes)
        texts = not isinstance(self.classes, str) and all(isinstance(name, str) for name in names)
        if not texts or not 1 <= len(set(names)) == len(names) <= IGNORE_INDEX:
            raise ValueError(
                f"dataset.classes is {self.classes}; expected a list of 1 to {IGNORE_INDEX} different names "
                "(one name: foreground or not; several: the classes in the order of their indices)."
            )
        if self.colors is not None and self.ignore_values:
            raise ValueError(
                f"dataset.ignore_values={list(self.ignore_values)} are values, but dataset.colors says that "
                "masks hold colours.\n"
                "Give dataset.colors as a mapping and name the colour to `ignore` in it."
            )
        if self.colors is not None:
            object.__setattr__(self, "_table", _color_table(names, self.colors))

    def read(self, path: Path, data: bytes | None = None) -> Mask:
        """The mask as (H, W): class indices, or 0/1 for a single class; 255 is to be ignored. data: as for
        `read_picture`.

        Raises DataError, naming the file and the values found, if they contradict the settings.
        """
        file = read_mask_file(path, data)
        exact = self._table is not None or len(self.classes) > 1 or len(self.ignore_values) > 0
        if file.lossy and exact:
            found = _few(np.unique(file.values)) if self._table is None else _some(_packed(file))
            fact = f"mask {path} is compressed with loss, so it holds values between those of its classes: {found}."
            raise DataError(Finding(WITH_LOSS, fact, files=(path,)))
        if self._table is not None:
            return _from_colors(file, self._table, path, self._remedy("unknown colors"))
        return self._from_threshold(file, path) if len(self.classes) == 1 else self._from_indices(file, path)

    def _from_threshold(self, file: MaskFile, path: Path) -> Mask:
        self._check_colors(file, path)
        values = to_grey(file)
        if values.dtype.kind not in "ub" and not (np.isfinite(values).all() and values.min(initial=0) >= 0):
            raise DataError(
                Finding(NO_NUMBERS, f"mask {path} has the values {_few(np.unique(values))}.", files=(path,))
            )
        mask = (values > self.threshold).astype(np.uint8)
        counted = values
        if self.ignore_values:
            ignored = np.isin(values, self.ignore_values)
            mask[ignored] = IGNORE_INDEX
            counted = values[~ignored]
        largest = counted.max(initial=0)
        if 0 < largest <= self.threshold:
            found = np.unique(values)
            soft = len(found) > 2 and largest >= NUMBERS and not find_shades(values)
            objects = (
                f"If every value above 0 is {self.classes[0]}, such as numbers of objects, type dataset.threshold=0. "
            )
            kind = Kind(
                "mask without a value above the threshold",
                "masks without a value above the threshold",
                f"{objects * (len(found) > 2)}If only some masks are like that, export them again like the others.",
                self._remedy("soft edges" if soft else "values"),
            )
            fact = f"mask {path} has no value above dataset.threshold={self.threshold:g}: its values are {_few(found)}."
            raise DataError(Finding(kind, fact, _numbers(found), (path,)))
        if not (file.lossy or self.ignore_values) and (shades := find_shades(values)):
            object_ = ", ".join(f"{value:g}" for value in shades if value > self.threshold)
            others = ", ".join(f"{value:g}" for value in shades if value <= self.threshold)
            fact = f"mask {path}: {object_ or 'nothing'} is taken as {self.classes[0]}, {others} as background."
            kind = Kind(
                "grey mask that may have several classes",
                "grey masks that may have several classes",
                "They are read as one class by dataset.threshold. If some values are to be ignored, name them in "
                "dataset.ignore_values.",
                self._remedy("values"),
            )
            add_remark(kind, fact, tuple(shades), (path,))
        return mask

    def _remedy(self, of: Form) -> Remedy:
        names = ["background", *self.classes] if len(self.classes) == 1 else [*self.classes]
        named = self.colors if isinstance(self.colors, Mapping) else dict(zip(names, self.colors or (), strict=False))
        known = tuple((name, (int(red), int(green), int(blue))) for name, (red, green, blue) in named.items())
        return Remedy(of, tuple(self.classes), known)

    def _check_colors(self, file: MaskFile, path: Path) -> None:
        """DataError for a mask in colours, of which a threshold would see only the brightness."""
        found = find_colors(file)
        if not found:
            return
        shown = ", ".join(map(str, found[:10])) + (f" and {len(found) - 10} more" if len(found) > 10 else "")
        kind = Kind(
            "mask in colours, read as one class",
            "masks in colours, read as one class",
            "They are compressed with loss: export them again as PNG, then say which colour is which in dataset.colors."
            if file.lossy
            else "Check which colour is which, and name classes as you like.",
            None if file.lossy else self._remedy("colors"),
        )
        fact = f"mask {path} holds colours, {shown}; expected shades of grey for one class."
        raise DataError(
            Finding(kind, fact, tuple(red << 16 | green << 8 | blue for red, green, blue in found), (path,))
        )

    def _from_indices(self, file: MaskFile, path: Path) -> Mask:
        values = file.values
        if values.ndim == 3:
            if not (values == values[..., :1]).all():
                kind = Kind(
                    "mask in colours",
                    "masks in colours",
                    "Say which colour is which class in dataset.colors; check the order.",
                    self._remedy("colors"),
                )
                packed = _packed(file)
                fact = (
                    f"mask {path} holds colours, {_some(packed)}; expected the indices 0..{len(self.classes) - 1} of "
                )
                raise DataError(Finding(kind, f"{fact}dataset.classes.", _numbers(np.unique(packed)), (path,)))
            values = values[..., 0]
        ignored = [IGNORE_INDEX, *self.ignore_values]
        if values.dtype == np.uint8:
            meaning = np.arange(256)
            meaning[len(self.classes) :] = -1
            meaning[[value for value in ignored if 0 <= value < 256]] = IGNORE_INDEX
            mask = meaning.astype(np.int16)[values]
        else:
            known = (values >= 0) & (values < len(self.classes)) & (values == np.floor(values))
            mask = np.where(known, values, -1).astype(np.int16)
            mask[np.isin(values, ignored)] = IGNORE_INDEX
        if mask.min() < 0:
            raise DataError(self._unknown(np.unique(values[mask < 0]), values, path))
        return mask.astype(np.uint8)

    def _unknown(self, wrong: Values, values: Values, path: Path) -> Finding:
        count = len(self.classes)
        kind = Kind(
            "mask with values that are no class",
            "masks with values that are no class",
            "If only some of the masks are like that, repair them.",
            self._remedy("values"),
        )
        fact = (
            f"mask {path} has the values {_few(wrong)} (of {_few(np.unique(values))}), but dataset.classes names "
            f"{count} classes, 0..{count - 1}: {', '.join(self.classes)}."
        )
        zero = values.dtype.type(0)
        return Finding(kind, fact, _numbers(np.append(zero, wrong) if (values == zero).any() else wrong), (path,))


def to_grey(file: MaskFile) -> Values:
    if file.palette is not None:
        luminance: Values = cv2.cvtColor(file.palette[None], cv2.COLOR_RGB2GRAY)[0]
        return luminance[file.values]
    if file.values.ndim == 3:
        return cv2.cvtColor(np.ascontiguousarray(file.values), cv2.COLOR_RGB2GRAY)
    return file.values


def find_shades(values: Values) -> list[float]:
    """The grey values that cover areas, if a mask has more than two of them and few in all; else none.

    The greys at the edges of an anti-aliased mask are only one or two pixels wide.
    """
    if values.dtype == np.uint8:
        shades = np.flatnonzero(cv2.calcHist([values], [0], None, [256], [0, 256]))
    else:
        shades = np.unique(values)
    if not 2 < len(shades) <= FEW:
        return []
    box = np.ones((3, 3), np.uint8)
    areas = [shade for shade in shades if cv2.erode((values == shade).astype(np.uint8), box, borderValue=0).any()]
    return [float(shade) for shade in areas] if len(areas) > 2 else []


def find_colors(file: MaskFile) -> list[list[int]]:
    """A mask's colours, the darkest first, if one of them is not a grey; without those of artefacts."""
    if file.palette is not None:
        used = file.palette[np.unique(file.values)]
        colors = used if (used != used[:, :1]).any() else used[:0]
    elif file.values.ndim == 3:
        red, green, blue = cv2.split(file.values)
        off = cv2.max(cv2.absdiff(red, green), cv2.absdiff(green, blue))
        if np.count_nonzero(off > (STRONG if file.lossy else 0)) <= (SHARE * off.size if file.lossy else 0):
            return []
        colors = file.values.reshape(-1, 3)
        if file.lossy:
            colors = np.minimum((colors.astype(np.uint16) + 32) // 64 * 64, 255)
            colors, counts = np.unique(colors, axis=0, return_counts=True)
            colors = colors[counts > AREA * off.size]
    else:
        return []
    found = np.unique(colors, axis=0).astype(int).tolist()
    return sorted(found, key=sum)


def _numbers(values: Values) -> tuple[float, ...]:
    """Values for a finding's remedy, finite and not too many."""
    return tuple(float(value) for value in values[:SHOWN] if np.isfinite(value))


def _from_colors(file: MaskFile, table: Mapping[int, int], path: Path, suggest: Remedy) -> Mask:
    packed = _packed(file)
    mask = np.full(packed.shape, -1, np.int16)
    for color, index in table.items():
        mask[packed == color] = index
    if mask.min() < 0:
        kind = Kind(
            "mask with unknown colours",
            "masks with unknown colours",
            "Add them to dataset.colors (a mapping may name a colour to `ignore`), or repair the masks.",
            suggest,
        )
        fact = (
            f"mask {path} has colours that are not in dataset.colors: {_some(packed[mask < 0])} (of {_some(packed)})."
        )
        raise DataError(Finding(kind, fact, _numbers(np.unique(packed[mask < 0])), (path,)))
    return mask.astype(np.uint8)


def _packed(file: MaskFile) -> NDArray[np.uint32]:
    """Each pixel's colour as one number: red·65536 + green·256 + blue."""
    colors = file.values if file.palette is None else file.palette
    if file.palette is None and colors.ndim == 2:
        colors = np.stack([colors] * 3, axis=-1)
    red, green, blue = (colors[..., channel].astype(np.uint32) for channel in range(3))
    packed = red * np.uint32(65536) + green * np.uint32(256) + blue
    return packed if file.palette is None else packed[file.values]


def _some(packed: NDArray[np.uint32]) -> str:
    """The colours as text, `[255, 0, 0], [0, 0, 255]`: the first ten, and how many more there are."""
    colors = np.unique(packed)
    more = f" and {len(colors) - 10} more" if len(colors) > 10 else ""
    return ", ".join(str([int(c) >> 16, int(c) >> 8 & 255, int(c) & 255]) for c in colors[:10]) + more


def _few(values: Values) -> str:
    """`0, 1, 2`, or the first ten and how many more there are."""
    more = f" and {len(values) - 10} more" if len(values) > 10 else ""
    return ", ".join(f"{value:g}" for value in values[:10]) + more


def _color_table(classes: list[str], colors: Sequence[Sequence[int]] | Mapping[str, Sequence[int]]) -> dict[int, int]:
    """From packed colour to class index."""
    names = ["background", *classes] if len(classes) == 1 else classes
    if isinstance(colors, Mapping):
        if set(colors) - {"ignore"} != set(names):
            raise ValueError(f"dataset.colors names {list(colors)}; expected {names}, and `ignore` if there is such.")
        colored = [(colors[name], index) for index, name in enumerate(names)]
        colored += [(colors["ignore"], IGNORE_INDEX)] if "ignore" in colors else []
    else:
        if len(colors) != len(names):
            raise ValueError(f"dataset.colors has {len(colors)} colours; expected {len(names)}, for {names}.")
        colored = [(color, index) for index, color in enumerate(colors)]
    table: dict[int, int] = {}
    for color, index in colored:
        if len(color) != 3 or not all(0 <= int(value) <= 255 for value in color):
            raise ValueError(f"dataset.colors has {color}; expected [red, green, blue], each 0..255.")
        packed = int(color[0]) << 16 | int(color[1]) << 8 | int(color[2])
        if packed in table:
            raise ValueError(f"dataset.colors has {list(color)} twice; expected another colour for every class.")
        table[packed] = index
    return table
