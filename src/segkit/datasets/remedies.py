"""The settings to type for what mask files hold."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from segkit import IGNORE_INDEX
from segkit.configs.composing import list_argument

Rgb = tuple[int, int, int]
Form = Literal["values", "soft edges", "colors", "unknown colors"]

NUMBERS = 64  # values below are numbers of classes rather than shades
MOST = 40  # classes or colours that a proposal names
BACKGROUND = "background"
VOID = (224, 224, 192)  # the colour of pixels that do not count in Pascal VOC's palette


@dataclass(frozen=True)
class Remedy:
    """What to type for values that do not fit `classes`, once all of them are known. known: the colours of
    `dataset.colors`, by name."""

    of: Form
    classes: tuple[str, ...]
    known: tuple[tuple[str, Rgb], ...] = ()

    def __call__(self, values: Sequence[float]) -> str:
        """values: of grey masks, or colours as red·65536 + green·256 + blue."""
        if self.of == "soft edges":
            return f"dataset.threshold={max(values) // 2:g}"
        if self.of == "values":
            return settings_for_values(values, self.classes)
        colors = [unpack(int(value)) for value in values]
        if self.of == "unknown colors":
            return settings_for_unknown(colors, self.classes, dict(self.known))
        return settings_for_colors(colors, self.classes)


def unpack(color: int) -> Rgb:
    return color >> 16, color >> 8 & 255, color & 255


def settings_for_values(values: Sequence[float], classes: Sequence[str]) -> str:
    """What to type for grey masks with these values; "" if the classes fit them or nothing fits.

    One class: 0 and another value are background and the class; 0, 1 and 255 are these and ignored; small numbers are
    those of several classes, up to 40 shades stand for one each, and more are soft edges. Several: black and white show
    one; numbers of further classes have to be named or ignored. Where no mask holds 0, numbers begin at 1: the lower
    of two values is background, and names for several classes need one in front.
    """
    found = sorted({*values} - {0})
    if len(classes) > 1:
        return _settings_for_numbers(found, classes, 0 in values)
    if found in ([255], [65535]):
        return ""
    if 0 not in values and len(found) == 2 and IGNORE_INDEX not in found:
        return f"dataset.threshold={found[0]:g}"
    if any(value != int(value) for value in found) or len(found) == 1:
        return "dataset.threshold=0"
    if len(found) > MOST:  # soft edges, or compressed with loss
        return f"dataset.threshold={max(found) // 2:g}"
    if found == [1, IGNORE_INDEX]:
        return f"dataset.threshold=0 'dataset.ignore_values=[{IGNORE_INDEX}]'"
    numbers = [int(value) for value in found if value != IGNORE_INDEX]
    if max(numbers) < NUMBERS:
        return list_argument("dataset.classes", [BACKGROUND, *_invent(range(1, max(numbers) + 1))])
    if max(found) <= 255:
        shades = [0, *map(int, found)]
        return settings_for_colors([(shade, shade, shade) for shade in shades], classes)
    return ""


def _settings_for_numbers(found: Sequence[float], classes: Sequence[str], has_zero: bool) -> str:
    if found == [IGNORE_INDEX]:
        return list_argument("dataset.classes", [next((name for name in classes if name != BACKGROUND), "object")])
    wrong = [value for value in found if value >= len(classes) and value != IGNORE_INDEX]
    if not wrong:
        return ""
    if wrong == [len(classes)] and not has_zero:
        first = BACKGROUND if BACKGROUND not in classes else "class0"
        return f"{list_argument('dataset.classes', [first, *classes])} (no mask holds 0: the names begin at 1)"
    ignored = f"'dataset.ignore_values=[{','.join(f'{value:g}' for value in wrong)}]'"
    if any(value != int(value) for value in wrong) or max(wrong) >= NUMBERS:
        return ignored
    if wrong == [len(classes)] and BACKGROUND not in classes:
        named = [BACKGROUND, *classes]
    else:
        named = [*classes, *_invent(range(len(classes), int(max(wrong)) + 1))]
    return f"{ignored} (these pixels are ignored) or {list_argument('dataset.classes', named)} (they are named)"


def settings_for_colors(colors: Sequence[Rgb], classes: Sequence[str]) -> str:
    """What to type for masks with these colours, the darkest first: of one class, two are background and class; more
    are further classes, under names to be replaced. "" for a single colour, or more than 40."""
    found = sorted({*colors}, key=lambda color: (sum(color), color))
    void = [VOID] if VOID in found and len(found) > 2 else []
    found = [color for color in found if color not in void]
    if not 2 <= len(found) <= MOST:
        return ""
    if len(classes) == 1:
        names = [BACKGROUND, *(classes if len(found) == 2 else _invent(range(1, len(found))))]
    else:
        names = [*classes, *_invent(range(len(classes), len(found)))][: len(found)]
    listed = {**dict(zip(names, found, strict=True)), **dict(zip(["ignore"], void, strict=False))}
    others = len(found) > 2 if len(classes) == 1 else len(found) != len(classes)
    return " ".join([*([list_argument("dataset.classes", names)] if others else []), _colors(listed)])


def settings_for_unknown(colors: Sequence[Rgb], classes: Sequence[str], known: Mapping[str, Rgb]) -> str:
    """What to type for colours beyond those of `dataset.colors`: a single one is to be ignored, several are classes,
    under names to be replaced; "" if there are too many."""
    found = sorted({*colors})
    if len(found) == 1 and "ignore" not in known:
        return _colors({**known, "ignore": found[0]})
    names = [name for name in known if name != "ignore"]
    if len(names) + len(found) > MOST or len(classes) == 1:
        return ""
    more = _invent(range(len(names), len(names) + len(found)))
    colored = _colors({**known, **dict(zip(more, found, strict=True))})
    return f"{list_argument('dataset.classes', [*names, *more])} {colored}"


def _invent(numbers: Sequence[int]) -> list[str]:
    return [f"class{number}" for number in numbers]


def _colors(named: Mapping[str, Rgb]) -> str:
    return shlex.quote(f"dataset.colors={{{', '.join(f'{name}: {[*color]}' for name, color in named.items())}}}")
