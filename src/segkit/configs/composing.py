"""Configs: where they are, how a command composes them, and the values in them that follow from others.

Light on purpose (only Hydra and OmegaConf), so that `--help` and a misspelt option answer at once.
"""

import difflib
import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, MissingMandatoryValue, OmegaConf, open_dict, read_write

from segkit import config_dir
from segkit.configs.combining import register_loss_parts
from segkit.configs.experiment_files import register_experiments


def _choice(group: str, *, _root_: DictConfig) -> str | None:
    """The file chosen in a group: in the config itself while Hydra composes, in HydraConfig during a job."""
    choices = OmegaConf.select(_root_, "hydra.runtime.choices")
    return (HydraConfig.get().runtime.choices if choices is None else choices)[group]  # type: ignore[no-any-return]


def _run_dir(resume: str | None, folder: str) -> str:
    """The folder to write to: the resumed run's own, else `folder`."""
    return folder if resume is None else resume


WORD = r"(^|,){}=(.*?)(?=,[+~]*[\w.@/]+=|$)"  # one setting in a job's override_dirname, key=value,key=value


def _job_name(override_dirname: str, hashed: bool = False) -> str:
    """A folder name from a sweep job's overrides, such as `loss-dice_max_epochs-5_seed-0`; safe on every file system,
    and on Hydra's command line, where a later command names it. The seed comes last. If a sweep varies `dataset.root`,
    the name has the last part of the path, and with `hashed`, for equal last parts, a short hash of the whole path."""
    path = re.search(WORD.format(r"dataset\.root"), override_dirname)
    seed = re.search(WORD.format("seed"), override_dirname)
    if path:
        root = Path(path[2].strip("'\"")).absolute()
        short = f"{root.name}-{_hash(str(root))[:4]}" if hashed else root.name
        override_dirname = override_dirname.replace(path[0], f"{path[1]}dataset.root={short}", 1)
    if seed:
        override_dirname = f"{override_dirname.replace(seed[0], '', 1).lstrip(',')},seed={seed[2]}".lstrip(",")
    short = re.sub(r"(^|,)[^,=]*\.(?=[^,=.]+=)", r"\1", override_dirname)  # dataset.size=64 becomes size=64
    short = re.sub(r"[][{}'\"]", "", short).replace(",", "_").replace("=", "-")
    safe = "".join(c if c.isalnum() or c in ".-+_" else "-" for c in short) or "job"
    return safe if len(safe) <= 120 else f"{safe[:110]}-{_hash(override_dirname)[:8]}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def as_names(value: Any) -> list[str]:
    """None, "none", a name or a list of names, as a list."""
    return [] if value in (None, "none") else [value] if isinstance(value, str) else list(value)


LAST_EPOCH = "epoch"  # a value of `monitor`: the last epoch's weights are kept, whatever its scores


def find_monitors(config: Mapping[str, Any]) -> dict[str, str]:
    """The metrics of validation that settings name, by the setting's key; LAST_EPOCH is none."""
    named = {"monitor": config["monitor"], "scheduler.monitor": config["scheduler"].get("monitor")}
    return {key: name for key, name in named.items() if name not in (None, LAST_EPOCH)}


def find_test_metric(monitor: str) -> str:
    """The test metric that corresponds to the monitor, the metric that chooses the epoch."""
    return "test/iou_image" if monitor == LAST_EPOCH else monitor.replace("val/", "test/")


def _monitor_mode(name: str) -> str:
    return "min" if name.split("/")[1:2] == ["loss"] else "max"


OmegaConf.register_new_resolver("segkit.channels", len, replace=True)  # one class is one channel: foreground or not
OmegaConf.register_new_resolver("segkit.names", as_names, replace=True)
OmegaConf.register_new_resolver("segkit.choice", _choice, replace=True)
OmegaConf.register_new_resolver("segkit.last", lambda path: Path(path).name, replace=True)
OmegaConf.register_new_resolver("segkit.run_dir", _run_dir, replace=True)
OmegaConf.register_new_resolver("segkit.job_name", _job_name, replace=True)
OmegaConf.register_new_resolver("segkit.monitor_mode", _monitor_mode, replace=True)


def expand_home(word: str) -> str:
    """A word of a command line with ~ replaced by the home folder, which the shell does not do in `output=~/x`."""

    def plain(found: re.Match[str]) -> str:
        path = f"{Path.home()}{found[1] or ''}"
        return path if re.fullmatch(r"[\w./-]+", path, re.ASCII) else f"'{path}'"

    word = re.sub(r"(?<=[=,\[])(['\"])~(?=/|\1)", lambda found: f"{found[1]}{Path.home()}", word)
    return re.sub(r"(?<=[=,\[])~(/[^,\]]*)?(?=[,\]]|$)", plain, word)


def compose(*overrides: str, config: str = "train") -> DictConfig:
    """The config of a command line, for use from Python: `train(compose("model=unet", "seed=1"))`.

    Every call gets its own run folder below `outputs/`, unless an override `run_dir=…` names one.
    """
    outer, GlobalHydra.instance().hydra = GlobalHydra.instance().hydra, None  # a stage is composed inside a job
    overrides = tuple(register_experiments([*map(expand_home, overrides)]))
    folders = own_config_dirs()
    register_loss_parts(folders)
    words = [*overrides, f"hydra.searchpath={folders}"] if folders else list(overrides)
    try:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            cfg = hydra.compose(config, words, return_hydra_config=True)
    finally:
        GlobalHydra.instance().hydra = outer
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(cfg)  # where `${hydra:…}` in the config looks values up
    try:
        with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
            folder = OmegaConf.select(cfg, "hydra.run.dir", throw_on_missing=False)
            cfg.hydra.runtime.output_dir = str(Path(folder or ".").absolute())
        HydraConfig.instance().set_config(cfg)
        own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
        # resolve what only Hydra knows; the rest stays as written
        for key in ("choices", "run_dir", "output_dir", "overrides"):
            if key in cfg:
                value = cfg[key]
                own[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        OmegaConf.set_struct(own, False)
        return own
    finally:
        HydraConfig.instance().cfg = before


def find_classes(cfg: DictConfig) -> None:
    """Replace `dataset.classes: auto` by the names that the data set class's `find_classes` returns, before anything
    depends on their number."""
    dataset = cfg.get("dataset")
    if dataset is not None and OmegaConf.select(dataset, "classes") == "auto":
        find = getattr(hydra.utils.get_class(dataset._target_), "find_classes", None)
        if find is None:
            raise ValueError("dataset.classes=auto: this data set cannot tell its classes; name them.")
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


def has_weights(value: object) -> bool:
    """Whether `weights` names pretrained weights."""
    return value not in (None, "none")


def is_weights_file(value: object) -> bool:
    """Whether `weights` names a file and not another source."""
    return has_weights(value) and value != "imagenet" and not str(value).startswith("package:")


def parse_budget(text: str | float) -> float:
    """The seconds in 10m, 90s, 1h30m or a plain number of seconds; ValueError for anything else."""
    found = re.fullmatch(r"(?:([\d.]+)h)?(?:([\d.]+)m)?(?:([\d.]+)s?)?", str(text).strip())
    try:
        parts = [float(part or 0) for part in found.groups()] if found else [0.0]
    except ValueError:
        parts = [0.0]
    total = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if total <= 0:
        raise ValueError(f"budget={text}: expected a time such as 90s, 10m or 1h30m; a plain number means seconds.")
    return total


def format_argument(key: str, value: object) -> str:
    """`key=value` as it can be typed: quoted where the shell or Hydra requires it."""
    text = str(value)
    if re.fullmatch(r"[\w./:+@%-]+", text, re.ASCII):
        return f"{key}={text}"
    quote = '"' if "'" in text else "'"
    text = re.sub(rf"(\\+)(?={quote}|$)", r"\1\1", text).replace(quote, chr(92) + quote)
    word = f"{key}={quote}{text}{quote}"
    return shlex.quote(word) if re.search(r'["$`!]|\\\\', word) else f'"{word}"'


def quote(path: object) -> str:
    """A path as a value of a word for `compose`, whatever letters it has."""
    text = str(path).replace("'", "\\'")
    return f"'{text}'"


def list_argument(key: str, names: Sequence[str]) -> str:
    """`key=[a,b]` as it can be typed: quoted for the shell, and names that Hydra would take for something else, too."""
    plain = re.compile(r"(?!(?:null|true|false|inf|nan)$)[A-Za-z_][A-Za-z0-9_-]*", re.IGNORECASE | re.ASCII)
    quoted = (name if plain.fullmatch(name) else '"' + name.replace('"', '\\"') + '"' for name in names)
    return shlex.quote(f"{key}=[{','.join(quoted)}]")


def own_config_dirs() -> list[str]:
    """The folders given by --config-dir on this command line."""
    sources = HydraConfig.get().runtime.config_sources if HydraConfig.initialized() else []
    return [source.path for source in sources if source.provider == "command-line"]


def has_experiment(words: Sequence[str]) -> bool:
    """Whether the experiment that words name, if any, is one that a command line can name so. That of a resumed run may
    have come from a file that only the run's own command line named."""
    names = [word.removeprefix("experiment=") for word in words if word.startswith("experiment=")]
    places = [config_dir(), *map(Path, own_config_dirs())]
    known = (
        Path(name).suffix or any((place / "experiment" / f"{name}.yaml").exists() for place in places) for name in names
    )
    return all(known)


def is_in_sweep() -> bool:
    """Whether this is one of several jobs (`-m`, or an ablation)."""
    return HydraConfig.initialized() and "MULTIRUN" in str(HydraConfig.get().mode)


def group_names() -> set[str]:
    """The config groups, such as model: segkit's, and those in --config-dir."""
    folders = [config_dir(), *map(Path, own_config_dirs())]
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def key_of(word: Any) -> str:
    """The dotted key that a word of the command line sets."""
    return str(word).split("=", 1)[0].lstrip("+~")


def find_similar_keys(key: str, known: Sequence[str]) -> list[str]:
    """The settings that `key` may have meant: of that name in some group (lr, epochs), or with a similar name."""
    groups = {name.rpartition(".")[0] for name in known}
    named = [name for name in known if "." in name and name.rpartition(".")[2] in (key, f"max_{key}")]
    if found := [name for name in named if name not in groups][:3]:
        return found
    found = difflib.get_close_matches(key, known, 2, 0.75)
    return found[:1] if found and difflib.SequenceMatcher(None, key, found[0]).ratio() > 0.9 else found


def list_keys(node: Any, above: str = "") -> list[str]:
    """Every key of nested mappings, such as trainer and trainer.max_epochs."""
    if not isinstance(node, dict):
        return []
    keys = [f"{above}{key}" for key in node]
    return keys + [below for key, name in zip(node, keys, strict=True) for below in list_keys(node[key], f"{name}.")]
