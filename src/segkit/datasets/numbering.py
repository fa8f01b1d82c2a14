"""Groups of pictures in their names: what a pattern or a level of folders finds, and what numbering suggests."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from segkit.configs.composing import format_argument

LONGEST = 512  # letters of a path that is searched, as the pattern may come from an untrusted file
LEVEL = re.compile(r"folder:([1-9])")
ABOVE = {"train", "training", "val", "valid", "validation", "test", "testing"}  # folders that are no level of their own
ABOVE |= {"images", "image", "imgs", "img", "img_dir", "jpegimages", "leftimg8bit", "photos", "pictures", "x"}

LEAST_GROUPS = 3  # of two pictures or more, for a proposal: with fewer there is nothing to split
TOGETHER = 0.75  # of all pictures, at least, that are not alone in their group
NUMBERED = 0.9  # of all groups, at least, whose names have a digit
MANY = 5  # groups: a coarser division with as many is preferred to a finer one
STEPS = 10  # different first numbers, at most, that count something within each item (exposures, cameras)
SPARSE = 3  # identifiers are spread over more than this times as many numbers as there are
EXPLAINED = 0.9  # of all twins, at least, that lie within groups which explain them

DATE = (
    r"(?:19|20)\d{6}[-_T ]?\d{6}"
    r"|(?:19|20)\d\d[-_.](?:0\d|1[0-2])[-_.][0-3]\d(?:[-_T ]+\d\d[-_.:]\d\d(?:[-_.:]\d\d)?)?"
)
TOKEN = re.compile(rf"({DATE})|(\d+)|([^\W\d_]+)|(.)", re.DOTALL)
DATED, NUMBER, WORD, OTHER = range(1, 5)  # the groups of TOKEN


class Column(NamedTuple):
    """A part of file names that are built alike, such as a number: its texts in all names."""

    kind: int
    texts: tuple[str, ...]

    @property
    def varies(self) -> bool:
        return len({*self.texts}) > 1


class GroupProposal(NamedTuple):
    """Groups that names suggest. setting: for `dataset.groups`; groups: how many; smallest, largest: pictures in one
    group; example: the name of one."""

    setting: str
    groups: int
    smallest: int
    largest: int
    example: str

    @property
    def counts(self) -> str:
        """Such as "23 groups of 2 to 9 pictures (one is scan_007)"."""
        sizes = f"{self.smallest}" if self.smallest == self.largest else f"{self.smallest} to {self.largest}"
        return f"{self.groups} groups of {sizes} pictures (one is {self.example})"

    def find(self, names: Sequence[str]) -> list[str]:
        """The group of each picture."""
        return find_groups(names, self.setting)

    @property
    def argument(self) -> str:
        """The word to type."""
        return format_argument("dataset.groups", self.setting)


class TwinsInGroups(NamedTuple):
    """How many pairs of pictures that look alike lie within one group and across two, and the first of the latter."""

    within: int
    across: int
    example: tuple[str, str] | None

    @property
    def explained(self) -> bool:
        """Whether the groups explain nearly all of them."""
        return self.within > 0 and self.within >= EXPLAINED * (self.within + self.across)


def find_groups(names: Sequence[str], setting: str) -> list[str]:
    """The group of each picture in its path below the root, "" where there is none.

    setting: a regular expression, of which the first capture group counts, or else all that it matches; or `folder:1`,
    the first folder of the path, `folder:2`, the first two, and so on (see `folders_of`).
    """
    if level := LEVEL.fullmatch(setting):
        depth, folders = int(level[1]), map(folders_of, names)
        return ["/".join(found[:depth]) if len(found) >= depth else "" for found in folders]
    compiled = re.compile(setting)
    matches = (compiled.search(name) for name in names)
    return [(match[min(compiled.groups, 1)] or "") if match else "" for match in matches]


def folders_of(name: str) -> list[str]:
    """The folders in a picture's path, without the first ones if they only name a split or hold all pictures (`train`,
    `images`)."""
    folders = name.split("/")[:-1]
    while folders and folders[0].lower() in ABOVE:
        folders = folders[1:]
    return folders


def propose_groups(names: Sequence[str], twins: Iterable[tuple[str, str]] = ()) -> GroupProposal | None:
    """Groups that folders and numbering suggest, judged by the paths below the root alone; None if nothing does.

    Proposals are conservative: at least three groups have two pictures or more, three quarters of all pictures lie in
    such groups, and nine in ten groups have a number in their names, as words rather name kinds of things. A date with
    a time is one number: days are no groups. Folders come before names; of several levels the coarsest with at least
    five groups is proposed. twins: pairs of pictures that look alike; of several possible divisions, the one that
    keeps most of them together is proposed, and none if all keep them apart.
    """
    pairs = list(twins)
    found = [*_coarsest_first(names, _folder_levels(names)), *_numberings(names)]
    found += [setting for setting in _numberings(names, dense=True) if explain(names, setting, pairs).explained]
    if not found:
        return None
    best = max(found, key=lambda setting: explain(names, setting, pairs).within)
    if (seen := explain(names, best, pairs)).across and not seen.within:
        return None
    sizes = Counter(find_groups(names, best))
    return GroupProposal(best, len(sizes), min(sizes.values()), max(sizes.values()), next(iter(sizes)))


def count_twins(names: Sequence[str], groups: Sequence[str], twins: Iterable[tuple[str, str]]) -> TwinsInGroups:
    """Whether groups explain which pictures look alike. twins: pairs of names; those of other pictures are left out."""
    group = dict(zip(names, groups, strict=True))
    known = [pair for pair in twins if pair[0] in group and pair[1] in group]
    apart = [pair for pair in known if group[pair[0]] != group[pair[1]]]
    return TwinsInGroups(len(known) - len(apart), len(apart), apart[0] if apart else None)


def explain(names: Sequence[str], setting: str, twins: Iterable[tuple[str, str]]) -> TwinsInGroups:
    return count_twins(names, find_groups(names, setting), twins)


def _is_sound(names: Sequence[str], setting: str) -> bool:
    """Whether groups are worth a proposal, see `propose_groups`."""
    groups = find_groups(names, setting)
    sizes = Counter(groups)
    several = [size for size in sizes.values() if size > 1]
    numbered = sum(bool(re.search(r"\d", group)) for group in sizes)
    return (
        all(groups)
        and len(several) >= LEAST_GROUPS
        and sum(several) >= TOGETHER * len(names)
        and numbered >= NUMBERED * len(sizes)
    )


def _coarsest_first(names: Sequence[str], settings: Iterable[str]) -> list[str]:
    """The sound ones of several levels, given from coarse to fine; those with few groups last, by their number."""
    counts = {setting: len({*find_groups(names, setting)}) for setting in settings if _is_sound(names, setting)}
    return sorted(counts, key=lambda setting: max(MANY - counts[setting], 0))


def _folder_levels(names: Sequence[str]) -> list[str]:
    deepest = min((len(folders_of(name)) for name in names), default=0)
    return [f"folder:{level}" for level in range(1, min(deepest, 9) + 1)]


def _numberings(names: Sequence[str], dense: bool = False) -> list[str]:
    """Patterns in file names: of names that are built alike, what comes before the last number or letter; of others,
    what comes before the first dot, hyphen or underscore. dense: also of a second number that may count as well as
    identify."""
    stems = [name.rpartition("/")[2].rpartition(".")[0] for name in names]
    if any(len(name) > LONGEST for name in names) or not all(stems):
        return []
    tokens = [[(found.lastindex or OTHER, found[0]) for found in TOKEN.finditer(stem)] for stem in stems]
    if len({tuple(text if kind == OTHER else kind for kind, text in one) for one in tokens}) == 1:
        columns = [Column(parts[0][0], tuple(text for _, text in parts)) for parts in zip(*tokens, strict=True)]
        return [*_identifiers(names, columns, dense), *_coarsest_first(names, _prefixes(columns))]
    signs = [rf"([^/{sign}]+){_escape(sign)}[^/]*\." for sign in ".-_"]  # .rf.<hash> ends names of exported copies
    others = [f"([^/{sign}]+)[^/]*$" for sign in "-_"]  # for names without the sign, too
    return [pattern for pattern in (*signs, *others) if _is_sound(names, pattern)][:1]


def _prefixes(columns: Sequence[Column]) -> Iterator[str]:
    """A pattern for each number that names begin with, up to the last but one part that varies."""
    for end in range(1, len(columns)):
        told, rest = columns[end - 1], columns[end:]
        if told.varies and told.kind in (DATED, NUMBER) and any(column.varies for column in rest):
            after = rest[0].texts[0] if rest[0].kind == OTHER else ""
            if pattern := _write_pattern((), columns[:end], after):
                yield pattern


def _identifiers(names: Sequence[str], columns: Sequence[Column], dense: bool) -> list[str]:
    """The last of two numbers, if it is an identifier and the first counts something within each item, such as the
    exposures in exp1_num_108719: few first numbers without gaps, and second ones with many (unless `dense`)."""
    numbers = [at for at, column in enumerate(columns) if column.varies]
    if len(numbers) != 2 or any(columns[at].kind != NUMBER for at in numbers):
        return []
    first, last = ({int(text) for text in columns[at].texts} for at in numbers)
    counts = len(first) <= STEPS and max(first) - min(first) < len(first)
    sparse = dense or max(last) - min(last) > SPARSE * len(last)
    start = numbers[0] + 1 + (columns[numbers[0] + 1].kind == OTHER)
    pattern = _write_pattern(columns[:start], columns[start : numbers[1] + 1], "")
    return [pattern] if counts and sparse and pattern and _is_sound(names, pattern) else []


def _write_pattern(before: Sequence[Column], columns: Sequence[Column], after: str) -> str:
    """A regular expression for parts of names, the group in brackets; "" if it had more than the two repeats that a
    stored config may have."""
    whole = [*before, *columns]
    for numbers in ("some", "fixed"):
        parts = [_write_part(column, numbers == "fixed") for column in whole]
        if sum(part.endswith("+") for part in parts) <= 2:
            return f"{''.join(parts[: len(before)])}({''.join(parts[len(before) :])}){_escape(after)}"
    return ""


def _write_part(column: Column, fixed: bool) -> str:
    text = column.texts[0]
    widths = {len(one) for one in column.texts}
    if not column.varies:
        return _escape(text)
    if column.kind == DATED and len({re.sub(r"\d", "0", one) for one in column.texts}) == 1:
        return re.sub("(0+)", lambda run: rf"\d{{{len(run[0])}}}", _escape(re.sub(r"\d", "0", text)))
    if column.kind == NUMBER:
        return rf"\d{{{len(text)}}}" if fixed and len(widths) == 1 else r"\d+"
    return r"[^\d/_-]+" if column.kind == WORD else "[^/]+"


def _escape(text: str) -> str:
    return re.sub(r"([^\w\s-])", r"\\\1", text)
