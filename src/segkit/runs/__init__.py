"""Runs: a config becomes data, a task and a trainer; what they leave in a folder; and the way back from there."""

from segkit.runs.loading import load

__all__ = ["load"]
