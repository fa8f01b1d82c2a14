"""Tasks: a network with its loss, scores and optimiser."""

from segkit.tasks.segmentation import SegmentationTask

__all__ = ["SegmentationTask"]
