"""Configs: where they lie, how a command composes them, and the values in them that follow from others.

Light on purpose (Hydra and OmegaConf alone), so that `--help` and a misspelt option answer at once.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

# What a run's result does not depend on: where it is written, how it is named, who watches it.
NOT_IDENTITY = ("name", "run_dir", "overrides", "choices", "resume", "logger")


def config_dir() -> Path:
    """The folder of YAML files: inside the package when installed from a wheel, beside `src/` in a checkout."""
    packaged = Path(__file__).resolve().parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "conf"


def _channels(classes: list[str]) -> int:
    """Logit channels: 1 for one class (sigmoid), one a class for several (softmax)."""
    return 1 if len(classes) == 1 else len(classes)


def _run_dir(resume: str | None, folder: str) -> str:
    """The folder to write: the resumed run's own, else `folder`, numbered where it is taken."""
    if resume is not None:
        return resume
    path, number = folder, 1
    while Path(path).exists():
        number += 1
        path = f"{folder}-{number}"
    return path


def _job_name(override_dirname: str) -> str:
    """One folder name, safe on every file system, from a sweep job's overrides: `loss=dice,max_epochs=5,seed=0`."""
    short = re.sub(r"(^|,)[^,=]*\.(?=[^,=.]+=)", r"\1", override_dirname)  # dataset.size=64 to size=64
    safe = "".join(c if c.isalnum() or c in "=,.-+_" else "-" for c in re.sub(r"[][{}'\"]", "", short)) or "job"
    return safe if len(safe) <= 120 else f"{safe[:110]}-{hashlib.sha256(override_dirname.encode()).hexdigest()[:8]}"


OmegaConf.register_new_resolver("segkit.channels", _channels, replace=True)
OmegaConf.register_new_resolver("segkit.run_dir", _run_dir, replace=True)
OmegaConf.register_new_resolver("segkit.job_name", _job_name, replace=True)
OmegaConf.register_new_resolver("segkit.monitor_mode", lambda name: "min" if "loss" in name else "max", replace=True)


def compose(*overrides: str, config: str = "train") -> DictConfig:
    """The config of a command line, for use from Python: `train(compose("model=unet", "seed=1"))`.

    Every call gets a run folder of its own below `outputs/`, unless an override `run_dir=…` names one.
    """
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        cfg = hydra.compose(config, list(overrides), return_hydra_config=True)
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)  # `${hydra:…}` in the config looks things up there
    try:
        with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
            cfg.hydra.runtime.output_dir = str(Path(cfg.hydra.run.dir).absolute())
        HydraConfig.instance().set_config(cfg)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        return OmegaConf.create(OmegaConf.to_container(own, resolve=True))  # type: ignore[return-value]
    finally:
        HydraConfig.instance().cfg = before


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain containers with every interpolation resolved; a missing value is an error that names its key."""
    plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    if not isinstance(plain, dict):
        raise TypeError(f"a config is a mapping; got {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def config_hash(config: dict[str, Any]) -> str:
    """Identity of a run: equal for two configs whose results must be equal."""
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    text = json.dumps(kept, sort_keys=True, default=str).replace(f'"{config.get("run_dir")}', '"')  # callbacks name it
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def in_sweep() -> bool:
    """Whether this is one job of several (`-m`, or an ablation)."""
    return HydraConfig.initialized() and "MULTIRUN" in str(HydraConfig.get().mode)


def explain(error: BaseException) -> str:
    """The last thing a user reads of an error: its message, without a worker's traceback around it."""
    text = str(error).strip()
    if "Original Traceback" in text:  # raised in a DataLoader worker: the message follows the traceback
        text = text.rsplit(f"\n{type(error).__name__}: ", 1)[-1].strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def command(config_name: str, run: Callable[[DictConfig], Any]) -> Callable[[], Any]:
    """The console command of `run`. A failure ends with its message and exit code 1; a sweep goes on."""

    @hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)
    def main(cfg: DictConfig) -> Any:
        try:
            return run(cfg)
        except Exception as error:
            print(f"\n{explain(error)}", file=sys.stderr, flush=True)
            if in_sweep():  # the summary at the end of the sweep lists it and ends the command non-zero
                return None
            sys.exit(1)

    return main  # type: ignore[no-any-return]
