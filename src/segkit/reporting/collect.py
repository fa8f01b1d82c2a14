"""Find and read run folders.

The files of a run folder are only read as data: nothing in them is resolved, built or unpickled.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segkit.configs.errors import explain
from segkit.configs.kinds import is_number
from segkit.configs.moved import update_names
from segkit.configs.places import PARTS
from segkit.files.patterns import find_matches, split_pattern, walk_folders
from segkit.files.reading import MOST_JSON, read_json, read_text, read_yaml
from segkit.files.tables import read_rows
from segkit.reporting.groups import Run, group_key, group_runs

PRESENCE = "presence_right"  # a column: the share of a picture's samples (itself, or its crops) predicted correctly
STATED = ("published", "expected")  # keys of a config that hold metrics
LARGEST = float(np.finfo(np.float32).max)  # trainings compute in float32
TOLERANCE = 1e-3  # between a mean over pictures and its value in results.json


@dataclass(frozen=True)
class Problem:
    """A run folder that is left out of the report, and why."""

    folder: Path
    reason: str


def find(patterns: str | Sequence[str]) -> list[Path]:
    """The run folders that glob patterns match, sorted; for a folder that is not a run, those below it.

    Links are followed where a pattern names them, and nowhere below. A stage belongs to its run and is not a run
    itself. A folder without a run that is named explicitly is returned too, so that the report can list it as left
    out. Raises ValueError if there is no run at all.
    """
    wanted = [patterns] if isinstance(patterns, str) else list(patterns)
    found: set[Path] = set()
    for pattern in wanted:
        path, rest = split_pattern(pattern)
        if not rest and path.is_dir():
            below = {path} if is_run(path) else set(walk_folders(path))
            found |= {folder.resolve() for folder in below if is_run(folder)} or {path.resolve()}
        else:
            folders = {match if match.is_dir() else match.parent for match in find_matches(path, rest)}
            found |= {folder.resolve() for folder in folders if is_run(folder)}
    runs = sorted(path for path in found if path.parent.name not in PARTS or not is_run(path.parent.parent))
    if not any(map(is_run, runs)):
        raise ValueError(
            f"runs={', '.join(wanted)}: no run folder there (one with config.yaml and results.json), and none written "
            "by evaluate. Give a pattern in quotes, such as runs='outputs/ph2_models_losses/**'."
        )
    return runs


def named_folders(patterns: str | Sequence[str]) -> list[Path]:
    """The folders that a report may read: the current one, and those that the patterns name."""
    wanted = [patterns] if isinstance(patterns, str) else patterns
    folders = {Path.cwd(), *(split_pattern(pattern)[0].resolve() for pattern in wanted)}
    return sorted(folder for folder in folders if folder != Path(folder.anchor))


def is_run(folder: Path) -> bool:
    """Whether a training was started or a run evaluated there; a training that failed at once has no config.yaml."""
    path = folder / "results.json"
    if not path.is_file():
        return (folder / "config.yaml").is_file() and (folder / "overrides.yaml").is_file()
    if (folder / "config.yaml").is_file():
        return True
    try:
        text = read_text(path, MOST_JSON)
    except (OSError, ValueError):
        return True  # `read` reports the error
    return any(key in text for key in ('"config_hash"', '"run"'))


def read(folder: Path, within: Sequence[Path] = ()) -> Run | Problem:
    """A run, or why it is left out. `within`: the folders in which a run scored by evaluate may lie."""
    if not (folder / "results.json").is_file():
        return Problem(folder, "it has no results.json")
    try:
        results = read_json(folder / "results.json")
        status = results["status"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return Problem(folder, f"its results.json is cut short or damaged ({explain(error).splitlines()[0]})")
    if status != "finished":
        reason = str(results.get("error") or "").splitlines()
        return Problem(folder, f"{status}{': ' + reason[0] if reason else ''}")
    try:
        of_run = find_training(folder, results, within)
        config: Any = update_names(read_yaml(of_run / "config.yaml"))
        if of_run != folder:
            config, results = merge_evaluation(config, results, read_json(of_run / "results.json"))
        names, clusters, images = read_images(folder / "per_image.csv")
        presence = read_presence(folder / "presence.csv", names)
        images = {**images, **correct_shares(presence, len(names))}
        curves = [
            {key: float(value) for key, value in row.items() if value} for row in read_table(of_run / "metrics.csv")
        ]
        path = of_run / "environment.json"
        environment = read_json(path) if path.exists() else {}
        check_shapes(config, results, environment)
        check_sizes(config, results, curves, images | presence)
        check_means(results["metrics"], images)
        seconds = [row["seconds"] for row in curves if "seconds" in row]
        results |= {"epoch_seconds": float(np.median(seconds))} if seconds else {}
        run = Run(folder, of_run, config, results, names, clusters, images, presence, curves, environment)
        check_usable(run)
    except Exception as error:  # files from elsewhere can be wrong in any way
        return Problem(folder, f"its files cannot be read ({explain(error).splitlines()[0]})")
    return run


def find_training(folder: Path, results: Mapping[str, Any], within: Sequence[Path]) -> Path:
    """The folder of the training behind a folder: itself, or the run that evaluate scored.

    Raises ValueError where that run lies outside `within`: a downloaded evaluation could otherwise have any file read.
    """
    if (folder / "config.yaml").is_file() or "run" not in results:
        return folder
    path = Path(str(results["run"]))
    of_run = path.parent.parent if path.suffix == ".ckpt" and path.parent.name == "checkpoints" else path
    place = of_run.resolve()
    if not any(place.is_relative_to(known) for known in within):
        raise ValueError(
            f"evaluate wrote it, but the run that it scored, {of_run}, is neither below the current folder nor below "
            "one named in runs=, so it is not read. Change to a folder above that run, or name the run in runs= too"
        )
    if not (place / "config.yaml").is_file():
        raise ValueError(f"evaluate wrote it, but the run that it scored, {of_run}, does not exist")
    return place


def merge_evaluation(config: Any, results: dict[str, Any], of_run: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Config and results of a run with the data that evaluate scored it on as its test pictures.

    Settings of the evaluation that differ from the training's go into the config, so such runs form their own group.
    """
    model, path = config["model"], Path(str(results["run"]))
    own = {
        "split": "test",
        "checkpoint": "best.ckpt",
        **decisions_of(of_run.get("calibration"), model),
        "tta": config.get("tta", "none"),
        "gate": (model.get("net") or {}).get("gate"),
        "precision": of_run.get("precision"),
    }
    here = own | {key: results[key] for key in own if results.get(key) is not None}
    here["checkpoint"] = path.name if path.suffix == ".ckpt" else "best.ckpt"
    config = config | {"dataset": results["dataset"]} | {key: here[key] for key in own if here[key] != own[key]}
    config |= {"ensemble": results["ensemble"]} if "ensemble" in results else {}
    metrics = {name.replace(f"{here['split']}/", "test/", 1): value for name, value in results["metrics"].items()}
    return config, of_run | results | {"metrics": metrics}


def decisions_of(found: Any, model: Mapping[str, Any]) -> dict[str, float]:
    """The threshold, temperature and smallest object that `found` names; of a model without a calibration otherwise."""
    plain = {"threshold": model.get("threshold", 0.5), "temperature": 1.0, "smallest": 0.0}
    known = found if isinstance(found, Mapping) else {}
    return plain | {name: known[name] for name in plain if is_number(known.get(name))}


def check_shapes(config: Any, results: Any, environment: Any) -> None:
    """Raise ValueError where a part of a run's files has a type that later code does not expect."""
    mappings = (
        {
            "config.yaml": config,
            "environment.json": environment,
            "metrics": results.get("metrics"),
            **{key: config.get(key) for key in ("trainer", "dataset")},
            **{key: config.get(key, {}) for key in ("optimizer", "scheduler")},
            **{key: config.get(key) or {} for key in STATED},
            "choices": config.get("choices", {}),
        }
        if isinstance(config, dict)
        else {"config.yaml": config}
    )
    for name, value in mappings.items():
        if not isinstance(value, dict):
            raise ValueError(f"{name} is not a mapping")
    for key, value in mappings["choices"].items():
        if value is not None and not isinstance(value, str):
            raise ValueError(f"choices: {key} is not the name of a file")
    departs = config.get("departs") or []
    if not isinstance(departs, list) or not all(isinstance(text, str) for text in departs):
        raise ValueError("departs is not a list of texts")
    for name in ("metrics", *STATED):
        for key, value in mappings[name].items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name}: {key} is not a number")


def check_sizes(
    config: Mapping[str, Any],
    results: Mapping[str, Any],
    curves: Sequence[Mapping[str, float]],
    columns: Mapping[str, NDArray[np.float64]],
) -> None:
    """Raise ValueError for numbers that no training produces and that would overflow sums and charts; a metric of an
    epoch may be infinite or NaN."""
    plain = [*results["metrics"].items(), *(cell for row in curves for cell in row.items())]
    found = [(key, value) for key, value in plain if not (isinstance(value, float) and math.isinf(value))]
    found += [item for values in (results, *(config.get(key) or {} for key in STATED)) for item in values.items()]
    huge = [key for key, value in found if isinstance(value, int | float) and abs(value) > LARGEST]
    huge += [key for key, values in columns.items() if (np.abs(values) > LARGEST).any()]
    if huge:
        raise ValueError(f"{huge[0]} is too large for float32")


def check_usable(run: Run) -> None:
    """Raise now what grouping this run and showing it in tables would raise later."""
    (group,) = group_runs([run])
    if not all(isinstance(name, str) for name in group.classes):
        raise ValueError("dataset.classes are not names")
    group.metric("test/iou")
    run.same_pictures(run)


def check_means(metrics: Mapping[str, float], images: Mapping[str, NDArray[np.float64]]) -> None:
    """Raise ValueError where per_image.csv is missing, or does not belong to these results."""
    if not images:
        raise ValueError("per_image.csv is missing or empty")
    for column, values in images.items():
        stated = metrics.get(f"test/{column}_image", math.nan)
        if math.isfinite(stated) and abs(np.nanmean(values) - stated) > TOLERANCE:
            raise ValueError(
                f"per_image.csv is cut short or another run's: its mean {column} is not test/{column}_image"
            )


def drop_copies(runs: Sequence[Run]) -> tuple[list[Run], list[Problem]]:
    """Each run once, and the folders left out: a copy, or the same run scored again in the same way, is no evidence."""
    kept: list[Run] = []
    first: dict[Any, Run] = {}
    left_out = []
    for run in runs:
        key, scores = group_key(run), tuple((name, values.tobytes()) for name, values in run.images.items())
        copied, again = (key, run.seed, run.names, scores), (key, run.seed, run.trained)
        if copied in first:
            reason = f"it has the config and all scores of {first[copied].folder}; both count as one run"
        elif again in first:
            reason = f"it scores the same run as {first[again].folder}, with the same settings; both count as one run"
        else:
            kept.append(run)
            first[copied] = first[again] = run
            continue
        left_out.append(Problem(run.folder, reason))
    return kept, left_out


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; none if it does not exist."""
    return read_rows(path) if path.exists() else []


def read_images(path: Path) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, NDArray[np.float64]]]:
    """Names of the test pictures, their clusters if the file has any, and the columns of numbers."""
    rows = read_table(path)
    if not rows:
        return (), (), {}
    columns = [key for key in rows[0] if key not in ("name", "group", "index")]
    found = {key: np.array([float(row[key] or "nan") for row in rows]) for key in columns}
    if {"label", "probability"} <= found.keys():
        found[PRESENCE] = ((found["probability"] > 0.5) == (found["label"] == 1)).astype(np.float64)
    return tuple(row["name"] for row in rows), tuple(row["group"] for row in rows if "group" in row), found


def read_presence(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Columns of presence.csv, and for each row the position of its picture in `names`."""
    rows = read_table(path)
    place = {name: at for at, name in enumerate(names)}
    if not rows or any(row["name"] not in place for row in rows):
        return {}
    found = {key: np.array([float(row[key]) for row in rows]) for key in ("label", "probability")}
    return found | {"picture": np.array([place[row["name"]] for row in rows], dtype=np.float64)}


def correct_shares(presence: Mapping[str, NDArray[np.float64]], pictures: int) -> dict[str, NDArray[np.float64]]:
    """For each picture, the share of its crops whose presence is predicted correctly at 0.5; empty if a picture has no
    crop."""
    if not presence:
        return {}
    place = presence["picture"].astype(np.int64)
    crops = np.bincount(place, minlength=pictures)
    right = np.bincount(place, (presence["probability"] > 0.5) == (presence["label"] == 1), minlength=pictures)
    return {PRESENCE: right / crops} if crops.all() else {}
