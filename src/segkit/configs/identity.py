"""A run's identity: the part of its config that the result depends on."""

import hashlib
import json
from pathlib import Path
from typing import Any

# Settings that do not affect a run's result: where it is written, its name, its loggers.
NOT_IDENTITY = (
    "published",
    "expected",
    "departs",
    "report",
    "name",
    "run_dir",
    "overrides",
    "choices",
    "resume",
    "logger",
    "trust",
    "compile",
    "scored_train",
    "force",
    "profile",
    "check",
    "recipe",
    "plan",
    "predict_ms",
)
OF_A_PLACE = ("workers", "cache", "download")  # settings of a data set; a resumed run never downloads
# What older configs lack (of the data set, of the model, at the top), and what that means.
LATER: dict[str, Any] = {
    "passes": 1,
    "scale": 1,
    "foreground": 0,
    "prior": None,
    "standardise": False,
    "tta": "none",
    "calibrate": False,
}
SWEEP_ID = "SEGKIT_SWEEP"  # environment variable of a sweep's jobs
HARDWARE = ("accelerator", "devices", "num_nodes", "strategy", "use_distributed_sampler", "benchmark")


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that a run's result depends on."""
    kept = without_later({key: value for key, value in config.items() if key not in NOT_IDENTITY})
    kept["trainer"] = {key: value for key, value in kept.get("trainer", {}).items() if key not in HARDWARE}
    kept["model"] = without_later(kept.get("model", {}))
    kept["dataset"] = {key: value for key, value in kept.get("dataset", {}).items() if counts(key, value)}
    if kept.get("lr_find"):  # its result overwrites these values
        rate = kept["optimizer"].get("lr")
        kept |= {group: _without(kept[group], rate) for group in ("optimizer", "scheduler")}
    folder = Path(str(config.get("run_dir")))
    whole = folder.parents[1] if folder.parent.name == "stages" else folder  # a stage starts from its siblings' weights
    return move_paths(kept, str(whole), "")  # type: ignore[no-any-return]


def without_later(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings without those that are as if they were not there: older configs lack them."""
    return {key: value for key, value in settings.items() if (key, value) not in LATER.items()}


def counts(key: str, value: Any) -> bool:
    """Whether a setting of a data set counts: what is null, or as if it were not there, is not in older configs."""
    return key not in OF_A_PLACE and value is not None and (key not in LATER or value != LATER[key])


def _without(node: Any, value: Any) -> Any:
    """A copy of nested mappings with None in place of `value`."""
    if isinstance(node, dict):
        return {key: _without(below, value) for key, below in node.items()}
    return None if node == value else node


def config_hash(config: dict[str, Any]) -> str:
    """Equal for two configs whose results must be equal."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True, default=str).encode()).hexdigest()[:16]


def differences(one: Any, other: Any, key: str = "") -> list[str]:
    """The dotted keys at which two nested mappings have different values."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [key]
    names = sorted(one.keys() | other.keys())
    return [
        found for name in names for found in differences(one.get(name), other.get(name), f"{key}.{name}".strip("."))
    ]


def move_paths(node: Any, old: str, new: str) -> Any:
    """A copy of plain containers in which paths below `old` (in callbacks and loggers) are moved below `new`."""
    if isinstance(node, dict):
        return {move_paths(key, old, new): move_paths(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [move_paths(value, old, new) for value in node]
    return new + node[len(old) :] if isinstance(node, str) and f"{node}/".startswith(f"{old}/") else node
