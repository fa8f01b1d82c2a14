"""A run's config with other pictures to score it on."""

from typing import Any

from segkit.configs.settings import suggest_keys
from segkit.security import stored_configs

KEPT = ("size", "train", "eval", "crops", "scale", "presence_threshold")  # keys of dataset.* that stay the run's


def evaluation_config(stored: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The run's config with the data to score on. Pictures and the meaning of their masks come from `settings`; size,
    classes, normalisation and threshold stay the run's."""

    other = {key: value for key, value in (settings["dataset"] or {}).items() if value is not None}
    own = stored["dataset"]
    if "_target_" in other:
        if settings["dataset"].get("root", "") is None and "download" in other:
            where = other["download"] if isinstance(other["download"], str) else ""  # for pets it is a switch
            raise ValueError(f"dataset.root is not set: add dataset.root=… to the command line. {where}".rstrip())
        if other["classes"] == "auto":
            other["classes"] = own["classes"]
        several = len(own["classes"]) > 1  # a single class may have another name elsewhere
        if len(other["classes"]) != len(own["classes"]) or (several and other["classes"] != own["classes"]):
            raise ValueError(
                f"run={settings['run']} and the data disagree: the run knows the classes {own['classes']}, the data "
                f"set {other['classes']}. State the run's classes as dataset.classes, in its order."
            )
        dataset = other | {"classes": own["classes"]} | {key: own[key] for key in KEPT if key in own}
    else:
        if unknown := sorted(other.keys() - own.keys() - {"root"}):
            hint = suggest_keys(unknown[0], sorted(own), "dataset")
            raise ValueError(f"dataset.{unknown[0]}: the run's data set has no such setting.{hint}")
        dataset = stored_configs.merge_stored_dataset(own, other, settings["run"], settings["trust"])
    precision = settings["precision"] or stored["precision"]
    return stored | {
        "dataset": dataset | {"cache": "off"},  # every picture is read once
        "precision": precision,
        "augment": None,
        "trainer": {"accelerator": settings["accelerator"]},
    }
