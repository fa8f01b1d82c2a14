"""The kinds and ranges of settings by dotted key, for every verb. Imports none of the code that reads them."""

import fnmatch
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from segkit import VIEWS
from segkit.configs.composing import LAST_EPOCH, parse_budget


@dataclass(frozen=True)
class Kind:
    """A set of values: its description in messages, and a test of membership."""

    words: str
    fits: Callable[[Any], bool]

    def __or__(self, other: "Kind") -> "Kind":
        words = ", or ".join(filter(None, [self.words, other.words]))
        return Kind(words, lambda value: self.fits(value) or other.fits(value))

    def called(self, words: str) -> "Kind":
        return Kind(words, self.fits)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(words: str, fits: Callable[[float], bool] = lambda value: True) -> Kind:
    return Kind(words, lambda value: is_number(value) and fits(value))


def whole(low: int, high: float = math.inf) -> Kind:
    words = f"a whole number, {low} or more" if high == math.inf else f"a whole number from {low} to {high}"
    return Kind(words, lambda value: is_whole(value) and low <= value <= high)


def word(*choices: str) -> Kind:
    words = " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    return Kind(words, lambda value: isinstance(value, str) and value in choices)


def exactly(value: Any, words: str) -> Kind:
    return Kind(words, lambda given: type(given) is type(value) and given == value)


def several(kind: Kind, words: str, low: int = 1, high: float = math.inf) -> Kind:
    """A list of `low` to `high` values of a kind."""
    return Kind(
        words, lambda value: isinstance(value, list) and low <= len(value) <= high and all(map(kind.fits, value))
    )


def _is_budget(value: Any) -> bool:
    try:
        return math.isfinite(parse_budget(value))
    except ValueError:
        return False


def _is_recall(value: Any) -> bool:
    return _is_goal(value) and str(value).startswith("recall:")


def _is_goal(value: Any) -> bool:
    found = re.fullmatch(r"(precision|recall):(\d*\.?\d+)", str(value))
    return found is not None and 0 < float(found[2]) <= 1


def _is_marker(value: Any) -> bool:
    found = re.fullmatch(r"marker:(\d*\.?\d+)", str(value))
    return found is not None and float(found[1]) > 0


def is_pattern(text: str) -> bool:
    """Whether the [letters] of a pattern of names can be read."""
    try:
        return re.compile(fnmatch.translate(text)) is not None
    except re.error:
        return False


def as_rgb(value: Any) -> tuple[int, ...] | None:
    """(r, g, b) from a colour's name ("red", "#ff8800") or [r, g, b]; None if it is not a colour."""
    from PIL import ImageColor

    try:
        found = ImageColor.getrgb(value) if isinstance(value, str) else tuple(value)
    except (TypeError, ValueError):
        return None
    return found if len(found) == 3 and all(is_whole(one) and 0 <= one <= 255 for one in found) else None


def is_grouping(value: Any) -> bool:
    """Whether a value can be `dataset.groups`: a regular expression or folder:1 … folder:9."""
    try:
        return isinstance(value, str) and bool(re.compile(value)) and not re.fullmatch(r"folder:(?![1-9]$).*", value)
    except re.error:
        return False


def is_split_file(value: Any) -> bool:
    return isinstance(value, str) and value.lower().endswith((".json", ".csv"))


NULL = Kind("null", lambda value: value is None)
UNSAID = NULL.called("")  # null, where messages need not mention it
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str) and value.strip() != "")
NAME = (TEXT | number("")).called("a name")
MONITOR = Kind(
    "a validation metric, such as val/iou or val/loss, or epoch for the last epoch",
    lambda value: isinstance(value, str) and (value.startswith("val/") or value == LAST_EPOCH),
)
PATH = TEXT.called("a path")
NAMES = several(TEXT, "a list of names", 0)
MODULES = several(TEXT, "a list of modules, such as trust=[my_models]", 0)
MAPPING = Kind("names with values: {name: value}", lambda value: isinstance(value, Mapping))
ABOVE_0 = number("a number above 0", lambda value: value > 0)
FROM_0 = number("a number, 0 or more", lambda value: value >= 0)
SHARE = number("a share from 0 to 1", lambda value: 0 <= value <= 1)
PART = number("a share between 0 and 1", lambda value: 0 < value < 1)
PROBABILITY = PART.called("a probability between 0 and 1")
GATE = SHARE.called("a probability from 0 to 1") | NULL
TOLERANCE = FROM_0.called("a tolerance in pixels, 0 or more (usual is 4)") | UNSAID
COUNT = whole(1)
SIDE = whole(1, 16384)
SIZE = SIDE | several(SIDE, "[height,width]", 2, 2)
SEED = whole(0, 2**32 - 1)
PIXELS = whole(1).called("a whole number of pixels, 1 or more")
TILE = word("auto") | PIXELS | NULL
CORES = os.cpu_count() or 1
COLOR = Kind("a name such as red, or [r,g,b] of numbers from 0 to 255", lambda value: as_rgb(value) is not None)
METRICS = UNSAID | Kind("", lambda value: isinstance(value, Mapping) and all(map(is_number, value.values())))
ACCELERATOR = word("auto", "cpu", "gpu")
PRECISIONS = word(
    "auto", "32-true", "16-mixed", "bf16-mixed", "16-true", "bf16-true", "64-true", "32", "16", "bf16", "64"
)
PRECISION = Kind(PRECISIONS.words, lambda value: PRECISIONS.fits(str(value)))
LIMIT = (
    UNSAID
    | COUNT.called("a whole number of batches, 1 or more")
    | Kind("a share above 0 and up to 1.0", lambda value: isinstance(value, float) and 0 < value <= 1)
)

FOLDER = Kind(
    "a folder below dataset.root, such as '{split}/images', with at most two * in a name",
    lambda value: TEXT.fits(value) and all(name.count("*") <= 2 for name in value.split("/")),
)
FILES = Kind(
    "a pattern of files' names in quotes, with one * for what a picture and its mask share, such as '*_mask.png'",
    lambda value: TEXT.fits(value) and value.count("*") == 1 and "/" not in value and is_pattern(value),
)

# How pictures are loaded, whatever the data set.
LOADING: dict[str, Kind] = {
    "dataset.size": SIZE,
    "dataset.train": word("resize", "crop"),
    "dataset.eval": word("resize", "native"),
    "dataset.crops": word("none", "five", "grid"),
    "dataset.presence_threshold": SHARE | NULL,
    "dataset.batch_size": COUNT,
    "dataset.passes": COUNT,
    "dataset.scale": number("a factor above 0 and at most 8", lambda value: 0 < value <= 8),
    "dataset.foreground": SHARE,
    "dataset.epochs": COUNT,
    "dataset.workers": word("auto") | whole(0, max(16, 4 * CORES)),
    "dataset.cache": word("auto", "disk", "ram", "off"),
    "dataset.classes": several(TEXT, "a list of names, such as [crack]") | word("auto"),
}
# Settings of segkit's own data sets, networks and schedules: in other classes the same name may mean something else.
OWN: dict[str, Kind] = {
    "dataset.root": PATH | NULL,
    "dataset.threshold": number("a number from 0 to 65535, in the file's own scale", lambda value: 0 <= value <= 65535),
    "dataset.ignore_values": several(whole(0), "a list of whole numbers, 0 or more", 0),
    "dataset.images": FOLDER | NULL,
    "dataset.masks": FOLDER | NULL,
    "dataset.image_pattern": FILES | NULL,
    "dataset.mask_pattern": FILES | NULL,
    "dataset.pairs": PATH | NULL,
    "dataset.ignore_masks": TEXT.called("a folder below dataset.root, or a pattern such as 'fov/*_fov.png'") | NULL,
    "dataset.mask_suffix": Kind("the end of the masks' names, such as _mask", lambda value: isinstance(value, str)),
    "dataset.only_masked": TRUTH,
    "dataset.resize_masks": TRUTH,
    "dataset.protocol": word("honest", "published"),
    "dataset.holdout": PART,
    "dataset.fractions": several(SHARE, "three shares that sum to 1, such as [0.7,0.15,0.15]", 3, 3),
    "dataset.groups": NULL | Kind("a regular expression, or a level of folders such as folder:1", is_grouping),
    "dataset.stratify": TRUTH,
    "dataset.split_file": NULL | Kind("a .json or .csv file", is_split_file),
    "dataset.split_seed": Kind("a whole number", is_whole),
    "dataset.counts": several(COUNT, "whole numbers for train, val and test, such as [400,100,100]", 3, 3),
    "dataset.empty_fraction": SHARE,
    "dataset.picture_size": SIZE,
    "dataset.margin": FROM_0,
    "dataset.crop": TRUTH,
    "model.mean": several(number(""), "three numbers (red, green, blue), such as [0.5,0.5,0.5]", 3, 3) | NULL,
    "model.std": several(ABOVE_0, "three numbers above 0 (red, green, blue), such as [0.5,0.5,0.5]", 3, 3) | NULL,
    "model.standardise": TRUTH,
    "model.prior": several(SHARE, "a list of the classes' shares of the pixels, such as [0.02]") | NULL,
    "model.threshold": PROBABILITY,
    "model.beta": ABOVE_0,
    "model.cliou": TOLERANCE,
    "model.freeze": NAMES,
    "model.net.widths": several(COUNT, "a list of whole numbers, 1 or more, such as [16,32,64]"),
    "model.net.width": COUNT,
    "model.net.depth": COUNT,
    "model.net.heads": COUNT,
    "model.net.gate": GATE,
    "model.net.dropout": number("a share, 0 or more and below 1", lambda value: 0 <= value < 1),
    **{
        f"{loss}.{name}": kind
        for loss in ("loss", "loss.mask")
        for name, kind in {
            "reduction": word("mean", "sum"),
            "pool": word("image", "batch"),
            "smooth": ABOVE_0.called("a number above 0, such as 1.0"),
            "background_modulated": TRUTH,
            "alpha": SHARE | NULL | several(FROM_0, "for several classes a list with a number for each"),
        }.items()
    },
    "scheduler.interval": word("epoch", "step"),
    "scheduler.scheduler.warmup": number("a share of all steps, 0 or more and below 1", lambda value: 0 <= value < 1),
    "callbacks.pictures.every_n_epochs": COUNT,
    "callbacks.pictures.count": COUNT,
    "augment.horizontal": SHARE,
    "augment.vertical": SHARE,
    "augment.turns": TRUTH,
}
TRAINER: dict[str, Kind] = {
    "trainer.max_epochs": UNSAID | COUNT | exactly(-1, "-1 for no end"),
    "trainer.min_epochs": whole(0) | NULL,
    "trainer.max_steps": COUNT | exactly(-1, "-1 for no limit"),
    "trainer.accelerator": word("auto", "cpu", "gpu", "cuda", "mps", "tpu"),
    "trainer.devices": word("auto", "-1") | COUNT | exactly(-1, "") | several(whole(0), "a list of their numbers"),
    "trainer.num_nodes": COUNT,
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.gradient_clip_val": FROM_0 | NULL,
    "trainer.log_every_n_steps": COUNT,
    "trainer.num_sanity_val_steps": whole(0) | exactly(-1, "-1 for all"),
    "trainer.check_val_every_n_epoch": COUNT | UNSAID,
    "trainer.deterministic": TRUTH | word("warn") | UNSAID,
    "trainer.benchmark": TRUTH | UNSAID,
    "trainer.detect_anomaly": TRUTH,
    "trainer.limit_train_batches": LIMIT,
    "trainer.limit_val_batches": LIMIT,
    "trainer.limit_test_batches": LIMIT,
    "trainer.fast_dev_run": exactly(False, "false (trainer=debug is a short trial)"),
    "trainer.enable_checkpointing": exactly(True, "true (a run is tested with its best checkpoint)"),
    "trainer.barebones": exactly(False, "false (a run is tested with its best checkpoint)"),
}
DATA = LOADING | OWN
TRAINING = ("train", "plan")  # verbs with the settings of a training
# Settings that mean the same in every verb that has them.
COMMON: dict[str, Kind] = DATA | {
    "run": PATH | several(TEXT, "or of several runs that predict together: run=[a,b]"),
    "trust": MODULES,
    "seed": SEED,
    "accelerator": ACCELERATOR,
    "output": PATH,
    "tile": TILE,
    "overlap": PIXELS | NULL,
}
# Settings of one verb, or with a narrower kind there. Settings in neither are compared with the defaults in
# conf/<verb>.yaml.
VERBS: dict[str, dict[str, Kind]] = {
    "train": {
        "name": NAME,
        "monitor": MONITOR,
        "scheduler.monitor": MONITOR | UNSAID,
        "precision": PRECISION,
        "budget": UNSAID | Kind("a time such as 90s, 10m or 1h30m; a plain number means seconds", _is_budget),
        "recipe": word("none", "auto") | UNSAID,
        "scored_train": COUNT | NULL,
        "predict_ms": ABOVE_0.called("milliseconds, a number above 0") | NULL,
        "tta": word(*VIEWS),
        "calibrate": TRUTH,
        "force": TRUTH,
        "compile": TRUTH,
        "profile": TRUTH,
        "lr_find": TRUTH,
        "report": TRUTH,
        "check": word("fast", "full", "off"),
        "stages": MAPPING | NULL,
        "weights": UNSAID | TEXT.called("none, imagenet, package:<name> or a file"),
        "pretrained": TEXT.called("imagenet, package:<name> or a file"),
        "freeze": UNSAID | TEXT.called("none, or parts of the network: encoder, or [a,b]") | NAMES.called(""),
        "unfreeze_at_epoch": COUNT.called("a whole number, 1 or more (the first epoch is 0)") | NULL,
        "encoder_lr_factor": ABOVE_0.called("a number above 0; freeze=encoder stops it"),
        "init_from": PATH | NULL,
        "resume": PATH | NULL,
        "published": METRICS.called("metrics, such as 'published={test/iou: 0.75}'"),
        "expected": METRICS.called("metrics, such as 'expected={test/iou: 0.75}'"),
        "departs": several(TEXT, "a list of texts") | NULL,
        "optimizer.lr": ABOVE_0 | UNSAID,
    }
    | TRAINER,
    "evaluate": {
        "split": word("train", "val", "test"),
        "precision": PRECISION | NULL,
        "gate": GATE | word("sweep") | Kind("recall:0.99", _is_recall),
        "threshold": PROBABILITY | NULL,
        "cliou": TOLERANCE,
        "tta": word(*VIEWS) | NULL,
        "pictures": whole(0),
    },
    "calibrate": {
        "run": PATH.called("the path of one run: the probabilities of an ensemble are those of calibrated runs"),
        "goal": word("iou", "dice")
        | Kind("precision:0.9 or recall:0.95, with a share above 0 and at most 1", _is_goal),
        "pooled": TRUTH,
        "precision": PRECISION | NULL,
    },
    "predict": {
        "input": PATH.called("a file, a folder, a pattern, an address or -") | several(PATH, "a list of these"),
        "overwrite": TRUTH,
        "gate": GATE.called("a probability from 0 to 1; segkit evaluate gate=sweep shows what each costs")
        | Kind("recall:0.99", _is_recall),
        "threshold": PROBABILITY | NULL,
        "tta": word(*VIEWS) | NULL,
        "overlays": TRUTH,
        "masks": word("numbers", "colors", "none") | UNSAID,
        "probabilities": TRUTH | word("float"),
        "polygons": word("coco", "geojson") | UNSAID,
        "measure": word("cracks", "objects") | UNSAID,
        "measure_class": UNSAID | TEXT.called("the name of a class") | several(TEXT, "a list of names"),
        "scale": UNSAID
        | ABOVE_0.called("millimetres for a pixel, a number above 0")
        | Kind("marker:30 for a marker with sides of 30 mm", _is_marker),
        "color": UNSAID | COLOR | several(COLOR, "for several classes a list of these"),
    },
    "check": {"count": COUNT, "epochs": COUNT, "fix": TRUTH},
    "annotations": {
        "from": word("auto", "coco", "via", "labelme", "cvat", "label_studio", "yolo", "supervisely"),
        "to": word("coco", "labelme", "label_studio") | UNSAID,
        "input": PATH,
        "images": PATH | NULL,
        "classes": several(TEXT, "a list of names, such as [crack]") | UNSAID,
        "label": UNSAID | TEXT.called("the name of an attribute"),
        "unlabelled": word("keep", "skip"),
        "missing": word("error", "skip"),
        "by_name": TRUTH,
        "threshold": OWN["dataset.threshold"],
        "ignore_values": OWN["dataset.ignore_values"],
        "colors": UNSAID | MAPPING | several(COLOR, "a list of colours, such as [[0,0,0],[255,0,0]]"),
        "mask_suffix": OWN["dataset.mask_suffix"],
        "tolerance": FROM_0,
        "rle": word("auto", "all", "none"),
        "prefix": UNSAID | TEXT.called("the beginning of an address"),
    },
    "report": {
        "runs": PATH | several(PATH, "a list of folders and patterns"),
        "baseline": UNSAID | TEXT.called("a group's name") | MAPPING.called("settings: {model: unet, loss: bce}"),
        "metric": UNSAID | TEXT.called("a column of per_image.csv, such as iou"),
        "notes": PATH | NULL,
        "output": PATH | NULL,
        "gallery": TRUTH,
    },
}


def kinds_of(verb: str) -> dict[str, Kind]:
    """The kind of each of a verb's settings, by dotted key; top-level ones first, as others depend on them."""
    found = COMMON | VERBS.get("train" if verb in TRAINING else verb, {})
    return dict(sorted(found.items(), key=lambda entry: "." in entry[0]))
