"""Checks of settings before anything heavy is imported: a mistake is reported at once, with its key and what was
expected.

`kinds` lists the settings that segkit reads itself. Others are compared with their defaults, and with the parameters
of the class or function that receives them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import DictConfig, OmegaConf

from segkit import config_dir
from segkit.choices.completion import load_verb
from segkit.configs import places
from segkit.configs.composing import (
    LAST_EPOCH,
    as_names,
    compose,
    find_monitors,
    find_similar_keys,
    group_names,
    key_of,
    list_keys,
    to_plain,
)
from segkit.configs.extras import check_centre_lines, check_loggers, check_measuring
from segkit.configs.identity import HARDWARE
from segkit.configs.kinds import LOADING, OWN, TRAINING, is_number, is_whole, kinds_of
from segkit.configs.signatures import read_constant, read_parameters
from segkit.metrics.names import SCORES, VARIANT, unknown_metric

# Arguments that segkit passes itself, so that setting them in the group would change nothing, and what to set instead.
GIVEN = {
    "trainer": {
        "callbacks": "callbacks=[…]",
        "logger": "logger=[…]",
        "precision": "precision=…",
        "plugins": "",
        "default_root_dir": "hydra.run.dir=…",
    },
    "model": {
        "classes": "dataset.classes=[…]",
        "loss": "loss=…",
        "optimizer": "optimizer=…",
        "seed": "seed=…",
        "scheduler": "scheduler=…",
        "interval": "scheduler.interval=…",
        "monitor": "monitor=…",
        "facts": "",
        "example_size": "dataset.size=…",
    },
    "dataset": {"split": "split=… of segkit evaluate"},
}

# Settings that may change when a run is resumed: its length, its hardware and the place of its data set. `trainer=gpu`,
# another file of the group, changes only the trainer's settings listed here, and not the length.
MAY_CHANGE = {
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_time",
    "budget",
    *(f"trainer.{name}" for name in HARDWARE),
    "precision",
    "compile",
    "profile",
    "check",
    "dataset.root",
    "dataset.cache",
    "dataset.workers",
    "dataset.groups",  # the split must stay the same: other pictures in it are refused
    "dataset.split_file",
}
OF_STAGES = ("loss", "model")  # groups that each stage sets for itself
MAY_BE_NULL = ("augment", "callbacks", "logger")  # groups that need no choice


def check_settings(cfg: DictConfig, verb: str) -> dict[str, Any]:
    """Check a verb's settings, values and paths, and return its config as plain containers; ValueError or
    FileNotFoundError for the first mistake, with its key."""
    words = [str(word) for word in cfg.get("overrides") or []]
    resumed = cfg.get("resume") is not None  # then the stored config counts
    if resumed:
        places.check_run(str(cfg.resume))
        check_resumed(words, str(cfg.resume))
    check_kinds(cfg, verb)
    if verb in TRAINING and not resumed and cfg.stages is not None:
        check_stages(cfg.stages, words)
    if not resumed:
        check_known(cfg, words, verb)
    check_like_defaults(cfg, words, verb)
    config = to_plain(cfg)
    if verb in TRAINING and not resumed:
        check_together(config)
    if verb == "predict":
        check_measuring(config)
    if verb == "evaluate":
        check_centre_lines("cliou", config["cliou"], {})
    check_tiles(config)
    places.check_paths(config, verb)
    return config


def check_tiles(config: Mapping[str, Any]) -> None:
    """ValueError for settings that do not go with tiles, or with their absence."""
    if config.get("overlap") is not None and config["tile"] is None:
        raise ValueError(f"overlap={config['overlap']} is of tiles, and there are none: say tile=auto as well.")
    if config.get("tile") is not None and config.get("gate") == "sweep":
        raise ValueError(f"gate=sweep takes pictures as training did, not in tiles: leave out tile={config['tile']}.")


def check_resumed(words: Sequence[str], folder: str) -> None:
    """ValueError for a word with a setting that cannot change in a resumed run."""
    for word in words:
        key = key_of(word)
        taken = key.partition(".")[0] in ("logger", "hydra")  # loggers are the command's own
        if key not in MAY_CHANGE | {"trainer", "resume", "trust", "run_dir"} and not taken:
            raise ValueError(
                f"{word} cannot change in a resumed run: {folder} goes on with its own config. Only its length "
                "(trainer.max_epochs, budget), hardware (trainer=gpu, precision, compile, profile, dataset.workers, "
                "dataset.cache), place (+dataset.root), check and loggers may; for the rest start a new run."
            )


def check_kinds(cfg: Any, verb: str) -> None:
    """ValueError for a value of the wrong kind, or out of its range."""
    for key, kind in kinds_of(verb).items():
        above = key.rpartition(".")[0]
        target = str(OmegaConf.select(cfg, f"{above}._target_", default="") or "") if above else ""
        if key in OWN and target and not target.startswith("segkit."):
            continue  # a user's own class
        absent = object()
        value = OmegaConf.select(cfg, key, default=absent)
        if value is absent or (value is None and above == "dataset" and not target):  # evaluate uses the run's own
            continue
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        if not kind.fits(value):
            raise ValueError(f"{key}={format_value(value)}: expected {kind.words}.")


def format_value(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{','.join(map(format_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}: {format_value(one)}' for key, one in value.items())}}}"
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else str(value) or "''"
    )


def check_known(cfg: DictConfig, words: list[str], verb: str) -> None:
    """ValueError for a setting that nothing reads, from the command line or a file."""
    raw = OmegaConf.to_container(cfg, resolve=False)
    if not isinstance(raw, dict):
        raise TypeError("a config is a mapping")
    known = list_top_keys(verb)
    text = OmegaConf.to_yaml(cfg)
    for key in map(str, raw):
        if key not in known and not re.search(rf"\$\{{{re.escape(key)}[.\[}}]", text):
            hint = suggest_keys(key, [name for name in list_keys(raw) if name.partition(".")[0] != key])
            raise ValueError(f"{find_word(key, words)}: no setting is called {key}, so it would change nothing.{hint}")
    groups = group_names()
    for key in sorted(known - groups - raw.keys()):
        raise ValueError(f"{key} is missing, and segkit {verb} needs it: leave out ~{key}.")
    for group in needed_groups(verb):
        if not isinstance(raw.get(group), dict):
            raise ValueError(f"{group}={format_value(raw.get(group))}: expected a choice; segkit list shows them all.")
    for path, node in find_targets(raw):
        check_parameters(path, node, words)
    if isinstance(raw.get("scheduler"), dict) and (
        extra := raw["scheduler"].keys() - {"scheduler", "interval", "monitor"}
    ):
        name = f"scheduler.{min(extra)}"
        raise ValueError(f"{find_word(name, words)}: nothing reads it. Did you mean scheduler.{name}?")


def check_parameters(path: str, node: Mapping[str, Any], words: list[str]) -> None:
    """ValueError for a setting that the class or function of a config node does not take."""
    taken = read_parameters(str(node["_target_"]))
    given = GIVEN.get(path, {})
    more = {key.partition(".")[2] for key in LOADING} if path == "dataset" else set()
    for key in map(str, node):
        name, title = f"{path}.{key}", str(node["_target_"]).rpartition(".")[2]
        if key in given and key not in more and not (path == "dataset" and key == "classes"):
            instead = f" Say {given[key]} instead." if given[key] else ""
            raise ValueError(
                f"{find_word(name, words)}: segkit sets this itself for {title}, so it would change nothing.{instead}"
            )
        if taken is not None and not key.startswith("_") and key not in taken | more:
            hint = suggest_keys(key, sorted((taken | more) - given.keys()), path)
            raise ValueError(f"{find_word(name, words)}: {title} has no setting {key}.{hint}")


def suggest_keys(key: str, known: list[str], path: str = "") -> str:
    """What a user may have meant by an unknown setting, as a question."""
    found = [f"{path}.{name}" if path else name for name in find_similar_keys(key, known)]
    return f" Did you mean {' or '.join(found)}?" if found else ""


def find_targets(node: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every part of a config that something is built from, with its dotted key."""
    if isinstance(node, dict):
        if isinstance(node.get("_target_"), str) and "${" not in node["_target_"]:
            yield path, node
        for key, below in node.items():
            yield from find_targets(below, f"{path}.{key}".strip("."))
    elif isinstance(node, list):
        for at, below in enumerate(node):
            yield from find_targets(below, f"{path}[{at}]")


def find_word(key: str, words: list[str]) -> str:
    """The word of the command line that sets a key; the key itself if a file does."""
    return next((word for word in words if key_of(word) == key or key_of(word).startswith(f"{key}.")), key)


@cache
def list_top_keys(verb: str) -> frozenset[str]:
    """The top-level settings of a verb's config, and its groups."""
    return frozenset({*load_verb(config_dir(), verb), *default_choices(verb)} - {"hydra", "defaults"})


@cache
def default_choices(verb: str) -> dict[str, Any]:
    """The groups of a verb, and the default choice in each."""
    stored = load_verb(config_dir(), verb)
    pairs = [pair for entry in stored.get("defaults", ()) if isinstance(entry, dict) for pair in entry.items()]
    return {str(group): choice for group, choice in pairs if not str(group).startswith("override ")}


def needed_groups(verb: str) -> list[str]:
    """The groups in which a verb needs a choice: those with a default in its file in `conf/`."""
    return [group for group, choice in default_choices(verb).items() if choice and group not in MAY_BE_NULL]


def check_like_defaults(cfg: DictConfig, words: list[str], verb: str) -> None:
    """ValueError for a value on the command line whose kind differs from its default's, for settings that `kinds_of`
    does not list."""
    groups, listed = group_names(), kinds_of(verb)
    mine = [
        word
        for word in words
        if "=" in word
        and key_of(word) not in listed
        and key_of(word) not in groups
        and not word.startswith("~")
        and not key_of(word).startswith("hydra")
    ]
    if not mine:
        return
    chosen = tuple(word for word in words if key_of(word) in groups)
    usual = compose_defaults(chosen, verb)
    for word in mine:
        key = key_of(word)
        default, value = OmegaConf.select(usual, key), OmegaConf.select(cfg, key)
        value = OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        default = OmegaConf.to_container(default, resolve=False) if OmegaConf.is_config(default) else default
        if value is not None and default is not None and (wanted := describe_expected(key, value, default)):
            raise ValueError(f"{key}={format_value(value)}: expected {wanted}.")


def describe_expected(key: str, value: Any, default: Any) -> str:
    """What was expected if a value's kind differs from its default's, or ""."""
    if isinstance(default, bool):
        return "" if isinstance(value, bool) else "true or false"
    if is_number(default):
        if isinstance(value, str) and value == "auto":
            return ""
        if is_whole(default) and key.startswith("model.net.") and is_number(value) and not is_whole(value):
            return f"a whole number, such as {default}"
        return "" if is_number(value) or isinstance(value, list) else f"a number, such as {default}"
    if isinstance(default, list):
        return "" if isinstance(value, list) else f"a list, such as {format_value(default)}"
    if isinstance(default, dict):
        return (
            "" if isinstance(value, dict) else f"its settings one by one, such as {key}.{next(iter(default), 'name')}=…"
        )
    return "a word" if isinstance(value, list | dict | bool) else ""


@cache
def compose_defaults(chosen: tuple[str, ...], verb: str) -> DictConfig:
    """The config of a command line with its choices in the groups, but without its values."""
    return compose(*chosen, config=verb)


def check_stages(stages: dict[str, Sequence[str]], words: Sequence[Any]) -> None:
    """ValueError for settings that do not work in stages."""
    if not stages:
        raise ValueError("stages is empty: give it at least one, such as {first: [experiment=crack_segmentation]}.")
    for name in stages:
        if not re.fullmatch(r"[\w-]+", str(name)):
            raise ValueError(f"stages: {name!r} must be a folder's name: only letters, digits, - and _.")
    for word in map(str, words):
        if key_of(word) in OF_STAGES:
            raise ValueError(
                f"{word}: every stage has its own {key_of(word)}. Set a value in it (such as model.net.widths), or "
                "write an experiment file with other `stages`."
            )


NEEDS_GPU = ("16", "16-mixed", "16-true")
STOPPING = ".EarlyStopping"


def check_precision(precision: Any, on_cpu: bool) -> None:
    """ValueError for float16 without a GPU."""
    if on_cpu and str(precision) in NEEDS_GPU:
        raise ValueError(
            f"precision={precision}: float16 is computed on a GPU, and this run is on the CPU. Say precision=auto, "
            "bf16-mixed or 32-true."
        )


def check_loss(config: Mapping[str, Any]) -> None:
    """ValueError for a loss of several classes on one class. `segkit.runs.fits` checks the opposite once the masks
    have been checked: they may be of one class after all."""
    classes, chosen = config["dataset"].get("classes"), config.get("choices") or {}
    if isinstance(classes, list) and len(classes) == 1:
        for node in used_losses(config["loss"]):
            if read_constant(str(node["_target_"]), "classes") == "several":
                raise ValueError(
                    f"loss={chosen.get('loss')} and dataset={chosen.get('dataset')} (1 class) disagree: "
                    f"{node['_target_'].rpartition('.')[2]} is for two or more classes; use loss=bce, dice, bce_dice "
                    "or focal."
                )


def used_losses(loss: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A loss and those in it; of a combination, those that its `weights` name."""
    yield from (node for _, node in find_targets({**loss, "losses": None}))
    losses, weights = loss.get("losses"), loss.get("weights")
    if isinstance(losses, Mapping) and isinstance(weights, Mapping):
        for name in weights.keys() & losses.keys():
            yield from used_losses(losses[name])


def check_monitors(config: Mapping[str, Any]) -> None:
    """ValueError for a metric that validation never computes, whatever the classes and the loss."""
    for key, monitor in find_monitors(config).items():
        name = monitor.removeprefix("val/").partition("/")[0]
        if not (name.startswith("loss") or VARIANT.sub("", name) in SCORES):
            raise unknown_metric(key, monitor, [f"val/{one}" for one in ("loss", *SCORES)])


def check_last_epoch(config: Mapping[str, Any]) -> None:
    """ValueError for callbacks or schedulers that wait for an improvement of monitor=epoch, which is no score."""
    callbacks = {f"callbacks.{name}": node for name, node in (config.get("callbacks") or {}).items()}
    stopping = {key: node for key, node in callbacks.items() if str((node or {}).get("_target_")).endswith(STOPPING)}
    for key, node in (stopping | {"scheduler": config["scheduler"]}).items():
        if node.get("monitor") == LAST_EPOCH:
            raise ValueError(
                f"{key} waits for a metric to improve, and monitor={LAST_EPOCH} is none: say {key}.monitor=val/loss "
                f"{key.replace('scheduler', 'scheduler.scheduler')}.mode=min, or another monitor."
            )


def check_together(config: Mapping[str, Any]) -> None:
    """ValueError for settings that conflict, or that would change nothing."""
    check_loss(config)
    check_loggers(config)
    check_monitors(config)
    check_centre_lines("model.cliou", config["model"].get("cliou"), find_monitors(config))
    check_last_epoch(config)
    check_precision(config["precision"], config["trainer"].get("accelerator") == "cpu")
    if config.get("calibrate") and config["model"].get("threshold", 0.5) != 0.5:
        raise ValueError(
            f"calibrate=true chooses the threshold, and model.threshold={config['model']['threshold']} sets it: leave "
            "out one of the two."
        )
    if config.get("budget") is not None and config.get("compile"):
        raise ValueError(
            "budget=… and compile=true do not go together: compiling takes minutes that no probe can predict. Say "
            "trainer.max_epochs=… instead of a budget, or compile=false."
        )
    epoch, factor, frozen = config.get("unfreeze_at_epoch"), config.get("encoder_lr_factor", 1.0), config.get("freeze")
    if epoch is None:
        if factor != 1 and frozen == "encoder":
            raise ValueError(
                f"encoder_lr_factor={factor} and freeze=encoder: a frozen encoder does not learn at any rate."
            )
        return
    if not as_names(frozen):
        raise ValueError(f"unfreeze_at_epoch={epoch}, but nothing is frozen: say freeze=encoder as well.")
    epochs = config["trainer"].get("max_epochs")
    if config.get("budget") is None and isinstance(epochs, int) and 0 <= epochs <= epoch:
        raise ValueError(
            f"unfreeze_at_epoch={epoch}, but the training ends at epoch {epochs} "
            "(trainer.max_epochs, which follows dataset.epochs)."
        )
