"""The sentences of a report. They follow from the numbers by stated rules, and say nothing beyond them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from segkit.configs.composing import LAST_EPOCH
from segkit.configs.identity import LATER
from segkit.evaluation.advice import paints_all
from segkit.reporting.analysis import Analysis, count_missing
from segkit.reporting.collect import PRESENCE, Problem
from segkit.reporting.groups import PIXELS, Group, Run
from segkit.reporting.statistics import BETTER, HIGHER, Comparison, Outcome, unseen_share
from segkit.reporting.words import hardware

FEW_CLUSTERS = 10  # photographs, patients or videos
CHEAPER = 0.8  # share of the best group's training time, below which a group is called cheaper
GAP = 0.1  # of train over test, from which overfitting is suspected

RULES = (
    "A group consists of runs that differ only in their seed; its score is the mean over seeds and test pictures.",
    "Pictures of one photograph, patient or video belong together and are not independent. How far a mean moves when "
    "all pictures of one are left out shows how much pictures add to its error; the spread of single runs shows how "
    "much seeds add. The 95 % intervals cover both; with one seed they apply to these runs only. Where a difference is "
    "the same in all of a few groups of pictures, its interval allows for a rarer kind of picture that is not among "
    "them.",
    "“Better” and “worse” mean that the p-value is below 0.05 after Holm's correction for the number of comparisons. "
    "The p-value is the level at which the interval of the difference would touch 0, so interval and p-value never "
    "contradict each other; with several comparisons the correction demands more than that. Everything else is “not "
    "distinguishable with these data”. This does not mean that the groups are equal: the report adds the smallest true "
    "difference that would have been found in 4 of 5 such experiments.",
    "With one seed in a group, nothing can be concluded about its settings, because another training may turn out "
    "differently: “these runs score higher on these pictures” is about these runs only, and there are no main effects.",
    "P(false claim) is the probability by Claims Reloaded (Christodoulou et al., 2025) that the group with the higher "
    "mean is not the better one. It treats pictures as independent and ignores how runs vary, so it is often low.",
    "A score per picture (its name ends in _image, or is score) is the mean over the test pictures, which all count "
    "equally. A pooled score is computed once from the pixels of all pictures (for several classes it is the mean over "
    "classes), so large objects count more; presence_… is computed over samples. A mean is bold if no compared group "
    "exceeds it as printed; this is not a verdict.",
    f"Overfitting is suspected where training scores exceed test scores by {GAP:g} or more.",
)


def warnings(report: Analysis, problems: Sequence[Problem]) -> list[str]:
    """The limits of every conclusion in a report."""
    return [*seed_warnings(report), *picture_warnings(report), *score_warnings(report), *run_warnings(report, problems)]


def seed_warnings(report: Analysis) -> list[str]:
    """Limits where settings were trained once or twice."""
    found, groups = [], report.groups
    if single := [group.title for group in groups if len(group.runs) == 1]:
        found.append(
            f"One seed only ({abbreviate(single)}): how much another start would change is unknown, so their intervals "
            "and comparisons apply to these runs only, not to another training with the same settings."
        )
        if report.factors:
            found.append("There are no main effects: they need two or more seeds of every combination.")
    if two := [group.title for group in groups if len(group.runs) == 2]:
        found.append(
            f"Two seeds only ({abbreviate(two)}): how much seeds vary is hardly known, so intervals are very wide and "
            "only large differences can be found. A third seed helps most."
        )
    if twice := [group.title for group in groups if len({run.seed for run in group.runs}) < len(group.runs)]:
        found.append(f"The same seed more than once: {abbreviate(twice)}. Each counts as a different seed.")
    return found


def picture_warnings(report: Analysis) -> list[str]:
    """Limits from test pictures that are few, dependent on each other, or different."""
    found, pictures, clusters = [], report.sample.pictures, len(report.sample.clusters)
    if clusters < FEW_CLUSTERS:
        few = (
            f"{clusters} independent group{'s' * (clusters != 1)} of test pictures"
            if report.has_clusters
            else (f"{pictures} test pictures")
        )
        found.append(
            f"Only {few}: intervals are wide, and correct only if these are typical. Below 10, take verdicts as hints."
        )
    if not report.has_clusters:
        found.append(
            "It is not known which test pictures belong together, so they are taken as independent. If several show "
            "one photograph, patient or video, say which: dataset.groups=… in training, or groups=… here. Otherwise "
            "intervals are too narrow, and differences are found too easily."
        )
    if uniform := uniform_differences(report):
        found.append(
            f"The same in all {clusters} groups of test pictures, as far as the spread of runs can tell: {uniform}. A "
            f"rarer kind of picture, up to {unseen_share(clusters):.0%} of all, may be missing from so few groups, and "
            "could reverse a difference that is the same in all of them. The intervals allow for that."
        )
    if empty := max(sum(group.metric("test/empty_images")[:1]) for group in report.groups):
        found.append(f"{empty:.0f} test pictures show nothing: on these, predicting nothing scores 1, anything else 0.")
    if lost := report.tested_pictures - pictures:
        found.append(f"{lost} of {report.tested_pictures} test pictures lack a score in some run and are left out.")
    if report.not_compared:
        found.append(
            "Tested on other pictures than the rest (their names or masks differ), so only in the table and not "
            f"compared: {abbreviate([group.title for group in report.not_compared])}."
        )
    return found


def uniform_differences(report: Analysis) -> str:
    """The differences that are the same in all groups of test pictures, in words."""
    titles = [group.title for group in report.paired]
    found = [f"{titles[one.one]} less {titles[one.other]}" for one in report.comparisons if one.outcome.uniform]
    found += [factor for factor, levels in report.effects.items() if any(one.uniform for one in levels.values())]
    return abbreviate(found)


def score_warnings(report: Analysis) -> list[str]:
    """What scores hide: epochs chosen by another metric, and runs that have learnt nothing."""
    found, groups = [], report.groups
    if chosen := sorted({str(group.config["monitor"]) for group in groups if has_other_monitor(group, report)}):
        found.append(
            f"The tested epochs were chosen by {', '.join(chosen)}, but runs are compared by {report.label}, which may "
            "prefer others. By default both are the same."
        )
    if blind := [group.title for group in groups if 0 in group.metric("test/recall")]:
        found.append(f"Some runs find nothing at all on the test pictures: {abbreviate(blind)}.")
    if painting := [group.title for group in groups if any(map(has_painted_everything, group.runs))]:
        found.append(f"Some runs paint nearly every pixel of the test pictures: {abbreviate(painting)}.")
    if missed := [text for group in groups if (text := missed_classes(group))]:
        found.append(f"Some runs never find a class that may be in the test pictures: {abbreviate(missed)}.")
    return found


def run_warnings(report: Analysis, problems: Sequence[Problem]) -> list[str]:
    """Limits where runs are missing, or were made in different ways."""
    found = []
    if problems:
        found.append(f"Folders left out: {len(problems)}. The reasons are listed below.")
    if lacking := count_missing(report.paired):
        found.append(f"The grid lacks {lacking} of its combinations, so there are no main effects.")
    runs = [run for group in report.groups for run in group.runs]
    if len({str(run.environment.get("data_fingerprint")) for run in runs}) > 1:
        found.append("The runs' data files differ: pictures of the same name may be different.")
    ways = {"size": "sizes", "scale": "scales", "eval": "ways to score (dataset.eval)", "crops": "crops"}
    for key, what in ways.items():
        if len({str(run.config["dataset"].get(key, LATER.get(key))) for run in runs}) > 1:
            found.append(f"Pictures have different {what} in different runs; this affects scores, too.")
    if not has_same_hardware(report.groups):
        found.append("The runs used different hardware, threads or precision: their seconds cannot be compared.")
    return found


def has_other_monitor(group: Group, report: Analysis) -> bool:
    """Whether a group's epochs were chosen by another metric than the one runs are compared by."""
    monitor = group.config.get("monitor")
    if monitor in (None, LAST_EPOCH) or (report.column == PRESENCE and str(monitor).startswith("val/presence_")):
        return False
    return str(monitor) != str(report.metric or f"val/{report.column}_image").replace("test/", "val/")


def has_painted_everything(run: Run) -> bool:
    """Whether a run of one class predicts it on nearly all pixels, whatever the test pictures show."""
    if len(run.config["dataset"].get("classes") or []) != 1 or not set(PIXELS) <= run.images.keys():
        return False
    tp, fp, fn, tn = (float(run.images[name].sum()) for name in PIXELS)
    return paints_all(tp + fp, tp + fn, tp + fp + fn + tn)


def missed_classes(group: Group) -> str:
    """The group's title and the classes (of several) of which one of its runs gets no pixel right; "" if none."""
    lost = [name for name in group.classes if 0 in group.metric(f"test/iou/{name}")]
    return f"{group.title} ({', '.join(lost)})" if lost else ""


def abbreviate(titles: Sequence[str]) -> str:
    return ", ".join(titles[:6]) + (", …" if len(titles) > 6 else "")


def has_same_hardware(groups: Sequence[Group]) -> bool:
    """Whether the seconds of all runs can be compared."""
    return len({line for group in groups for line in hardware(group).split("; ")}) == 1


def overfitting_gaps(groups: Sequence[Group], metric: str | None) -> list[tuple[str, float, float, float, bool]]:
    """Title, train score, test score, gap, and whether overfitting is suspected, for every group that has both."""
    if metric is None:
        return []
    found = []
    for group in groups:
        both = group.metric(metric.replace("test/", "train/")), group.metric(metric)
        if all(both):
            train, test = (float(np.mean(values)) for values in both)
            found.append((group.title, train, test, train - test, train - test >= GAP))
    return found


def draw_conclusions(report: Analysis) -> list[str]:
    """The conclusions, one sentence or two each."""
    groups, metric = report.paired, report.metric
    found = [describe_best(report)] if len(groups) > 1 else []
    found += describe_baseline(report) if report.baseline is not None else describe_cost(report)
    for factor, levels in report.effects.items():
        found += describe_factor(factor, levels)
    overfitted = [title for title, _, _, _, much in overfitting_gaps(groups, metric) if much]
    if overfitted:
        found.append(
            f"Training scores exceed test scores by {GAP:g} or more, which suggests overfitting: "
            f"{', '.join(overfitted)}."
        )
    return found


def outcomes_of(place: int, comparisons: Sequence[Comparison]) -> dict[int, Outcome]:
    """The outcome of a group against each group that it is compared with."""
    found = {one.other: one.outcome for one in comparisons if one.one == place}
    return found | {one.one: one.outcome.mirror() for one in comparisons if one.other == place}


def describe_best(report: Analysis) -> str:
    groups, best = report.paired, report.order[0]
    each = [scores.mean(axis=0) for scores in report.sample.scores]
    if all(np.array_equal(scores, each[0]) for scores in each):
        titles_of_all = abbreviate([group.title for group in groups])
        return f"{titles_of_all} score the same on every test picture ({report.label} {report.means[best].mean:.3f})."
    mean, low, high = report.means[best].mean, report.means[best].low, report.means[best].high
    text = f"{groups[best].title} has the highest mean {report.label}, {mean:.3f} ({low:.3f} … {high:.3f})."
    if report.baseline is not None:
        return text
    outcomes = outcomes_of(best, report.comparisons)
    titles = {
        verdict: [groups[other].title for other, one in outcomes.items() if one.verdict == verdict]
        for verdict in (BETTER, HIGHER)
    }
    undecided = {groups[other].title: one.detectable for other, one in outcomes.items() if one.is_undecided}
    if titles[BETTER]:
        text += f" It is better than {', '.join(titles[BETTER])}."
    if titles[HIGHER]:
        text += (
            f" On these pictures its run{'s score' if len(groups[best].runs) > 1 else ' scores'} higher than "
            f"{', '.join(titles[HIGHER])}; one seed cannot show whether another training would."
        )
    if undecided:
        size = describe_detectable(undecided.values())
        text += f" It is not distinguishable with these data from {', '.join(undecided)}{size}."
    return text


def describe_detectable(differences: Iterable[float]) -> str:
    """How large a difference would have been found, in brackets."""
    found = sorted(differences)
    if np.isnan(found).any():
        return " (nothing varies in these runs, so the smallest difference that would have been found is unknown)"
    if not np.isfinite(found[-1]):
        return " (one independent group of pictures cannot show any difference)"
    if found[0] > 1:
        return " (seeds differ so much that no difference would have been found, not even the largest possible, 1)"
    if found[-1] > 1:
        return f" (a difference of {found[0]:.3f} or more would have been found 4 times in 5; for some, not even 1)"
    sizes = f"{found[0]:.3f}" if f"{found[0]:.3f}" == f"{found[-1]:.3f}" else f"{found[0]:.3f} to {found[-1]:.3f}"
    return f" (a difference of {sizes} would have been found 4 times in 5)"


def describe_baseline(report: Analysis) -> list[str]:
    """Which groups are better than the baseline, which are worse, and which are undecided."""
    if not report.comparisons:
        return []
    found: dict[str, list[Comparison]] = {}
    for one in report.comparisons:
        found.setdefault(one.outcome.verdict, []).append(one)
    parts = []
    for verdict, members in sorted(found.items()):
        titles = ", ".join(report.paired[one.one].title for one in members)
        size = describe_detectable(one.outcome.detectable for one in members) if members[0].outcome.is_undecided else ""
        parts.append(f"{verdict}: {titles}{size}")
    title = report.paired[report.baseline or 0].title
    return [f"Against {title}, the only group that others are compared with: {'; '.join(parts)}."]


def describe_cost(report: Analysis) -> list[str]:
    """The cheapest group that is not distinguishable from the best, if each of its runs was at least a fifth cheaper
    than each of the best group's."""
    groups, best = report.paired, report.order[0]
    costs = {place: cost for place, group in enumerate(groups) if (cost := group.cost("train_seconds"))}
    like = [
        place for place, one in outcomes_of(best, report.comparisons).items() if one.is_undecided and place in costs
    ]
    if best not in costs or not like or not has_same_hardware(groups):
        return []
    cheapest = min(like, key=costs.__getitem__)
    spent, of_best = (groups[place].costs("train_seconds") for place in (cheapest, best))
    if max(spent) > CHEAPER * min(of_best):
        return []
    return [
        f"{groups[cheapest].title} is not distinguishable from the best and takes {min(spent) / min(of_best):.0%} "
        "of its training time (fastest run of each)."
    ]


def describe_factor(factor: str, levels: Mapping[str, Outcome]) -> list[str]:
    """The effect of one factor of a grid, averaged over the others."""
    clear = {level: one.difference for level, one in levels.items() if not one.is_undecided}
    if not clear:
        size = describe_detectable(one.detectable for one in levels.values())
        return [
            f"Averaged over the other settings, no choice of {factor} is distinguishable from the mean of all{size}."
        ]
    parts = [f"{level} {effect.mean:+.3f} ({effect.low:+.3f} … {effect.high:+.3f})" for level, effect in clear.items()]
    rest = " The other choices are not distinguishable from it." if len(clear) < len(levels) else ""
    return [f"Effect of {factor} against the mean of all, averaged over the other settings: {'; '.join(parts)}.{rest}"]
