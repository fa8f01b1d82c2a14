"""What a run learns about itself from its validation pictures: threshold, temperature and smallest object."""

import logging
from collections.abc import Hashable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segkit import IGNORE_INDEX, UNDECIDED
from segkit.configs.places import find_checkpoint
from segkit.datasets.module import DataModule
from segkit.datasets.source import extras_of
from segkit.evaluation.other_data import evaluation_config
from segkit.evaluation.score import score_split
from segkit.files.writing import write_json
from segkit.metrics import calibration as numbers
from segkit.metrics.calibration import Counts, Reliability
from segkit.metrics.presence import gate_for_recall
from segkit.models.presence import find_gated
from segkit.models.views import activate
from segkit.pictures import charts, overlays
from segkit.runs.build import build_data
from segkit.runs.checkpoints import store_calibration
from segkit.runs.folder import check_unseen, lock_folder
from segkit.runs.loading import load
from segkit.tasks.contract import Task
from segkit.tasks.deciding import set_calibration

log = logging.getLogger("segkit")

BYTES = 2**28  # of logits that are kept
FITTED = 2**19  # logits that the temperature is fitted to
LARGEST = 6e4  # logit that 16 bits hold
SHARES = np.arange(1, 100) / 100  # probabilities, and shares of the foreground, at which thresholds are tried
AREAS = (0, *(2**power for power in range(2, 15)))  # smallest objects that are tried, in pixels
TITLES = {"iou": "IoU", "dice": "Dice", "precision": "precision", "recall": "recall"}
KEPT = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0)  # shares of positive samples
NOTHING = {"threshold": 0.5, "temperature": 1.0, "smallest": 0.0}


@dataclass(frozen=True)
class Goal:
    """What a threshold is chosen for: the highest `rate`, iou or dice; or a precision or recall of at least `share`. Of
    all pixels together (`pooled`) or as the mean over pictures."""

    rate: str = "iou"
    share: float | None = None
    pooled: bool = True

    @classmethod
    def parse(cls, goal: str, pooled: bool) -> "Goal":
        """As it is typed: iou, dice, precision:<share> or recall:<share>."""
        rate, _, share = goal.partition(":")
        return cls(rate, float(share) if share else None, pooled)


BEST_IOU = Goal()


class Seen(NamedTuple):
    """Of one picture: logits (C, H, W) float16, mask (H, W) uint8, and its group."""

    logits: NDArray[np.float16]
    mask: NDArray[np.uint8]
    group: Hashable


def calibrate_checkpoint(settings: dict[str, Any]) -> dict[str, Any]:
    """`calibrate_run` for the settings of `segkit calibrate`."""
    path = find_checkpoint(settings["run"])
    folder = path.parent.parent
    in_run = path.parent.name == "checkpoints" and (folder / "config.yaml").is_file()
    with lock_folder(folder) if in_run else nullcontext():
        task = load(str(path), settings["trust"])
        if len(task.classes) > 1 and settings["goal"] != "iou":
            raise ValueError(
                f"goal={settings['goal']} chooses a threshold, and this run tells {len(task.classes)} classes apart, "
                "which share a temperature alone: leave goal out."
            )
        config = evaluation_config(task.facts["config"], settings)
        data = build_data(config, splits=["val"], follow_links=settings["dataset"].get("root") is not None)
        if in_run and "_target_" not in settings["dataset"]:  # else they may be others of the same names
            check_unseen(folder, data.sources["val"].names)
        return calibrate_run(task, data, config, path, Goal.parse(settings["goal"], settings["pooled"]))


def calibrate_run(
    task: Task, data: DataModule, config: dict[str, Any], path: Path, goal: Goal = BEST_IOU
) -> dict[str, Any]:
    """Calibrate a task on its validation pictures, and tell it; returns what was chosen and measured.

    What was chosen is written into its checkpoint at `path`; beside it lie all of it and a diagram."""
    found = calibrate(task, data, config, goal)
    write_json(path.with_suffix(".calibration.json"), found)
    if "before" in found:
        overlays.save(path.with_suffix(".reliability.png"), charts.draw_reliability(found))
    store_calibration(path, {name: found[name] for name in (*NOTHING, "gates") if name in found})
    log.info("%s", describe(task, found, goal))
    errors = {f"error_{name}": found[name]["error"] for name in ("before", "after") if name in found}
    return {key: value for key, value in found.items() if key not in ("before", "after", "gates")} | errors


def calibrate(task: Task, data: DataModule, config: dict[str, Any], goal: Goal = BEST_IOU) -> dict[str, Any]:
    """Choose threshold, temperature and smallest object on validation, and set them; also what was measured.

    Threshold and smallest object are of one class; several share a temperature alone. Where a class of one does not
    occur, or no pixel is labelled, nothing is chosen.
    """
    set_calibration(task, NOTHING)
    seen = see_pictures(task, data, config)
    groups = np.unique([one.group for one in seen], return_inverse=True)[1].tolist()
    found: dict[str, Any] = {**NOTHING, "pictures": len(seen), "groups": len({*groups})} | measure_gates(task)
    shown = {value for one in seen for value in np.unique(one.mask).tolist()} - {IGNORE_INDEX}
    if not seen or (len(task.classes) == 1 and shown != {0, 1}):
        return found
    found |= choose_temperature(seen, groups, len(task.classes))
    if len(task.classes) == 1:
        found |= choose_masks(seen, groups, found["temperature"], goal)
    found |= {name: float(f"{found[name]:.6g}") for name in NOTHING}  # as people read them, in reports too
    set_calibration(task, found)
    return found


def measure_gates(task: Task) -> dict[str, list[list[float]]]:
    """`gates`: shares of the positive samples just scored, and the gates that keep them; for a network with a gate."""
    scores = task.scores("test").presence
    if find_gated(task.net) is None or scores is None or not (answers := scores.answers()).label.any():
        return {}
    return {"gates": [[share, gate_for_recall(answers, share)] for share in KEPT]}


def describe(task: Task, found: Mapping[str, Any], goal: Goal) -> str:
    """What was chosen, in a sentence."""
    if "before" not in found:
        return "nothing is calibrated: the validation masks do not show the class and its background"
    before, after = found["before"], found["after"]
    errors = f"calibration error {before['error']:.3f} → {after['error']:.3f}"
    parts = []
    if len(task.classes) == 1:
        chosen, half = found["chosen"], found["at_half"]
        rates = (goal.rate,) if goal.share is None else ("precision", "recall")
        reached = ", ".join(f"{TITLES[rate]} {chosen[rate]:.3f}, {half[rate]:.3f} at 0.5" for rate in rates)
        small = f", objects below {found['smallest']:g} pixels left out" if found["smallest"] else ""
        parts.append(f"a pixel is {task.classes[0]} above {found['threshold']:.3g}{small} ({reached})")
        errors += f", of foreground {before['error_foreground']:.3f} → {after['error_foreground']:.3f}"
    parts.append(f"temperature {found['temperature']:.2f} ({errors})")
    return f"calibrated on {found['pictures']} validation pictures: {'; '.join(parts)}"


def see_pictures(task: Task, data: DataModule, config: dict[str, Any]) -> list[Seen]:
    """The network's output for the validation pictures that have a labelled pixel; for so many of them, evenly spread,
    as BYTES hold if all were as large as the largest."""
    source = data.sources["val"]
    groups, seen, has_masks = extras_of(source).groups or source.names, list[Seen](), False

    def note(logits: Tensor, mask: Tensor, index: Tensor) -> None:
        nonlocal has_masks
        has_masks = True
        values = logits.detach().float().clamp(-LARGEST, LARGEST).half().cpu().numpy()
        for one, truth, at in zip(values, mask.cpu().numpy().astype(np.uint8), index.tolist(), strict=True):
            if at >= 0 and (truth != IGNORE_INDEX).any():
                seen.append(Seen(one, truth, groups[at]))

    scores = task.scores("test")
    scores.listen = note
    try:
        largest = max(height * width for height, width in data.eval_shapes("val"))
        score_split(task, data, "val", config, max(BYTES // (2 * largest * len(task.classes)), 1))
    finally:
        scores.listen = None
    if not has_masks:
        raise ValueError("this run gives no masks, so there is nothing to calibrate.")
    return seen


def choose_temperature(seen: Sequence[Seen], groups: Sequence[int], classes: int) -> dict[str, Any]:
    """The temperature, and the reliability before and after it; 1 where it would raise the calibration error."""
    step = max(sum(one.logits.size for one in seen) // FITTED, 1)
    losses, pixels = [], []
    for one in seen:
        logits, truth = labelled_pixels(one)
        decided = np.flatnonzero(logits[0] > UNDECIDED / 2)[::step]
        losses.append(numbers.measure_losses(logits[:, decided], truth[decided]))
        pixels.append(len(decided))
    temperature = numbers.choose_temperature(np.stack(losses), np.array(pixels, dtype=float), groups)
    before, after = (describe_reliability(seen, one, groups, classes) for one in (1.0, temperature))
    if after["error"] > before["error"]:
        temperature, after = 1.0, before
    return {"temperature": temperature, "before": before, "after": after}


def describe_reliability(
    seen: Sequence[Seen], temperature: float, groups: Sequence[int], classes: int
) -> dict[str, Any]:
    """The calibration error of all pixels, of those of one class that are called foreground, the interval of the first,
    and the sums of each bin."""
    rows = []
    for one in seen:
        logits, truth = labelled_pixels(one)
        probabilities = activate(torch.from_numpy(logits / temperature)[None, ..., None])[0, ..., 0].numpy()
        rows.append(numbers.sort_by_confidence(probabilities, truth))
    each = Reliability(*(np.stack(values) for values in zip(*rows, strict=True)))
    whole = each.sum()
    found: dict[str, Any] = {"error": float(whole.error())}
    found |= {"error_foreground": whole.error_above(0.5)} if classes == 1 else {}
    found["interval"] = [*numbers.error_interval(each, groups)]
    return found | {key: values.tolist() for key, values in whole._asdict().items()}


def labelled_pixels(one: Seen) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits (C, P) and class numbers (P,) of the labelled pixels of a picture."""
    known = one.mask != IGNORE_INDEX
    return one.logits[:, known].astype(np.float32), one.mask[known].astype(np.int64)


def choose_masks(seen: Sequence[Seen], groups: Sequence[int], temperature: float, goal: Goal) -> dict[str, Any]:
    """The threshold and the smallest object, and the rates with them and at 0.5."""
    logits = candidate_logits(seen)
    counts = count_thresholds(seen, logits)
    at = numbers.choose_threshold(counts, groups, goal.rate, goal.share, goal.pooled, np.abs(logits))
    areas = count_areas(seen, float(logits[at]))
    size = 0 if goal.share else numbers.choose_candidate(areas, groups, goal.rate, goal.pooled, np.array(AREAS))
    half = int(np.flatnonzero(logits == 0)[0])
    rates = {"at_half": numbers.rates_of(counts, goal.pooled), "chosen": numbers.rates_of(areas, goal.pooled)}
    of = {"at_half": half, "chosen": size}
    threshold = float(np.clip(1 / (1 + np.exp(-logits[at] / temperature)), 1e-6, 1 - 1e-6))
    return {"threshold": threshold, "smallest": float(AREAS[size])} | {
        name: {rate: float(values[of[name]]) for rate, values in found.items()} for name, found in rates.items()
    }


def candidate_logits(seen: Sequence[Seen]) -> NDArray[np.float64]:
    """Thresholds that are tried, as logits: probabilities of 0.01 to 0.99, and quantiles of the foreground, which may
    lie anywhere if the class is rare or the network hardly trained."""
    positive = np.concatenate([one.logits[0][one.mask == 1] for one in seen]).astype(np.float64)
    return np.unique([*np.log(SHARES / (1 - SHARES)), *np.quantile(positive, [0.0, *SHARES]) - 1e-3, 0.0])


def count_thresholds(seen: Sequence[Seen], logits: NDArray[np.float64]) -> Counts:
    """Pixels of the pictures above thresholds (K,), in rising order (N, K)."""
    rows = []
    for one in seen:
        found, truth = labelled_pixels(one)
        exceeded = np.searchsorted(logits, found[0], "left")  # how many thresholds a pixel is above
        hit, miss = (np.bincount(exceeded[truth == value], minlength=len(logits) + 1) for value in (1, 0))
        rows.append((hit.sum() - hit.cumsum()[:-1], miss.sum() - miss.cumsum()[:-1], hit.sum()))
    return Counts(*(np.array(values, dtype=float) for values in zip(*rows, strict=True)))


def count_areas(seen: Sequence[Seen], logit: float) -> Counts:
    """Pixels of the pictures above a threshold, without objects below each of AREAS (N, K)."""
    rows = []
    for one in seen:
        known, above = one.mask != IGNORE_INDEX, one.logits[0].astype(np.float64) > logit
        count, labels, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=8)
        true, said = (np.bincount(labels[where], minlength=count)[1:] for where in (one.mask == 1, known & above))
        kept = stats[1:, cv2.CC_STAT_AREA][:, None] >= np.array(AREAS)
        tp, both = (true[:, None] * kept).sum(0), (said[:, None] * kept).sum(0)
        rows.append((tp, both - tp, (one.mask == 1).sum()))
    return Counts(*(np.array(values, dtype=float) for values in zip(*rows, strict=True)))
