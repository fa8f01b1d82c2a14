"""Groups of runs that differ only in their seed, and the settings in which groups differ."""

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.configs.identity import identity

CHOICES = ("dataset", "model", "loss", "optimizer", "scheduler", "augment")
PIXELS = ("tp", "fp", "fn", "tn")  # columns; for several classes, their sums
PLANNED = "planned"  # instead of a choice
TITLE = 60  # maximum length of a group's title
DERIVED = ("channels", "monitor_mode", "mode")  # last words of keys that follow from others


@dataclass(frozen=True)
class Run:
    """A finished run, as trained or as scored by evaluate.

    `folder` has its results, `trained` is the folder of its training: a different one if evaluate scored it. `images`:
    columns of per_image.csv for the pictures `names`, NaN where a cell is empty; `clusters`: the photograph, patient or
    video of each, empty if the file does not say; `presence`: label and probability of each picture or crop, and the
    position of its `picture`, empty if the run does not predict presence.
    """

    folder: Path
    trained: Path
    config: dict[str, Any]
    results: dict[str, Any]
    names: tuple[str, ...]
    clusters: tuple[str, ...]
    images: dict[str, NDArray[np.float64]]
    presence: dict[str, NDArray[np.float64]]
    curves: list[dict[str, float]]
    environment: dict[str, Any]

    @property
    def seed(self) -> int:
        return int(self.config.get("seed", 0))

    @property
    def metrics(self) -> dict[str, float]:
        """The finite metrics: some are NaN for a class that no picture shows."""
        return {name: value for name, value in self.results["metrics"].items() if math.isfinite(value)}

    def same_pictures(self, other: "Run") -> bool:
        """Whether both were tested on the same pictures: names are equal and, where as many pixels were scored, as many
        of them belong to the class (for several classes, to any)."""
        if self.names != other.names:
            return False
        if not all(set(PIXELS) <= run.images.keys() for run in (self, other)):
            return True
        (total, truth), (others, of_others) = (
            (sum(run.images[name] for name in PIXELS), run.images["tp"] + run.images["fn"]) for run in (self, other)
        )
        return bool((truth == of_others)[total == others].all())


@dataclass(eq=False)
class Group:
    """Runs that differ only in their seed. `settings`: its values in the columns in which groups differ; `title`: some
    of them, enough to tell it from the others."""

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
        """One number per seed; runs that lack it are left out."""
        return [run.metrics[name] for run in self.runs if name in run.metrics]

    def cost(self, key: str) -> float | None:
        """The median over the runs of an entry of results.json, because single timings may be disturbed."""
        values = self.costs(key)
        return float(np.median(values)) if values else None

    def costs(self, key: str) -> list[float]:
        """One number per seed."""
        return [float(run.results[key]) for run in self.runs if isinstance(run.results.get(key), int | float)]

    def setting(self, key: str) -> str | None:
        """The value of a column, of a config group or of any key of the config."""
        choices = self.config.get("choices", {})
        return self.settings.get(key) or choices.get(key) or flatten(identity(self.config)).get(key)


def group_key(run: Run) -> str:
    """What runs of one group have in common."""
    return json.dumps(compared(run.config | {"seed": 0}), sort_keys=True, default=str)


def compared(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings by which runs are compared, dotted keys to values as text: without what a plan chose, which may
    differ between seeds of one command."""
    keys = planned_keys(config)
    flat = flatten(identity(dict(config))) | {"recipe": "auto" if keys else "none"}
    return {key: value for key, value in flat.items() if not is_planned(key, keys)}


def choices_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The choices of a config's groups; "planned" for what a plan chose."""
    keys = planned_keys(config)
    return {name: PLANNED if name in keys else value for name, value in config.get("choices", {}).items()}


def is_planned(key: str, keys: Iterable[str]) -> bool:
    """Whether a setting is one of a plan's keys, or lies below one."""
    return any(f"{key}.".startswith(f"{one}.") for one in keys)


def planned_keys(config: Mapping[str, Any]) -> set[str]:
    """The settings that a plan chose, by their keys, and groups by their names; of a plan with another shape none."""
    try:
        words = [word for choice in config["plan"]["choices"] for word in choice["words"]]
        return {str(word).partition("=")[0] for word in words}
    except (KeyError, TypeError):
        return set()


def group_runs(runs: Iterable[Run]) -> list[Group]:
    """Groups in the order of their first runs, with the settings that tell them apart."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        found[group_key(run)].append(run)
    groups = [Group(sorted(members, key=lambda run: run.seed)) for members in found.values()]
    found_columns = differing_columns(groups)
    for column, values in found_columns.items():
        for group, value in zip(groups, values, strict=True):
            group.settings[column] = value
    for group, title in zip(
        groups, make_titles(groups, distinguishing_columns(found_columns, len(groups))), strict=True
    ):
        group.title = title
    return groups


def make_titles(groups: Sequence[Group], columns: Sequence[str]) -> list[str]:
    """A name for each group: its experiment's, if each has a different one, else the values that it has in some
    columns; paths by their last part."""
    found = [experiment_of(group.config) for group in groups]
    if all(found) and len(set(found)) == len(found):
        return found
    words = [
        " / ".join(setting_in_title(name, value) for name in columns if (value := group.settings[name]))
        for group in groups
    ]
    words = [text or str(group.config.get("name", "")) for text, group in zip(words, groups, strict=True)]
    seen = Counter(words)
    return [
        text if len(text) <= TITLE and seen[text] == 1 else f"{text[: TITLE - 6]}… ({number})"
        for number, text in enumerate(words, 1)
    ]


def setting_in_title(name: str, value: str) -> str:
    """A setting as text in a title: numbers and switches follow the name of the setting, so that Hydra accepts the
    title for baseline=."""
    bare = re.fullmatch(r"[-+]?[\d.]+(e[-+]?\d+)?|true|false|null|None", value)
    return f"{name} {value}" if bare else value.rpartition("/")[2]


def experiment_of(config: Mapping[str, Any]) -> str:
    words = map(str, config.get("overrides") or [])
    return next((word.partition("=")[2] for word in words if word.startswith("experiment=")), "")


def distinguishing_columns(found: Mapping[str, list[str]], count: int) -> list[str]:
    """The first columns that together tell all groups apart; a column that adds nothing is skipped."""
    kept: list[str] = []
    apart = 1
    for name in found:
        if apart == count:
            break
        distinct = len(set(zip(*(found[key] for key in [*kept, name]), strict=True)))
        if distinct > apart:
            kept, apart = [*kept, name], distinct
    return kept


def differing_columns(groups: Sequence[Group]) -> dict[str, list[str]]:
    """The settings that differ between groups: config groups, and single values, which count within a config group
    only where its choice is the same. Values that always vary together with another of the same name are left out."""
    chosen = [choices_of(group.config) for group in groups]
    flat = [compared(group.config | {"seed": 0}) for group in groups]
    found = {name: [str(one.get(name)) for one in chosen] for name in CHOICES}
    planned = [planned_keys(group.config) for group in groups]
    for key in sorted({key for one in flat for key in one}, key=lambda key: (key.count("."), key)):
        own = [at for at, keys in enumerate(planned) if not is_planned(key, keys)]
        apart = is_differing(key, [flat[at] for at in own], [chosen[at] for at in own])
        if apart and key.rpartition(".")[2] not in DERIVED:
            values = [one.get(key, "") for one in flat]
            found[key] = [PLANNED if at not in own else value for at, value in enumerate(values)]
    kept: dict[str, list[str]] = {}
    seen: set[Any] = set()  # columns are redundant if equal, or if they share a name and vary together
    for key, values in found.items():
        content = {tuple(values), (key.rpartition(".")[2], equality_pattern(values))}
        if len(set(values)) > 1 and not seen & content:
            kept[key] = values
            seen |= content
    return shorten_keys(kept)


def is_differing(key: str, flat: Sequence[Mapping[str, str]], chosen: Sequence[Mapping[str, Any]]) -> bool:
    """Whether groups have different values of a key; within a config group, only groups with the same choice count."""
    group = key.split(".", 1)[0]
    seen: dict[Any, set[str]] = defaultdict(set)
    for values, choice in zip(flat, chosen, strict=True):
        seen[choice.get(group) if group in CHOICES else None].add(values.get(key, ""))
    return any(len(values) > 1 for values in seen.values())


def equality_pattern(values: Sequence[str]) -> tuple[int, ...]:
    """Which values are equal, whatever they are: two columns with the same pattern vary together (model.freeze)."""
    place: dict[str, int] = {}
    return tuple(place.setdefault(value, len(place)) for value in values)


def shorten_keys(found: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Keys shortened to their last word if that is unique."""
    lasts = [key.rpartition(".")[2] for key in found]
    seen = Counter(lasts)
    return {last if seen[last] == 1 else key: values for (key, values), last in zip(found.items(), lasts, strict=True)}


def flatten(node: Any, above: str = "") -> dict[str, str]:
    """Dotted keys to values as text."""
    if not isinstance(node, dict):
        return {above: format_setting(node)}
    return {
        key: value
        for name, below in node.items()
        for key, value in flatten(below, f"{above}.{name}".strip(".")).items()
    }


def format_setting(value: Any) -> str:
    """A setting as it is typed, on one line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else " ".join(str(value).splitlines())
