"""Runs: build data, task and trainer from a config, keep the results in a folder, and load them back."""

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load`, imported where it is used: prediction does without, and without Lightning."""
    if name != "load":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from segkit.runs.loading import load

    return load
