"""Configs: composing and checking command lines."""

from segkit.configs.composing import compose

__all__ = ["compose"]
