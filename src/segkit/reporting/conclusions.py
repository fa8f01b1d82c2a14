"""What a report says in words: sentences that follow from the numbers by stated rules, and nothing beyond."""

from collections.abc import Mapping, Sequence

import numpy as np

from segkit.reporting.analysis import Analysis, missing
from segkit.reporting.collect import Group, Problem
from segkit.reporting.statistics import LEVEL, TURNED, Comparison, Outcome, Verdict, least_p
from segkit.reporting.table import hardware, stated

FEW_PICTURES = 20
CHEAPER = 0.8  # of the training time, from which on it is worth a word
GAP = 0.1  # of train over test, from which on it speaks of overfitting

RULES = (
    "A group is the runs that differ in their seed alone; its score is the mean over seeds and test pictures.",
    "Intervals hold 95 %: bootstrap over pictures and, where there are several, over seeds at the same time, made "
    "wider for few seeds as Student's distribution is wider than the normal. In a comparison or effect, a group of one "
    "seed is taken to vary like those with several.",
    "“Better” and “worse” are said where the p-value is below 0.05 after Holm's correction for the number of "
    "comparisons and the interval of the difference leaves 0 out. The p-value is the larger of two: a paired "
    "permutation test over the test pictures, and, with several seeds, a t test in which runs vary as well. All else "
    "is “not distinguishable with these data”, which does not say that the groups are equal. Main effects are tested "
    "in the same way, all of them corrected together.",
    "In the t test the variance of a difference is that between seeds plus that between pictures, which rather "
    "overstates it. The p-value and the interval are found in two ways, so near the border one may speak for a "
    "difference and the other not. A true difference of half the interval's width is found about every second time, "
    "with many comparisons less often.",
    "Metrics that end in _image, and score, are means over the test pictures; the others are over the pixels of all "
    "test pictures together (of several classes the mean over classes), presence_… over samples. Bold is a mean that "
    "none of the compared groups exceeds as printed, which is no verdict.",
    f"Where training scores exceed test scores by {GAP:g} or more, that is said to speak of overfitting.",
)


def warnings(report: Analysis, problems: Sequence[Problem]) -> list[str]:
    """What limits every conclusion of a report."""
    groups, pictures, tests = report.groups, report.sample.pictures, len(report.comparisons)
    found = []
    single = [group.title for group in groups if len(group.runs) == 1]
    if single:
        found.append(
            f"One seed only ({shortened(single)}): how much another start would change is not known, so the intervals "
            "of their means are of pictures alone."
            + " Between single runs “better” is said of these runs, and not of another training."
            * (len(single) > 1)
        )
    if two := [group.title for group in groups if len(group.runs) == 2]:
        found.append(
            f"Two seeds only ({shortened(two)}): how much seeds vary is hardly known, so any of their intervals may be "
            "far too wide or too narrow."
        )
    if pictures < FEW_PICTURES:
        found.append(f"{pictures} test pictures only: intervals are wide, and of so few a bootstrap is rough.")
    if tests and least_p(pictures) * tests >= LEVEL:
        found.append(
            f"{tests} comparisons on {pictures} pictures: whatever the difference, no p-value can fall below "
            f"{min(least_p(pictures) * tests, 1):.2g} after correction. Compare fewer groups, or test on more pictures."
        )
    if blind := [group.title for group in groups if 0 in group.metric("test/recall")]:
        found.append(f"Some runs find nothing at all on the test pictures: {shortened(blind)}.")
    if missed := [text for group in groups if (text := never_found(group))]:
        found.append(f"Some runs get no pixel right of a class that may be in the test pictures: {shortened(missed)}.")
    if empty := max(sum(group.metric("test/empty_images")[:1]) for group in groups):
        found.append(f"{empty:.0f} test pictures show nothing: there a run that says nothing scores 1, others 0.")
    if lost := report.tested - pictures:
        found.append(f"Of {report.tested} test pictures {lost} have no such score in some run and are left out.")
    twice = [group.title for group in groups if len({run.seed for run in group.runs}) < len(group.runs)]
    if twice:
        found.append(f"The same seed more than once: {shortened(twice)}. They count as if they were different ones.")
    if report.apart:
        found.append(
            "Tested on other pictures than the rest, by their names or by what their masks show, so in the table alone "
            "and not compared: "
            f"{shortened([group.title for group in report.apart])}."
        )
    if problems:
        found.append(f"Left out of the folders found: {len(problems)}. The reasons are listed below.")
    if lacking := missing(report.paired):
        found.append(f"The grid lacks {lacking} of its combinations, so there are no main effects.")
    runs = [run for group in groups for run in group.runs]
    if len({run.environment.get("data_fingerprint") for run in runs}) > 1:
        found.append("The runs' files differ in content: pictures of the same name may be different ones.")
    for key, what in (("size", "sizes"), ("eval", "ways to score (dataset.eval)"), ("crops", "crops")):
        if len({str(run.config["dataset"].get(key)) for run in runs}) > 1:
            found.append(f"Pictures have different {what} in different runs, which scores depend on as well.")
    if not same_hardware(groups):
        found.append("The runs were made on different hardware, threads or precision: their seconds do not compare.")
    return found


def never_found(group: Group) -> str:
    """The classes, of several, of which a run of a group gets no pixel right."""
    lost = [name for name in group.classes if 0 in group.metric(f"test/iou/{name}")]
    return f"{group.title} ({', '.join(lost)})" if lost else ""


def shortened(titles: Sequence[str]) -> str:
    return ", ".join(titles[:6]) + (", …" if len(titles) > 6 else "")


def same_hardware(groups: Sequence[Group]) -> bool:
    """Whether seconds of all runs can be compared."""
    return len({line for group in groups for line in hardware(group).split("; ")}) == 1


def gaps(groups: Sequence[Group], metric: str | None) -> list[tuple[str, float, float, float, bool]]:
    """Title, train, test, gap, and whether that speaks of overfitting, of every group that has both."""
    if metric is None:
        return []
    found = []
    for group in groups:
        both = group.metric(metric.replace("test/", "train/")), group.metric(metric)
        if all(both):
            train, test = (float(np.mean(values)) for values in both)
            found.append((group.title, train, test, train - test, train - test >= GAP))
    return found


def drawn(report: Analysis) -> list[str]:
    """The conclusions, one sentence or two each."""
    groups, metric = report.paired, report.metric
    found = [of_the_best(report)] if len(groups) > 1 else []
    found += of_baseline(report) if report.baseline is not None else of_cost(report)
    for factor, levels in report.effects.items():
        found += of_factor(factor, levels)
    overfitted = [title for title, _, _, _, much in gaps(groups, metric) if much]
    if overfitted:
        found.append(
            f"Training scores exceed test scores by {GAP:g} or more, which speaks of overfitting: "
            f"{', '.join(overfitted)}."
        )
    for group in groups:
        for name in group.runs[0].metrics:
            if told := stated(group, name):
                reached = np.mean(group.metric(name))
                found.append(f"{group.title} reached {name} {reached:.3f}; its experiment file states: {told}.")
    return found


def verdicts_of(place: int, comparisons: Sequence[Comparison]) -> dict[int, Verdict]:
    """What is said of a group against each of the others that it is compared with."""
    found = {one.other: one.outcome.verdict for one in comparisons if one.one == place}
    verdicts = {one.one: one.outcome.verdict for one in comparisons if one.other == place}
    return found | {other: TURNED.get(verdict, verdict) for other, verdict in verdicts.items()}


def of_the_best(report: Analysis) -> str:
    groups, best = report.paired, report.order[0]
    mean, low, high = report.means[best].mean, report.means[best].low, report.means[best].high
    text = f"{groups[best].title} has the highest mean {report.label}, {mean:.3f} ({low:.3f} … {high:.3f})."
    if report.baseline is not None:
        return text
    said = verdicts_of(best, report.comparisons)
    better = [groups[other].title for other, verdict in said.items() if verdict == "better"]
    open_ones = [groups[other].title for other, verdict in said.items() if verdict.startswith("not")]
    if better:
        alone = all(len(group.runs) == 1 for group in groups)
        text += f" It is better than {', '.join(better)}{', as far as one seed can tell' if alone else ''}."
    if open_ones:
        text += f" It is not distinguishable with these data from {', '.join(open_ones)}."
    return text


def of_baseline(report: Analysis) -> list[str]:
    """Who is better than the one that all are compared with, who worse, and of whom that cannot be said."""
    if not report.comparisons:
        return []
    said: dict[str, list[str]] = {}
    for one in report.comparisons:
        said.setdefault(one.outcome.verdict, []).append(report.paired[one.one].title)
    parts = [f"{verdict}: {', '.join(titles)}" for verdict, titles in sorted(said.items())]
    title = report.paired[report.baseline or 0].title
    return [f"Against {title}, with which each is compared and no other, these are {'; '.join(parts)}."]


def of_cost(report: Analysis) -> list[str]:
    """The cheapest group that is not distinguishable from the best, if every run of it was cheaper than every one of
    the best's by a fifth and more."""
    groups, best = report.paired, report.order[0]
    costs = {place: cost for place, group in enumerate(groups) if (cost := group.cost("train_seconds"))}
    like = [
        place
        for place, verdict in verdicts_of(best, report.comparisons).items()
        if verdict.startswith("not") and place in costs
    ]
    if best not in costs or not like or not same_hardware(groups):
        return []
    cheapest = min(like, key=costs.__getitem__)
    spent, of_best = (groups[place].costs("train_seconds") for place in (cheapest, best))
    if max(spent) > CHEAPER * min(of_best):
        return []
    return [
        f"{groups[cheapest].title} is not distinguishable from the best and takes {min(spent) / min(of_best):.0%} "
        "of its training time, by the quickest run of each."
    ]


def of_factor(factor: str, levels: Mapping[str, Outcome]) -> list[str]:
    """Of a factor of a grid, averaged over the others."""
    clear = {level: one.difference for level, one in levels.items() if not one.verdict.startswith("not")}
    if not clear:
        return [f"Of {factor}, averaged over the other settings, no choice is distinguishable from the mean of all."]
    parts = [f"{level} {effect.mean:+.3f} ({effect.low:+.3f} … {effect.high:+.3f})" for level, effect in clear.items()]
    rest = " The other choices are not distinguishable from it." if len(clear) < len(levels) else ""
    return [f"Of {factor}, averaged over the other settings, against the mean of all: {'; '.join(parts)}.{rest}"]
