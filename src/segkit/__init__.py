"""segkit: train, evaluate and compare image-segmentation models."""

import os

__version__ = "0.1.0"

IGNORE_INDEX = 255  # mask value of pixels that no loss and no metric counts

# albumentations asks the network for a newer release at every import unless this is set before.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
