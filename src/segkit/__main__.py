"""The console command: `segkit train|evaluate|predict …` as `python -m segkit.<command> …`, and `segkit list`."""

import importlib
import re
import signal
import sys
from itertools import takewhile
from pathlib import Path

import segkit
from segkit.configs import config_dir

COMMANDS = ("train", "evaluate", "predict", "check", "report")
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
SHARED = ("loading", "task", "_recipe")  # how files end that others of their group begin with
USAGE = f"""segkit {segkit.__version__}: train, evaluate and compare image-segmentation models

  segkit train model=unet loss=dice dataset=ph2 dataset.root=…    one run; -m and commas for a grid
  segkit evaluate run=outputs/…                                   its metrics, on its own or other data
  segkit predict run=outputs/… input=photos/ output=masks/        masks of new pictures
  segkit check dataset=… augment=…                                what the network will see
  segkit report runs='outputs/…/**'                               many runs on one page, and whether they differ
  segkit list                                                     what can be chosen
  segkit --version

`segkit train --help` shows every setting."""


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--version"]:
        print(segkit.__version__)
    elif words[:1] == ["list"]:
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `segkit list models | head` ends quietly
        list_group(words[1:])
    elif words and words[0] in COMMANDS:
        sys.path.insert(0, "")  # as with `python -m`: one's own model beside the working directory is found
        sys.argv = [f"segkit {words[0]}", *words[1:]]
        importlib.import_module(f"segkit.{words[0]}").main()
    else:
        asked = words[:1] in ([], ["--help"], ["-h"])
        print(USAGE, file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)


def list_group(words: list[str]) -> None:
    """Print the choices of a group, each with what its file says of itself; without a group, all their names."""
    if not words:
        for title, group in GROUPS.items():
            print(f"{title:16}{group}={', '.join(path.stem for path in choices(group))}")
        print("\nsegkit list models (or another of these) says what each is.")
    elif len(words) == 1 and words[0] in GROUPS:
        found = choices(GROUPS[words[0]])
        width = max(len(path.stem) for path in found) + 2
        for path in found:
            print(f"{path.stem:{width}}{description(path)}")
    else:
        print(f"segkit list: expected one of {', '.join(GROUPS)}; got {' '.join(words)}", file=sys.stderr)
        sys.exit(2)


def choices(group: str) -> list[Path]:
    return sorted(path for path in (config_dir() / group).glob("*.yaml") if not path.stem.endswith(SHARED))


def description(path: Path) -> str:
    """The first sentence of the comment that a file begins with."""
    lines = path.read_text().removeprefix("# @package _global_\n").splitlines()
    comment = " ".join(line.lstrip("# ") for line in takewhile(lambda line: line.startswith("#"), lines))
    return re.split(r"(?<=\.) (?=[A-Z`])|:? (?=python -m)", comment, maxsplit=1)[0]


if __name__ == "__main__":
    main()
