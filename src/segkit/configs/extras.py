"""Packages that are not installed with segkit, for the settings that need them."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

LOGGERS = {".WandbLogger": "wandb", ".MLFlowLogger": "mlflow"}  # with the module, and extra, that each needs


def check_extra(setting: str, module: str, extra: str) -> None:
    """ValueError unless the module that a setting needs is installed."""
    if getattr(find_spec(module), "origin", None) is None:  # a folder of that name is no module
        raise ValueError(f"{setting}: {module} is not installed: pip install 'segkit[{extra}]'.")


def check_loggers(config: Mapping[str, Any]) -> None:
    """ValueError for a logger whose package is not installed."""
    for name, node in (config.get("logger") or {}).items():
        target = str((node or {}).get("_target_", ""))
        for module in (module for ending, module in LOGGERS.items() if target.endswith(ending)):
            check_extra(f"logger={name}", module, module)


def check_measuring(config: Mapping[str, Any]) -> None:
    """ValueError for settings of measurements that change nothing, and for cracks without scikit-image."""
    if config["measure"] is None:
        for key in ("measure_class", "scale"):
            if config[key] is not None:
                raise ValueError(f"{key} would change nothing without measure=cracks or objects: add one of them.")
    if config["measure"] == "cracks":
        check_extra("measure=cracks", "skimage", "measure")


def check_centre_lines(key: str, tolerance: Any, monitors: Mapping[str, str]) -> None:
    """ValueError for a score of centre lines without scikit-image, and for a metric that waits for one not computed."""
    if tolerance is not None:
        check_extra(f"{key}={tolerance}", "skimage", "measure")
    for setting, monitor in monitors.items():
        if tolerance is None and monitor.startswith("val/cliou"):
            raise ValueError(
                f"{setting}={monitor} is computed if you ask for it: add {key}=4, the tolerance in pixels."
            )
