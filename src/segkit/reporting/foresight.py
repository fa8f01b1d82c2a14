"""What a grid can find, before it starts: the smallest difference for its number of seeds and test pictures.

Light: no torch, no picture is decoded. Where nothing better is known, spreads are assumed, and it says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from segkit.datasets.grouping import groups_of
from segkit.reporting import collect
from segkit.reporting.groups import Group, Run, grouped
from segkit.reporting.statistics import MOST_PAIRS, Sample, expected_detectable

SEED_SPREAD, CLUSTER_SPREAD = 0.01, 0.08  # standard deviations: of runs, and of a paired difference between groups
CLUSTERS = 30  # where it is not known how many there are
SPLIT = (
    "_target_",
    "name",
    "counts",
    "fractions",
    "split_seed",
    "group",
    "protocol",
    "holdout",
    "kind",
    "empty_fraction",
)  # of dataset.*: which test pictures there are


@dataclass(frozen=True)
class Spreads:
    """What a sentence is based on; `source` says on what."""

    seeds: float = SEED_SPREAD
    clusters: float = CLUSTER_SPREAD
    source: str = f"assuming standard deviations of {SEED_SPREAD:g} between seeds and {CLUSTER_SPREAD:g} between groups"


def sentence(seeds: int, settings: int, dataset: dict[str, Any], folder: Path) -> str:
    """One line about a grid of so many settings with so many seeds each; empty where there is nothing to compare."""
    if settings < 2:
        return ""
    if seeds < 2:
        return (
            f"{settings} settings with one seed each: the report will speak of these runs alone; with seed=0,1,2 it "
            "can judge settings."
        )
    before = earlier(folder, dataset)
    spreads, clusters = before if before is not None else (Spreads(), None)
    known = clusters or count(dataset)
    tests = settings * (settings - 1) // 2 if settings <= MOST_PAIRS else settings - 1
    size = expected_detectable(seeds, known or CLUSTERS, tests, spreads.seeds, spreads.clusters)
    where = f"{known}" if known else f"say {CLUSTERS}"
    found = f"a difference of {size:.3f} between two would be found 4 times in 5"
    if size > 1:
        found = "no difference between two, which is at most 1, would be found; more seeds help most"
    return (
        f"{settings} settings with {seeds} seeds on {where} independent groups of test pictures: {found} "
        f"({spreads.source})."
    )


def count(dataset: dict[str, Any]) -> int | None:
    """How many groups of test pictures a data set on disk has, as far as names tell; None where they do not."""
    if counts := dataset.get("counts"):
        return int(counts[2])
    root = Path(str(dataset.get("root"))).expanduser()
    share = float((dataset.get("fractions") or [0, 0, 0])[2])
    pattern = dataset.get("group")
    for name in ("test", "valid", "val"):
        if (root / name / "images").is_dir():
            return len(groups(files(root / name / "images", root), pattern)) or None
    if (root / "images").is_dir():
        return round(share * len(groups(files(root / "images", root), pattern))) or None
    cases = [path for inner in ("PH2 Dataset images", "") for path in (root / inner).glob("IMD*") if path.is_dir()]
    return round(share * len({path.name for path in cases})) or None


def files(folder: Path, root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in folder.iterdir() if not path.name.startswith(".")]


def groups(names: Sequence[str], pattern: str | None) -> set[str]:
    return set(groups_of(names, pattern) or names)


def earlier(folder: Path, dataset: dict[str, Any]) -> tuple[Spreads, int] | None:
    """Spreads and number of groups of the finished runs in a folder that were tested on the test pictures of this data
    set; None where these cannot tell."""
    if not folder.is_dir():
        return None
    paths = sorted(path.parent for path in folder.glob("*/results.json"))
    found = [run for run in map(collect.read, paths) if isinstance(run, Run)]
    runs, _ = collect.without_copies(
        [run for run in found if pictures_of(run.config["dataset"]) == pictures_of(dataset)]
    )
    several = [group for group in grouped(runs) if len(group.runs) > 1]
    alike = [group for group in several if all(several[0].runs[0].same_pictures(run) for run in group.runs)]
    if len(alike) < 2:
        return None
    columns = ["iou", *alike[0].runs[0].images]
    column = next((name for name in columns if usable(name, alike)), None)
    if column is None:
        return None
    first = alike[0].runs[0]
    sample = Sample([group.values(column) for group in alike], first.clusters or None)
    seeds = [values.mean(axis=1).var(ddof=1) for values in sample.scores]
    contrasts = [one - other for one, other in combinations(np.eye(len(alike)), 2)]
    each = [sample.estimate(weights).levels[0].variance for weights in contrasts]
    number = len(sample.clusters)
    source = f"from the spreads of {sum(len(group.runs) for group in alike)} finished runs in {folder}"
    return Spreads(float(np.sqrt(np.mean(seeds))), float(np.sqrt(np.median(each) * number)), source), number


def pictures_of(dataset: dict[str, Any]) -> dict[str, Any]:
    """What decides which test pictures a data set has."""
    root = dataset.get("root")
    place = str(Path(str(root)).expanduser().absolute()) if root is not None else None
    return {"root": place} | {key: dataset.get(key) for key in SPLIT}


def usable(column: str, alike: Sequence[Group]) -> bool:
    """Whether all runs have a score of every picture."""
    return all(column in run.images and np.isfinite(run.images[column]).all() for group in alike for run in group.runs)
