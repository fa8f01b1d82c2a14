"""Runs on disk, as groups that differ in their seed alone, and the settings in which the groups differ.

What lies in a run folder is only read as data: nothing in it is resolved, built or unpickled.
"""

import csv
import glob
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import OmegaConf

from segkit.configs import explain, identity

MOST_BYTES = 200_000_000  # of one file
CHOICES = ("dataset", "model", "loss", "optimizer", "scheduler", "augment")
PRESENCE = "presence_right"  # a column: 1 where it is said rightly whether a picture shows the class, else 0
WRITTEN = ("results.json", "config.yaml")  # by a training, into its folder
PIXELS = ("tp", "fp", "fn", "tn")  # columns; of several classes their sums
FITS = 1e-3  # between a mean over pictures and what results.json says it is
TITLE = 60  # most letters of a group's title
DERIVED = ("channels", "monitor_mode", "mode")  # last words of keys that follow from others


@dataclass(frozen=True)
class Run:
    """A finished run. `images`: columns of per_image.csv, NaN where a cell is empty, for the pictures `names`."""

    folder: Path
    config: dict[str, Any]
    results: dict[str, Any]
    names: tuple[str, ...]
    images: dict[str, NDArray[np.float64]]
    curves: list[dict[str, float]]
    environment: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.config.get("seed", 0))

    @property
    def metrics(self) -> dict[str, float]:
        """Those that are numbers: of a class that no picture shows some are not."""
        return {name: value for name, value in self.results["metrics"].items() if math.isfinite(value)}

    def same_pictures(self, other: "Run") -> bool:
        """Whether both were tested on the same pictures: of one name, and where as many pixels were scored, with as
        many of them in the class (of several classes, in any)."""
        if self.names != other.names:
            return False
        if not all(set(PIXELS) <= run.images.keys() for run in (self, other)):
            return True
        (total, truth), (others, of_others) = (
            (sum(run.images[name] for name in PIXELS), run.images["tp"] + run.images["fn"]) for run in (self, other)
        )
        return bool((truth == of_others)[total == others].all())


@dataclass(frozen=True)
class Problem:
    """A run that cannot be reported on, and why."""

    folder: Path
    reason: str


@dataclass(eq=False)
class Group:
    """Runs that differ in their seed alone. `settings`: what it has in the columns in which groups differ; `title`:
    some of that, enough to tell it from the others."""

    runs: list[Run]
    settings: dict[str, str] = field(default_factory=dict)
    title: str = ""

    @property
    def config(self) -> dict[str, Any]:
        return self.runs[0].config

    def values(self, column: str) -> NDArray[np.float64]:
        """A column of per_image.csv, (seeds, pictures)."""
        return np.stack([run.images[column] for run in self.runs])

    @property
    def classes(self) -> list[str]:
        return list(self.config["dataset"].get("classes") or [])

    def metric(self, name: str) -> list[float]:
        """One number a seed; runs that lack it are left out."""
        return [run.metrics[name] for run in self.runs if name in run.metrics]

    def cost(self, key: str) -> float | None:
        """The median over the runs of an entry of results.json: of seconds some may have been disturbed."""
        values = self.costs(key)
        return float(np.median(values)) if values else None

    def costs(self, key: str) -> list[float]:
        """One number a seed."""
        return [float(run.results[key]) for run in self.runs if isinstance(run.results.get(key), int | float)]

    def setting(self, key: str) -> str | None:
        """What the runs have been set to: a column, a choice of a file, or any key of the config."""
        choices = self.config.get("choices", {})
        return self.settings.get(key) or choices.get(key) or flattened(identity(self.config)).get(key)


def find(patterns: str | Sequence[str]) -> list[Path]:
    """The run folders that glob patterns match, and those below a folder that is none itself, sorted.

    A stage of a run is a part of that and no run of its own. A folder named as it is that holds no run is given too, so
    that it is missed. Raises ValueError where there is no run at all.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    found: set[Path] = set()
    for pattern in wanted:
        path = Path(pattern).expanduser()
        if path.is_dir():
            below = {path} if is_run(path) else {file.parent for file in path.rglob("*") if file.name in WRITTEN}
            found |= {folder.resolve() for folder in below if is_run(folder)} or {path.resolve()}
        else:
            matches = map(Path, glob.glob(str(path), recursive=True))  # noqa: PTH207  any root
            folders = {match if match.is_dir() else match.parent for match in matches}
            found |= {folder.resolve() for folder in folders if is_run(folder)}
    runs = sorted(path for path in found if path.parent.name != "stages" or not is_run(path.parent.parent))
    if not any(map(is_run, runs)):
        raise ValueError(
            f"runs={', '.join(wanted)}: no run folder there (with a config.yaml and a results.json; what evaluate "
            "wrote is none). Give a pattern in quotes, such as runs='outputs/ph2_models_losses/**'."
        )
    return runs


def is_run(folder: Path) -> bool:
    """Whether a training was begun there; one that failed at once has no config.yaml, and evaluate no config_hash."""
    path = folder / "results.json"
    if not path.is_file():
        return (folder / "config.yaml").is_file() and (folder / "overrides.yaml").is_file()
    return (folder / "config.yaml").is_file() or '"config_hash"' in path.read_text(errors="replace")


def read(folder: Path) -> Run | Problem:
    """A run, or why it is none that can be reported on."""
    if not (folder / "results.json").is_file():
        return Problem(folder, "it has no results.json")
    try:
        results = json.loads(text(folder / "results.json"))
        status = results["status"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Problem(folder, f"its results.json is cut short or damaged ({explain(error).splitlines()[0]})")
    if status != "finished":
        reason = str(results.get("error") or "").splitlines()
        return Problem(folder, f"{status}{': ' + reason[0] if reason else ''}")
    try:
        config: Any = OmegaConf.to_container(OmegaConf.create(text(folder / "config.yaml")), resolve=False)
        names, images = read_images(folder / "per_image.csv")
        curves = [{key: float(value) for key, value in row.items() if value} for row in table(folder / "metrics.csv")]
        path = folder / "environment.json"
        environment = json.loads(text(path)) if path.exists() else {}
        check_shapes(config, results, environment)
        check_means(results["metrics"], images)
    except Exception as error:  # whatever can be wrong with a stranger's files
        return Problem(folder, f"its files cannot be read ({explain(error).splitlines()[0]})")
    seconds = [row["seconds"] for row in curves if "seconds" in row]
    results |= {"epoch_seconds": float(np.median(seconds))} if seconds else {}
    return Run(folder, config, results, names, images, curves, environment)


def check_shapes(config: Any, results: Any, environment: Any) -> None:
    """ValueError where a part of a run's files is not what everything after this takes it for."""
    mappings = {
        "config.yaml": config, "environment.json": environment, "metrics": results.get("metrics"),
        **{key: config.get(key) for key in ("trainer", "dataset")},
        **{key: config.get(key) or {} for key in ("published", "expected")}, "choices": config.get("choices", {}),
    } if isinstance(config, dict) else {"config.yaml": config}  # fmt: skip
    for name, value in mappings.items():
        if not isinstance(value, dict):
            raise ValueError(f"{name} is not a mapping")
    for name in ("metrics", "published", "expected"):
        for key, value in mappings[name].items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name}: {key} is not a number")
    int(config.get("seed", 0))


def check_means(metrics: Mapping[str, float], images: Mapping[str, NDArray[np.float64]]) -> None:
    """ValueError where per_image.csv is missing, or not that of these results."""
    if not images:
        raise ValueError("per_image.csv is missing or empty")
    for column, values in images.items():
        stated = metrics.get(f"test/{column}_image", math.nan)
        if math.isfinite(stated) and abs(np.nanmean(values) - stated) > FITS:
            raise ValueError(
                f"per_image.csv is another run's or cut short: its mean {column} is not test/{column}_image"
            )


def without_copies(runs: Sequence[Run]) -> tuple[list[Run], list[Problem]]:
    """Runs, each once: a copied folder is no further evidence."""
    kept: dict[Any, Run] = {}
    copies = []
    for run in runs:
        scores = tuple((name, values.tobytes()) for name, values in run.images.items())
        first = kept.setdefault((key_of(run), run.seed, run.names, scores), run)
        if first is not run:
            copies.append(
                Problem(run.folder, f"it has the config and every score of {first.folder}, which counts once")
            )
    return list(kept.values()), copies


def key_of(run: Run) -> str:
    """What runs of one group have in common."""
    return json.dumps(identity(run.config | {"seed": 0}), sort_keys=True, default=str)


def text(path: Path) -> str:
    if path.stat().st_size > MOST_BYTES:
        raise ValueError(f"{path.name} has more than {MOST_BYTES // 10**6} MB")
    return path.read_text(encoding="utf-8")


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none where it does not exist."""
    return list(csv.DictReader(io.StringIO(text(path)))) if path.exists() else []


def read_images(path: Path) -> tuple[tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Names of the test pictures and the columns of numbers."""
    rows = table(path)
    if not rows:
        return (), {}
    columns = [key for key in rows[0] if key not in ("name", "index")]
    found = {key: np.array([float(row[key] or "nan") for row in rows]) for key in columns}
    if {"label", "probability"} <= found.keys():
        found[PRESENCE] = ((found["probability"] > 0.5) == (found["label"] == 1)).astype(np.float64)
    return tuple(row["name"] for row in rows), found


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Groups in the order of their first runs, with the settings that tell them apart."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[key_of(run)].append(run)
    groups = [Group(sorted(members, key=lambda run: run.seed)) for members in found.values()]
    found_columns = columns(groups)
    for column, values in found_columns.items():
        for group, value in zip(groups, values, strict=True):
            group.settings[column] = value
    for group, title in zip(groups, titles(groups, telling(found_columns, len(groups))), strict=True):
        group.title = title
    return groups


def titles(groups: Sequence[Group], columns: Sequence[str]) -> list[str]:
    """A name of each group: of its experiment, where each has one of its own, else what it has in some columns; of
    files the last part of their path."""
    found = [experiment_of(group.config) for group in groups]
    if all(found) and len(set(found)) == len(found):
        return found
    words = [" / ".join(told(name, group.settings[name]) for name in columns) for group in groups]
    words = [text or str(group.config.get("name", "")) for text, group in zip(words, groups, strict=True)]
    return [
        text if len(text) <= TITLE and words.count(text) == 1 else f"{text[: TITLE - 6]}… ({number})"
        for number, text in enumerate(words, 1)
    ]


def told(name: str, value: str) -> str:
    """A setting in a title: numbers and switches after the name of what they set, which Hydra takes for baseline=."""
    bare = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false|null|None", value)
    return f"{name} {value}" if bare else value.rpartition("/")[2]


def experiment_of(config: Mapping[str, Any]) -> str:
    words = map(str, config.get("overrides") or [])
    return next((word.partition("=")[2] for word in words if word.startswith("experiment=")), "")


def telling(found: Mapping[str, list[str]], count: int) -> list[str]:
    """The first columns that together tell all groups apart; each adds to what those before it do."""
    kept: list[str] = []
    apart = 1
    for name in found:
        distinct = len(set(zip(*(found[key] for key in [*kept, name]), strict=True)))
        if distinct > apart and apart < count:
            kept, apart = [*kept, name], distinct
    return kept


def columns(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The settings that differ between groups: the choices of files, and single values, which below a choice count
    only where the choice is the same. Values that always go together with another of the same name are left out."""
    chosen = [group.config.get("choices", {}) for group in groups]
    flat = [flattened(identity(group.config | {"seed": 0})) for group in groups]
    found = {name: [str(one.get(name)) for one in chosen] for name in CHOICES}
    keys = sorted({key for one in flat for key in one}, key=lambda key: (key.count("."), key))
    for key in keys:
        if key.rpartition(".")[2] not in DERIVED and differs(key, flat, chosen):
            found[key] = [one.get(key, "") for one in flat]
    kept: dict[str, list[str]] = {}
    for key, values in found.items():
        if len(set(values)) > 1 and not any(same(key, values, other, kept[other]) for other in kept):
            kept[key] = values
    return shortened(kept)


def differs(key: str, flat: Sequence[Mapping[str, str]], chosen: Sequence[Mapping[str, Any]]) -> bool:
    """Whether groups have different values of a key; of one below a choice, groups with the same choice."""
    group = key.split(".", 1)[0]
    seen: dict[Any, set[str]] = defaultdict(set)
    for values, choice in zip(flat, chosen, strict=True):
        seen[choice.get(group) if group in CHOICES else None].add(values.get(key, ""))
    return any(len(values) > 1 for values in seen.values())


def same(key: str, values: list[str], other: str, others: list[str]) -> bool:
    """Whether two columns say the same: equal values, or one name and values that go together (model.freeze)."""
    pairs = set(zip(values, others, strict=True))
    together = len(pairs) == len(set(values)) == len(set(others))
    return values == others or (together and key.rpartition(".")[2] == other.rpartition(".")[2])


def shortened(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Keys by their last word where that is enough to tell them apart."""
    lasts = [key.rpartition(".")[2] for key in found]
    return {
        last if lasts.count(last) == 1 else key: values
        for (key, values), last in zip(found.items(), lasts, strict=True)
    }


def flattened(node: Any, above: str = "") -> dict[str, str]:
    """Dotted keys to values as text."""
    if not isinstance(node, dict):
        return {above: written(node)}
    return {
        key: value
        for name, below in node.items()
        for key, value in flattened(below, f"{above}.{name}".strip(".")).items()
    }


def written(value: Any) -> str:
    """A setting as it is typed, in one line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).splitlines())
