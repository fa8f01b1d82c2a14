"""What may be built from a stored config, and where it may write. docs/explanation/security.md explains it to users.

Light on purpose: nothing is imported for a name before it is found in the table of `segkit.security.allowed`.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit import config_dir, hardware
from segkit.configs.composing import group_names, own_config_dirs
from segkit.security.allowed import FACTS, NAMES, RUN, SENDING
from segkit.security.built import MOST, Drawn
from segkit.security.kinds import DEEPEST, Origin, is_inside


def check_folder(folder: Path) -> None:
    """ValueError for a link that leads out of a folder, where what is written would land elsewhere; and for a pipe, a
    socket or a device, which would block a process that opens it."""
    if folder.is_symlink() and not folder.resolve().is_relative_to(folder.parent.resolve()):
        raise ValueError(f"{folder} is a link to {folder.readlink()}. Say output=… to have it written elsewhere.")
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path} is a pipe, a socket or a device, which no run contains. Remove it.")
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(
                    f"{path} is a link to {path.readlink()}, outside of {folder}: what is written there would land "
                    "elsewhere. Put the files themselves there, or remove the link."
                )


def check_values(config: Any, origin: Origin) -> None:
    """ValueError for expressions, which would be evaluated, and for more values than a config has.

    A container that appears in several places counts each time.
    """
    waiting, seen = [("", config, 0)], 0
    while waiting:
        key, node, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST:
            raise ValueError(
                f"{origin.file}: {key} is inside more than {DEEPEST} containers, or one of more than {MOST} values; no "
                "config of segkit is so large. It is not loaded."
            )
        if isinstance(node, str) and "${" in node:
            raise ValueError(
                f"{origin.file}: {key}: a stored config has values, not expressions; got {node[:60]!r}. It is not "
                "loaded."
            )
        if isinstance(node, Mapping):
            waiting += [(f"a name in {key}", name, depth + 1) for name in node]
            waiting += [(f"{key}.{name}".lstrip("."), below, depth + 1) for name, below in node.items()]
        elif isinstance(node, list | tuple | set | frozenset):
            waiting += [(f"{key}[{at}]", below, depth + 1) for at, below in enumerate(node)]


def check_stored(
    config: Any, file: Path | str, trust: Sequence[str], folder: Path, given: Sequence[str] = (), own: bool = False
) -> None:
    """ValueError for a run's config that would build anything but what the table lists, or write outside of its folder;
    and for values that do not fit their settings.

    given: data set settings that the user's command gives, which replace the stored ones.
    own: see `Origin`; a training checks its own config this way, as it could not be resumed otherwise.
    """
    if isinstance(config, Mapping) and isinstance(config.get("dataset"), Mapping):
        config = {**config, "dataset": drop_keys(config["dataset"], given)}
    if isinstance(config, Mapping) and config.get("stages") is None and isinstance(config.get("overrides"), list):
        config = {**config, "overrides": []}  # only runs with stages read the words of their command
    origin = Origin(str(file), tuple(trust), folder, own)
    check_values(config, origin)
    RUN.check(config, "", origin)


def check_own(config: Mapping[str, Any]) -> None:
    """ValueError for a value with which a run could be trained, but not resumed or evaluated."""
    check_stored(config, "this run", config.get("trust") or (), Path(config["run_dir"]), ("groups",), own=True)


def check_composed(config: Mapping[str, Any], file: Path, folder: Path) -> None:
    """ValueError for a stage of a stored run that starts from weights outside of the run's folder."""
    again = "If the run is your own, give its first command again instead of resume=."
    if config["weights"] not in (None, "none"):
        raise ValueError(
            f"{file}: a stage asks for weights={config['weights']}, which resuming does not fetch. {again}"
        )
    start = config["init_from"]
    if start is not None and not is_inside(str(start), folder):
        raise ValueError(f"{file}: a stage asks for init_from={start}, which is not in {folder}. {again}")


def check_words(words: Sequence[str], file: Path) -> None:
    """ValueError for words of a stored command that are anything but key=value with existing choices."""
    groups = group_names()
    for word in words:
        key, _, value = word.partition("=")
        group = key.lstrip("+~") in groups
        plain = re.fullmatch(r"[+~]{0,2}\w+(\.\w+)*", key) and not re.search(r"[$\\\0]", value)
        if not plain or (group and not all(is_choice(key.lstrip("+~"), one) for one in choices_in(value))):
            expected = f"a choice of {key} that segkit list shows" if plain else "key=value without $ and backslashes"
            raise ValueError(
                f"{file}: the stored word {word[:80]!r} is not used; expected {expected}. If the run is your own, give "
                "its first command again instead of resume=."
            )


def choices_in(value: str) -> list[str]:
    """The choices in a word's value for a group: one, or a list of them."""
    return [one.strip(" '\"") for one in value.removeprefix("[").removesuffix("]").split(",")]


def is_choice(group: str, name: str) -> bool:
    """Whether a group has a file of that name: one of segkit's, or in the command's --config-dir."""
    folders = [config_dir(), *map(Path, own_config_dirs())]
    return name in ("", "null") or (
        re.fullmatch(r"[\w-]+", name) is not None and any((at / group / f"{name}.yaml").is_file() for at in folders)
    )


def drop_keys(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in {*names}}


def check_facts(facts: Any, file: Path | str, trust: Sequence[str]) -> None:
    """The same as `check_stored` for the facts in a checkpoint, as far as prediction uses them."""
    origin = Origin(str(file), tuple(trust))
    check_values(facts, origin)
    FACTS.check(facts, "", origin)


def merge_stored_dataset(
    dataset: Any, given: Mapping[str, Any], file: Path | str, trust: Sequence[str]
) -> dict[str, Any]:
    """The checked data set of a stored config, overridden by the user's own command; see `disable_download`."""
    origin = Origin(str(file), tuple(trust))
    stored = drop_keys(dataset, given) if isinstance(dataset, Mapping) else dataset
    check_values(stored, origin)
    Drawn("dataset").check(stored, "dataset", origin)
    return disable_download({**limit_workers(dataset), **given}, file) | dict(given)


def limit_workers(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The data set's settings with no more loader processes than this machine has cores."""
    workers = dataset.get("workers")
    return dict(dataset) | ({"workers": min(workers, hardware.cores())} if isinstance(workers, int) else {})


def limit_processes(config: Any, words: Sequence[str], trainer: Mapping[str, Any]) -> list[str]:
    """Remove from a stored config, in place, what starts processes or a compiler, unless the user's command sets it:
    several devices or machines, and `compile`. Returns what was removed, as the words of a command.

    words: the keys that the command sets. trainer: the command's own trainer.
    """
    left_out = []
    config["dataset"] = limit_workers(config["dataset"])
    for name, one in (("devices", 1), ("num_nodes", 1), ("strategy", "auto")):
        stored, is_set = config["trainer"].get(name, one), bool({"trainer", f"trainer.{name}"} & {*words})
        kept = trainer.get(name, one) if is_set else one
        if stored != kept:
            left_out += [] if is_set else [f"trainer.{name}={stored}"]
            config["trainer"][name] = kept
    if config.get("compile") and "compile" not in words:
        left_out.append("compile=true")
        config["compile"] = False
    return left_out


def disable_download(dataset: Mapping[str, Any], file: Path | str) -> dict[str, Any]:
    """The data set's settings with its download turned off; ValueError for one on the hub.

    Only a user's own command downloads anything, and says where to get data.
    """
    if dataset["_target_"].endswith(".ProductMasks") and dataset.get("root") is None:
        raise ValueError(
            f"{file}: dataset.name={dataset.get('name')} is on the hub, and a stored config downloads nothing. Say "
            "where its parquet files are, dataset.root=<folder> (with resume=, +dataset.root=), or choose the data set "
            "on the command line, dataset=product_masks."
        )
    nothing = {"download": "" if isinstance(dataset["download"], str) else False} if dataset.get("download") else {}
    return dict(dataset) | nothing


def find_sending_loggers(config: Mapping[str, Any]) -> list[str]:
    """The loggers of a config that send data to a server, which a stored config may not start."""
    found = config.get("logger")
    entries = found.items() if isinstance(found, Mapping) else ()
    return [str(name) for name, one in entries if isinstance(one, Mapping) and one.get("_target_") in [*SENDING]]


def find_foreign_modules(node: Any) -> list[str]:
    """The modules that `trust` must name before a config may be built from a file."""
    if isinstance(node, Mapping):
        name = node.get("_target_")
        own = [name.split(".", 1)[0]] if isinstance(name, str) and name not in (*NAMES, *SENDING) else []
        return sorted({*own, *find_foreign_modules([*node.values()])})
    below = node if isinstance(node, list | tuple) else ()
    return sorted({name for value in below for name in find_foreign_modules(value)})
