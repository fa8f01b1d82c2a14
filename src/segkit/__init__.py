"""segkit: train, evaluate and compare image-segmentation models."""

import os

__version__ = "0.1.0"

# albumentations asks the network for a newer release at every import unless this is set before.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
