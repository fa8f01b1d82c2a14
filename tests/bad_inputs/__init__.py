"""Bad, damaged and hostile input, a row a kind: every module here that has `CASES`."""

import importlib
import pkgutil

from bad_inputs.cases import Case


def all_cases() -> dict[str, Case]:
    """Every row, by its module and its name."""
    modules = {name: importlib.import_module(f"bad_inputs.{name}") for _, name, _ in pkgutil.iter_modules(__path__)}
    rows = [(name, case) for name, module in modules.items() for case in getattr(module, "CASES", ())]
    named = {f"{name}-{case.name}": case for name, case in rows}
    if len(named) < len(rows):
        raise ValueError("two rows of a module have the same name")
    return named
