"""The console command: `segkit train|evaluate|predict …` as `python -m segkit.<command> …`, and `segkit list`."""

import importlib
import sys
from pathlib import Path

import segkit
from segkit.configs import config_dir

COMMANDS = ("train", "evaluate", "predict")
GROUPS = {
    "models": "model",
    "losses": "loss",
    "datasets": "dataset",
    "experiments": "experiment",
    "ablations": "ablation",
    "optimizers": "optimizer",
    "schedulers": "scheduler",
    "augmentations": "augment",
}
USAGE = f"""segkit {segkit.__version__}: train, evaluate and compare image-segmentation models

  segkit train model=unet loss=dice dataset=ph2 dataset.root=…    one run; -m and commas for a grid
  segkit evaluate run=outputs/…                                   its metrics, on its own or other data
  segkit predict run=outputs/… input=photos/ output=masks/        masks of new pictures
  segkit list {"|".join(GROUPS)}
  segkit --version

`segkit train --help` shows every setting."""


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--version"]:
        print(segkit.__version__)
    elif words[:1] == ["list"]:
        list_group(words[1:])
    elif words and words[0] in COMMANDS:
        sys.path.insert(0, "")  # as with `python -m`: one's own model beside the working directory is found
        sys.argv = [f"segkit {words[0]}", *words[1:]]
        importlib.import_module(f"segkit.{words[0]}").main()
    else:
        print(USAGE, file=sys.stdout if words[:1] in ([], ["--help"], ["-h"]) else sys.stderr)
        sys.exit(0 if words[:1] in ([], ["--help"], ["-h"]) else 2)


def list_group(words: list[str]) -> None:
    """Print the choices of a group, each with the first comment line of its file."""
    if len(words) != 1 or words[0] not in GROUPS:
        print(
            f"segkit list: expected one of {', '.join(GROUPS)}; got {' '.join(words) or 'nothing'}",
            file=sys.stderr,
        )
        sys.exit(2)
    files = sorted((config_dir() / GROUPS[words[0]]).glob("*.yaml"))
    for path in files:
        if path.stem != "loading":
            print(f"{path.stem:24}{first_comment(path)}")


def first_comment(path: Path) -> str:
    lines = (line for line in path.read_text().splitlines() if not line.startswith("# @package"))
    return next((line.lstrip("# ") for line in lines if line.startswith("#")), "")


if __name__ == "__main__":
    main()
