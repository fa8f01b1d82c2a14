"""Tasks: a network with its loss, scores and optimiser."""

from typing import Any

__all__ = ["SegmentationTask"]


def __getattr__(name: str) -> Any:
    """`SegmentationTask`, imported where it is used: prediction does without, and without Lightning."""
    if name != "SegmentationTask":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from segkit.tasks.segmentation import SegmentationTask

    return SegmentationTask
