"""What a grid can find, before it starts: the smallest difference for its number of seeds and test pictures.

It is light: no torch, and no picture is decoded. If nothing better is known, it assumes spreads and says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from segkit.datasets.grouping import groups_of
from segkit.reporting import collect
from segkit.reporting.groups import Group, Run, group_runs
from segkit.reporting.statistics import MOST_PAIRS, Sample, expected_detectable

SEED_SPREAD, CLUSTER_SPREAD = 0.01, 0.08  # standard deviations: of runs, and of a paired difference between groups
CLUSTERS = 30  # assumed if the number is unknown
SPLIT = (
    "_target_",
    "name",
    "counts",
    "fractions",
    "split_seed",
    "pairs",
    "images",
    "masks",
    "image_pattern",
    "groups",
    "stratify",
    "split_file",
    "protocol",
    "holdout",
    "kind",
    "empty_fraction",
)  # keys of dataset.* that decide which test pictures there are


@dataclass(frozen=True)
class Spreads:
    """The standard deviations that a forecast is based on; `source` says where they come from."""

    seeds: float = SEED_SPREAD
    clusters: float = CLUSTER_SPREAD
    source: str = f"assuming standard deviations of {SEED_SPREAD:g} between seeds and {CLUSTER_SPREAD:g} between groups"


def describe_grid(seeds: int, settings: int, dataset: dict[str, Any], folder: Path) -> str:
    """One line about a grid with this many settings, and seeds for each; empty if there is nothing to compare."""
    if settings < 2:
        return ""
    if seeds < 2:
        return (
            f"{settings} settings with one seed each: the report will be about these runs only; with seed=0,1,2 it can "
            "judge settings."
        )
    earlier = read_earlier_spreads(folder, dataset)
    spreads, clusters = earlier if earlier is not None else (Spreads(), None)
    known = clusters or count_clusters(dataset)
    tests = settings * (settings - 1) // 2 if settings <= MOST_PAIRS else settings - 1
    size = expected_detectable(seeds, known or CLUSTERS, tests, spreads.seeds, spreads.clusters)
    where = f"{known}" if known else f"perhaps {CLUSTERS}"
    found = f"a difference of {size:.3f} between two would be found 4 times in 5"
    if size > 1:
        found = "not even the largest possible difference between two, 1, would be found; more seeds help most"
    return (
        f"{settings} settings with {seeds} seeds on {where} independent groups of test pictures: {found} "
        f"({spreads.source})."
    )


def count_clusters(dataset: dict[str, Any]) -> int | None:
    """How many groups of test pictures a data set on disk has, judged by names; None if they do not tell."""
    if counts := dataset.get("counts"):
        return int(counts[2])
    root = Path(str(dataset.get("root"))).expanduser()
    share = float((dataset.get("fractions") or [0, 0, 0])[2])
    pattern = dataset.get("groups")
    for name in ("test", "valid", "val"):
        if (root / name / "images").is_dir():
            return len(group_names(list_files(root / name / "images", root), pattern)) or None
    if (root / "images").is_dir():
        return round(share * len(group_names(list_files(root / "images", root), pattern))) or None
    cases = [path for inner in ("PH2 Dataset images", "") for path in (root / inner).glob("IMD*") if path.is_dir()]
    return round(share * len({path.name for path in cases})) or None


def list_files(folder: Path, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in folder.iterdir() if not path.name.startswith(".")]


def group_names(names: Sequence[str], pattern: str | None) -> set[str]:
    return set(groups_of(names, pattern) or names)


def read_earlier_spreads(folder: Path, dataset: dict[str, Any]) -> tuple[Spreads, int] | None:
    """Spreads and number of groups from the finished runs in a folder that were tested on this data set's test
    pictures; None if there are too few."""
    if not folder.is_dir():
        return None
    paths = sorted(path.parent for path in folder.glob("*/results.json"))
    found = [run for run in map(collect.read, paths) if isinstance(run, Run)]
    runs, _ = collect.drop_copies([run for run in found if pictures_of(run.config["dataset"]) == pictures_of(dataset)])
    several = [group for group in group_runs(runs) if len(group.runs) > 1]
    paired = [group for group in several if all(several[0].runs[0].same_pictures(run) for run in group.runs)]
    if len(paired) < 2:
        return None
    columns = ["iou", *paired[0].runs[0].images]
    column = next((name for name in columns if is_complete(name, paired)), None)
    if column is None:
        return None
    first = paired[0].runs[0]
    sample = Sample([group.values(column) for group in paired], first.clusters or None)
    seeds = [values.mean(axis=1).var(ddof=1) for values in sample.scores]
    contrasts = [one - other for one, other in combinations(np.eye(len(paired)), 2)]
    each = [sample.estimate(weights).levels[0].variance for weights in contrasts]
    number = len(sample.clusters)
    source = f"from the spreads of {sum(len(group.runs) for group in paired)} finished runs in {folder}"
    return Spreads(float(np.sqrt(np.mean(seeds))), float(np.sqrt(np.median(each) * number)), source), number


def pictures_of(dataset: dict[str, Any]) -> dict[str, Any]:
    """The settings that decide which test pictures a data set has."""
    root = dataset.get("root")
    place = str(Path(str(root)).expanduser().absolute()) if root is not None else None
    return {"root": place} | {key: dataset.get(key) for key in SPLIT}


def is_complete(column: str, groups: Sequence[Group]) -> bool:
    """Whether every run has a score for every picture."""
    return all(column in run.images and np.isfinite(run.images[column]).all() for group in groups for run in group.runs)
