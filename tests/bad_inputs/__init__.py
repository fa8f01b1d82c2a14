"""Bad, damaged and hostile input, a row a kind: every module here but `cases`, `makers` and `files` has `CASES`."""

import importlib
import pkgutil

from bad_inputs.cases import Case


def all_cases() -> dict[str, Case]:
    """Every row, by its module and its name."""
    modules = [name for _, name, _ in pkgutil.iter_modules(__path__) if name not in ("cases", "makers", "files")]
    rows = [(name, case) for name in modules for case in importlib.import_module(f"bad_inputs.{name}").CASES]
    named = {f"{name}-{case.name}": case for name, case in rows}
    if len(named) < len(rows):
        raise ValueError("two rows of a module have the same name")
    return named
