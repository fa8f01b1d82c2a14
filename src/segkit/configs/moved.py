"""Names in stored configs that have moved since runs were trained with them."""

from typing import Any

MOVED = {  # _target_ of a run of before 0.1.0, and of today
    "segkit.augment.Augment": "segkit.datasets.augment.Augment",
    "segkit.augment.Photometric": "segkit.datasets.augment.Photometric",
    "segkit.callbacks.EpochTable": "segkit.training.callbacks.EpochTable",
    "segkit.callbacks.Pictures": "segkit.training.callbacks.Pictures",
    "segkit.callbacks.Progress": "segkit.training.callbacks.Progress",
    "segkit.callbacks.StochasticAveraging": "segkit.training.averaging.StochasticAveraging",
    "segkit.schedules.cosine_with_warmup": "segkit.training.schedules.cosine_with_warmup",
}


def with_names_of_today(node: Any) -> Any:
    """A copy of a stored config, plain containers, in which every `_target_` that has moved has its name of today."""
    if isinstance(node, dict):
        return {
            key: MOVED.get(value, value) if key == "_target_" and isinstance(value, str) else with_names_of_today(value)
            for key, value in node.items()
        }
    return [with_names_of_today(entry) for entry in node] if isinstance(node, list) else node
