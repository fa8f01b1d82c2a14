"""Configs: composing and checking what a command line says."""

from segkit.configs.composing import compose

__all__ = ["compose"]
