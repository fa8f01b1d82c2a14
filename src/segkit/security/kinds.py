"""The kinds of values in a stored config: numbers in a range, texts that match a pattern, lists, settings by name.

Each kind has `check`, which raises ValueError with the file and the value's key. The table that uses them is in
`segkit.security.allowed`.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

DEEPEST = 24  # levels of nested containers
LONGEST = 2000  # letters of a text
SPECIAL = ("_partial_", "_args_", "_convert_", "_recursive_", "_call_", "_mode_")  # Hydra's own


@dataclass(frozen=True)
class Origin:
    """Where a config comes from: its file, the modules that the user trusts, and the folder it may write to.

    `own`: it comes from the user's own command, so only ranges are checked, not what is built or where it writes.
    """

    file: str
    trust: tuple[str, ...] = ()
    folder: Path | None = None
    own: bool = False

    def refuse(self, key: str, value: Any, expected: str) -> ValueError:
        got = repr(value)
        got = got if len(got) <= 80 else f"{got[:77]}…"
        if self.own:
            return ValueError(f"{key} is {got}; expected {expected}. A run with it could not be resumed or evaluated.")
        return ValueError(f"{self.file}: {key} is {got}; expected {expected}. It is not loaded.")


class Kind(Protocol):
    """A set of values. `check` raises ValueError with the key for a value outside of it."""

    @property
    def words(self) -> str: ...
    def check(self, value: Any, key: str, origin: Origin) -> None: ...


@dataclass(frozen=True)
class Switch:
    """True or false."""

    words: str = "true or false"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        if not isinstance(value, bool):
            raise origin.refuse(key, value, self.words)


@dataclass(frozen=True)
class Number:
    """A finite number in a range that includes both ends."""

    low: float
    high: float
    whole: bool = False

    @property
    def words(self) -> str:
        return f"a {'whole ' * self.whole}number from {self.low:g} to {self.high:g}"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        kinds = int if self.whole else int | float
        if isinstance(value, bool) or not isinstance(value, kinds) or not self.low <= value <= self.high:
            raise origin.refuse(key, value, self.words)


@dataclass(frozen=True)
class OneOf:
    """One of some words or numbers."""

    choices: tuple[Any, ...]

    @property
    def words(self) -> str:
        return " or ".join(map(str, self.choices))

    def check(self, value: Any, key: str, origin: Origin) -> None:
        if not any(value == choice and type(value) is type(choice) for choice in self.choices):
            raise origin.refuse(key, value, self.words)


@dataclass(frozen=True)
class Text:
    """Text, optionally one that matches a pattern."""

    pattern: str | None = None
    words: str = "a text"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        if not isinstance(value, str) or len(value) > LONGEST or "\0" in value or value == "???":
            raise origin.refuse(key, value, self.words)
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise origin.refuse(key, value, self.words)


@dataclass(frozen=True)
class Pattern:
    """A regular expression that cannot take long on a name of `grouping.LONGEST` letters: one of `known`, or a sequence
    of characters, classes and escapes, at most two of them repeated, in groups that are neither repeated nor nested."""

    known: tuple[str, ...] = ()
    words: str = (
        "a plain regular expression: at most 100 letters, two repeats, and no flags, alternatives, repeated or nested "
        "groups. Give a pattern of your own with +dataset.groups=… on your command line, or write null there"
    )

    def check(self, value: Any, key: str, origin: Origin) -> None:
        if not isinstance(value, str) or (value not in self.known and not is_plain_pattern(value)):
            raise origin.refuse(key, value, self.words)


# A character, class or escape with its repeat; or the start or end of a group.
PIECE = re.compile(
    r"(?:\\[dDwWsS]|\\[^\w\s]|\[\^?(?:\\[dDwWsS]|\\[^\w\s]|[^]\[\\])+\]|[^][()\\^$|*+?{}])(?P<times>[*+?]\??|\{\d{1,2}(?:,\d{0,2})?\}\??)?"
    r"|(?P<open>\()(?!\?)|(?P<close>\))(?![*+?{])"
)


def is_plain_pattern(text: str) -> bool:
    """Whether a search for a pattern takes at most cubic time in a name's length: it starts at every letter, and there
    are at most two repeats."""
    if not 0 < len(text) <= 100 or not text.isprintable():
        return False
    at, inside, repeats = int(text[0] == "^"), False, 0
    end = len(text) - (text.endswith("$") and not text.endswith("\\$"))
    while at < end:
        found = PIECE.match(text, at, end)
        if found is None or (found["open"] and inside) or (found["close"] and not inside):
            return False
        inside = bool(found["open"]) or (inside and not found["close"])
        times = found["times"]
        repeats += times is not None and not re.fullmatch(r"\{\d+\}", times)
        at = found.end()
    return not inside and repeats <= 2


@dataclass(frozen=True)
class Inside:
    """A place in the run's own folder, after following links."""

    words: str = "a place in the run's own folder"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        Text(words=self.words).check(value, key, origin)
        if not origin.own and (origin.folder is None or not is_inside(value, origin.folder)):
            raise origin.refuse(key, value, f"a place in the run's own folder, {origin.folder}")


@dataclass(frozen=True)
class Maybe:
    """Null, or a value of another kind."""

    kind: Kind

    @property
    def words(self) -> str:
        return f"{self.kind.words} or null"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        if value is not None:
            self.kind.check(value, key, origin)


@dataclass(frozen=True)
class Either:
    """A value of one of several kinds."""

    kinds: tuple[Kind, ...]

    @property
    def words(self) -> str:
        return ", or ".join(kind.words for kind in self.kinds)

    def check(self, value: Any, key: str, origin: Origin) -> None:
        for kind in self.kinds:
            try:
                return kind.check(value, key, origin)
            except ValueError:
                continue
        raise origin.refuse(key, value, self.words)


@dataclass(frozen=True)
class List:
    """A list of `least` to `most` values of one kind."""

    kind: Kind
    most: int = 4096
    least: int = 0

    @property
    def words(self) -> str:
        return f"a list, each {self.kind.words}"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        if not isinstance(value, list | tuple) or not self.least <= len(value) <= self.most:
            raise origin.refuse(key, value, f"{self.words}, {self.least} to {self.most} of them")
        for at, entry in enumerate(value):
            self.kind.check(entry, f"{key}[{at}]", origin)


@dataclass(frozen=True)
class Map:
    """A mapping from names to values of one kind."""

    kind: Kind

    @property
    def words(self) -> str:
        return f"names, each with {self.kind.words}"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        for name in names_of(value, key, origin):
            self.kind.check(value[name], f"{key}.{name}", origin)


@dataclass(frozen=True)
class Node:
    """Settings by name, each of its own kind; those in `needed` must be present.

    more: the kind of settings that are not listed; without it they are not allowed.
    special: allow Hydra's own names, such as `_target_`: only where nothing is built.
    """

    settings: Mapping[str, Kind]
    needed: tuple[str, ...] = ()
    more: Kind | None = None
    special: bool = False
    words: str = "settings by name"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        names = names_of(value, key, origin, self.special)
        if missing := [name for name in self.needed if name not in names]:
            raise ValueError(f"{origin.file}: {key or 'it'} lacks {', '.join(missing)}. It is not loaded.")
        for name in names:
            kind, here = self.settings.get(name, self.more), f"{key}.{name}".lstrip(".")
            if kind is None:
                raise origin.refuse(here, value[name], f"one of {', '.join(self.settings)} below {key}")
            kind.check(value[name], here, origin)


@dataclass(frozen=True)
class Plain:
    """Any plain values in any containers; nothing is built from them."""

    words: str = "plain values"

    def check(self, value: Any, key: str, origin: Origin, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise origin.refuse(key, value, f"at most {DEEPEST} containers inside each other")
        if isinstance(value, list | tuple):
            for at, entry in enumerate(value):
                self.check(entry, f"{key}[{at}]", origin, depth + 1)
        elif isinstance(value, Mapping):
            for name in names_of(value, key, origin):
                self.check(value[name], f"{key}.{name}", origin, depth + 1)
        elif isinstance(value, str):
            Text().check(value, key, origin)
        elif isinstance(value, float) and not math.isfinite(value):
            raise origin.refuse(key, value, "a finite number")
        elif value is not None and not isinstance(value, bool | int | float):
            raise origin.refuse(key, value, self.words)


@dataclass(frozen=True)
class Unused:
    """Anything: it is never read."""

    words: str = "anything"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        pass


def names_of(value: Any, key: str, origin: Origin, special: bool = False) -> list[str]:
    """The keys of a mapping, which must be text; keys that mean something to Hydra are allowed only with `special`."""
    if not isinstance(value, Mapping):
        raise origin.refuse(key or "its config", value, "settings by name")
    for name in value:
        Text(words="a name").check(name, f"a key of {key or 'its config'}", origin)
        if not special and (name == "_target_" or name in SPECIAL):
            raise origin.refuse(f"{key}.{name}".lstrip("."), value[name], "nothing that is built here")
    return list(value)


def is_inside(path: str, folder: Path) -> bool:
    """Whether an absolute path lies in a folder after resolving links and `..`, with nothing left to expand."""
    if "://" in path or "::" in path or not Path(path).is_absolute():
        return False
    try:
        within = Path(path).resolve().relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return False
    return not any(letter in str(within) for letter in "$~%")


Arguments = Mapping[str, Kind]


def one_of(*choices: object) -> OneOf:
    return OneOf(choices)


def each(words: str, value: Any) -> dict[str, Any]:
    """Several arguments, given as words, of one kind."""
    return dict.fromkeys(words.split(), value)
