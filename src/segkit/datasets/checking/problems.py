"""What is wrong with a data set, how bad it is, and what to do: from a survey of its pictures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np

from segkit.datasets.checking import pairing
from segkit.datasets.checking.duplicates import Twin, find_twins
from segkit.datasets.checking.survey import Record, Survey
from segkit.datasets.common import SHARED, SPLITS
from segkit.datasets.findings import Finding, Kind, format_remedy

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

SPECK, SPECK_SHARE = 50, 1e-5  # a speck is this many times smaller than usual, and at most this share of the picture
SPECK_LEAST = 4  # pixels that a speck may have, however small the picture
DARK = 64  # of 255: 14 bits of 16
RATIO, SURE = 1.5, 3.0  # of shares that differ between splits, and standard errors of their difference

LEAK = (
    "Scores on the one say little about new pictures if training has the other. Put both into one split "
    "(dataset.groups keeps pictures together), or let fix=true leave out the one in training."
)
TWICE = "It counts twice. Remove one of the two with its mask unless that is meant."
NEAR_ACROSS = Kind("near-duplicate across splits", "near-duplicates across splits", LEAK)
NEAR_WITHIN = Kind("near-duplicate within a split", "near-duplicates within a split", TWICE)
EXACT_WITHIN = Kind("picture that is there twice", "pictures that are there twice", TWICE)
OVERLAP_ACROSS = Kind("overlap across splits", "overlaps across splits", LEAK)
OVERLAP_WITHIN = Kind("overlap within a split", "overlaps within a split", TWICE)
TWINS = (SHARED, NEAR_ACROSS, NEAR_WITHIN, EXACT_WITHIN, OVERLAP_ACROSS, OVERLAP_WITHIN)
TWO_MASKS = Kind(
    "picture with two masks",
    "pictures with two masks",
    "At most one of the masks is right: keep that pair, and remove the other.",
)
EXCHANGED = Kind(
    "pair of masks that are likely exchanged",
    "pairs of masks that are likely exchanged",
    "Look at both (check.html shows them). If they are exchanged, swap the two files.",
)
IGNORED_MASK = Kind(
    "mask that is ignored as a whole", "masks that are ignored as a whole", "Remove it with its picture."
)
EMPTY_MASK = Kind(
    "empty mask", "empty masks", "That is right for a picture without the class; otherwise draw what is missing."
)
FULL_MASK = Kind(
    "full mask",
    "full masks",
    "That is right for a picture that shows nothing else; otherwise draw the mask again.",
)
SINGLE_CLASS = Kind("mask of a single class", "masks of a single class", "Look whether that is right.")
SPECKS = Kind(
    "mask with specks",
    "masks with specks",
    "If they are slips of a brush or traces of JPEG, remove them.",
)
MOST_SPECKS = Kind("set of masks most of which have specks", "sets of masks most of which have specks", SPECKS.remedy)
TOO_DARK = Kind(
    "set of 16-bit pictures that use few bits",
    "sets of 16-bit pictures that use few bits",
    "Their values are divided by 257 to get 8 bits. Save them as 8 bits yourself, all stretched by the same factor.",
)
LACKING = Kind(
    "class that a split lacks",
    "classes that a split lacks",
    "What training lacks cannot be learnt, and elsewhere a class that is absent has no score. Split again: another "
    "dataset.split_seed, or other folders.",
)
SHARES = Kind(
    "class whose share differs by split",
    "classes whose shares differ by split",
    "If you did not mean it, split again: another dataset.split_seed, or other folders.",
)


class Problem(NamedTuple):
    """Something about a data set's files, and how bad it is.

    error: training refuses it. warning: scores or training suffer if it is what it seems. note: worth knowing. file and
    other: the files that it is about, or the name of a picture that is no file; "" if it is about all.
    """

    severity: Severity
    split: str
    file: str
    other: str
    finding: Finding

    @property
    def kind(self) -> str:
        return self.finding.kind.one

    @property
    def fact(self) -> str:
        return self.finding.fact

    @property
    def remedy(self) -> str:
        return format_remedy([self.finding])


def find_problems(survey: Survey) -> Iterator[Problem]:
    """All that the pictures show, together and one by one."""
    records = survey.unique()
    if survey.complete and all(record.content for record in records):
        yield from find_copies(records)
        yield from find_mispaired(records)
    for record in records:
        yield from judge_mask(survey, record)
    yield from find_dark(records)
    yield from find_specks(survey, records)
    yield from compare_splits(survey)


def find_copies(records: Sequence[Record]) -> Iterator[Problem]:
    """Pictures that are there twice: across splits, within one, and with different masks."""
    known = {record.key: record for record in records}
    for twin in find_twins([(record.key, record.content.thumbnail) for record in records if record.content]):
        one, other = sorted((known[twin.first], known[twin.second]), key=lambda record: SPLITS.index(record.split))
        yield judge_twin(twin, one, other)
        if is_exact(twin) and one.content and other.content and one.content.mask != other.content.mask:
            fact = f"{one.image} and {other.image} are the same picture, but their masks differ."
            yield Problem("warning", where(one, other), one.mask, other.mask, Finding(TWO_MASKS, fact))


def judge_twin(twin: Twin, one: Record, other: Record) -> Problem:
    """How bad it is that a picture is there twice."""
    across = one.split != other.split
    severity: Severity = "note"
    if twin.kind == "overlapping":
        kind = OVERLAP_ACROSS if across else OVERLAP_WITHIN
        fact = f"{one.image} and {other.image} are parts of one photograph that overlap almost completely."
    elif not is_exact(twin):
        kind, severity = (NEAR_ACROSS, "warning") if across else (NEAR_WITHIN, "note")
        fact = f"{one.image} and {other.image} show the same picture ({twin.kind})."
    elif across:
        kind, severity = SHARED, "error"
        fact = f"{one.split} and {other.split} share a picture: {one.image} and {other.image} have the same content."
    else:
        kind, severity = EXACT_WITHIN, "note" if one.split == "train" else "warning"
        fact = f"{one.image} and {other.image} have the same content."
    return Problem(severity, where(one, other), one.image, other.image, Finding(kind, fact))


def is_exact(twin: Twin) -> bool:
    return twin.kind in ("same bytes", "same pixels")


def where(one: Record, other: Record) -> str:
    return one.split if one.split == other.split else f"{one.split} and {other.split}"


def find_mispaired(records: Sequence[Record]) -> Iterator[Problem]:
    """Masks that two pictures have likely exchanged; one that is full is wrong in another way."""
    records = [record for record in records if np.count_nonzero(record.pixels[:-1]) > 1 or record.pixels[0]]
    described = [(record.content.features, record.content.shares) for record in records if record.content]
    for found in pairing.find_exchanged_among(pairing.join_pairs(described)):
        one, other = records[found.first], records[found.second]
        fact = f"{one.mask} and {other.mask} each fit the other's picture better than their own."
        yield Problem("warning", where(one, other), one.mask, other.mask, Finding(EXCHANGED, fact))


def find_dark(records: Sequence[Record]) -> Iterator[Problem]:
    """Pictures of 10 to 14 bits in files of 16: once read, nearly black."""
    deep = [one for one in records if one.content and one.kinds and one.kinds[0].startswith("16-bit")]
    most = max((int(one.content.thumbnail.grey().max()) for one in deep if one.content), default=DARK + 1)
    if most <= DARK:
        fact = f"{len(deep)} pictures of 16 bits, such as {deep[0].image}, have no grey above {most} of 255 as read."
        yield Problem("warning", "", deep[0].image, "", Finding(TOO_DARK, fact))


def judge_mask(survey: Survey, record: Record) -> Iterator[Problem]:
    """Masks with nothing in them, or nothing else."""
    shown, single = np.flatnonzero(record.pixels[:-1]), survey.classes[0]
    if not len(shown):
        yield _about_mask(record, "warning", IGNORED_MASK, "has no pixel that counts")
    elif len(survey.classes) > 1 and len(shown) == 1:
        yield _about_mask(record, "note", SINGLE_CLASS, f"shows only {survey.classes[int(shown[0])]}")
    elif len(survey.classes) == 1 and not record.pixels[1]:
        yield _about_mask(record, "note", EMPTY_MASK, f"shows no {single}")
    elif len(survey.classes) == 1 and not record.pixels[0]:
        yield _about_mask(record, "warning", FULL_MASK, f"is {single} everywhere")


def _about_mask(record: Record, severity: Severity, kind: Kind, fact: str) -> Problem:
    return Problem(severity, record.split, record.mask, record.image, Finding(kind, f"mask {record.mask} {fact}."))


def find_specks(survey: Survey, records: Sequence[Record]) -> Iterator[Problem]:
    """Masks with objects of a few pixels, where objects are usually larger by far. Where most masks have them, which is
    how they were drawn, it is said once."""
    usual = {value: _usual_area(records, value) for value in survey.objects.values()}
    names = {value: name for name, value in survey.values.items()}
    found = []
    for record in records:
        limit = speck_limit(record.seen)
        parts = []
        for value, area in usual.items():
            areas = record.objects.areas[record.objects.classes == value]
            if count := int((areas <= min(limit, area / SPECK)).sum()):
                parts.append(f"{count} of {len(areas)} areas of {names[value]}")
        if parts:
            fact = f"mask {record.mask} has specks of at most {limit:.0f} pixels: {', '.join(parts)}."
            found.append(Problem("note", record.split, record.mask, record.image, Finding(SPECKS, fact)))
    if len(found) > len(records) / 2:
        yield found[0]._replace(finding=Finding(MOST_SPECKS, f"{len(found)} of {len(records)} masks have specks."))
    else:
        yield from found


def speck_limit(shape: tuple[int, ...]) -> float:
    """The largest area of a speck in a mask of this shape."""
    return max(SPECK_SHARE * shape[0] * shape[1], SPECK_LEAST)


def _usual_area(records: Iterable[Record], value: int) -> float:
    """The area that half of a class's pixels belong to objects above; specks hardly count."""
    each = [record.objects.areas[record.objects.classes == value] for record in records]
    areas = np.sort(np.concatenate([*each, []]))
    return float(areas[np.searchsorted(np.cumsum(areas), areas.sum() / 2)]) if len(areas) else 0.0


def compare_splits(survey: Survey) -> Iterator[Problem]:
    """Classes that a split lacks, or has a clearly different share of."""
    splits = [split for split in survey.counts if survey.of(split)]
    for name in survey.classes:
        shares = {split: survey.shares(name, split) for split in splits}
        present = [split for split in splits if shares[split].pixels]
        if survey.complete and present:
            for split in splits:
                if split not in present:
                    yield Problem("warning", split, "", "", Finding(LACKING, f"{split} does not show {name}."))
        for one, other in combinations(present, 2):
            first, second = shares[one].pixels, shares[other].pixels
            ratio = max(first, second) / min(first, second)
            if ratio >= RATIO and _differ(survey, name, one, other):
                fact = f"{name} has {percent(first)} of the pixels of {one}, and {percent(second)} of {other}."
                yield Problem("note", f"{one} and {other}", "", "", Finding(SHARES, fact))


def _differ(survey: Survey, name: str, one: str, other: str) -> bool:
    """Whether two splits' mean shares differ by `SURE` standard errors; a group counts once. Of fewer than three groups
    nothing is sure: then by a factor of twice `RATIO`."""
    means, errors = [], []
    for split in (one, other):
        groups: dict[str, list[float]] = {}
        for number, (record, share) in enumerate(zip(survey.of(split), survey.shares(name, split).each, strict=True)):
            groups.setdefault(record.group or str(number), []).append(float(share))
        each = [float(np.mean(some)) for some in groups.values()]
        if len(each) < 3:
            pixels = [survey.shares(name, either).pixels for either in (one, other)]
            return survey.groups() > 0 and max(pixels) > 2 * RATIO * min(pixels)
        means.append(np.mean(each))
        errors.append(np.var(each, ddof=1) / len(each))
    return bool(abs(means[0] - means[1]) > SURE * np.sqrt(sum(errors)))


def percent(share: float) -> str:
    return f"{100 * share:.{1 if share >= 0.01 or share == 0 else 2 if share >= 0.001 else 3}f} %"


def from_findings(findings: Iterable[Finding], severity: Severity, splits: Mapping[str, str]) -> Iterator[Problem]:
    """What the readers of files have reported. splits: of each file."""
    for finding in findings:
        files = [str(path) for path in finding.files]
        split = next((splits[file] for file in files if file in splits), "")
        first, second = (*files, "", "")[:2]
        yield Problem(severity, split, first, second, finding)


def worst_first(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """By severity, kind and file."""
    return tuple(sorted(set(problems), key=lambda one: (SEVERITIES.index(one.severity), one.kind, *one)))


def by_kind(problems: Iterable[Problem]) -> Mapping[str, list[Problem]]:
    """The problems of each kind, in their order."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        found.setdefault(problem.kind, []).append(problem)
    return found
