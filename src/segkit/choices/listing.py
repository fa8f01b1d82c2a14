"""The available choices, read from the files of `conf/`: verbs, and the files of each group.

A file's first comment describes it. A file that others of its group build on says `# Shared: …`, and is not offered.
Light on purpose: `segkit list`, `segkit --help` and TAB completion wait for nothing else.
"""

import re
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from segkit import config_dir

GROUPS = {
    "models": "model",
    "losses": "loss",
    "datasets": "dataset",
    "experiments": "experiment",
    "ablations": "ablation",
    "optimizers": "optimizer",
    "schedulers": "scheduler",
    "augmentations": "augment",
    "trainers": "trainer",
    "callbacks": "callbacks",
    "loggers": "logger",
}
SHARED = "Shared: "  # how the description of a shared file begins


def verbs() -> dict[str, str]:
    """The verbs, each with the first line of its file in `conf/`: its command, spaces, and what it does."""
    files = sorted(config_dir().glob("*.yaml"), key=lambda path: (path.stem != "train", path.stem))
    return {path.stem: path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ") for path in files}


def usage(verb: str, line: str) -> str:
    """The line of `segkit --help` for a verb: its command, and a column with what it does."""
    words, _, meaning = line.partition("    ")
    return f"  {words.replace(f'python -m segkit.{verb}', f'segkit {verb}'):62}  {meaning.strip()}"


def find_choices(folders: Sequence[Path], group: str) -> dict[str, Path]:
    """The files of a group by name, from `conf/` or folders like it, without shared ones."""
    files = {path.stem: path for folder in folders for path in (folder / group).glob("*.yaml")}
    return {name: files[name] for name in sorted(files) if not is_shared(files[name])}


def is_shared(path: Path) -> bool:
    """Whether other files of its group build on this one."""
    return describe(path).startswith(SHARED)


def describe(path: Path) -> str:
    """The first sentence of a file's first comment."""
    try:
        lines = path.read_text(encoding="utf-8").removeprefix("# @package _global_\n").splitlines()
    except (OSError, UnicodeDecodeError):  # composing it will report this
        return ""
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    return re.split(r"(?<=\.) (?=[A-Z`])|:? (?=python -m)", comment, maxsplit=1)[0]
