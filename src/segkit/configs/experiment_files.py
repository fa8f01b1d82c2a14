"""`experiment=plan.yaml`: an experiment in a file of the user's own, wherever it lies."""

from collections.abc import Sequence
from pathlib import Path

from hydra.core.config_store import ConfigStore

from segkit import config_dir
from segkit.files.reading import read_yaml

KEY = "experiment="
SUFFIXES = (".yaml", ".yml")


def register_experiments(words: Sequence[str]) -> list[str]:
    """The words of a command line, in which an experiment's file is replaced by the name by which Hydra now knows it.

    FileNotFoundError if there is no such file; ValueError if it has the name of an experiment of segkit, or is none.
    """
    return [_register(word) if word.startswith(KEY) and word.endswith(SUFFIXES) else word for word in words]


def _register(word: str) -> str:
    path = Path(word.removeprefix(KEY)).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{word}: there is no such file. segkit list experiments shows those of segkit.")
    if (config_dir() / "experiment" / f"{path.stem}.yaml").exists():
        raise ValueError(f"{word}: segkit has an experiment called {path.stem}. Rename the file.")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{word} is no experiment: expected settings by name, such as `optimizer: {{lr: 1e-3}}`.")
    ConfigStore.instance().store(path.stem, content, group="experiment", package="_global_")
    return f"{KEY}{path.stem}"
