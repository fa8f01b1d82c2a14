"""What a report is about: which groups are compared, by which score, with what outcome."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.configs.errors import explain
from segkit.datasets.grouping import groups_of
from segkit.reporting import gallery, intervals, statistics
from segkit.reporting.collect import FITS, PRESENCE
from segkit.reporting.gallery import Sheet
from segkit.reporting.groups import Group, written
from segkit.reporting.statistics import Array

log = logging.getLogger("segkit")

SHEETS, MOST_TRIES = 2, 6  # groups that have pictures of their own in the report, of the best so many
COUNTS = ("tp", "fp", "fn", "tn", "label", "probability", "crop")  # columns that are no scores


class Analysis:
    """The numbers of a report, from groups of runs. `column` of per_image.csv is what they are compared by, `label` its
    name for people, `metric` its mean in results.json where it is there; `paired` are the groups that are compared,
    `apart` those tested on other pictures."""

    def __init__(self, groups: Sequence[Group], settings: Mapping[str, Any]) -> None:
        self.groups, self.settings = list(groups), settings
        check_task(self.groups)
        self.column = column_of(self.groups, settings["metric"])
        self.metric = metric_of(self.groups, self.column)
        self.label = f"{self.column} a picture" if self.metric is None else self.metric.removeprefix("test/")
        self.paired, self.apart = alike(self.groups)
        scores = [group.values(self.column) for group in self.paired]
        self.tested = scores[0].shape[1]  # pictures
        kept = complete(scores, self.column)
        self.names = [name for name, has in zip(self.paired[0].runs[0].names, kept, strict=True) if has]
        clusters = clusters_of(self.paired, settings["group"])
        self.grouped = bool(clusters)  # whether it is known which pictures belong together
        self.sample = statistics.Sample(
            [values[:, kept] for values in scores], np.array(clusters)[kept].tolist() if clusters else None
        )
        self.means = self.sample.means()
        self.order = sorted(range(len(self.paired)), key=lambda at: -self.means[at].mean)  # the best first
        self.clusters = statistics.Clusters(clusters or range(self.tested))  # of all pictures, with a score or without
        self.measured = intervals.measured(self.paired, self.clusters)
        self.baseline = self.reference()
        self.comparisons = self.sample.compared(self.pairs())
        self.factors = factors(self.paired)
        single = any(len(group.runs) == 1 for group in self.paired)  # of which a setting's effect cannot be told
        self.effects = (
            {}
            if single
            else self.sample.effects(
                {factor: [group.settings[factor] for group in self.paired] for factor in self.factors}
            )
        )

    @property
    def what(self) -> str:
        """What it is about, in words."""
        runs, groups = sum(len(group.runs) for group in self.groups), len(self.groups)
        return f"{runs} run{'s' * (runs > 1)} in {groups} group{'s' * (groups > 1)}"

    def reference(self) -> int | None:
        """The group that all others are compared with: the one asked for; of very many the best of validation."""
        if self.settings["baseline"] is not None:
            return matching(self.paired, self.settings["baseline"])
        if len(self.paired) <= statistics.MOST_PAIRS:
            return None
        name = str(self.metric or "test/iou").replace("test/", "val/")
        return max(range(len(self.paired)), key=lambda at: np.mean(self.paired[at].metric(name) or [0.0]))

    def pairs(self) -> list[tuple[int, int]]:
        """Which groups are compared: each with the baseline, or all, the better one first."""
        if self.baseline is not None:
            return [(at, self.baseline) for at in range(len(self.paired)) if at != self.baseline]
        return list(combinations(self.order, 2))

    def sheets(self) -> tuple[list[Sheet], str]:
        """Test pictures of the best groups that have theirs still, and why a better one's are missing."""
        made: list[Sheet] = []
        shown: list[gallery.Shown] = []
        reason = ""
        for group in [self.paired[at] for at in self.order[:MOST_TRIES]] if self.settings["gallery"] else []:
            if len(shown) < SHEETS:
                try:  # pictures may have been moved, a model may not be trusted: the numbers stand without
                    one = gallery.Shown(group, self.column, self.settings["trust"])
                    made.append(one.extremes())
                    shown.append(one)
                    made += [gallery.different(*shown)] if len(shown) == SHEETS else []
                except Exception as error:
                    reason = reason or f"{group.title}: {explain(error).splitlines()[0]}"
        if reason:
            log.warning("test pictures are missing in the report: %s", reason)
        return made, reason


def check_task(groups: Sequence[Group]) -> None:
    """ValueError where runs are asked for different things."""
    tasks: dict[str, list[str]] = {}
    for group in groups:
        tasks.setdefault(", ".join(map(str, group.classes)), []).append(group.title)
    if len(tasks) > 1:
        listed = "; ".join(f"{classes}: {', '.join(titles[:3])}" for classes, titles in tasks.items())
        raise ValueError(
            f"these runs are of different tasks, their classes differ ({listed}). Report on each task by itself."
        )


def column_of(groups: Sequence[Group], wanted: str | None) -> str:
    """The column of per_image.csv that runs are compared by: as asked for, else what chose their epochs (of presence
    whether it is said rightly), else IoU."""
    each = {group.title: set.intersection(*({*run.images} for run in group.runs)) - {*COUNTS} for group in groups}
    columns = set.intersection(*each.values())
    if wanted is not None:
        wanted = wanted.removesuffix("_image")
        if wanted not in columns:
            raise ValueError(
                f"metric={wanted}: no score in the per_image.csv of all runs; they share {', '.join(sorted(columns))}."
            )
        return wanted
    monitored = str(groups[0].config.get("monitor", "")).removeprefix("val/").removesuffix("_image")
    monitored = PRESENCE if monitored.startswith("presence_") else monitored
    found = next((name for name in (monitored, "iou", PRESENCE) if name in columns), None)
    if found is None:
        kinds: dict[str, str] = {}  # one group of every kind
        for title, names in each.items():
            kinds.setdefault(", ".join(sorted(names)) or "none", title)
        raise ValueError(
            "these runs share no score of their test pictures, so they are of different tasks: "
            + "; ".join(f"{title} has {names}" for names, title in kinds.items())
        )
    return found


def metric_of(groups: Sequence[Group], column: str) -> str | None:
    """The metric in results.json that is the mean of a column over the test pictures; not all columns have one."""
    runs = [run for group in groups for run in group.runs]
    for name in (f"test/{column}_image", f"test/{column}"):
        if all(abs(run.metrics.get(name, np.inf) - np.nanmean(run.images[column])) <= FITS for run in runs):
            return name
    return None


def alike(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """The groups of the test pictures that most have, and the others."""
    kinds: list[list[Group]] = []
    for group in groups:
        first = group.runs[0]
        if all(first.same_pictures(run) for run in group.runs):
            kind = next((kind for kind in kinds if all(first.same_pictures(one.runs[0]) for one in kind)), None)
            if kind is None:
                kinds.append([group])
            else:
                kind.append(group)
    if not kinds:
        raise ValueError(
            "the seeds of every group were tested on different pictures, by their names or by what their masks show: "
            "keep dataset.split_seed and the data the same."
        )
    same = max(kinds, key=len)
    return same, [group for group in groups if group not in same]


def clusters_of(groups: Sequence[Group], pattern: str | None) -> list[str]:
    """The photograph, patient or video of each test picture: what a pattern finds in its name, else what the runs say;
    of runs that say different things the one with the fewest. Empty where nothing is known."""
    if pattern is not None:
        return found_in(groups[0].runs[0].names, pattern)
    stated = [run.clusters for group in groups for run in group.runs if len(run.clusters) == len(run.names)]
    return list(min(stated, key=lambda clusters: len(set(clusters)), default=()))


def found_in(names: Sequence[str], pattern: str) -> list[str]:

    try:
        return groups_of(names, pattern)
    except ValueError as error:
        raise ValueError(str(error).replace("dataset.group", "group").replace(" below dataset.root", "")) from None


def complete(scores: Sequence[Array], column: str) -> NDArray[np.bool_]:
    """The pictures of which every run has a score, (pictures,)."""
    kept: NDArray[np.bool_] = np.logical_and.reduce([np.isfinite(values).all(axis=0) for values in scores])
    if not kept.any():
        raise ValueError(f"metric={column}: no test picture has that score in every run; choose another with metric=.")
    return kept


def matching(groups: Sequence[Group], wanted: Any) -> int:
    """The one group of that title, or with these settings: columns of the table, or any other that all runs have."""
    found = [
        at
        for at, group in enumerate(groups)
        if (
            all(group.setting(key) == written(value) for key, value in wanted.items())
            if isinstance(wanted, Mapping)
            else group.title == str(wanted)
        )
    ]
    if len(found) != 1:
        known = "; ".join(
            ", ".join([group.title, *(f"{key}: {value}" for key, value in group.settings.items())])
            for group in groups[:12]
        )
        raise ValueError(
            f"baseline={wanted} fits {len(found)} groups, expected the name of one, or settings that one alone has, "
            f"such as 'baseline={{model: unet, loss: bce}}'. There are: {known}."
        )
    return found[0]


def factors(groups: Sequence[Group]) -> list[str]:
    """The settings of a grid: of two or more that differ, if every combination is there once."""
    names = varied(groups)
    cells = {tuple(group.settings[name] for name in names) for group in groups}
    return names if len(names) > 1 and full_size(groups, names) == len(cells) == len(groups) else []


def missing(groups: Sequence[Group]) -> int:
    """How many combinations a grid lacks, of which at least half are there; 0 for a full one and for no grid."""
    names = varied(groups)
    size = full_size(groups, names)
    return size - len(groups) if len(names) > 1 and size > len(groups) >= size / 2 else 0


def varied(groups: Sequence[Group]) -> list[str]:
    return [name for name in groups[0].settings if len({group.settings[name] for group in groups}) > 1]


def full_size(groups: Sequence[Group], names: Sequence[str]) -> int:
    """The number of combinations."""
    return int(np.prod([len({group.settings[name] for group in groups}) for name in names]))
