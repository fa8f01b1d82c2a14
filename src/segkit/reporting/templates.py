"""The files that pages are made of."""

import math
from functools import cache
from importlib.resources import files

from jinja2 import Environment, Template


def read_part(name: str) -> str:
    """A file of this package."""
    return (files("segkit.reporting") / name).read_text(encoding="utf-8")


@cache
def read_template(name: str) -> Template:
    """A page to fill, compiled once in a process."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.tests["finite"] = math.isfinite
    return environment.from_string(read_part(name))
