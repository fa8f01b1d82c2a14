"""segkit: train, evaluate and compare image-segmentation models."""

import os
from pathlib import Path

__version__ = "0.1.0"

IGNORE_INDEX = 255  # mask value of pixels that no loss and no metric counts
VIEWS = {"none": 1, "mirror": 2, "flips": 4, "d4": 8}  # ways to look at a picture, and how many views each has
UNDECIDED = -1e4  # logit of a pixel that no network looked at: background, whatever the threshold

# albumentations asks the network for a newer release at every import unless this is set before.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")


def config_dir() -> Path:
    """The folder of YAML files: inside the package when installed from a wheel, beside `src/` in a checkout."""
    packaged = Path(__file__).resolve().parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "conf"
