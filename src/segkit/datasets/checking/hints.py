"""What a person could set so that a data set is read, split or judged better: proposals, which nothing applies."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from segkit.console import format_count
from segkit.datasets.checking.checks import describe_sample
from segkit.datasets.checking.problems import TWINS, Problem
from segkit.datasets.checking.survey import Survey
from segkit.datasets.module import DataModule
from segkit.datasets.numbering import count_twins, propose_groups
from segkit.datasets.source import extras_of

LEAST_SPLIT = 6  # groups that are proposed where they are to be split into train, val and test
Topic = Literal["layout", "mask values", "groups", "enough pictures"]


class Hint(NamedTuple):
    """A sentence about how the data are read, or could be; `setting`, if any, is what to type for it.

    Hints stand in the summary (`brief`), on the page and, if there is something to type, among the findings.
    """

    topic: Topic
    text: str
    setting: str = ""
    brief: bool = False


def find_hints(data: DataModule, survey: Survey, problems: Sequence[Problem] = ()) -> Iterator[Hint]:
    """All hints, in the order of topics. Each topic is one function's, called here."""
    if survey.complete:
        yield from describe_mask_values(data)
    yield from describe_groups(data, problems)


def describe_mask_values(data: DataModule) -> Iterator[Hint]:
    """What to type if masks do not fit the settings."""
    found = describe_sample(data.sources["train"]) if "train" in data.sources else None
    if found is not None and not found.fits and found.settings:
        yield Hint("mask values", found.sentence, found.settings)


def describe_groups(data: DataModule, problems: Sequence[Problem]) -> Iterator[Hint]:
    """Groups that names suggest, if none are known, and whether groups explain which pictures look alike."""
    groups: dict[str, str] = {}
    names: dict[Path, str] = {}
    for source in data.sources.values():
        extras = extras_of(source)
        groups |= dict(zip(source.names, extras.groups or [""] * len(source.names), strict=True))
        names |= {pair.image: name for pair, name in zip(extras.files, source.names, strict=bool(extras.files))}
    twins = [(Path(one.file), Path(one.other)) for one in problems if one.finding.kind in TWINS]
    pairs = [(names[one], names[other]) for one, other in twins if one in names and other in names]
    if any(groups.values()):
        found = count_twins([*groups], [*groups.values()], pairs)
        if found.example is not None and len({*groups.values()}) < len(groups):
            one, other = found.example
            apart = format_count(found.across, "pair of pictures that looks", "pairs of pictures that look")
            text = f"{apart} alike, such as {one} and {other}, not in one group"
            yield Hint("groups", text)
        return
    proposal = propose_groups(sorted(groups), pairs)
    is_split = any(extras_of(source).shared for source in data.sources.values())
    if proposal is not None and is_split and proposal.groups < LEAST_SPLIT:
        return
    if proposal is not None and names and "groups" in (data.settings or {"groups": None}):
        found = count_twins([*groups], proposal.find([*groups]), pairs)
        alike = f"; {found.within} of {len(pairs)} pairs that look alike are within one" if pairs else ""
        yield Hint("groups", f"names suggest {proposal.counts}{alike}", proposal.argument)
