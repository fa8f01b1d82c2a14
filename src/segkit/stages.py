"""A run of several stages: each a run of its own below `stages/`, starting with the weights of the one before."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from segkit import records, runs
from segkit.configs import compose, config_dir, dotted, is_file_of_weights, to_plain
from segkit.sweeps import read_results

CHOSEN = ("loss", "model")  # groups that every stage has its own of
SKIPPED = ("ablation", "experiment", "init_from", "name", "resume", "run_dir", "trust")
KEPT = ("params", "device", "precision", "epochs", "protocol", "budget", "flops", "seconds_a_picture")  # of the last
OWN = (
    "config.yaml",
    "overrides.yaml",
    "results.json",
    "train.log",
    ".lock",
    "events.out.tfevents.*",
    "csv",
)  # a stage's


def run(cfg: DictConfig, record: records.Record, own: bool) -> None:
    """Run `stages`, name to words of a command line; what the last one leaves is the run's own result.

    Settings of the command hold in every stage that has them; what only one has is set in its words. A stage that is
    finished is left alone and one that was cut short goes on.
    """
    from segkit.train import run_one  # which calls this for a run of several stages

    stages: dict[str, Sequence[str]] = record.config["stages"]
    check(stages, [*record.config["overrides"], *cfg.overrides])
    if own:  # a mistake in a later stage is not to wait for the end of the first
        for stage in stages.values():
            runs.make(to_plain(stage_config(cfg, record, stage, record.folder, None))["model"]["net"])
    before, seconds = record.config["init_from"], 0.0
    for name, stage in stages.items():
        folder = record.folder / "stages" / name
        records.log.info("stage %s: %s", name, " ".join(stage))
        if cfg.resume is None or read_results(folder)["status"] != "finished":
            run_one(stage_config(cfg, record, stage, folder, before), own)
        seconds += read_results(folder)["train_seconds"]
        before = str(folder)
    adopt(folder, record.folder)
    results = read_results(folder)
    record.metrics = results["metrics"]
    record.facts = {key: results[key] for key in KEPT if key in results}
    record.facts["train_seconds"] = round(seconds, 2)


def check(stages: dict[str, Sequence[str]], words: Sequence[Any]) -> None:
    """ValueError for what cannot be run in stages."""
    if not stages:
        raise ValueError("stages names none: give it at least one, such as {first: [experiment=crack_segmentation]}.")
    for name in stages:
        if not re.fullmatch(r"[\w-]+", str(name)):
            raise ValueError(f"stages: {name!r} is to be the name of a folder: letters, digits, - and _ alone.")
    for word in map(str, words):
        if key_of(word) in CHOSEN:
            raise ValueError(
                f"{word}: every stage has its own {key_of(word)}. Set what is in it (such as model.net.widths), or "
                "write an experiment file with other `stages`."
            )


def stage_config(
    cfg: DictConfig, record: records.Record, stage: Sequence[str], folder: Path, before: str | None
) -> DictConfig:
    """The config of a stage: that of its folder if it has begun and is resumed, else of its words and the command's."""
    trust = f"trust={list(cfg.trust)}"  # the person's, never what a folder says
    if cfg.resume is not None and (folder / "checkpoints" / "last.ckpt").exists():
        new = [str(word) for word in cfg.overrides if passed_on(str(word))]
        return compose(f"resume={quoted(folder)}", *new, trust)
    root = record.config["dataset"].get("root")  # absolute; the word may be relative to where the run was started
    words = {key_of(word): str(word) for word in [*record.config["overrides"], *cfg.overrides]}
    words |= {"dataset.root": f"dataset.root={quoted(root)}"} if root is not None else {}
    if is_file_of_weights(record.config.get("weights")):
        words["weights"] = f"weights={quoted(record.config['weights'])}"
    own = [word for word in stage if not key_of(word).startswith("hydra")]
    given = [*accepted([*words.values()], own), *own]  # the stage's own words last, so that they win
    given += [f"init_from={quoted(before)}"] if before is not None else []
    return compose(*given, f"run_dir={quoted(folder)}", trust)


def key_of(word: Any) -> str:
    return str(word).split("=", 1)[0].lstrip("+~")


def passed_on(word: str) -> bool:
    """Whether a word of the command is for its stages at all."""
    return key_of(word) not in SKIPPED and not key_of(word).startswith(("hydra", "stages"))


def accepted(words: Sequence[str], stage: Sequence[str]) -> list[str]:
    """Those words of the command that a stage has the settings of."""
    groups = {path.name for path in config_dir().iterdir() if path.is_dir()}
    words = [word for word in words if passed_on(word)]
    chosen = [word for word in words if key_of(word) in groups]
    known = set(dotted(OmegaConf.to_container(compose(*stage, *chosen), resolve=False)))
    kept = [word for word in words if word not in chosen and (key_of(word) in known or word.startswith("+"))]
    return [*chosen, *(word.lstrip("+") if key_of(word) in known else word for word in kept)]


def adopt(stage: Path, folder: Path) -> None:
    """Everything that a stage's run left but its own story, as the run's: the same files where links work."""
    ignored = shutil.ignore_patterns(*OWN)
    shutil.copytree(stage, folder, ignore=ignored, copy_function=_link, dirs_exist_ok=True, symlinks=True)


def _link(source: str, target: str) -> str:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target


def quoted(path: Path | str) -> str:
    text = str(path).replace("'", "\\'")
    return f"'{text}'"
