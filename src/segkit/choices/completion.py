"""TAB completion of the command `segkit` in bash, zsh and fish.

It reads the YAML files itself: waiting for Hydra, let alone torch, would take too long. (Hydra's own completion,
`python -m segkit.train -sc install=bash`, composes the whole config at every TAB, and knows only one verb.)
"""

import os
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from segkit import config_dir
from segkit.choices import listing

# How each shell passes the line so far to `segkit complete` and takes its answer: one whole word per line.
SCRIPTS = {
    "bash": """\
_segkit() {
    local IFS=$'\\n' line="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=($(segkit complete "$line" 2>/dev/null))
    local word="${line##*[[:space:]]}"
    if [[ $COMP_WORDBREAKS == *=* ]]; then  # bash then replaces what follows the = alone
        COMPREPLY=("${COMPREPLY[@]#"${word%"${word##*[=:]}"}"}")
    fi
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
}
complete -F _segkit segkit
""",
    "zsh": """\
_segkit() {
    local -a found
    found=("${(@f)$(segkit complete "${(j: :)words[1,CURRENT-1]} $PREFIX" 2>/dev/null)}")
    [[ -n $found[1] ]] || return 1
    compadd -Q -S '' -- ${(M)found:#*[=./]}
    compadd -Q -- ${found:#*[=./]}
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _segkit segkit
""",
    "fish": """\
complete --command segkit --no-files --arguments '(segkit complete (commandline --current-process --cut-at-cursor))'
""",
}
PATH_KEYS = (
    "run",
    "runs",
    "resume",
    "input",
    "images",
    "output",
    "root",
    "pairs",
    "init_from",
    "weights",
    "notes",
    "dir",
)  # last words of keys whose value is a path
ARGUMENTS = {"list": tuple(listing.GROUPS), "completion": tuple(SCRIPTS)}  # of the commands that are not verbs
OPTIONS = {"train": ("-m", "--help", "--cfg", "--config-dir")}
COLORS = ("black", "blue", "cyan", "green", "lime", "magenta", "orange", "red", "white", "yellow")  # some of them
DERIVED = ("${segkit.", "${hydra:")  # how values begin that are not set by hand
PLAIN = re.compile(r"[\w./:+@%~-]+")  # needs no quotes in a shell or for Hydra


def complete(line: str) -> list[str]:
    """The completions of a command line's last word, each as a whole word."""
    *before, word = line.split()[1:] + [""] * (line[-1:].isspace() or not line)
    verbs = listing.verbs()
    if not before:
        return sorted(command for command in (*verbs, *ARGUMENTS) if command.startswith(word))
    verb, *words = before
    if verb not in verbs:
        return sorted(name for name in ARGUMENTS.get(verb, ()) if name.startswith(word))
    if words[-1:] == ["--config-dir"]:
        return complete_path("", word)
    folders = [
        config_dir(),
        *(Path(after) for one, after in pairwise(words) if one == "--config-dir"),
    ]
    if word.startswith("-"):
        return [option for option in OPTIONS.get(verb, ("--help", "--cfg", "--config-dir")) if option.startswith(word)]
    key, given, value = word.partition("=")
    return complete_value(folders, verb, words, key, value) if given else complete_key(folders, verb, words, word)


def complete_key(folders: list[Path], verb: str, words: list[str], word: str) -> list[str]:
    """Settings that begin with `word`, up to their next dot: `model=`, `model.`, `model.net.`, `model.net.widths=`."""
    start, found = word.rpartition(".")[0], settings_of(folders, verb, words)
    groups = [group for group in chosen_files(folders, verb, words) if not start]
    for name in filter(None, start.split(".")):
        found = found.get(name) or {}
        if not isinstance(found, dict):
            return []
    names = [f"{group}=" for group in groups]
    names += [
        f"{name}." if isinstance(value, dict) and value else f"{name}="
        for name, value in found.items()
        if name not in groups or value
    ]
    whole = [f"{start}.{name}" if start else name for name in names]
    return sorted({name for name in whole if name.startswith(word)})


def complete_value(folders: list[Path], verb: str, words: list[str], key: str, value: str) -> list[str]:
    """Whole words `key=value` whose value begins as given; of a list with commas (a sweep), the last entry counts."""
    done, comma, last = value.rpartition(",")
    if key in chosen_files(folders, verb, words):
        found = [*listing.find_choices(folders, key)]
    elif key.rpartition(".")[2] in PATH_KEYS:
        return complete_path(f"{key}={done}{comma}", last)
    else:
        node: Any = settings_of(folders, verb, words)
        for name in key.split("."):
            node = node.get(name) if isinstance(node, dict) else None
        found = (
            ["false", "true"] if isinstance(node, bool) else list(COLORS) if (verb, key) == ("predict", "color") else []
        )
    return [f"{key}={done}{comma}{name}" for name in found if name.startswith(last)]


def chosen_files(folders: list[Path], verb: str, words: list[str]) -> dict[str, str]:
    """The groups of a verb, and the file of each that the words (or else the experiment, or the defaults) choose."""
    found = {group: str(name) for group, name in defaults_of(load_verb(folders[0], verb))}
    given = dict(word.split("=", 1) for word in words if "=" in word)
    for group in ("ablation", "experiment"):
        if group in found and group in given:
            for other, name in defaults_of(load_yaml(folders, f"{group}/{given[group].split(',')[0]}.yaml")):
                found[other.removeprefix("override /")] = str(name)
    return found | {group: name.split(",")[0].strip("[]") for group, name in given.items() if group in found}


def settings_of(folders: list[Path], verb: str, words: list[str]) -> dict[str, Any]:
    """The settings of a verb as nested mappings: roughly what Hydra would compose, without its finer rules."""
    whole = {
        key: value
        for key, value in load_verb(folders[0], verb).items()
        if key not in ("defaults", "hydra", "choices") and not str(value).startswith(DERIVED)
    }
    for group, name in chosen_files(folders, verb, words).items():
        found = load_merged(folders, group, name)
        whole = merge(whole, found if group in ("experiment", "ablation") else {group: found})
    return whole


def load_verb(folder: Path, verb: str) -> dict[str, Any]:
    """A verb's file, on top of that of another verb if its defaults begin with one."""
    content = load_yaml([folder], f"{verb}.yaml")
    below, *others = content.get("defaults") or [None]
    if not isinstance(below, str) or below == "_self_":
        return content
    base = load_verb(folder, below)
    return merge(base, content) | {"defaults": [*base.get("defaults", []), *others]}


def load_merged(folders: list[Path], group: str, name: str) -> dict[str, Any]:
    """A file of a group, merged with the files of the same group in its defaults."""
    content = load_yaml(folders, f"{group}/{name}.yaml")
    whole: dict[str, Any] = {}
    for entry in content.pop("defaults", None) or []:
        if isinstance(entry, str) and entry != "_self_" and "@" not in entry and entry != name:
            whole = merge(whole, load_merged(folders, group, entry))
    return merge(whole, content)


def merge(one: dict[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """`one` with the entries of `other`; mappings in both are merged."""
    for key, value in other.items():
        both = isinstance(one.get(key), dict) and isinstance(value, dict)
        one = one | {key: merge(one[key], value) if both else value}
    return one


def defaults_of(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Group and choice of each entry that has both in a file's defaults list."""
    entries = [entry for entry in content.get("defaults") or [] if isinstance(entry, dict)]
    pairs = [pair for entry in entries for pair in entry.items() if not pair[0].startswith("override hydra")]
    return [(group, name[0] if isinstance(name, list) and name else name) for group, name in pairs]


def load_yaml(folders: list[Path], name: str) -> dict[str, Any]:
    """A YAML file from the last folder that has it; empty if none has, or if it cannot be read."""
    for folder in reversed(folders):
        try:
            with (folder / name).open(encoding="utf-8") as file:
                content = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        return content if isinstance(content, dict) else {}
    return {}


def complete_path(before: str, start: str) -> list[str]:
    """Files and folders whose path begins with `start`, with `before` in front of each; without names that have spaces
    or quotes, which would need quoting here and for Hydra."""
    folder, _, name = start.rpartition("/")
    shown = f"{folder}/" if "/" in start else ""
    try:
        with os.scandir(Path(shown or ".").expanduser()) as entries:
            found = [
                entry.name + "/" * entry.is_dir()
                for entry in entries
                if entry.name.startswith(name) and (name or not entry.name.startswith("."))
            ]
    except OSError:
        return []
    return sorted(f"{before}{shown}{entry}" for entry in found if PLAIN.fullmatch(entry))
