"""Findings about a run, by stated rules: a sentence each, with what to do about it.

A remedy never suggests what the run already has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.configs.composing import LAST_EPOCH
from segkit.console import format_count

PAINTED = 0.99  # of all pixels: predicting one class on this share paints everything
NEARLY_ALL = 0.95  # of the true pixels: with this share of a class, painting everything is no mistake
FEW_PICTURES, FEW_GROUPS = 10, 3
LEAST_EPOCHS = 2
NAMES = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True)
class SplitScores:
    """How a split was scored. `metrics` without the split's name; `images`: rows of per_image.csv; `truth` and
    `predicted`: pixels of each class (for one class, its own); `total`: all pixels; `groups`: how many groups of
    pictures that belong together, None if unknown."""

    split: str
    classes: Sequence[str]
    metrics: Mapping[str, float]
    images: Sequence[Mapping[str, Any]]
    truth: Sequence[int]
    predicted: Sequence[int]
    total: int
    pictures: int
    groups: int | None = None


def judge_scores(seen: SplitScores, config: Mapping[str, Any], epochs: int | None = None) -> list[str]:
    """Findings from the scores of a split. epochs: how long the run was trained, if known."""
    where, several = NAMES[seen.split], len(seen.classes) > 1
    cure = suggest_remedies(config, epochs)
    found = []
    if seen.metrics.get("presence_recall/1") == 0 and any(row.get("label", 1) for row in seen.images):
        found.append(f"no {where} sample is found to show the class: try {cure}")
    elif not several and any(seen.truth) and seen.metrics.get("recall") == 0:
        if "unet" in config["model"].get("freeze", ()):
            found.append(f"the masks that were taken over find nothing in {where}: train the run of init_from longer")
        else:
            found.append(f"the best weights find nothing that the {where} masks show: try {cure}")
    painted = [
        name
        for name, part, true in zip(seen.classes, seen.predicted, seen.truth, strict=True)
        if paints_all(part, true, seen.total)
    ]
    if painted:
        found.append(
            f"the best weights paint nearly every {where} pixel as {painted[0]}, whatever the picture shows: their "
            f"precision is no more than the class's share. Try {cure}"
        )
    lost = [
        name
        for name, true in zip(seen.classes, seen.truth, strict=True)
        if several and true and seen.metrics.get(f"recall/{name}") == 0
    ]
    if lost and not painted:
        found.append(f"never found, though the {where} masks show it: {', '.join(lost)}. Try {cure}")
    if not several and (text := judge_empty_pictures(seen)):
        found.append(text)
    chooses = " to choose an epoch by" if seen.split == "val" else ""
    if seen.pictures < FEW_PICTURES:
        few = "is little" if seen.pictures == 1 else "are few"
        found.append(
            f"{format_count(seen.pictures, f'{where} picture')} {few}{chooses}: expect the score to move by "
            f"much with other pictures. Have at least {FEW_PICTURES} of them"
        )
    elif seen.groups is not None and seen.groups < FEW_GROUPS:
        found.append(
            f"the {seen.pictures} {where} pictures come from {format_count(seen.groups, 'group')} of pictures "
            f"that belong together, which is little{chooses}. Have at least {FEW_GROUPS} groups"
        )
    return found


def judge_truth(seen: SplitScores) -> list[str]:
    """Whether a split's masks can say anything about its one class."""
    if len(seen.classes) > 1 or not seen.total or seen.truth[0] not in (0, seen.total):
        return []
    where, name = NAMES[seen.split], seen.classes[0]
    return [
        f"the {where} masks are all {'full' if seen.truth[0] else 'empty'}, so their scores say nothing about how well "
        f"{name} is found: have {where} pictures with {name} and without"
    ]


def paints_all(predicted: float, truth: float, total: float) -> bool:
    """Whether a class is predicted on nearly all pixels but true on clearly fewer."""
    return total > 0 and predicted >= PAINTED * total and truth < NEARLY_ALL * total


def judge_empty_pictures(seen: SplitScores) -> str:
    """Whether a mean over pictures is carried by those that show nothing: the mean of the others is less than half of
    it."""
    rows = [row for row in seen.images if row.get("iou") is not None]
    shown = [row["iou"] for row in rows if row["tp"] + row["fn"] > 0]
    if not shown or len(shown) == len(rows):
        return ""
    mean, mean_shown = sum(row["iou"] for row in rows) / len(rows), sum(shown) / len(shown)
    if mean_shown >= mean / 2:
        return ""
    return (
        f"the IoU a picture of {NAMES[seen.split]}, {mean:.3f}, comes from pictures that show nothing "
        f"({len(rows) - len(shown)} of {len(rows)}, where an empty prediction scores 1): on those with "
        f"{seen.classes[0]} it is {mean_shown:.3f}. Look at that number, and at recall"
    )


def judge_training(
    config: Mapping[str, Any], history: Sequence[Mapping[str, float]], passes: float, best: int, train: SplitScores
) -> list[str]:
    """Findings from the course of training. history: rows of metrics.csv; passes: how often each training picture was
    seen; best: the epoch whose weights were kept, from 1."""
    monitor, epochs = str(config["monitor"]), len(history)
    scores = [row[monitor] for row in history if monitor in row]
    bad = [
        int(row["epoch"])
        for row in history
        if not all(math.isfinite(row.get(name, 0)) for name in (monitor, "val/loss"))
    ]
    found = []
    if len(train.classes) > 1 and (absent := [n for n, k in zip(train.classes, train.truth, strict=True) if not k]):
        found.append(
            f"in no training mask, so never learnt: {', '.join(absent)}. Train needs pictures that show this: where "
            "segkit splits, dataset.stratify=true or another dataset.split_seed may do"
        )
    if bad:
        found.append(
            f"validation gave NaN or infinite values in epoch{'s' * (len(bad) > 1)} {', '.join(map(str, bad[:5]))}"
            f"{', …' * (len(bad) > 5)}, which cannot be chosen: try a smaller optimizer.lr"
        )
    if passes < LEAST_EPOCHS:
        found.append(
            f"trained for {passes:.2g} epoch{'s' * (passes != 1)}, which is hardly begun: give "
            f"{suggest_longer(config, None)}"
        )
    if len(scores) > 1 and len(set(scores)) == 1 and math.isfinite(scores[0]):
        found.append(
            f"{monitor} was {scores[0]:.4f} in every epoch, so nothing that it can see was learnt: try "
            f"{suggest_remedies(config, epochs)}"
        )
    elif epochs > 1 and config.get("budget") is None and best == 1:
        found.append("the first epoch was the best, and no later one was as good: try a smaller optimizer.lr")
    elif epochs > 1 and config.get("budget") is None and best == epochs and monitor != LAST_EPOCH:
        found.append(
            f"the last epoch was the best, so the scores may still rise: give {suggest_longer(config, epochs)}"
        )
    return found


def suggest_longer(config: Mapping[str, Any], epochs: int | None) -> str:
    """What lets a run train for longer: raise the limit that ended it."""
    most = (config.get("trainer") or {}).get("max_epochs") or -1
    if config.get("budget") is not None:
        return "a larger budget"
    if (config.get("callbacks") or {}).get("early_stopping") is not None and epochs is not None and epochs < most:
        return "a larger callbacks.early_stopping.patience"
    return "more epochs (trainer.max_epochs)"


def suggest_remedies(config: Mapping[str, Any], epochs: int | None) -> str:
    """What may help a run that finds nothing, without what it already has."""
    loss, several = str((config.get("choices") or {}).get("loss")), len(config["dataset"]["classes"]) > 1
    other = "" if loss in ("presence", "joint") else suggest_loss(loss, several)
    rate = "another optimizer.lr" if config.get("lr_find") else "another optimizer.lr (lr_find=true searches one)"
    return ", ".join(filter(None, [suggest_longer(config, epochs), other])) + f" or {rate}"


def suggest_loss(loss: str, several: bool) -> str:
    """A loss for rare classes other than this one."""
    known = ("dice", "focal") if several else ("bce_dice", "focal_tversky")
    return f"another loss (loss={known[0] if loss != known[0] else known[1]})"
