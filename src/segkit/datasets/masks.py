"""What the values of mask files mean: foreground by a threshold, class indices, or colours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segkit import IGNORE_INDEX
from segkit.datasets.reading import MaskFile, Values, read_mask_file

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class MaskValues:
    """What the values of the mask files mean, and how to read them.

    One class: foreground is what is above `threshold` in the file's own scale (8-bit 0..255, 16-bit 0..65535;
    of colours, also a palette's, the luminance). Several: the values are the indices of the classes (a
    palette's index, not its colour), and 255 is ignored. With `colors`, masks of either kind are read as
    colours: one [r, g, b] a class in the order of the classes, or a mapping from class names; for one class a
    colour for `background` comes first, and a mapping may name a colour to `ignore`. `ignore_values`: further
    file values to be ignored.
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
        """The mask as (H, W): class indices, or 0/1 for a single class; 255 is to be ignored. data: as of
        `read_picture`.

        Raises ValueError, naming the file and the values found, where they are not what the settings say.
        """
        file = read_mask_file(path, data)
        exact = self._table is not None or len(self.classes) > 1 or len(self.ignore_values) > 0
        if file.lossy and exact:
            found = _few(np.unique(file.values)) if self._table is None else _some(_packed(file))
            raise ValueError(
                f"mask {path} is compressed with loss, so that it holds values between those of its "
                f"classes: {found}.\n"
                "Class indices, colours and ignored values need exact files: export the masks again as "
                "PNG. A mask of one class may stay as it is: name one in dataset.classes, with no "
                "dataset.colors and ignore_values."
            )
        if self._table is not None:
            return _from_colors(file, self._table, path)
        return self._from_threshold(file, path) if len(self.classes) == 1 else self._from_indices(file, path)

    def _from_threshold(self, file: MaskFile, path: Path) -> Mask:
        values = _grey(file)
        mask = (values > self.threshold).astype(np.uint8)
        counted = values
        if self.ignore_values:
            ignored = np.isin(values, self.ignore_values)
            mask[ignored] = IGNORE_INDEX
            counted = values[~ignored]
        largest = counted.max(initial=0)
        if 0 < largest <= self.threshold:
            raise ValueError(
                f"mask {path} has no value above dataset.threshold={self.threshold:g}: its values are "
                f"{_few(np.unique(values))}.\n"
                f"If what is above 0 is {self.classes[0]}, set dataset.threshold=0; if the values are "
                "indices of several classes, name all of them in dataset.classes."
            )
        return mask

    def _from_indices(self, file: MaskFile, path: Path) -> Mask:
        values = file.values
        if values.ndim == 3:
            if not (values == values[..., :1]).all():
                raise ValueError(
                    f"mask {path} holds colours, {_some(_packed(file))}; expected the indices "
                    f"0..{len(self.classes) - 1} of dataset.classes.\n"
                    "Say which colour is which class in dataset.colors."
                )
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
            wrong = ", ".join(f"{value:g}" for value in np.unique(values[mask < 0])[:10])
            whole = ", ".join(["background", *self.classes]).replace(" ", "")
            forgotten = f" If 0 is background, name it too: dataset.classes=[{whole}]."
            raise ValueError(
                f"mask {path} has the values {wrong} (of {_few(np.unique(values))}), but dataset.classes "
                f"names {len(self.classes)} classes, 0..{len(self.classes) - 1}: "
                f"{', '.join(self.classes)}.\n"
                "Name the missing classes there, or if these pixels are to be ignored set "
                f"dataset.ignore_values=[{wrong}].{forgotten if wrong == str(len(self.classes)) else ''}"
            )
        return mask.astype(np.uint8)


def _grey(file: MaskFile) -> Values:
    if file.palette is not None:
        luminance: Values = cv2.cvtColor(file.palette[None], cv2.COLOR_RGB2GRAY)[0]
        return luminance[file.values]
    if file.values.ndim == 3:
        return cv2.cvtColor(np.ascontiguousarray(file.values), cv2.COLOR_RGB2GRAY)
    return file.values


def _from_colors(file: MaskFile, table: Mapping[int, int], path: Path) -> Mask:
    packed = _packed(file)
    mask = np.full(packed.shape, -1, np.int16)
    for color, index in table.items():
        mask[packed == color] = index
    if mask.min() < 0:
        raise ValueError(
            f"mask {path} has colours that are not in dataset.colors: {_some(packed[mask < 0])} (of "
            f"{_some(packed)}).\n"
            "Add them there (a mapping may name a colour to `ignore`), or repair the mask."
        )
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
    """`[255, 0, 0], [0, 0, 255]`, or the first ten colours and how many more there are."""
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
