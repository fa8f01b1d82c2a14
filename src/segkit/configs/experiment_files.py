"""`experiment=plan.yaml`: an experiment in a file of the user's own, wherever it lies."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from segkit import config_dir
from segkit.files.reading import read_yaml

KEY = "experiment="
SUFFIXES = (".yaml", ".yml")
registered = dict[str, str]()  # words with files of this process, by the words that Hydra sees in their place
# A class to build; Hydra's own settings or choices; an interpolation that calls a resolver, or has another in it.
FOREIGN = re.compile(r"_target_|(?:^|[\s+~/])hydra(?=$|[./@=:])|\$\{[^{}]*(?::|\$\{)")


def register_experiments(words: Sequence[str]) -> list[str]:
    """The words of a command line, in which an experiment's file is replaced by the name by which Hydra now knows it.

    FileNotFoundError if there is no such file; ValueError if it has the name of an experiment of segkit, or is none.
    """
    return [_register(word) if word.startswith(KEY) and word.endswith(SUFFIXES) else word for word in words]


def find_foreign(content: Any) -> str:
    """What in an experiment reaches beyond settings, or "": Hydra's own (callbacks, folders, launchers), classes to
    build, and values from elsewhere, such as the environment; also as the words of a stage."""
    if isinstance(content, dict):
        content = [*content, *content.values()]
    if isinstance(content, list):
        return next(filter(None, map(find_foreign, content)), "")
    found = FOREIGN.search(content) if isinstance(content, str) else None
    return found[0].strip() if found else ""


def _register(word: str) -> str:
    path = Path(word.removeprefix(KEY)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{word}: there is no such file. segkit list experiments shows those of segkit.")
    if (config_dir() / "experiment" / f"{path.stem}.yaml").exists():
        raise ValueError(f"{word}: segkit has an experiment called {path.stem}. Rename the file.")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{word} is no experiment: expected settings by name, such as `optimizer: {{lr: 1e-3}}`.")
    if foreign := find_foreign(content):
        raise ValueError(
            f"{word} says {foreign}: a file that is named by its path holds settings alone, as it may be a stranger's. "
            "If you trust it, put it into <a folder>/experiment/ and say --config-dir=<the folder>."
        )
    ConfigStore.instance().store(path.stem, content, group="experiment", package="_global_")
    registered[f"{KEY}{path.stem}"] = word
    return f"{KEY}{path.stem}"


def as_typed(words: Sequence[str]) -> list[str]:
    """Words with the experiment's file as it was typed."""
    return [registered.get(word, word) for word in words]
