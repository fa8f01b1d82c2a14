"""False alarms, coverage and power of the report's statistics in experiments whose truth is known (see null_models.py).

`make bench only=statistics` measures all; `python benchmarks/bench_statistics.py` prints the tables of
docs/explanation/statistics.md.
"""

import sys
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from null_models import HARD, MODELS, Model

from segkit.reporting.statistics import LEVEL, Estimate, Level, Sample

REPEATS = 1000  # experiments a cell: the standard error of a share of 5 % is 0.7 %
SEEDS = ((3, 3), (3, 5), (5, 5))
CLUSTERS = (12, 30, 60)
EFFECT = 0.03
SECOND = np.array([-1.0, 1.0])  # the second setting less the first
POWER_EFFECTS = (0.01, 0.02, 0.05, 0.1)
OF_PICTURES = ("skewed", "skewed on one side", "tied", *HARD[:2], HARD[3])
Row = tuple[str, tuple[int, int], int, float, float, float]


def measure() -> list[dict[str, Any]]:
    rows = cells()
    found = []
    for name, hard, at, target, better in (
        ("false alarms of the report's comparisons, worst cell", False, 3, 0.06, "lower"),
        ("coverage of the report's intervals of a difference, worst cell", False, 4, 0.93, "higher"),
        ("false alarms in the models that are hard, worst cell", True, 3, 0.1, "lower"),
    ):
        kind = [row for row in rows if (row[0] in HARD) == hard]
        worst = (max if better == "lower" else min)(kind, key=lambda row: row[at])
        mean = np.mean([row[at] for row in kind])
        found.append(
            {
                "name": name,
                "ratio": round(float(worst[at]), 3),
                "target": target,
                "better": better,
                "detail": f"{worst[0]}, {worst[1][0]} and {worst[1][1]} seeds, {worst[2]} groups of pictures; mean "
                f"{mean:.3f} of {len(kind)} cells of {REPEATS} experiments",
            }
        )
    return found


def cells() -> list[Row]:
    """Model, seeds of each side, clusters, false alarms, coverage, and false alarms where all pictures are taken as
    independent and runs as all there is."""
    rows = []
    for (name, model), seeds, clusters in product(MODELS.items(), SEEDS, CLUSTERS):
        rows.append(cell(name, model, seeds, clusters))
    for (name, model), clusters in product(MODELS.items(), CLUSTERS):
        if name in OF_PICTURES or "ICC" in name:  # two runs, of which nothing else is said
            rows.append(cell(name, replace(model, between=(0.0, 0.0)), (1, 1), clusters))
    return rows


def cell(name: str, model: Model, seeds: tuple[int, int], clusters: int) -> Row:
    rng = np.random.default_rng([clusters, *seeds, *name.encode()])
    nulls = [estimates(rng, model, seeds, clusters) for _ in range(REPEATS)]
    shifted = [estimates(rng, model, seeds, clusters, EFFECT)[0] for _ in range(REPEATS)]
    truth = float(np.mean([one.mean for one in shifted]))  # of scores that are cut off it is not quite the effect
    held = np.mean([abs(one.mean - truth) <= one.quantile(LEVEL / 2) for one in shifted])
    wrong, naive = (
        np.mean([abs(one.mean) > one.quantile(LEVEL / 2) for one in kind]) for kind in zip(*nulls, strict=True)
    )
    return name, seeds, clusters, float(wrong), float(held), float(naive)


def estimates(
    rng: np.random.Generator, model: Model, seeds: tuple[int, int], clusters: int, effect: float = 0.0
) -> tuple[Estimate, Estimate]:
    """The report's estimate of a difference, and that of a paired t test over the pictures."""
    scores, cluster = model.draw(rng, seeds, clusters, effect)
    sample = Sample(scores, cluster.tolist())
    each = sample.differences(SECOND)
    plain = Level(each.var(ddof=1) / len(each), len(each) - 1)
    return sample.estimate(SECOND), Estimate(float(each.mean()), (plain,))


def power(model: Model, seeds: int, clusters: int) -> list[float]:
    """The share of experiments that find each effect; the mean smallest difference, and the share that finds that."""
    rng = np.random.default_rng([clusters, seeds])
    nulls = [estimates(rng, model, (seeds, seeds), clusters)[0] for _ in range(REPEATS)]
    found = [np.mean([abs(one.mean + effect) > one.quantile(LEVEL / 2) for one in nulls]) for effect in POWER_EFFECTS]
    least = np.mean([one.detectable(1) for one in nulls])
    return [
        *map(float, found),
        float(least),
        float(np.mean([abs(one.mean + least) > one.quantile(LEVEL / 2) for one in nulls])),
    ]


def main() -> None:
    rows = cells()
    kinds = [*SEEDS, (1, 1)]
    for title, at in (
        ("False alarms, %", 3),
        ("Coverage, %", 4),
        ("False alarms of a paired t test over pictures, %", 5),
    ):
        heads = " | ".join(f"{one} and {other} seeds" for one, other in kinds)
        print(f"\n{title}\n\n| model | {heads} |\n| --- |{' --- |' * len(kinds)}")
        for name in MODELS:
            found = [[f"{100 * row[at]:.1f}" for row in rows if row[:2] == (name, seeds)] for seeds in kinds]
            print(f"| {name} | {' | '.join(' / '.join(values) or '–' for values in found)} |")
    effects = " | ".join(map(str, POWER_EFFECTS))
    print(f"\nPower, %\n\n| model | seeds | groups | {effects} | smallest difference | its power |\n|{' --- |' * 9}")
    for name, seeds, clusters in product(("normal", "ICC 0.3", "seeds of unequal spread"), (2, 3, 5, 10), CLUSTERS):
        *found, least, its_own = power(MODELS[name], seeds, clusters)
        shares = " | ".join(f"{100 * share:.0f}" for share in found)
        print(f"| {name} | {seeds} | {clusters} | {shares} | {least:.3f} | {100 * its_own:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
