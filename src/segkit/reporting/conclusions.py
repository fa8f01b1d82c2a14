"""What a report says in words: sentences that follow from the numbers by stated rules, and nothing beyond."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from segkit.configs.composing import LAST_EPOCH
from segkit.evaluation.advice import paints_all
from segkit.reporting.analysis import Analysis, missing
from segkit.reporting.collect import PRESENCE, Problem
from segkit.reporting.groups import PIXELS, Group, Run
from segkit.reporting.statistics import BETTER, HIGHER, Comparison, Outcome, unseen_share
from segkit.reporting.words import hardware, stated

FEW_CLUSTERS = 10  # photographs, patients or videos
CHEAPER = 0.8  # of the training time, from which on it is worth a word
GAP = 0.1  # of train over test, from which on it speaks of overfitting

RULES = (
    "A group of runs is those that differ in their seed alone; its score is the mean over seeds and test pictures.",
    "Pictures of one photograph, patient or video belong together and are no independent test pictures. How far a mean "
    "moves when all pictures of one are left out says how much pictures add to its error; the spread of single runs "
    "says how much seeds add. Intervals hold 95 % and have both; with one seed they are of these runs alone. Where few "
    "groups of pictures all differ by the same, it allows for a rarer kind of picture that is not among them.",
    "“Better” and “worse” are said where the p-value is below 0.05 after Holm's correction for the number of "
    "comparisons. The p-value is the level at which the interval of the difference would touch 0, so that interval "
    "and p-value never contradict each other; with several comparisons the correction asks for more than that. All "
    "else is “not distinguishable with these data”, which does not say that the groups are equal: beside it stands "
    "the smallest true difference that would have been found in 4 of 5 such experiments.",
    "Where a group has one seed alone, nothing is said of its settings, for another training may turn out otherwise: "
    "“these runs score higher on these pictures” is of these runs and no more, and there are no main effects.",
    "P(false claim) is the probability by Claims Reloaded (Christodoulou et al., 2025) that the group with the higher "
    "mean is not the better one; it takes pictures as independent and runs as they are, and so is often too small.",
    "A score per picture (its name ends in _image, or is score) is the mean over the test pictures, which all count "
    "the same. A pooled one is computed once, from the pixels of all of them (of several classes it is the mean over "
    "classes), so that large objects count more; presence_… is over samples. Bold is a mean that "
    "none of the compared groups exceeds as printed, which is no verdict.",
    f"Where training scores exceed test scores by {GAP:g} or more, that is said to speak of overfitting.",
)


def warnings(report: Analysis, problems: Sequence[Problem]) -> list[str]:
    """What limits every conclusion of a report."""
    return [*of_seeds(report), *of_pictures(report), *of_scores(report), *of_runs(report, problems)]


def of_seeds(report: Analysis) -> list[str]:
    """What limits conclusions where settings were trained once or twice."""
    found, groups = [], report.groups
    if single := [group.title for group in groups if len(group.runs) == 1]:
        found.append(
            f"One seed only ({shortened(single)}): how much another start would change is not known, so intervals and "
            "comparisons of it are of these runs alone, and say nothing about another training with the same settings."
        )
        if report.factors:
            found.append("There are no main effects: they need two seeds or more of every combination.")
    if two := [group.title for group in groups if len(group.runs) == 2]:
        found.append(
            f"Two seeds only ({shortened(two)}): how much seeds vary is hardly known, so their intervals are very "
            "wide, and only large differences can be found. A third seed helps most."
        )
    if twice := [group.title for group in groups if len({run.seed for run in group.runs}) < len(group.runs)]:
        found.append(f"The same seed more than once: {shortened(twice)}. They count as if they were different ones.")
    return found


def of_pictures(report: Analysis) -> list[str]:
    """What limits conclusions from few test pictures, from pictures that depend on each other, or differ."""
    found, pictures, clusters = [], report.sample.pictures, len(report.sample.clusters)
    if clusters < FEW_CLUSTERS:
        few = (
            f"{clusters} independent group{'s' * (clusters != 1)} of test pictures"
            if report.grouped
            else (f"{pictures} test pictures")
        )
        found.append(
            f"{few} only: intervals are wide, and they are right only if these are typical. Below 10 take a verdict as "
            "a hint."
        )
    if not report.grouped:
        found.append(
            "It is not known which test pictures belong together, so they are taken as independent. If several are of "
            "one photograph, patient or video, say which: dataset.group=… in training, or group=… here; without, "
            "intervals are too narrow and differences too easily found."
        )
    if alike := alike_in_all(report):
        found.append(
            f"The same in all {clusters} groups of test pictures, as far as runs that vary can tell: {alike}. A rarer "
            f"kind of picture, up to {unseen_share(clusters):.0%} of all, may not be among so few, and could turn "
            "round a difference that is the same in all the others. The intervals allow for that."
        )
    if empty := max(sum(group.metric("test/empty_images")[:1]) for group in report.groups):
        found.append(f"{empty:.0f} test pictures show nothing: there a run that says nothing scores 1, others 0.")
    if lost := report.tested - pictures:
        found.append(f"Of {report.tested} test pictures {lost} have no such score in some run and are left out.")
    if report.apart:
        found.append(
            "Tested on other pictures than the rest, by their names or by what their masks show, so in the table alone "
            f"and not compared: {shortened([group.title for group in report.apart])}."
        )
    return found


def alike_in_all(report: Analysis) -> str:
    """The differences that are the same in all groups of test pictures, in words."""
    titles = [group.title for group in report.paired]
    found = [f"{titles[one.one]} less {titles[one.other]}" for one in report.comparisons if one.outcome.alike]
    found += [factor for factor, levels in report.effects.items() if any(one.alike for one in levels.values())]
    return shortened(found)


def of_scores(report: Analysis) -> list[str]:
    """What scores hide: epochs chosen by another measure, and runs that have learnt nothing."""
    found, groups = [], report.groups
    if chosen := sorted({str(group.config["monitor"]) for group in groups if chosen_otherwise(group, report)}):
        found.append(
            f"The epochs that were tested were chosen by {', '.join(chosen)}, while runs are compared by "
            f"{report.label}, which may prefer others. By default both are the same."
        )
    if blind := [group.title for group in groups if 0 in group.metric("test/recall")]:
        found.append(f"Some runs find nothing at all on the test pictures: {shortened(blind)}.")
    if painting := [group.title for group in groups if any(map(paints_everything, group.runs))]:
        found.append(f"Some runs paint nearly every pixel of the test pictures: {shortened(painting)}.")
    if missed := [text for group in groups if (text := never_found(group))]:
        found.append(f"Some runs get no pixel right of a class that may be in the test pictures: {shortened(missed)}.")
    return found


def of_runs(report: Analysis, problems: Sequence[Problem]) -> list[str]:
    """What limits conclusions where runs are missing, or were made in different ways."""
    found = []
    if problems:
        found.append(f"Left out of the folders found: {len(problems)}. The reasons are listed below.")
    if lacking := missing(report.paired):
        found.append(f"The grid lacks {lacking} of its combinations, so there are no main effects.")
    runs = [run for group in report.groups for run in group.runs]
    if len({str(run.environment.get("data_fingerprint")) for run in runs}) > 1:
        found.append("The runs' files differ in content: pictures of the same name may be different ones.")
    for key, what in (("size", "sizes"), ("eval", "ways to score (dataset.eval)"), ("crops", "crops")):
        if len({str(run.config["dataset"].get(key)) for run in runs}) > 1:
            found.append(f"Pictures have different {what} in different runs, which scores depend on as well.")
    if not same_hardware(report.groups):
        found.append("The runs were made on different hardware, threads or precision: their seconds do not compare.")
    return found


def chosen_otherwise(group: Group, report: Analysis) -> bool:
    """Whether another measure chose the epochs of a group's runs than they are compared by."""
    monitor = group.config.get("monitor")
    if monitor in (None, LAST_EPOCH) or (report.column == PRESENCE and str(monitor).startswith("val/presence_")):
        return False
    return str(monitor) != str(report.metric or f"val/{report.column}_image").replace("test/", "val/")


def paints_everything(run: Run) -> bool:
    """Whether a run of one class predicts it on nearly all pixels, whatever the test pictures show."""
    if len(run.config["dataset"].get("classes") or []) != 1 or not set(PIXELS) <= run.images.keys():
        return False
    tp, fp, fn, tn = (float(run.images[name].sum()) for name in PIXELS)
    return paints_all(tp + fp, tp + fn, tp + fp + fn + tn)


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


def outcomes_of(place: int, comparisons: Sequence[Comparison]) -> dict[int, Outcome]:
    """What a group comes to against each of the others that it is compared with."""
    found = {one.other: one.outcome for one in comparisons if one.one == place}
    return found | {one.one: one.outcome.mirrored() for one in comparisons if one.other == place}


def of_the_best(report: Analysis) -> str:
    groups, best = report.paired, report.order[0]
    each = [scores.mean(axis=0) for scores in report.sample.scores]
    if all(np.array_equal(scores, each[0]) for scores in each):
        titles_of_all = shortened([group.title for group in groups])
        return f"{titles_of_all} score the same on every test picture ({report.label} {report.means[best].mean:.3f})."
    mean, low, high = report.means[best].mean, report.means[best].low, report.means[best].high
    text = f"{groups[best].title} has the highest mean {report.label}, {mean:.3f} ({low:.3f} … {high:.3f})."
    if report.baseline is not None:
        return text
    said = outcomes_of(best, report.comparisons)
    titles = {
        verdict: [groups[other].title for other, one in said.items() if one.verdict == verdict]
        for verdict in (BETTER, HIGHER)
    }
    open_ones = {groups[other].title: one.detectable for other, one in said.items() if one.is_open}
    if titles[BETTER]:
        text += f" It is better than {', '.join(titles[BETTER])}."
    if titles[HIGHER]:
        text += (
            f" On these pictures its run{'s score' if len(groups[best].runs) > 1 else ' scores'} higher than "
            f"{', '.join(titles[HIGHER])}; whether another training would is not known from one seed."
        )
    if open_ones:
        text += f" It is not distinguishable with these data from {', '.join(open_ones)}{size_of(open_ones.values())}."
    return text


def size_of(differences: Iterable[float]) -> str:
    """In brackets how large a difference would have been found."""
    found = sorted(differences)
    if np.isnan(found).any():
        return " (nothing varies in these runs, so how small a difference would have been found is not known)"
    if not np.isfinite(found[-1]):
        return " (one independent group of pictures cannot show any difference)"
    if found[0] > 1:
        return " (the seeds of a setting differ so much that no difference, which is at most 1, would have been found)"
    if found[-1] > 1:
        return f" (a difference of {found[0]:.3f} or more would have been found 4 times in 5, for some not even 1)"
    sizes = f"{found[0]:.3f}" if f"{found[0]:.3f}" == f"{found[-1]:.3f}" else f"{found[0]:.3f} to {found[-1]:.3f}"
    return f" (a difference of {sizes} would have been found 4 times in 5)"


def of_baseline(report: Analysis) -> list[str]:
    """Who is better than the one that all are compared with, who worse, and of whom that cannot be said."""
    if not report.comparisons:
        return []
    said: dict[str, list[Comparison]] = {}
    for one in report.comparisons:
        said.setdefault(one.outcome.verdict, []).append(one)
    parts = []
    for verdict, members in sorted(said.items()):
        titles = ", ".join(report.paired[one.one].title for one in members)
        size = size_of(one.outcome.detectable for one in members) if members[0].outcome.is_open else ""
        parts.append(f"{verdict}: {titles}{size}")
    title = report.paired[report.baseline or 0].title
    return [f"Against {title}, with which each is compared and no other: {'; '.join(parts)}."]


def of_cost(report: Analysis) -> list[str]:
    """The cheapest group that is not distinguishable from the best, if every run of it was cheaper than every one of
    the best's by a fifth and more."""
    groups, best = report.paired, report.order[0]
    costs = {place: cost for place, group in enumerate(groups) if (cost := group.cost("train_seconds"))}
    like = [place for place, one in outcomes_of(best, report.comparisons).items() if one.is_open and place in costs]
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
    clear = {level: one.difference for level, one in levels.items() if not one.is_open}
    if not clear:
        size = size_of(one.detectable for one in levels.values())
        return [
            f"Of {factor}, averaged over the other settings, no choice is distinguishable from the mean of all{size}."
        ]
    parts = [f"{level} {effect.mean:+.3f} ({effect.low:+.3f} … {effect.high:+.3f})" for level, effect in clear.items()]
    rest = " The other choices are not distinguishable from it." if len(clear) < len(levels) else ""
    return [f"Of {factor}, averaged over the other settings, against the mean of all: {'; '.join(parts)}.{rest}"]
