"""Parameters and constants of classes and functions, read from source files: nothing is imported, so that a misspelt
setting of a class in torch or Lightning is found without waiting for the import."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

DEPTH = 8  # most imports and base classes to follow


@cache
def read_parameters(target: str) -> frozenset[str] | None:
    """The parameter names of the class or function `target` ("torch.optim.Adam"); None if its source does not tell:
    not found, compiled, or open to any (`**kwargs`)."""
    try:
        return _read_parameters(target, DEPTH)
    except (OSError, SyntaxError, ValueError):
        return None


def _definition(target: str, depth: int) -> tuple[str, ast.ClassDef | ast.FunctionDef, int] | None:
    """Where `target` is defined, after following imports: the module, the definition, and the remaining `depth`."""
    module, _, name = target.rpartition(".")
    file = find_source(module)
    if file is None or depth == 0:
        return None
    found = find_definition(file.read_text(encoding="utf-8"), name)
    if found is not None:
        return module, found, depth
    origin = find_import(file, module, name)
    return None if origin is None else _definition(origin, depth - 1)


def _read_parameters(target: str, depth: int) -> frozenset[str] | None:
    where = _definition(target, depth)
    if where is None:
        return None
    module, found, depth = where
    if not isinstance(found, ast.ClassDef):
        return _names_of(found.args)
    for statement in found.body:
        if isinstance(statement, ast.FunctionDef) and statement.name in ("__init__", "__new__"):
            names = _names_of(statement.args)
            return None if names is None else names - {statement.args.args[0].arg}
    if "dataclass" in map(_last, found.decorator_list):
        return None
    if not found.bases:
        return frozenset()
    base = _last(found.bases[0])
    return _read_parameters(f"{module}.{base}", depth - 1) if base else None


@cache
def read_constant(target: str, name: str) -> Any:
    """The value of `name = …` in the body of the class `target` or of a base class; None if there is none."""
    try:
        return _read_constant(target, name, DEPTH)
    except (OSError, SyntaxError, ValueError):
        return None


def _read_constant(target: str, name: str, depth: int) -> Any:
    where = _definition(target, depth)
    if where is None:
        return None
    module, found, depth = where
    for statement in found.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in targets):
            return ast.literal_eval(statement.value)
    base = _last(found.bases[0]) if isinstance(found, ast.ClassDef) and found.bases else ""
    return _read_constant(f"{module}.{base}", name, depth - 1) if base else None


def _names_of(arguments: ast.arguments) -> frozenset[str] | None:
    if arguments.kwarg is not None:
        return None
    return frozenset(one.arg for one in [*arguments.args, *arguments.kwonlyargs])


def _last(node: ast.expr) -> str:
    """The name of a base class or decorator, without its module, arguments or subscript."""
    node = node.func if isinstance(node, ast.Call) else node
    node = node.value if isinstance(node, ast.Subscript) else node
    return node.id if isinstance(node, ast.Name) else ""


def find_source(module: str) -> Path | None:
    """The file of a module. Unlike importlib.util.find_spec, this does not run its parents' `__init__`."""
    where = None
    origin = None
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:length]), where)
        if spec is None:
            return None
        where, origin = spec.submodule_search_locations, spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def find_definition(source: str, name: str) -> ast.ClassDef | ast.FunctionDef | None:
    """The class or function of that name at the top level of a module; the last if it is defined several times."""
    starts = [*re.finditer(rf"^(?:class|def) {re.escape(name)}\b", source, re.MULTILINE)]
    if not starts:
        return None
    start = starts[-1].start()
    end = re.compile(r"^[^\s)\]}#]", re.MULTILINE).search(source, starts[-1].end())
    try:
        tree = ast.parse(source[start : end.start() if end else None])  # only this part of a long file
    except SyntaxError:  # a string in it continues at the left margin
        tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    return None


def find_import(file: Path, module: str, name: str) -> str | None:
    """The dotted name from which a module imports `name`."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for node in _imports(ast.parse(file.read_text(encoding="utf-8")).body):
        for alias in node.names:
            if (alias.asname or alias.name) == name:
                above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
                return ".".join([*above, *filter(None, [node.module]), alias.name])
    return None


def _imports(body: list[ast.stmt]) -> Iterator[ast.ImportFrom]:
    for node in body:
        if isinstance(node, ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If | ast.Try):
            yield from _imports(node.body)
