"""A run of several stages: each a run of its own below `stages/`, starting with the weights of the previous one."""

import logging
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from segkit.configs.composing import compose, group_names, is_weights_file, key_of, list_keys, quote, to_plain
from segkit.configs.settings import check_settings, check_stages
from segkit.runs.folder import Record, read_results
from segkit.runs.making import make
from segkit.security import stored_configs
from segkit.tasks.deciding import check_decisions

log = logging.getLogger("segkit")

SKIPPED = ("ablation", "experiment", "init_from", "name", "resume", "run_dir", "trust")
# results of the last stage that become the run's
KEPT = ("params", "device", "precision", "epochs", "protocol", "budget", "flops", "seconds_a_picture", "advice")
OWN = (
    "config.yaml",
    "overrides.yaml",
    "results.json",
    "train.log",
    ".lock",
    "events.out.tfevents.*",
    "csv",
)  # files that stay the stage's own


def run(cfg: DictConfig, record: Record, own: bool, follow_links: bool, run_one: Callable[..., Record]) -> None:
    """Run `stages`, name to command-line words; the results of the last one become the run's own.

    Settings of the command apply to every stage that has them; those for one stage alone go into its words. A finished
    stage is left alone, and an interrupted one is resumed. run_one: runs the config of a stage.
    """

    stages: dict[str, Sequence[str]] = record.config["stages"]
    check_stages(stages, [*record.config["overrides"], *cfg.overrides])
    if own:  # find mistakes in later stages before the first one runs
        for stage in stages.values():
            plain = to_plain(stage_config(cfg, record, stage, record.folder, None, own))
            check_decisions(make(plain["model"]["net"]), plain["tta"], plain["calibrate"])
    before, seconds = record.config["init_from"], 0.0
    for name, stage in stages.items():
        folder = record.folder / "stages" / name
        log.info("stage %s: %s", name, " ".join(stage))
        if cfg.resume is None or read_results(folder)["status"] != "finished":
            config = stage_config(cfg, record, stage, folder, before, own)
            same_root = config.dataset.get("root") == record.config["dataset"].get("root")  # the root that was named
            check_settings(config, "train")
            run_one(config, own, follow_links and same_root)
        seconds += read_results(folder)["train_seconds"]
        before = str(folder)
    adopt_results(folder, record.folder)
    results = read_results(folder)
    record.metrics = results["metrics"]
    record.facts = {key: results[key] for key in KEPT if key in results}
    record.facts["train_seconds"] = round(seconds, 2)


def stage_config(
    cfg: DictConfig, record: Record, stage: Sequence[str], folder: Path, before: str | None, own: bool
) -> DictConfig:
    """The config of a stage: from its folder if it is resumed, else from its words and the command's.

    own: whether the words are known to be the user's own; otherwise only plain ones are composed.
    """
    trust = f"trust={list(cfg.trust)}"  # the user's, never a folder's
    if cfg.resume is not None and (folder / "checkpoints" / "last.ckpt").exists():
        new = [str(word) for word in cfg.overrides if is_passed_on(str(word))]
        return compose(f"resume={quote(folder)}", *new, trust)
    file = record.folder / "config.yaml"
    if not own:
        stored_configs.check_words([*map(str, record.config["overrides"]), *map(str, stage)], file)
    root = record.config["dataset"].get("root")  # absolute; the word may be relative to where the run was started
    words = {key_of(word): str(word) for word in [*record.config["overrides"], *cfg.overrides]}
    words |= {"dataset.root": f"dataset.root={quote(root)}"} if root is not None else {}
    if is_weights_file(record.config.get("weights")):
        words["weights"] = f"weights={quote(record.config['weights'])}"
    of_stage = [word for word in stage if not key_of(word).startswith("hydra")]
    given = [*select_words([*words.values()], of_stage), *of_stage]  # the stage's own words last, so that they win
    given += [f"init_from={quote(before)}"] if before is not None else []
    composed = compose(*given, f"run_dir={quote(folder)}", trust)
    if not own:
        stored_configs.check_composed(composed, file, record.folder)
        stored_configs.limit_processes(composed, [key_of(word) for word in cfg.overrides], cfg.trainer)
    return composed


def is_passed_on(word: str) -> bool:
    """Whether a word of the command applies to its stages."""
    return key_of(word) not in SKIPPED and not key_of(word).startswith(("hydra", "stages"))


def select_words(words: Sequence[str], stage: Sequence[str]) -> list[str]:
    """The words of the command whose settings a stage has."""
    groups = group_names()
    words = [word for word in words if is_passed_on(word)]
    chosen = [word for word in words if key_of(word) in groups]
    known = set(list_keys(OmegaConf.to_container(compose(*stage, *chosen), resolve=False)))
    kept = [word for word in words if word not in chosen and (key_of(word) in known or word.startswith("+"))]
    return [*chosen, *(word.lstrip("+") if key_of(word) in known else word for word in kept)]


def adopt_results(stage: Path, folder: Path) -> None:
    """Make all files of a stage the run's, except the stage's own records: hard links where possible, else copies."""
    ignored = shutil.ignore_patterns(*OWN)
    shutil.copytree(stage, folder, ignore=ignored, copy_function=_link, dirs_exist_ok=True, symlinks=True)


def _link(source: str, target: str) -> str:
    Path(target).unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
    return target
