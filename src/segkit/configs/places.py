"""Checks of the files and folders that a command names: whether they exist and may be written, before slow imports."""

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit.configs.command import Folders
from segkit.configs.composing import format_argument, is_weights_file, key_of
from segkit.configs.inputs import STDIN, as_items, check_extra, is_pattern, is_stream
from segkit.configs.kinds import TRAINING
from segkit.files.patterns import find_matches, split_pattern
from segkit.files.reading import PICTURE_SUFFIXES, read_yaml
from segkit.files.writing import describe_part

COPY, PART = ".copy.part", ".part"  # folders of `check fix=true` and `annotations` until they are complete
TRIALS = "plan_trials"
PARTS = ("stages", TRIALS)  # folders in a run's own, of runs that are part of it
OF_A_CHECK = frozenset(("check.html", "findings.csv", "dataset_card.md", "augmented.png"))  # what `check` writes


def check_paths(config: Mapping[str, Any], verb: str) -> None:
    """FileNotFoundError or ValueError for a path in a verb's config that does not exist or cannot be used."""
    dataset = config.get("dataset") or {}
    if verb in TRAINING and config["resume"] is not None:
        check_resumable(config["resume"], Path(config["run_dir"]))
        return
    own = str(dataset.get("_target_", "segkit.")).startswith("segkit.")
    if own and dataset.get("root") is not None and dataset.get("download") is not True:
        hint = dataset.get("download")
        find_root(dataset["root"], hint if isinstance(hint, str) else "")
    if own and dataset.get("split_file") is not None and not Path(dataset["split_file"]).expanduser().is_file():
        raise FileNotFoundError(
            f"dataset.split_file={dataset['split_file']}: there is no such file. Give a run's split.json, or a CSV."
        )
    if verb in TRAINING:
        if config["init_from"] is not None:
            find_checkpoint(config["init_from"], "init_from")
        if is_weights_file(config["weights"]):
            check_weights_file(Path(config["weights"]).expanduser())
    elif "run" in config:
        for run in find_runs(config["run"]):
            find_checkpoint(run)
    if verb == "annotations":
        check_annotations(config)
        return
    if "input" in config and "output" in config:
        check_input(config["input"], Path(config["output"]))
    if config.get("notes") is not None:
        check_notes(config["notes"])
    if config.get("output") is not None:
        check_writable(config["output"])
    if config.get("fix"):
        check_copy(Path(config["output"]), dataset.get("root"))
    elif verb == "check":
        check_beside(Path(config["output"]), dataset.get("root"))


def check_run(resume: str) -> None:
    """FileNotFoundError unless there is a run in the folder `resume`."""
    if not (Path(resume) / "config.yaml").is_file():
        raise FileNotFoundError(
            f"resume={resume}: no run there (no config.yaml). Give a run folder, such as outputs/<name>/<job>."
        )


def check_resumable(resume: str, folder: Path) -> None:
    """FileNotFoundError unless there is a run in the folder `resume`; ValueError unless it goes on there."""
    check_run(resume)
    if Path(resume).resolve() != folder.resolve():
        raise ValueError(f"resume={resume} goes on in that folder: leave out hydra.run.dir={folder}.")


def find_root(root: str | Path, download: str) -> Path:
    """The folder of a data set; FileNotFoundError with its `download` hint if there is none."""
    path = Path(root).expanduser()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise FileNotFoundError(
            f"dataset.root={root} {what}; expected the folder of the data set (looked at "
            f"{path.absolute()}).\n" + (download or "Set dataset.root to the folder with the images and masks.")
        )
    return path


def find_runs(run: str | Sequence[str]) -> list[str]:
    """The runs that `run` names: one, a list, or those that a pattern such as outputs/folds/* matches."""
    found = list[str]()
    for one in [run] if isinstance(run, str) else run:
        start, rest = split_pattern(one)
        if not rest:
            found.append(one)
            continue
        matches = [path for path in sorted(find_matches(start, rest)) if path.suffix == ".ckpt" or is_trained(path)]
        if not matches:
            raise FileNotFoundError(f"run={one}: no run with a checkpoint matches. Give a pattern of run folders.")
        found += map(str, matches)
    if twice := next((one for one in found if found.count(one) > 1), None):
        raise ValueError(f"run={twice} is named twice: an ensemble is of different runs.")
    return found


def is_trained(folder: Path) -> bool:
    return (folder / "checkpoints" / "best.ckpt").is_file()


def find_checkpoint(run: str, key: str = "run") -> Path:
    """The checkpoint that `run` names: a .ckpt file, or a run folder's best.ckpt. `key`: the setting's name in
    messages."""
    path = Path(run).expanduser()
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    if not path.is_file() and (stages := Path(run).expanduser() / "stages").is_dir():
        names = ", ".join(sorted(f"{run}/stages/{stage.name}" for stage in stages.iterdir()))
        raise FileNotFoundError(
            f"{key}={run}: this run is not finished. Resume it with python -m segkit.train resume={run}, or give the "
            f"folder of one of its stages: {names}."
        )
    if not path.is_file():
        if key == "run" and any(map(is_trained, Path(run).expanduser().glob("*"))):
            raise FileNotFoundError(
                f"run={run}: no run, but a folder of runs. Name one of them, or say run='{run}/*' to have all predict "
                "together."
            )
        raise FileNotFoundError(
            f"{key}={run}: no checkpoint there. Give a run folder (outputs/<name>/<job>, with checkpoints/best.ckpt in "
            "it) or a .ckpt file."
        )
    return path


OTHER_WAYS = (
    "Other ways: weights=<file> (a state_dict of the encoder, .pth or .safetensors), weights=package:efficientnet-lite0"
    " with model.net.encoder=tf_efficientnet_lite0, or weights=none to start from random weights."
)


def check_weights_file(path: Path) -> None:
    """FileNotFoundError unless the file of weights exists."""
    if not path.is_file():
        raise FileNotFoundError(f"weights={path}: there is no such file.\n{OTHER_WAYS}")


def check_input(given: str | Sequence[str], output: Path) -> None:
    """FileNotFoundError if something to predict is not there; ValueError if the results would lie among other files,
    such as the masks that a model is trained on."""
    for item in as_items(given):
        if item == STDIN or is_stream(item) or is_pattern(item):
            continue
        check_there(Path(item), output)
    check_extra(as_items(given))
    known = ("predictions.csv", ".predictions.jsonl")
    if output.is_dir() and any(output.iterdir()) and not any((output / name).exists() for name in known):
        raise ValueError(
            f"output={output} holds files that are not predictions by segkit. Choose a new folder; masks/, overlays/ "
            "and predictions.csv are created in it."
        )


def check_there(source: Path, output: Path) -> None:
    """FileNotFoundError unless there is a file or folder to predict, ValueError if it is the output."""
    if not (source.is_file() or source.is_dir()):
        what = "is a pipe, a socket or a device" if source.exists() else "no such file or folder"
        raise FileNotFoundError(f"input={source}: {what}. Give a picture, or a folder of pictures.")
    if source.absolute() in Folders.created:  # by Hydra, for the output
        raise FileNotFoundError(
            f"input={source}: no such folder, and output={output} is in it. Give a picture, or a folder of pictures."
        )
    if source.is_dir() and output.resolve() == source.resolve():
        raise ValueError(f"input and output are the same folder, {source}. Choose another output=.")


FOR_MASKS = ("threshold", "colors", "ignore_values", "mask_suffix", "tolerance", "rle", "prefix")
FOR_FILES = ("from", "label", "unlabelled", "missing", "by_name")


def check_annotations(config: Mapping[str, Any]) -> None:
    """ValueError or OSError unless `annotations` has all that it needs and writes to a place of its own."""
    to, source, output = config["to"], Path(config["input"]), Path(config["output"])
    given = [key_of(str(word)) for word in config.get("overrides") or []]
    if useless := [key for key in (FOR_MASKS if to is None else FOR_FILES) if key in given]:
        why = "it is about masks, with to=…" if to is None else f"it is about annotation files, and to={to} reads masks"
        raise ValueError(f"{useless[0]} would change nothing: {why}. Leave it out.")
    if to is not None and config["classes"] is None:
        raise ValueError(f"to={to} needs the names of the classes in the masks, as in training: 'classes=[crack]'.")
    if not (source.is_file() or source.is_dir()):
        what = "is a pipe, a socket or a device" if source.exists() else "there is no such file or folder"
        raise FileNotFoundError(f"input={source}: {what}. Give an annotation file, or a folder of them.")
    if to is not None and not source.is_dir():
        raise NotADirectoryError(f"input={source} is a file; with to={to}, give the folder of the masks.")
    if config["images"] is not None and not Path(config["images"]).is_dir():
        what = "is a file" if Path(config["images"]).exists() else "there is no such folder"
        raise FileNotFoundError(f"images={config['images']}: {what}. Give the folder of the pictures.")
    if config["images"] is None and to is not None:
        raise ValueError(f"images=null: with to={to}, give the folder of the pictures, images=….")
    if to in ("coco", "label_studio"):
        if output.exists() or output.is_symlink():
            raise FileExistsError(f"output={output} exists. Choose a new file, such as for_correction.json.")
        check_writable(str(output.parent))
        return
    if (output / PART).exists():
        raise FileExistsError(describe_part(output / PART))
    if others := output.is_dir() and sorted(path.name for path in output.iterdir() if path.name not in OF_A_CHECK):
        raise FileExistsError(f"output={output} holds other files, such as {others[0]}. Choose a new folder.")
    check_writable(str(output))


def check_notes(path: str) -> Path:
    """The file with the user's own text for the report; FileNotFoundError if there is none."""
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(
            f"notes={path}: there is no such file. Write your hypotheses and answers there, in Markdown."
        )
    return file


def check_writable(output: str) -> None:
    """OSError unless a folder can be created, or written to."""
    path = Path(output).absolute()
    there = next(folder for folder in (path, *path.parents) if folder.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"output={output}: {there} is a file; expected a folder. Choose another output=….")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"output={output}: {there} cannot be written. Choose another output=….")
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)  # permissions alone do not tell, for example in /proc
        for folder in missing:
            folder.rmdir()
    except OSError as error:
        raise OSError(error.errno, f"output={output} cannot be created. Choose another output=…") from error


def check_copy(output: Path, root: str | None) -> None:
    """ValueError unless a repaired copy of the data set in `root` can be written to `output`: a new folder, or one in
    which a check has left its findings and nothing else."""
    if (output / COPY).exists():
        raise FileExistsError(describe_part(output / COPY))
    if others := output.is_dir() and sorted(path.name for path in output.iterdir() if path.name not in OF_A_CHECK):
        raise ValueError(
            f"fix=true output={output}: the folder is not empty, it holds {others[0]}. Name a new one for the copy."
        )
    if root is not None and output.resolve().is_relative_to(Path(root).expanduser().resolve()):
        raise ValueError(
            f"fix=true output={output} lies in dataset.root={root}, which is never changed. Name a folder elsewhere."
        )


def check_beside(output: Path, root: str | None) -> None:
    """ValueError if a check would write among pictures of the data set in `root`, or over files that are no check's."""
    here, above = output.resolve(), Path(root).expanduser().resolve() if root is not None else None
    for folder in (here, *here.parents):
        if above is None or not folder.is_relative_to(above) or (folder == above and folder != here):
            break
        if folder.is_dir() and any(is_picture(path) for path in folder.iterdir()):
            raise ValueError(f"output={output} lies among pictures of dataset.root={root}. Choose another folder.")
    there = {path.name for path in here.iterdir()} & OF_A_CHECK if here.is_dir() else set[str]()
    if there and "check.html" not in there:
        raise ValueError(f"output={output} holds {min(there)}, which is not from a check. Choose a new folder.")


def is_picture(path: Path) -> bool:
    return path.suffix.lower() in PICTURE_SUFFIXES and path.name not in OF_A_CHECK


def find_first_command(folder: Path) -> str:
    """The command that a run was started with, from the words stored in its folder, or "" if they cannot be read."""
    try:
        words = read_yaml(folder / "overrides.yaml")
    except (OSError, ValueError):
        return ""
    if not (isinstance(words, list) and all(isinstance(word, str) and word.isprintable() for word in words)):
        return ""
    return " ".join(["python -m segkit.train", *map(shlex.quote, words), format_argument("hydra.run.dir", folder)])
