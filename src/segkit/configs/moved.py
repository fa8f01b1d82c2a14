"""Names in stored configs that have changed since the runs were trained."""

from typing import Any

MOVED = {  # _target_ in runs from before 0.1.0, and its current name
    "segkit.augment.Augment": "segkit.datasets.augment.Augment",
    "segkit.augment.Photometric": "segkit.datasets.augment.Photometric",
    "segkit.callbacks.EpochTable": "segkit.training.callbacks.EpochTable",
    "segkit.callbacks.Pictures": "segkit.training.callbacks.Pictures",
    "segkit.callbacks.Progress": "segkit.training.callbacks.Progress",
    "segkit.callbacks.StochasticAveraging": "segkit.training.averaging.StochasticAveraging",
    "segkit.schedules.cosine_with_warmup": "segkit.training.schedules.cosine_with_warmup",
}
FOLDER = "segkit.datasets.folder.Folder"
RENAMED = {FOLDER: {"group": "groups"}}  # settings
ADDED: dict[str, dict[str, Any]] = {  # settings that are newer than some runs, with the value that changes nothing
    FOLDER: {"stratify": False, "split_file": None, "only_masked": False}
    | dict.fromkeys(("images", "masks", "image_pattern", "mask_pattern", "pairs", "ignore_masks")),
}


def update_names(node: Any) -> Any:
    """A copy of a stored config, plain containers, with every `_target_` and setting under its current name, and with
    settings that are newer: so it is the same as that of a run of today."""
    if isinstance(node, dict):
        target = node.get("_target_")
        target = MOVED.get(target, target) if isinstance(target, str) else None
        names = RENAMED.get(target, {}) if target else {}
        found = {names.get(key, key): update_names(value) for key, value in node.items()}
        return ADDED.get(target, {}) | found | {"_target_": target} if target else found
    return [update_names(entry) for entry in node] if isinstance(node, list) else node
