"""The house: which package may import which, how long a file may be, and where imports may stand."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "segkit"
VERBS = tuple(sorted(path.stem for path in (ROOT / "conf").glob("*.yaml")))  # nothing imports them
# Every import leads to a floor further down, or stays in its package: docs/architecture.md.
FLOORS = (
    ("segkit", "choices", "console", "files", "hardware", "geometry", "losses", "metrics", "models"),
    ("configs", "formats", "tasks"),
    ("datasets", "pictures", "security"),
    ("runs",),
    ("evaluation", "inference", "planning"),
    ("reporting", "training"),
    ("sweeps", "__main__", *VERBS),
)
PURE = ("geometry", "losses", "metrics", "models")  # these know torch and numbers, and nothing of configs or runs
KNOWN_TO_PURE = {"segkit"}
LATE = ("__main__", "sweeps", *VERBS)  # may import inside functions, so that `--help` and a mistake answer at once
LONGEST_FILE = 400


class Import(NamedTuple):
    """An import of segkit's own: from which module to which, its line, and whether it stands in a function."""

    source: str
    target: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.source} (line {self.line}) imports {self.target}"


def modules() -> dict[str, Path]:
    found = {".".join(path.relative_to(SRC.parent).with_suffix("").parts): path for path in SRC.rglob("*.py")}
    return {name.removesuffix(".__init__"): path for name, path in found.items()}


MODULES = modules()


def imports_of(name: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[name].read_text())
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "segkit":
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield Import(name, full if full in MODULES else node.module, node.lineno, id(node) not in top)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "segkit":
                    yield Import(name, alias.name, node.lineno, id(node) not in top)


IMPORTS = [found for name in MODULES for found in imports_of(name)]


def room(module: str) -> str:
    """The package, or the file at the root, that a module is in; `segkit` for what stands in its __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "segkit"


def floor(module: str) -> int:
    return next(number for number, rooms in enumerate(FLOORS) if room(module) in rooms)


def test_every_room_is_on_a_floor() -> None:
    assert {room(name) for name in MODULES} == {one for rooms in FLOORS for one in rooms}
    assert len(FLOORS) <= 7


@pytest.mark.parametrize("number", range(len(FLOORS)))
def test_every_import_leads_down(number: int) -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if floor(found.source) == number
        and room(found.source) != room(found.target)
        and room(found.target) != "segkit"
        and floor(found.target) >= number
    ]
    assert not wrong, f"on floor {number + 1} of {len(FLOORS)}, counted from below: {wrong}"


def test_nothing_imports_a_verb() -> None:
    assert not [str(found) for found in IMPORTS if room(found.target) in VERBS]


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_file_and_a_yaml_file(verb: str) -> None:
    assert "main = command(" in (SRC / f"{verb}.py").read_text()
    first = (ROOT / "conf" / f"{verb}.yaml").read_text().partition("\n")[0]
    assert re.fullmatch(rf"# python -m segkit\.{verb} \S.*\S {{4,}}\S.*", first), "its line in segkit --help"


def test_models_losses_metrics_and_geometry_are_for_themselves() -> None:
    wrong = [
        str(found)
        for found in IMPORTS
        if room(found.source) in PURE and room(found.target) not in {room(found.source), *KNOWN_TO_PURE}
    ]
    assert not wrong


def test_formats_know_files_alone() -> None:
    known = {"formats", "files", "console"}
    assert not [str(found) for found in IMPORTS if room(found.source) == "formats" and room(found.target) not in known]
    code = "".join(path.read_text() for path in (SRC / "formats").glob("*.py"))
    assert not re.findall(r"^(?:import|from) (?:torch|hydra|omegaconf)", code, re.MULTILINE)


def test_there_is_no_circle() -> None:
    graph: dict[str, set[str]] = {name: set() for name in MODULES}
    for found in IMPORTS:
        if found.target != "segkit":
            graph[found.source].add(found.target)
    done: set[str] = set()

    def walk(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"a circle: {' → '.join([*way[way.index(name) :], name])}"
        if name not in done:
            for target in sorted(graph[name]):
                walk(target, (*way, name))
            done.add(name)

    for name in sorted(graph):
        walk(name, ())


def test_imports_stand_at_the_top() -> None:
    names = {name for name, path in MODULES.items() if path.name == "__init__.py"}  # of packages, which re-export late
    wrong = [
        str(found) for found in IMPORTS if found.late and room(found.source) not in LATE and found.source not in names
    ]
    assert not wrong, f"only packages and {', '.join(LATE)} may import segkit inside a function: {wrong}"


def test_no_file_is_too_long() -> None:
    root = Path(__file__).parents[1]
    files = [path for folder in ("src", "tests", "benchmarks", "docs") for path in (root / folder).rglob("*.py")]
    lengths = {str(path): len(path.read_text().splitlines()) for path in files}
    assert not {name: length for name, length in lengths.items() if length > LONGEST_FILE}


def test_verbs_are_thin() -> None:
    assert not {name: n for name in VERBS if (n := len((SRC / f"{name}.py").read_text().splitlines())) > 100}
