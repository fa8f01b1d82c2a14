"""What may be built from a stored config, and where it may write. docs/explanation/security.md is its page for people.

Light on purpose: nothing is imported for a name before it was found in the table of `segkit.security.allowed`.
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
    """ValueError for a link in a folder that leads out of it: what is written there would land elsewhere; and for a
    pipe, a socket or a device, which a process that opens it waits for."""
    if folder.is_symlink() and not folder.resolve().is_relative_to(folder.parent.resolve()):
        raise ValueError(f"{folder} is a link to {folder.readlink()}. Say output=… to have it written elsewhere.")
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place) / name
            if path.exists() and not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path} is a pipe, a socket or a device, which no run has. Remove it.")
            if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
                raise ValueError(
                    f"{path} is a link to {path.readlink()}, outside of {folder}: what is written there would land "
                    "elsewhere. Put the files themselves there, or remove the link."
                )


def check_values(config: Any, origin: Origin) -> None:
    """ValueError for expressions, which would be worked out, and for more values than a config has.

    A container that stands in several places counts in each of them.
    """
    waiting, seen = [("", config, 0)], 0
    while waiting:
        key, node, depth = waiting.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST:
            raise ValueError(
                f"{origin.file}: {key} is inside of more than {DEEPEST} containers, or one of more than {MOST} values, "
                "as no config of segkit is. It is not loaded."
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
    config: Any, file: Path | str, trust: Sequence[str], folder: Path, said: Sequence[str] = (), own: bool = False
) -> None:
    """ValueError for a run's config that would have anything built but what the table lists, or written outside of its
    folder; and for values that do not fit their settings.

    said: settings of the data set that the person's command gives, so that the stored ones do not matter.
    own: see `Origin`; a training looks at its own config so, which could not be resumed otherwise.
    """
    if isinstance(config, Mapping) and isinstance(config.get("dataset"), Mapping):
        config = {**config, "dataset": without(config["dataset"], said)}
    if isinstance(config, Mapping) and config.get("stages") is None and isinstance(config.get("overrides"), list):
        config = {**config, "overrides": []}  # only the stages of a run read the words of its command
    origin = Origin(str(file), tuple(trust), folder, own)
    check_values(config, origin)
    RUN.check(config, "", origin)


def check_own(config: Mapping[str, Any]) -> None:
    """ValueError for a value with which a run would be trained and could not be resumed or evaluated."""
    check_stored(config, "this run", config.get("trust") or (), Path(config["run_dir"]), ("group",), own=True)


def check_composed(config: Mapping[str, Any], file: Path, folder: Path) -> None:
    """ValueError for a stage of somebody's run that starts from other weights than those in the run's folder."""
    again = "If the run is your own, give its first command again instead of resume=."
    if config["weights"] not in (None, "none"):
        raise ValueError(
            f"{file}: a stage asks for weights={config['weights']}, which resuming does not fetch. {again}"
        )
    start = config["init_from"]
    if start is not None and not is_inside(str(start), folder):
        raise ValueError(f"{file}: a stage asks for init_from={start}, which is not in {folder}. {again}")


def check_words(words: Sequence[str], file: Path) -> None:
    """ValueError for words of a stored command that are more than key=value with choices that there are."""
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
    """The files that a word of the command line chooses in a group: one, or a list of them."""
    return [one.strip(" '\"") for one in value.removeprefix("[").removesuffix("]").split(",")]


def is_choice(group: str, name: str) -> bool:
    """Whether a group has a file of that name: segkit's own, or that of the command's --config-dir."""
    folders = [config_dir(), *map(Path, own_config_dirs())]
    return name in ("", "null") or (
        re.fullmatch(r"[\w-]+", name) is not None and any((at / group / f"{name}.yaml").is_file() for at in folders)
    )


def without(settings: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in {*names}}


def check_facts(facts: Any, file: Path | str, trust: Sequence[str]) -> None:
    """The same for what a checkpoint says of itself, as far as it is used to predict."""
    origin = Origin(str(file), tuple(trust))
    check_values(facts, origin)
    FACTS.check(facts, "", origin)


def stored_dataset(dataset: Any, said: Mapping[str, Any], file: Path | str, trust: Sequence[str]) -> dict[str, Any]:
    """The data set of a stored config, checked, with what a person's own command says of it; see `offline`."""
    origin = Origin(str(file), tuple(trust))
    stored = without(dataset, said) if isinstance(dataset, Mapping) else dataset
    check_values(stored, origin)
    Drawn("dataset").check(stored, "dataset", origin)
    return offline({**few_workers(dataset), **said}, file) | dict(said)


def few_workers(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The same data set, loaded by no more processes than this machine has cores."""
    workers = dataset.get("workers")
    return dict(dataset) | ({"workers": min(workers, hardware.cores())} if isinstance(workers, int) else {})


def alone(config: Any, words: Sequence[str], trainer: Mapping[str, Any]) -> list[str]:
    """Take out of a stored config, in place, what starts processes or a compiler unless the person's command says it:
    several devices, machines, and `compile`. Returns what was taken out, as the words of a command.

    words: the keys that the command sets. trainer: its own.
    """
    left_out = []
    config["dataset"] = few_workers(config["dataset"])
    for name, one in (("devices", 1), ("num_nodes", 1), ("strategy", "auto")):
        stored, said = config["trainer"].get(name, one), bool({"trainer", f"trainer.{name}"} & {*words})
        kept = trainer.get(name, one) if said else one
        if stored != kept:
            left_out += [] if said else [f"trainer.{name}={stored}"]
            config["trainer"][name] = kept
    if config.get("compile") and "compile" not in words:
        left_out.append("compile=true")
        config["compile"] = False
    return left_out


def offline(dataset: Mapping[str, Any], file: Path | str) -> dict[str, Any]:
    """The same data set with its download turned off; ValueError for one that lies on the hub.

    Only a person's own command fetches anything, and says where data are to be had.
    """
    if dataset["_target_"].endswith(".ProductMasks") and dataset.get("root") is None:
        raise ValueError(
            f"{file}: dataset.name={dataset.get('name')} lies on the hub, and a stored config fetches nothing. Say "
            "where its parquet files are, dataset.root=<folder> (with resume=, +dataset.root=), or choose the data set "
            "on the command line, dataset=product_masks."
        )
    nothing = {"download": "" if isinstance(dataset["download"], str) else False} if dataset.get("download") else {}
    return dict(dataset) | nothing


def sending(config: Mapping[str, Any]) -> list[str]:
    """The loggers of a config that send what they log to a server, which no stored config starts."""
    found = config.get("logger")
    entries = found.items() if isinstance(found, Mapping) else ()
    return [str(name) for name, one in entries if isinstance(one, Mapping) and one.get("_target_") in [*SENDING]]


def foreign(node: Any) -> list[str]:
    """The modules that `trust` must name so that a config may be built from a file."""
    if isinstance(node, Mapping):
        name = node.get("_target_")
        own = [name.split(".", 1)[0]] if isinstance(name, str) and name not in (*NAMES, *SENDING) else []
        return sorted({*own, *foreign([*node.values()])})
    return sorted({name for value in node for name in foreign(value)}) if isinstance(node, list | tuple) else []
