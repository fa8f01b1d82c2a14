"""Configs: where they lie, how a command composes them, and the values in them that follow from others.

Light on purpose (Hydra and OmegaConf alone), so that `--help` and a misspelt option answer at once.
"""

import difflib
import hashlib
import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf, open_dict, read_write

# What a run's result does not depend on: where it is written, how it is named, who watches it.
NOT_IDENTITY = (
    "published",
    "expected",
    "report",
    "name",
    "run_dir",
    "overrides",
    "choices",
    "resume",
    "logger",
    "trust",
    "compile",
    "profile",
)
HARDWARE = ("accelerator", "devices", "num_nodes", "strategy", "use_distributed_sampler", "benchmark")


def config_dir() -> Path:
    """The folder of YAML files: inside the package when installed from a wheel, beside `src/` in a checkout."""
    packaged = Path(__file__).resolve().parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "conf"


def _choice(group: str, *, _root_: DictConfig) -> str | None:
    """The file chosen in a group. While Hydra composes it stands in the config itself, in a job beside it."""
    choices = OmegaConf.select(_root_, "hydra.runtime.choices")
    return (HydraConfig.get().runtime.choices if choices is None else choices)[group]  # type: ignore[no-any-return]


def _run_dir(resume: str | None, folder: str) -> str:
    """The folder to write: the resumed run's own, else `folder`."""
    return folder if resume is None else resume


def _job_name(override_dirname: str) -> str:
    """One folder name from a sweep job's overrides, such as `loss-dice_max_epochs-5_seed-0`; safe on every file system,
    and on Hydra's command line, where a later command names it."""
    short = re.sub(r"(^|,)[^,=]*\.(?=[^,=.]+=)", r"\1", override_dirname)  # dataset.size=64 to size=64
    short = re.sub(r"[][{}'\"]", "", short).replace(",", "_").replace("=", "-")
    safe = "".join(c if c.isalnum() or c in ".-+_" else "-" for c in short) or "job"
    return safe if len(safe) <= 120 else f"{safe[:110]}-{hashlib.sha256(override_dirname.encode()).hexdigest()[:8]}"


def names(value: Any) -> list[str]:
    """none, a name or a list of names, as a list."""
    return [] if value in (None, "none") else [value] if isinstance(value, str) else list(value)


def _monitor_mode(name: str) -> str:
    return "min" if name.split("/")[1:2] == ["loss"] else "max"


OmegaConf.register_new_resolver("segkit.channels", len, replace=True)  # one class is one channel: foreground or not
OmegaConf.register_new_resolver("segkit.names", names, replace=True)
OmegaConf.register_new_resolver("segkit.choice", _choice, replace=True)
OmegaConf.register_new_resolver("segkit.last", lambda path: Path(path).name, replace=True)
OmegaConf.register_new_resolver("segkit.run_dir", _run_dir, replace=True)
OmegaConf.register_new_resolver("segkit.job_name", _job_name, replace=True)
OmegaConf.register_new_resolver("segkit.monitor_mode", _monitor_mode, replace=True)


def compose(*overrides: str, config: str = "train") -> DictConfig:
    """The config of a command line, for use from Python: `train(compose("model=unet", "seed=1"))`.

    Every call gets a run folder of its own below `outputs/`, unless an override `run_dir=…` names one.
    """
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None  # a stage is composed inside a job
    folders = own_config_dirs()
    words = [*overrides, f"hydra.searchpath={folders}"] if folders else list(overrides)
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = hydra.compose(config, words, return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = outer
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)  # `${hydra:…}` in the config looks things up there
    try:
        with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
            folder = OmegaConf.select(cfg, "hydra.run.dir", throw_on_missing=False)
            cfg.hydra.runtime.output_dir = str(Path(folder or ".").absolute())
        HydraConfig.instance().set_config(cfg)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        # what only Hydra knows; the rest stays as written
        for key in ("choices", "run_dir", "output_dir", "overrides"):
            if key in cfg:
                value = cfg[key]
                own[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        OmegaConf.set_struct(own, False)
        return own
    finally:
        HydraConfig.instance().cfg = before


def find_classes(cfg: DictConfig) -> None:
    """Put the names in the place of `dataset.classes: auto`, before anything follows from their number: those that
    `find_classes` of the data set's class gives."""
    dataset = cfg.get("dataset")
    if dataset is not None and OmegaConf.select(dataset, "classes") == "auto":
        find = getattr(hydra.utils.get_class(dataset._target_), "find_classes", None)
        if find is None:
            raise ValueError("dataset.classes=auto: this data set does not say what its classes are; name them.")
        settings = to_plain(OmegaConf.masked_copy(dataset, [str(key) for key in dataset if key != "_target_"]))
        dataset.classes = list(find(**settings))


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain containers with every interpolation resolved; a missing value is an error that names its key."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key or str(error).rsplit(" ", 1)[-1]
        raise ValueError(f"{key} is not set: add {key}=… to the command line.") from None
    if not isinstance(plain, dict):
        raise TypeError(f"a config is a mapping; got {type(plain).__name__}")
    return {str(key): value for key, value in plain.items()}


def identity(config: dict[str, Any]) -> dict[str, Any]:
    """The part of a config that a run's result depends on."""
    kept = {key: value for key, value in config.items() if key not in NOT_IDENTITY}
    kept["trainer"] = {key: value for key, value in kept.get("trainer", {}).items() if key not in HARDWARE}
    kept["dataset"] = {key: value for key, value in kept.get("dataset", {}).items() if key not in ("workers", "cache")}
    if kept.get("lr_find"):  # what it finds is written over these values
        rate = kept["optimizer"].get("lr")
        kept |= {group: _without(kept[group], rate) for group in ("optimizer", "scheduler")}
    folder = Path(str(config.get("run_dir")))
    whole = folder.parents[1] if folder.parent.name == "stages" else folder  # a stage starts from what lies beside it
    return rebased(kept, str(whole), "")  # type: ignore[no-any-return]


def _without(node: Any, value: Any) -> Any:
    """A copy of nested mappings with None in the place of `value`."""
    if isinstance(node, dict):
        return {key: _without(below, value) for key, below in node.items()}
    return None if node == value else node


def config_hash(config: dict[str, Any]) -> str:
    """Equal for two configs whose results must be equal."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True, default=str).encode()).hexdigest()[:16]


def differences(one: Any, other: Any, key: str = "") -> list[str]:
    """The dotted keys at which two nested mappings have different values."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [key]
    names = sorted(one.keys() | other.keys())
    return [
        found for name in names for found in differences(one.get(name), other.get(name), f"{key}.{name}".strip("."))
    ]


def rebased(node: Any, old: str, new: str) -> Any:
    """A copy of plain containers in which paths below `old` (callbacks and loggers have some) lie below `new`."""
    if isinstance(node, dict):
        return {rebased(key, old, new): rebased(value, old, new) for key, value in node.items()}
    if isinstance(node, list):
        return [rebased(value, old, new) for value in node]
    return new + node[len(old) :] if isinstance(node, str) and f"{node}/".startswith(f"{old}/") else node


def check_values(config: dict[str, Any]) -> None:
    """ValueError for a word where torch, Lightning or we would compare a number with it, and for what does not go
    together."""
    for key in ("seed", "optimizer.lr", "trainer.max_epochs", "dataset.batch_size", "dataset.size"):
        group, _, name = key.rpartition(".")
        value = (config[group] if group else config).get(name)
        if isinstance(value, str):
            raise ValueError(f"{key}={value}: expected a number.")
    for key in ("published", "expected"):
        if not isinstance(config.get(key) or {}, Mapping):
            raise ValueError(f"{key}={config[key]}: expected metrics, such as '{key}={{test/iou: 0.75}}'.")
    check_fine_tuning(config)
    for key in ("compile", "profile", "lr_find"):
        if not isinstance(config.get(key, False), bool):
            raise ValueError(f"{key}={config[key]}: expected true or false.")
    if config.get("budget") is not None:
        budget_seconds(config["budget"])
        if config.get("compile"):
            raise ValueError(
                "budget=… and compile=true do not go together: compiling takes minutes that no probe foretells. Say "
                "trainer.max_epochs=… instead of a budget, or compile=false."
            )


def check_fine_tuning(config: dict[str, Any]) -> None:
    """ValueError for settings of it that are no numbers, or that would change nothing."""
    epoch, factor, frozen = config.get("unfreeze_at_epoch"), config.get("encoder_lr_factor", 1.0), config.get("freeze")
    if isinstance(factor, str | bool) or not 0 < factor < float("inf"):
        raise ValueError(f"encoder_lr_factor={factor}: expected a number above 0; freeze=encoder stops it.")
    if epoch is None:
        if factor != 1 and frozen == "encoder":
            raise ValueError(
                f"encoder_lr_factor={factor} and freeze=encoder: what is frozen does not learn at any rate."
            )
        return
    if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 1:
        raise ValueError(f"unfreeze_at_epoch={epoch}: expected a whole number, 1 or more (the first epoch is 0).")
    if not names(frozen):
        raise ValueError(f"unfreeze_at_epoch={epoch}, but nothing is frozen: say freeze=encoder as well.")
    epochs = config["trainer"].get("max_epochs")
    if config.get("budget") is None and isinstance(epochs, int) and 0 <= epochs <= epoch:
        raise ValueError(
            f"unfreeze_at_epoch={epoch}, but the training ends at epoch {epochs} "
            "(trainer.max_epochs, which follows dataset.epochs)."
        )


def wants_weights(value: object) -> bool:
    """Whether `weights` asks for any."""
    return value not in (None, "none")


def is_file_of_weights(value: object) -> bool:
    """Whether `weights` names a file, and not another place they come from."""
    return wants_weights(value) and value != "imagenet" and not str(value).startswith("package:")


def budget_seconds(text: str | float) -> float:
    """10m, 90s, 1h30m or a number of seconds, as seconds; ValueError for anything else."""
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", str(text).strip())
    try:
        parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    except ValueError:
        parts = [0.0]
    total = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if total <= 0:
        raise ValueError(f"budget={text}: expected a time such as 90s, 10m or 1h30m; a number alone is of seconds.")
    return total


def argument(key: str, value: object) -> str:
    """`key=value` as it can be typed: quoted where the shell or Hydra would stumble."""
    return f"{key}={value}" if re.fullmatch(r"[\w./:+@%-]+", str(value), re.ASCII) else f"\"{key}='{value}'\""


def own_config_dirs() -> list[str]:
    """The folders of this command line's --config-dir."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return [source.path for source in sources if source.provider == "command-line"]


def in_sweep() -> bool:
    """Whether this is one job of several (`-m`, or an ablation)."""
    return HydraConfig.initialized() and "MULTIRUN" in str(HydraConfig.get().mode)


def explain(error: BaseException) -> str:
    """The last thing a user reads of an error: its message, without a worker's traceback around it."""
    text = str(error).strip()
    if "Traceback (most recent call last)" in text:  # raised in another process: the message follows its traceback
        return re.split(r"\n(?=\w[\w.]*(?:Error|Exception): )", text)[-1].strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def command(config_name: str, run: Callable[[DictConfig], Any]) -> Callable[[], Any]:
    """The console command of `run`. A failure ends with its message and exit code 1; a sweep goes on."""
    composed = False

    def job(cfg: DictConfig) -> Any:
        nonlocal composed
        composed = True
        logging.getLogger("matplotlib").setLevel(logging.WARNING)  # before its import, which tells of its font cache
        try:
            return run(cfg)
        except Exception as error:
            print(f"\n{explain(error)}", file=sys.stderr, flush=True)
            remove_if_empty(Path(HydraConfig.get().runtime.output_dir))
            if in_sweep():  # the summary at the end of the sweep lists it and ends the command non-zero
                return None
            sys.exit(1)

    def main() -> None:
        try:
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(job)()
        except SystemExit as end:
            if end.code and not composed:
                print("".join(f"\n{line}" for line in misspelt(sys.argv[1:], config_name)), file=sys.stderr)
            raise

    return main


def remove_if_empty(folder: Path) -> None:
    """Hydra makes the output folder before anything is known to work."""
    if folder.is_dir() and not any(folder.iterdir()) and folder != Path.cwd():
        folder.rmdir()


def misspelt(words: Sequence[str], config_name: str) -> list[str]:
    """What to say of the settings on a command line that Hydra has just refused: the most similar ones there are."""
    pairs = [word.split("=", 1) for word in words if "=" in word and not word.startswith(("-", "+", "~", "hydra."))]
    groups = {path.name for path in config_dir().iterdir() if path.is_dir()}
    chosen = [f"{key}={value.split(',')[0]}" for key, value in pairs if key in groups]
    try:
        plain = OmegaConf.to_container(compose(*chosen, config=config_name), resolve=False)
    except Exception:  # a choice is the mistake
        return [text for key, value in pairs if key in groups and (text := misspelt_choice(key, value.split(",")[0]))]
    known = list(dict.fromkeys([*groups, *dotted(plain)]))
    unknown = [key for key, _ in pairs if key not in known]
    if "dataset.root" in unknown and any(key == "resume" for key, _ in pairs):  # the stored data set has it
        return ["With resume, say +dataset.root=…"]
    return [f"{key}: did you mean {' or '.join(names)}?" for key in unknown if (names := near(key, known))]


def misspelt_choice(group: str, value: str) -> str:
    """The most similar choice of a group; empty where `value` is one, or like none."""
    choices = [path.stem for path in (config_dir() / group).glob("*.yaml")]
    found = [] if value in choices else difflib.get_close_matches(value, choices, 2, 0.75)
    return f"{group}={value}: did you mean {' or '.join(found)}?" if found else ""


def near(key: str, known: Sequence[str]) -> list[str]:
    """The settings that someone who wrote `key` may have meant: of that name in some group (lr, epochs), or like it."""
    groups = {name.rpartition(".")[0] for name in known}
    named = [name for name in known if "." in name and name.rpartition(".")[2] in (key, f"max_{key}")]
    return [name for name in named if name not in groups][:3] or difflib.get_close_matches(key, known, 2, 0.75)


def check_added(config: dict[str, Any]) -> None:
    """ValueError for a setting added with + at the top, which nothing reads: `+lr=0.1` instead of optimizer.lr."""
    groups = [path.name for path in config_dir().iterdir() if path.is_dir()]
    for word in map(str, config["overrides"]):
        found = re.match(r"\+(\w+)=", word)
        if found and found[1] in config and found[1] not in groups:
            names = " or ".join(near(found[1], dotted({key: config[key] for key in config if key != found[1]})))
            hint = f" Did you mean {names}?" if names else ""
            raise ValueError(f"{word}: no setting is called {found[1]}, so it would change nothing.{hint}")


def dotted(node: Any, above: str = "") -> list[str]:
    """Every key of nested mappings, such as trainer and trainer.max_epochs."""
    if not isinstance(node, dict):
        return []
    keys = [f"{above}{key}" for key in node]
    return keys + [below for key, name in zip(node, keys, strict=True) for below in dotted(node[key], f"{name}.")]
