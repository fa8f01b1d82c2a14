"""Classes in stored configs that have moved since the runs were trained."""

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


def update_names(node: Any) -> Any:
    """A copy of a stored config, plain containers, in which every `_target_` that has moved has its current name."""
    if isinstance(node, dict):
        return {
            key: MOVED.get(value, value) if key == "_target_" and isinstance(value, str) else update_names(value)
            for key, value in node.items()
        }
    return [update_names(entry) for entry in node] if isinstance(node, list) else node
