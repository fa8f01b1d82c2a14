"""What a run learns about itself from its validation pictures: threshold, temperature and smallest object."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax
from torch import Tensor

from segkit import IGNORE_INDEX, UNDECIDED
from segkit.configs.places import find_checkpoint
from segkit.datasets.module import DataModule, collate
from segkit.datasets.source import extras_of
from segkit.evaluation.other_data import evaluation_config
from segkit.evaluation.score import score_split
from segkit.files.writing import write_json
from segkit.metrics.calibration import (
    Counts,
    Reliability,
    Score,
    choose_candidate,
    choose_for,
    choose_temperature,
    dice_of,
    error_interval,
    iou_of,
    measure_surprise,
    rates_of,
    sort_by_confidence,
)
from segkit.pictures import charts, overlays
from segkit.runs.build import build_data
from segkit.runs.checkpoints import store_calibration
from segkit.runs.loading import load
from segkit.tasks.contract import Task
from segkit.tasks.deciding import set_calibration

log = logging.getLogger("segkit")

BYTES = 2**28  # of logits that are kept
FITTED = 2**19  # logits that the temperature is fitted to
STEPS = 100  # thresholds lie at multiples of 1 / STEPS
NAMES = {"iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall"}  # in sentences
AREAS = (0, *(2**power for power in range(2, 15)))  # smallest objects that are tried, in pixels


@dataclass(frozen=True)
class Goal:
    """What a threshold is chosen for: the highest IoU or Dice, or a wanted `precision` or `recall`; of all pixels
    together (`pooled`) or as the mean over pictures."""

    score: Score = iou_of
    precision: float | None = None
    recall: float | None = None
    pooled: bool = True

    @classmethod
    def parse(cls, goal: str, pooled: bool) -> "Goal":
        """As it is typed: iou, dice, precision:<share> or recall:<share>."""
        name, _, share = goal.partition(":")
        if share:
            wanted = {name: float(share)}
            return cls(iou_of, wanted.get("precision"), wanted.get("recall"), pooled)
        return cls(dice_of if name == "dice" else iou_of, pooled=pooled)

    @property
    def wants_a_share(self) -> bool:
        return self.precision is not None or self.recall is not None


@dataclass(frozen=True)
class Calibration:
    """See `segkit.tasks.deciding.set_calibration`."""

    threshold: float
    temperature: float
    smallest: float = 0.0


class Seen(NamedTuple):
    """Of one picture: logits (C, H, W) float16, mask (H, W) uint8, and its group."""

    logits: NDArray[np.float16]
    mask: NDArray[np.uint8]
    group: Hashable


def calibrate(
    task: Task, data: DataModule, config: dict[str, Any], goal: Goal = Goal()
) -> tuple[Calibration, dict[str, Any]]:
    """Choose threshold, temperature and smallest object on validation, and set them; also what was measured.

    Threshold and smallest object are of one class; several share a temperature alone.
    """
    set_calibration(task, {"threshold": 0.5})
    seen = see_pictures(task, data, config)
    groups = number_groups([one.group for one in seen])
    temperature = choose_temperature(*measure_pictures(seen), groups)
    found: dict[str, Any] = {"pictures": len(seen), "groups": max(groups) + 1}
    threshold, smallest = task.threshold, 0.0
    if len(task.classes) == 1:
        counts = count_thresholds(seen, temperature)
        threshold = choose_threshold(counts, groups, goal) / STEPS
        areas = count_areas(seen, temperature, threshold)
        sizes = np.arange(len(AREAS), dtype=float)
        number = 0 if goal.wants_a_share else choose_candidate(areas, groups, goal.score, goal.pooled, sizes)
        smallest = float(AREAS[number])
        for name, counted, at in (("at_half", counts, STEPS // 2), ("chosen", areas, number)):
            rates = rates_of(counted, goal.pooled)
            found[name] = {rate: round(float(values[at]), 6) for rate, values in rates.items()}
    for name, heat in (("before", 1.0), ("after", temperature)):
        found[f"calibration_{name}"] = describe_reliability(measure_reliability(seen, heat), groups, len(task.classes))
    calibration = Calibration(round(threshold, 6), round(temperature, 4), smallest)
    set_calibration(task, asdict(calibration))
    return calibration, found


def describe_reliability(each: Reliability, groups: Sequence[int], classes: int) -> dict[str, Any]:
    """The calibration error of all pixels, of those of one class that are called foreground, the interval of the first,
    and the sums of each bin."""
    whole = each.sum()
    found: dict[str, Any] = {"error": round(float(whole.error()), 6)}
    found |= {"error_foreground": round(whole.error_above(0.5), 6)} if classes == 1 else {}
    interval = [round(side, 6) for side in error_interval(each, groups)]
    return found | {"interval": interval} | {key: values.tolist() for key, values in whole._asdict().items()}


def calibrate_checkpoint(settings: dict[str, Any]) -> dict[str, Any]:
    """`calibrate_run` for the settings of `segkit calibrate`."""
    path = find_checkpoint(settings["run"])
    task = load(str(path), settings["trust"])
    config = evaluation_config(task.facts["config"], settings)
    if len(task.classes) > 1 and settings["goal"] != "iou":
        raise ValueError(
            f"goal={settings['goal']} chooses a threshold, and this run tells {len(task.classes)} classes apart, which "
            "share a temperature alone: leave goal out."
        )
    named = settings["dataset"].get("root") is not None
    data = build_data(config, splits=["val"], follow_links=named)
    return calibrate_run(task, data, config, path, Goal.parse(settings["goal"], settings["pooled"]))


def calibrate_run(
    task: Task, data: DataModule, config: dict[str, Any], path: Path, goal: Goal = Goal()
) -> dict[str, Any]:
    """Calibrate a task on its validation pictures, and tell it; returns what was chosen and measured.

    What was chosen is written into its checkpoint at `path`; beside it lie all of it and a diagram."""
    calibration, measured = calibrate(task, data, config, goal)
    found = asdict(calibration) | measured
    store_calibration(path, asdict(calibration))
    write_json(path.with_suffix(".calibration.json"), found)
    overlays.save(path.with_suffix(".reliability.png"), charts.draw_reliability(found))
    log.info("%s", describe(task, found, goal))
    errors = {f"error_{name}": found[f"calibration_{name}"]["error"] for name in ("before", "after")}
    return {key: value for key, value in found.items() if not key.startswith("calibration_")} | errors


def describe(task: Task, found: Mapping[str, Any], goal: Goal) -> str:
    """What was chosen, in a sentence."""
    before, after = (found[f"calibration_{name}"] for name in ("before", "after"))
    errors = f"calibration error {before['error']:.3f} → {after['error']:.3f}"
    if len(task.classes) > 1:
        parts = [f"temperature {found['temperature']:.2f} ({errors})"]
    else:
        chosen, half = found["chosen"], found["at_half"]
        names = ("precision", "recall") if goal.wants_a_share else ("dice",) if goal.score is dice_of else ("iou",)
        reached = ", ".join(f"{NAMES[name]} {chosen[name]:.3f}, {half[name]:.3f} at 0.5" for name in names)
        small = f", objects below {found['smallest']:g} pixels left out" if found["smallest"] else ""
        parts = [f"a pixel is {task.classes[0]} above {found['threshold']:g}{small} ({reached})"]
        errors += f", of foreground {before['error_foreground']:.3f} → {after['error_foreground']:.3f}"
        parts.append(f"temperature {found['temperature']:.2f} ({errors})")
    return f"calibrated on {found['pictures']} validation pictures: {'; '.join(parts)}"


def see_pictures(task: Task, data: DataModule, config: dict[str, Any]) -> list[Seen]:
    """The network's output for the validation pictures, or for as many, evenly spread, as BYTES hold."""
    source = data.sources["val"]
    groups = extras_of(source).groups or source.names
    seen = list[Seen]()

    def note(logits: Tensor, mask: Tensor, index: Tensor) -> None:
        values = logits.detach().cpu().half().numpy(), mask.cpu().numpy().astype(np.uint8)
        seen.extend(
            Seen(one, truth, groups[at]) for one, truth, at in zip(*values, index.tolist(), strict=True) if at >= 0
        )

    scores = task.scores("test")
    scores.listen = note
    try:
        score_split(task, data, "val", config, count_that_fit(task, data))
    finally:
        scores.listen = None
    if not seen:
        raise ValueError("this run gives no masks, so there is no threshold to choose.")
    return seen


def number_groups(groups: Sequence[Hashable]) -> list[int]:
    """A number from 0 for each group."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return [numbers[group] for group in groups]


def count_that_fit(task: Task, data: DataModule) -> int:
    """How many pictures' logits BYTES hold."""
    batch = collate([data.eval_dataloader("val", 1).dataset[(0, 0, True)]])
    height, width = batch["whole" if "whole" in batch else "mask"].shape[-2:]
    return max(BYTES // int(2 * height * width * len(task.classes)), 1)


def measure_pictures(seen: Sequence[Seen]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """`measure_surprise` of each picture (N, K), and how many of its pixels it looked at (N,), evenly spread."""
    step = max(sum(one.logits.size for one in seen) // FITTED, 1)
    surprise, pixels = [], []
    for one in seen:
        known = np.flatnonzero((one.mask != IGNORE_INDEX) & (one.logits[0] > UNDECIDED / 2))[::step]
        logits = one.logits.reshape(len(one.logits), -1)[:, known].astype(np.float32)
        surprise.append(measure_surprise(logits, one.mask.reshape(-1)[known].astype(np.int64)))
        pixels.append(len(known))
    return np.stack(surprise), np.array(pixels, dtype=float)


def probabilities_of(one: Seen, temperature: float) -> tuple[NDArray[np.floating], NDArray[np.uint8]]:
    """Probabilities (C, P) and class numbers (P,) of the labelled pixels of a picture."""
    known = one.mask != IGNORE_INDEX
    return activate(one.logits[:, known], temperature), one.mask[known]


def activate(logits: NDArray[np.floating], temperature: float) -> NDArray[np.floating]:
    """Logits (C, …) over a temperature to probabilities: sigmoid for one class, else softmax."""
    logits = logits.astype(np.float32) / temperature
    return expit(logits) if len(logits) == 1 else softmax(logits, axis=0)  # type: ignore[no-any-return]


def measure_reliability(seen: Sequence[Seen], temperature: float) -> Reliability:
    """The reliability of each picture's pixels (N, BINS)."""
    each = [sort_by_confidence(*probabilities_of(one, temperature)) for one in seen]
    return Reliability(*(np.stack(values) for values in zip(*each, strict=True)))


def count_thresholds(seen: Sequence[Seen], temperature: float) -> Counts:
    """Pixels of the pictures with thresholds 0, 1 / STEPS, … 1 (N, STEPS + 1)."""
    rows = []
    for one in seen:
        probabilities, truth = probabilities_of(one, temperature)
        above = np.ceil(probabilities[0] * STEPS).astype(np.int64)  # the first threshold that it does not exceed
        hit, miss = (np.bincount(above[truth == value], minlength=STEPS + 1) for value in (1, 0))
        # a pixel is found by all thresholds below its own
        rows.append((hit.sum() - hit.cumsum(), miss.sum() - miss.cumsum(), hit.sum()))
    return Counts(*(np.array(values, dtype=float) for values in zip(*rows, strict=True)))


def choose_threshold(counts: Counts, groups: Sequence[int], goal: Goal) -> int:
    """The number of the threshold that reaches a goal; the best IoU's, or one nearer to 0.5 that is as good for all
    that these pictures can tell."""
    inner = Counts(counts.tp[:, 1:-1], counts.fp[:, 1:-1], counts.truth)
    if not goal.wants_a_share:
        distance = np.abs(np.arange(1, STEPS) - STEPS / 2)
        return int(1 + choose_candidate(inner, groups, goal.score, goal.pooled, distance))
    return 1 + choose_for(inner, goal.pooled, goal.precision, goal.recall)


def count_areas(seen: Sequence[Seen], temperature: float, threshold: float) -> Counts:
    """Pixels of the pictures without objects below each of AREAS (N, K)."""
    rows = []
    for one in seen:
        known = one.mask != IGNORE_INDEX
        found = activate(one.logits, temperature)[0] > threshold
        count, labels, stats, _ = cv2.connectedComponentsWithStats(found.astype(np.uint8), connectivity=8)
        hit, all_of = (
            np.bincount(labels[where], minlength=count)[1:] for where in (known & (one.mask == 1), known & found)
        )
        kept = stats[1:, cv2.CC_STAT_AREA][:, None] >= np.array(AREAS)
        tp, both = (hit[:, None] * kept).sum(0), (all_of[:, None] * kept).sum(0)
        rows.append((tp, both - tp, (known & (one.mask == 1)).sum()))
    return Counts(*(np.array(values, dtype=float) for values in zip(*rows, strict=True)))
