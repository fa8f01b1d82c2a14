"""Checks of the objects that a stored config builds: their names, arguments and sizes."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from segkit.security.kinds import DEEPEST, SPECIAL, Arguments, Origin, Plain, Text, names_of

MOST = 100_000  # values in a config
MOST_IN_BATCH = 2**28  # pixels: one picture of 16384×16384
MOST_DRAWN, MOST_PIXELS_DRAWN = 200_000, 2**32  # pictures of a drawn data set, and their pixels
BASES = {"network": "torch.nn.Module", "loss": "torch.nn.Module", "dataset": "torch.utils.data.Dataset"}
TABLE: dict[str, Mapping[str, Arguments]] = {}  # family, name, arguments: `segkit.security.allowed` fills it
PARTIAL = ("optimizer", "scheduler")  # which Lightning calls with the missing arguments
LOST = "If the file is from someone else, do not use it."


@dataclass(frozen=True)
class Built:
    """An object of a family, built from its dotted name, `_target_`, with the arguments that the table lists; or
    anything from a module that the user trusts."""

    family: str

    @property
    def words(self) -> str:
        return f"a {self.family} with its _target_"

    def check(self, value: Any, key: str, origin: Origin) -> None:
        names = names_of(value, key, origin, special=True)
        if "_target_" not in names:
            raise origin.refuse(key, value, self.words)
        target = value["_target_"]
        Text(r"\w+(\.\w+)+", "a dotted name").check(target, f"{key}._target_", origin)
        known = TABLE[self.family].get(target)
        for name in names:
            if name in SPECIAL and not (name == "_partial_" and value[name] is True and self.family in PARTIAL):
                raise ValueError(f"{origin.file}: {key}.{name} is not allowed in a stored config. {LOST}")
            if name.startswith("_") or known is None:
                continue
            if name in known:
                known[name].check(value[name], f"{key}.{name}", origin)
            elif is_trusted(target, origin):
                Free().check(value[name], f"{key}.{name}", origin)
            elif not origin.own or target.startswith("segkit."):
                library = target.split(".")[0]
                own = "" if library == "segkit" else f"If the file is your own, say trust=[{library}]. "
                raise ValueError(
                    f"{origin.file}: {key}.{name} is not among the arguments of {target} that a stored config may set "
                    f"({', '.join(known) or 'none'}). {own}{LOST}"
                )
        if known is None and not origin.own:
            check_trusted(target, self.family, key, origin)
            for name in names:
                if not name.startswith("_"):
                    Free().check(value[name], f"{key}.{name}", origin)


@dataclass(frozen=True)
class Drawn(Built):
    """A data set, whose batches and drawn pictures have a bounded total size."""

    def check(self, value: Any, key: str, origin: Origin) -> None:
        super().check(value, key, origin)
        if value["_target_"].startswith("segkit."):
            check_sizes(value, key, origin)


def check_sizes(dataset: Mapping[str, Any], key: str, origin: Origin) -> None:
    """ValueError for a batch or a drawn data set with more pixels than a computer has memory and time for."""
    size, pictures = area(dataset.get("size", 1)), dataset.get("batch_size", 1)
    if pictures * size > MOST_IN_BATCH:
        most = f"at most {max(MOST_IN_BATCH // size, 1)} with dataset.size={dataset['size']}"
        raise origin.refuse(f"{key}.batch_size", pictures, f"{most}, or a batch has more than {MOST_IN_BATCH:,} pixels")
    count, side = sum(dataset.get("counts", ())), dataset.get("picture_size", 1)
    if count > MOST_DRAWN or count * area(side) > MOST_PIXELS_DRAWN:
        most = f"at most {min(MOST_DRAWN, MOST_PIXELS_DRAWN // area(side)):,} pictures together"
        raise origin.refuse(f"{key}.counts", dataset["counts"], f"{most} with {key}.picture_size={side}")


def area(size: int | Sequence[int]) -> int:
    """The pixels of a picture, given its side or [height, width]."""
    height, width = (size, size) if isinstance(size, int) else size
    return height * width


@dataclass(frozen=True)
class Free:
    """The arguments of a trusted module's class: plain values, and objects of any family."""

    words: str = "plain values"

    def check(self, value: Any, key: str, origin: Origin, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise origin.refuse(key, value, f"at most {DEEPEST} containers inside each other")
        if isinstance(value, Mapping) and "_target_" in value:
            families = [family for family, known in TABLE.items() if value["_target_"] in [*known]]
            Built(families[0] if families else "part").check(value, key, origin)
        elif isinstance(value, Mapping):
            for name in names_of(value, key, origin):
                self.check(value[name], f"{key}.{name}", origin, depth + 1)
        elif isinstance(value, list | tuple):
            for at, entry in enumerate(value):
                self.check(entry, f"{key}[{at}]", origin, depth + 1)
        else:
            Plain().check(value, key, origin)


def is_trusted(target: str, origin: Origin) -> bool:
    """Whether a name belongs to a module that the user trusts."""
    return any(f"{target}.".startswith(f"{module}.") for module in origin.trust)


def check_trusted(target: str, family: str, key: str, origin: Origin) -> None:
    """ValueError unless a name is a class of the family's type that a trusted module itself defines."""
    within = [module for module in origin.trust if f"{target}.".startswith(f"{module}.")]
    if not within:
        raise ValueError(
            f"{origin.file}: {key} asks for {target!r}, which is not a {family} that a stored config may build. If it "
            f"is your own code, say trust=[{target.split('.')[0]}]. {LOST}"
        )
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{origin.file}: {key} asks for {target!r}, which cannot be imported: {error}. Is it on the path?"
        ) from error
    home = getattr(found, "__module__", None)
    if not isinstance(found, type) or not any(f"{home}.".startswith(f"{one}.") for one in within):
        raise ValueError(f"{origin.file}: {key} asks for {target!r}, which is not a class of {module}. {LOST}")
    if (base := BASES.get(family)) is not None:
        module, _, name = base.rpartition(".")
        if not issubclass(found, getattr(importlib.import_module(module), name)):
            raise ValueError(f"{origin.file}: {key} asks for {target!r}, which is not a {name}. It is not loaded.")
