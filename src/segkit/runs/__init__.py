"""Runs: build data, task and trainer from a config, keep the results in a folder, and load them back."""

from segkit.runs.loading import load

__all__ = ["load"]
