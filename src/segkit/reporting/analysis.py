"""The analysis behind a report: which groups are compared, by which score, and with what outcome."""

import logging
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.configs.errors import explain
from segkit.datasets.grouping import groups_of
from segkit.reporting import gallery, intervals, statistics
from segkit.reporting.collect import PRESENCE, TOLERANCE
from segkit.reporting.gallery import Sheet
from segkit.reporting.groups import Group, format_setting
from segkit.reporting.statistics import Array

log = logging.getLogger("segkit")

SHEETS, MOST_TRIES = 2, 6  # groups whose test pictures are shown, and how many of the best are tried
COUNTS = ("tp", "fp", "fn", "tn", "label", "probability", "crop")  # columns that are not scores


class Analysis:
    """The numbers of a report, from groups of runs.

    Groups are compared by `column` of per_image.csv; `label` is its name for people, and `metric` the name of its mean
    in results.json, if there is one. `paired` are the groups that are compared, `not_compared` those that were tested
    on other pictures.
    """

    def __init__(self, groups: Sequence[Group], settings: Mapping[str, Any]) -> None:
        self.groups, self.settings = list(groups), settings
        check_task(self.groups)
        self.column = column_of(self.groups, settings["metric"])
        self.metric = metric_of(self.groups, self.column)
        self.label = f"{self.column} per picture" if self.metric is None else self.metric.removeprefix("test/")
        self.paired, self.not_compared = split_by_pictures(self.groups)
        scores = [group.values(self.column) for group in self.paired]
        self.tested_pictures = scores[0].shape[1]
        kept = scored_by_all(scores, self.column)
        self.names = [name for name, has in zip(self.paired[0].runs[0].names, kept, strict=True) if has]
        clusters = clusters_of(self.paired, settings["groups"])
        self.has_clusters = bool(clusters)  # whether it is known which pictures belong together
        self.sample = statistics.Sample(
            [values[:, kept] for values in scores], np.array(clusters)[kept].tolist() if clusters else None
        )
        self.means = self.sample.means()
        self.order = sorted(range(len(self.paired)), key=lambda at: -self.means[at].mean)  # the best first
        # of all pictures, including those without a score
        self.clusters = statistics.Clusters(clusters or range(self.tested_pictures))
        self.intervals = intervals.compute_intervals(self.paired, self.clusters)
        self.baseline = self.find_baseline()
        self.comparisons = self.sample.compare(self.pairs())
        self.factors = grid_factors(self.paired)
        single = any(len(group.runs) == 1 for group in self.paired)  # too few to judge a setting
        self.effects = (
            {}
            if single
            else self.sample.effects(
                {factor: [group.settings[factor] for group in self.paired] for factor in self.factors}
            )
        )

    @property
    def headline(self) -> str:
        """The number of runs and groups, in words."""
        runs, groups = sum(len(group.runs) for group in self.groups), len(self.groups)
        return f"{runs} run{'s' * (runs > 1)} in {groups} group{'s' * (groups > 1)}"

    def find_baseline(self) -> int | None:
        """The group that all others are compared with: the one asked for or, of very many groups, the best one in
        validation. None where every pair is compared."""
        if self.settings["baseline"] is not None:
            return find_group(self.paired, self.settings["baseline"])
        if len(self.paired) <= statistics.MOST_PAIRS:
            return None
        name = str(self.metric or "test/iou").replace("test/", "val/")
        return max(range(len(self.paired)), key=lambda at: np.mean(self.paired[at].metric(name) or [0.0]))

    def pairs(self) -> list[tuple[int, int]]:
        """The pairs of groups to compare: each with the baseline, or all pairs, the better group first."""
        if self.baseline is not None:
            return [(at, self.baseline) for at in range(len(self.paired)) if at != self.baseline]
        return list(combinations(self.order, 2))

    def sheets(self) -> tuple[list[Sheet], str]:
        """Test pictures of the best groups whose pictures still exist, and why those of a better one are missing."""
        made: list[Sheet] = []
        shown: list[gallery.TypicalRun] = []
        reason = ""
        for group in [self.paired[at] for at in self.order[:MOST_TRIES]] if self.settings["gallery"] else []:
            if len(shown) < SHEETS:
                try:  # pictures may have moved, a model may be untrusted: the report does without them
                    one = gallery.TypicalRun(group, self.column, self.settings["trust"])
                    made.append(one.draw_extremes())
                    shown.append(one)
                    made += [gallery.draw_differences(*shown)] if len(shown) == SHEETS else []
                except Exception as error:
                    reason = reason or f"{group.title}: {explain(error).splitlines()[0]}"
        if reason:
            log.warning("the report lacks test pictures: %s", reason)
        return made, reason


def check_task(groups: Sequence[Group]) -> None:
    """Raise ValueError where runs have different classes."""
    tasks: dict[str, list[str]] = {}
    for group in groups:
        tasks.setdefault(", ".join(map(str, group.classes)), []).append(group.title)
    if len(tasks) > 1:
        listed = "; ".join(f"{classes}: {', '.join(titles[:3])}" for classes, titles in tasks.items())
        raise ValueError(
            f"these runs are of different tasks: their classes differ ({listed}). Report on each task separately."
        )


def column_of(groups: Sequence[Group], wanted: str | None) -> str:
    """The column of per_image.csv that runs are compared by: the one asked for, else the one that chose their epochs
    (for presence, whether it was predicted correctly), else IoU."""
    each = {group.title: set.intersection(*({*run.images} for run in group.runs)) - {*COUNTS} for group in groups}
    columns = set.intersection(*each.values())
    if wanted is not None:
        wanted = wanted.removesuffix("_image")
        if wanted not in columns:
            raise ValueError(
                f"metric={wanted}: not a score in every run's per_image.csv; they share {', '.join(sorted(columns))}."
            )
        return wanted
    monitored = str(groups[0].config.get("monitor", "")).removeprefix("val/").removesuffix("_image")
    monitored = PRESENCE if monitored.startswith("presence_") else monitored
    found = next((name for name in (monitored, "iou", PRESENCE) if name in columns), None)
    if found is None:
        kinds: dict[str, str] = {}  # one group of each kind
        for title, names in each.items():
            kinds.setdefault(", ".join(sorted(names)) or "none", title)
        raise ValueError(
            "these runs have no score of test pictures in common, so they are of different tasks: "
            + "; ".join(f"{title} has {names}" for names, title in kinds.items())
        )
    return found


def metric_of(groups: Sequence[Group], column: str) -> str | None:
    """The metric in results.json that is the mean of a column over the test pictures, or None."""
    runs = [run for group in groups for run in group.runs]
    for name in (f"test/{column}_image", f"test/{column}"):
        if all(abs(run.metrics.get(name, np.inf) - np.nanmean(run.images[column])) <= TOLERANCE for run in runs):
            return name
    return None


def split_by_pictures(groups: Sequence[Group]) -> tuple[list[Group], list[Group]]:
    """The groups that were tested on the most common set of test pictures, and the others."""
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
            "within every group, seeds were tested on different pictures (their names or masks differ): "
            "keep dataset.split_seed and the data the same."
        )
    same = max(kinds, key=len)
    return same, [group for group in groups if group not in same]


def clusters_of(groups: Sequence[Group], pattern: str | None) -> list[str]:
    """The photograph, patient or video of each test picture: what the pattern finds in its name, else what the runs
    recorded. Where runs disagree, the one with the fewest clusters counts. Empty where nothing is known."""
    if pattern is not None:
        return match_clusters(groups[0].runs[0].names, pattern)
    stated = [run.clusters for group in groups for run in group.runs if len(run.clusters) == len(run.names)]
    return list(min(stated, key=lambda clusters: len(set(clusters)), default=()))


def match_clusters(names: Sequence[str], pattern: str) -> list[str]:
    """What the pattern finds in each name; errors name the report's setting `groups`."""
    return groups_of(names, pattern, "groups")


def scored_by_all(scores: Sequence[Array], column: str) -> NDArray[np.bool_]:
    """Which pictures have a score in every run, (pictures,)."""
    kept: NDArray[np.bool_] = np.logical_and.reduce([np.isfinite(values).all(axis=0) for values in scores])
    if not kept.any():
        raise ValueError(f"metric={column}: no test picture has this score in every run; choose another with metric=.")
    return kept


def find_group(groups: Sequence[Group], wanted: Any) -> int:
    """The one group with this title or with these settings: columns of the table, or any other key of the config."""
    found = [
        at
        for at, group in enumerate(groups)
        if (
            all(group.setting(key) == format_setting(value) for key, value in wanted.items())
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
            f"baseline={wanted} fits {len(found)} groups; expected the name of one, or settings that only one has, "
            f"such as 'baseline={{model: unet, loss: bce}}'. There are: {known}."
        )
    return found[0]


def grid_factors(groups: Sequence[Group]) -> list[str]:
    """The settings of a full grid: two or more that differ, with every combination present once; else none."""
    names = differing_settings(groups)
    cells = {tuple(group.settings[name] for name in names) for group in groups}
    return names if len(names) > 1 and grid_size(groups, names) == len(cells) == len(groups) else []


def count_missing(groups: Sequence[Group]) -> int:
    """How many combinations a grid lacks; 0 if it is full, or if less than half of them are there (not a grid)."""
    names = differing_settings(groups)
    size = grid_size(groups, names)
    return size - len(groups) if len(names) > 1 and size > len(groups) >= size / 2 else 0


def differing_settings(groups: Sequence[Group]) -> list[str]:
    return [name for name in groups[0].settings if len({group.settings[name] for group in groups}) > 1]


def grid_size(groups: Sequence[Group], names: Sequence[str]) -> int:
    """The number of combinations of these settings."""
    return int(np.prod([len({group.settings[name] for group in groups}) for name in names]))
