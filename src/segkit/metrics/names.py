"""What a metric's name tells: its class, its title, and whether it is a minor one."""

import difflib
import re
from collections.abc import Sequence

POOLED = ("iou", "dice", "precision", "recall", "fbeta", "accuracy", "iou_micro", "soft_dice", "soft_iou", "cliou")
PER_PICTURE = (
    "iou_image",
    "dice_image",
    "precision_image",
    "recall_image",
    "fbeta_image",
    "accuracy_image",
    "score",
    "cliou_image",
)
OF_PRESENCE = ("f1", "fbeta", "precision", "recall", "accuracy", "ap", "auroc")
VARIANT = re.compile(r"_(crops|ungated|crops_ungated)$")
SCORES = (*POOLED, *PER_PICTURE, *(f"presence_{name}" for name in OF_PRESENCE))  # per split, without a class after /


def classes_in(metrics: dict[str, float], split: str) -> list[str]:
    """Names of the classes that have scores of their own in this split."""
    start = f"{split}/iou/"
    return [name.removeprefix(start) for name in metrics if name.startswith(start)]


def class_of(metric: str) -> str:
    """The class in a metric's name (`test/iou/car` → `car`), or "" for an overall metric."""
    return metric.split("/", 1)[1].partition("/")[2]


def title_of(name: str) -> str:
    """A metric without its split's name, with a note whether it is pooled over all pixels or a mean over pictures."""
    kind = VARIANT.sub("", name.partition("/")[0])
    if kind in PER_PICTURE:
        return f"{name} (per picture)"
    return f"{name} (pooled)" if kind in POOLED else name


def format_metric(name: str, value: float) -> str:
    """A metric's value as text; a count as a whole number."""
    return f"{value:.0f}" if name.endswith("empty_images") else f"{value:.4f}"


def is_minor_metric(name: str) -> bool:
    """Whether the table at the end of a run leaves a metric out; results.json has them all."""
    variants = r"\b(dice|precision|recall|iou_image)_(crops|ungated)|soft_.*_ungated"
    return re.search(rf"fbeta|(precision|recall|accuracy)_image|{variants}", name) is not None


def unknown_metric(key: str, monitor: str, known: Sequence[str]) -> ValueError:
    """The error for a setting that names a metric which validation does not compute."""
    near = difflib.get_close_matches(monitor, known) or [*known[:12]]
    return ValueError(f"{key}={monitor}: expected a metric that validation gives; did you mean {' or '.join(near)}?")
