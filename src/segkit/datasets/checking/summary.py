"""A data set in six lines: what there is, what is unusual, and the one setting that would help most."""

from collections import Counter
from collections.abc import Iterator, Sequence

from segkit.console import format_count
from segkit.datasets.checking.hints import Hint
from segkit.datasets.checking.problems import EXCHANGED, NEAR_ACROSS, SEVERITIES, Problem, percent
from segkit.datasets.checking.survey import Survey
from segkit.datasets.common import SHARED

FEW_SIZES, FEW_CLASSES, FEW_KINDS = 2, 3, 3  # written out in a line
THIN = 3.0  # pixels of the network's input; what is thinner hardly survives the resizing
FEW_PICTURES = 200  # training pictures, below which pretrained weights usually help most


def summarise(name: str, survey: Survey, problems: Sequence[Problem], hints: Sequence[Hint]) -> list[str]:
    """Five lines at most; `suggest_setting` has the sixth."""
    if not survey.records:
        return [f"{name}: no picture could be read", *describe_problems(problems)]
    return [
        f"{name}: {describe_counts(survey)}, {describe_sizes(survey)}",
        "; ".join([describe_groups(survey), *(hint.text for hint in hints if hint.brief)]),
        describe_classes(survey),
        *describe_objects(survey),
        *describe_problems(problems),
    ]


def describe_counts(survey: Survey) -> str:
    """`70 / 15 / 15 train / val / test pictures`"""
    counts = " / ".join(f"{count:,}" for count in survey.counts.values())
    return f"{counts} {' / '.join(survey.counts)} pictures"


def describe_sizes(survey: Survey) -> str:
    sizes = survey.sizes()
    if len(sizes) <= FEW_SIZES:
        some = [f"{wide}×{tall}" + (f" ({count:,})" if len(sizes) > 1 else "") for (tall, wide), count in sizes.items()]
        return f"{' and '.join(some)} pixels"
    small, large = (choose(sizes, key=lambda size: size[0] * size[1]) for choose in (min, max))
    return f"{len(sizes)} sizes from {small[1]}×{small[0]} to {large[1]}×{large[0]} pixels"


def describe_groups(survey: Survey) -> str:
    if not survey.groups():
        return "no groups are known: every picture counts as independent"
    splits: dict[str, set[str]] = {}
    for record in survey.records:
        splits.setdefault(record.group, set()).add(record.split)
    spread = sum(len(some) > 1 for some in splits.values())
    more = "none of them in two splits" if not spread else f"{spread} of them in several splits"
    if len(splits) == len(survey.unique()):
        return "every picture is a group of its own"
    return f"{format_count(len(splits), 'group')} of pictures that belong together, {more}"


def describe_classes(survey: Survey) -> str:
    """Share of pixels and of pictures of each class; of many, the most frequent and the rarest."""
    splits = [split for split in survey.counts if survey.of(split)]
    sampled = "" if survey.complete else f" (of {len(survey.records)} pictures that were looked at)"
    if len(survey.classes) == 1:
        (name,) = survey.classes
        shares = [survey.shares(name, split) for split in splits]
        pixels = " / ".join(percent(share.pixels).removesuffix(" %") for share in shares)
        pictures = " / ".join(f"{100 * share.pictures:.0f}" for share in shares)
        return f"{name}: {pixels} % of the {' / '.join(splits)} pixels, in {pictures} % of the pictures{sampled}"
    each = {name: survey.shares(name) for name in survey.classes}
    order = sorted(each, key=lambda name: -each[name].pixels)
    large, rare = order[:-FEW_CLASSES][:FEW_CLASSES], order[-FEW_CLASSES:]
    parts = [f"{name} {percent(each[name].pixels)}" for name in large]
    parts += [f"{left} more"] if (left := len(order) - len(large) - len(rare)) else []
    parts += [f"{name} {percent(each[name].pixels)} (in {100 * each[name].pictures:.0f} %)" for name in rare]
    return f"share of the pixels (of the pictures): {', '.join(parts)}{sampled}"


def describe_objects(survey: Survey) -> Iterator[str]:
    """How thick objects are; of several classes, those of the thinnest."""
    found = {name: survey.thickness(name) for name in survey.objects}
    found = {name: thick for name, thick in found.items() if len(thick)}
    if not found:
        return
    name = min(found, key=lambda name: found[name][1])
    low, middle, high = found[name]
    resized = survey.thickness(name, at_network=True)[1]
    at = ""
    if survey.network and abs(resized - middle) > 0.1 * middle:
        at = f"; {short(resized)} once resized to {survey.network[1]}×{survey.network[0]}"
    what = "objects" if len(found) == 1 else f"thinnest class, {name}:"
    yield f"{what} about {short(middle)} pixels thick (90 % of their area {short(low)} to {short(high)}){at}"


def short(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def describe_problems(problems: Sequence[Problem]) -> Iterator[str]:
    """How many problems of each severity, with the most frequent kinds."""
    parts: list[str] = []
    for severity in SEVERITIES:
        some = [problem for problem in problems if problem.severity == severity]
        kinds = Counter(problem.finding.kind[:2] for problem in some).most_common()
        named = [format_count(count, one, many) for (one, many), count in kinds[:FEW_KINDS]]
        named += ["…"] if len(kinds) > FEW_KINDS else []
        if some:
            count = format_count(len(some), severity)
            parts.append(f"{count} ({', '.join(named)})" if severity != "note" or not parts else count)
    yield f"unusual: {'; '.join(parts)}" if parts else "nothing unusual"


def suggest_setting(
    survey: Survey,
    problems: Sequence[Problem],
    hints: Sequence[Hint],
    pretrained: bool = False,
    planned: bool = False,
) -> list[str]:
    """One line with the setting that would help most, if any: what the files mean comes first, then what makes scores
    wrong; and unless a plan has chosen these, what the network cannot see, and what more weights would give."""
    of_data = _settings_of_data(survey, problems, hints)
    of_network = () if planned else _settings_of_network(survey, pretrained)
    return [f"try: {text}" for text in [*of_data, *of_network][:1]]


def _settings_of_data(survey: Survey, problems: Sequence[Problem], hints: Sequence[Hint]) -> Iterator[str]:
    for topic in ("layout", "mask values"):
        yield from (f"{hint.setting} ({hint.text})" for hint in hints if hint.topic == topic and hint.setting)
    leaks = [problem for problem in problems if problem.finding.kind in (SHARED, NEAR_ACROSS)]
    grouped = [f"{hint.setting} ({hint.text})" for hint in hints if hint.topic == "groups" and hint.setting]
    yield from grouped
    if leaks and any(record.files for record in survey.records):
        count = format_count(len(leaks), "pair is", "pairs are")
        yield f"python -m segkit.check … fix=true output=clean ({count} the same in two splits: it leaves one out)"
    if any(problem.finding.kind == EXCHANGED for problem in problems):
        yield "look at the masks that are likely exchanged, in check.html"


def _settings_of_network(survey: Survey, pretrained: bool) -> Iterator[str]:
    thick, resized = survey.thickness(), survey.thickness(at_network=True)
    if survey.network and len(thick) and resized[1] < THIN and resized[1] < 0.8 * thick[1]:
        yield (
            f"dataset.train=crop dataset.eval=native (objects are {short(thick[1])} pixels thick in the files, but "
            f"{short(resized[1])} once resized)"
        )
    if survey.counts.get("train", FEW_PICTURES) < FEW_PICTURES and not pretrained:
        count = format_count(survey.counts["train"], "training picture")
        yield f"model=encoder_unet weights=imagenet ({count}: pretrained weights usually help most)"
