"""Messages for command lines that Hydra has refused: the setting, its value, and what to type instead."""

import difflib
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise, takewhile
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from segkit import config_dir, console
from segkit.choices import completion, listing
from segkit.configs.composing import (
    compose,
    find_similar_keys,
    format_argument,
    group_names,
    key_of,
    list_keys,
    own_config_dirs,
)
from segkit.configs.errors import explain

OPTIONS = (
    "--help",
    "--hydra-help",
    "--version",
    "--cfg",
    "--resolve",
    "--package",
    "--run",
    "--multirun",
    "--info",
    "--shell-completion",
    "--config-path",
    "--config-name",
    "--config-dir",
    "--experimental-rerun",
)
TAKE = (
    "--cfg",
    "--package",
    "--config-path",
    "--config-name",
    "--config-dir",
    "--experimental-rerun",
    "--info",
    "-c",
    "-p",
    "-cp",
    "-cn",
    "-cd",
    "-i",
)  # these take the next word as their value


def check_options(words: Sequence[str]) -> None:
    """End the command if an option is unknown: Hydra would print its whole help."""
    for word in words:
        name = word.partition("=")[0]
        if word.startswith("--") and not any(option.startswith(name) for option in OPTIONS):
            found = difflib.get_close_matches(name, OPTIONS, 1)
            hint = f"did you mean {found[0]}?" if found else "settings are key=value; --help shows them."
            console.say(f"\n{name}: there is no such option; {hint}", stderr=True)
            sys.exit(1)


def explain_refusal(error: Exception, words: Sequence[str], config_name: str) -> list[str]:
    """The messages for a command line that Hydra has refused."""
    text = str(error)
    if isinstance(error, OSError) and not isinstance(
        error, HydraException
    ):  # Hydra's missing choice is an OSError, too
        keys = {"train": "hydra.run.dir=… or name=…", "evaluate": "hydra.run.dir=…"}.get(config_name, "output=…")
        return [f"{explain(error)}. The output folder cannot be created: choose another with {keys}."]
    if line := next(find_unreadable([*plain_words(words)]), ""):
        return [line]
    if found := re.search(r"An item is already at '([^']+)'", text):
        return [f"+{found[1]}: this setting exists already; leave out the +."]
    if found := re.search(r"Could not delete from config. '([^']+)' does not exist", text):
        return [f"~{found[1]}: there is no such setting to remove; segkit {config_name} --help shows all."]
    if found := re.search(r"Ambiguous value for argument '([^']+)'", text):
        key, _, value = found[1].partition("=")
        listed = shlex.quote(f"{key}=[{','.join(map(str.strip, value.split(',')))}]")
        return [
            f"{found[1]}: for a grid of these values add -m, for a list of them type {listed}, and for one value "
            f"that contains a comma type {format_argument(key, value)}"
        ]
    groups = group_names()
    if empty := [word for word in words if key_of(word) in groups and word.endswith(("=", "=null"))]:
        return [f"{word}: expected a choice; segkit list shows them all." for word in empty]
    if hints := suggest_spelling(words, config_name):
        return hints
    if found := re.search(r"Could not override '([^']+)'", text):
        return [f"{found[1]}: there is no such setting; segkit {config_name} --help shows all."]
    if found := re.search(r"Could not (?:find|load) '(\w+)/([^']+)'", text):
        return [f"{found[1]}={found[2]}: no such choice; segkit list shows them all."]
    text = re.sub(r"\s*See https?://\S+( for details)?", "", text)
    return [" ".join(text.split()) or type(error).__name__]


def plain_words(words: Sequence[str]) -> Iterator[str]:
    """The words of a command line that set something: neither options nor their values."""
    for before, word in pairwise(["", *words]):
        if not (word.startswith("-") or before in TAKE):
            yield word


def find_unreadable(words: Sequence[str]) -> Iterator[str]:
    """A message for each word that Hydra's grammar cannot read, or would misread."""
    parser = OverridesParser.create()
    for at, word in enumerate(words):
        # the rest of a value with spaces, which the shell has split
        after = [*takewhile(lambda one: "=" not in one, words[at + 1 :])]
        key, given, value = word.partition("=")
        if given and not value and key and after:
            yield f"{word} {after[0]}: no spaces around =; type {format_argument(key, after[0])}"
        elif not given and at + 1 < len(words) and words[at + 1].startswith("="):
            value = words[at + 1].removeprefix("=") or next(iter(words[at + 2 :]), "…")
            yield f"{word} = {value}: no spaces around =; type {format_argument(word, value)}"
        elif given and value[:1] in ("[", "{") and after and not can_parse(parser, word):
            yield f"{word} {' '.join(after)}: {suggest_quotes(key, ' '.join([value, *after]))}"
        elif given and after and not after[0].startswith("~"):
            whole = " ".join([value, *after])
            yield (
                f"{after[0]}: expected a setting, key=value. If it belongs to {word}, paths and other values with "
                f"spaces need quotes: type {format_argument(key, whole)}"
            )
        elif not given and not word.startswith("~"):
            yield f"{word}: the = and the value are missing; type {word}=…"
        elif given and not can_parse(parser, word):
            yield f"{word}: {suggest_quotes(key, value)}"


def can_parse(parser: OverridesParser, word: str) -> bool:
    """Whether Hydra's grammar can read a word."""
    try:
        parser.parse_override(word)
    except HydraException:
        return False
    return True


def suggest_quotes(key: str, value: str) -> str:
    """What to type instead of a value that Hydra cannot read."""
    if value.startswith("["):
        ended = value.endswith("]")
        entries = [one for one in re.split(r"\s*,\s*" if ended else r"[\s,]+", value.strip("[] ")) if one]
        quoted = [one if re.fullmatch(r"[\w./:+@%-]+", one) else f'"{one}"' for one in entries]
        why = "entries with such characters need quotes" if ended else "the list has no ]"
        return f"{why}; type {shlex.quote(f'{key}=[{chr(44).join(quoted)}]')}"
    if value.startswith("{"):
        return f"expected names and values in braces; type '{key}={{name: value}}', with quotes around special values"
    return f"this value needs quotes; type {format_argument(key, value.strip(chr(39) + chr(34)))}"


def suggest_spelling(words: Sequence[str], config_name: str) -> list[str]:
    """Suggestions for the unknown choices and settings on a command line that Hydra has refused: the most similar
    ones."""
    pairs = [word.split("=", 1) for word in words if "=" in word and not word.startswith(("-", "+", "~", "hydra."))]
    groups = group_names()
    folders = [config_dir(), *map(Path, own_config_dirs() or read_config_dirs(words))]
    hints = [
        text
        for key, value in pairs
        if key in groups
        for name in entries(value)
        if (text := suggest_choice(folders, key, name))
    ]
    if hints:
        return hints
    chosen = {key: value if value.startswith("[") else value.split(",")[0] for key, value in pairs if key in groups}
    try:
        composed = compose(*(f"{key}={value}" for key, value in chosen.items()), config=config_name)
    except Exception:  # a choice is wrong, and similar to none
        return []
    known = list(dict.fromkeys([*groups, *list_keys(OmegaConf.to_container(composed, resolve=False))]))
    unknown = [key for key, _ in pairs if key not in known]
    if "dataset.root" in unknown and (resumed := dict(pairs).get("resume")):  # it is in the stored data set
        missing = [] if (Path(resumed) / "config.yaml").is_file() else [f"resume={resumed}: no run there."]
        return [*missing, "With resume, say +dataset.root=…"]
    return [hint for key in unknown if (hint := suggest_setting(key, known, folders))]


def read_config_dirs(words: Sequence[str]) -> list[str]:
    """The folders given by --config-dir, when Hydra has not read the command line yet or has refused it."""
    apart = [word for before, word in pairwise(words) if before in ("--config-dir", "-cd")]
    return apart + [word.partition("=")[2] for word in words if word.startswith("--config-dir=")]


def entries(value: str) -> list[str]:
    """The choices in a value: one, those of a grid (a,b), or those of a list ([a,b])."""
    return [name.strip(" []'\"") for name in value.split(",")]


def suggest_choice(folders: Sequence[Path], group: str, value: str) -> str:
    """The most similar choice of a group as a question, or "" if `value` is a choice or similar to none."""
    names = sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})
    found = [] if value in names else difflib.get_close_matches(value, names, 2, 0.65)  # cvs is csv
    return f"{group}={value}: did you mean {' or '.join(found)}?" if found else ""


def suggest_setting(key: str, known: Sequence[str], folders: list[Path]) -> str:
    """The setting that `key` may have meant, among those that exist and those that other choices of its group have."""
    group = key.partition(".")[0]
    group = next(iter(difflib.get_close_matches(group, group_names(), 1, 0.75)), group)
    others: dict[str, str] = {}
    for name in sorted(listing.find_choices(folders, group), key=lambda name: (name != "folder", name)):
        for below in list_keys(completion.load_merged(folders, group, name)):
            others.setdefault(f"{group}.{below}", f"{group}={name}")
    found = find_similar_keys(key, [*known, *(name for name in others if name not in known)])
    if not found:
        return ""
    if found[0] == key:
        return f"{key}: this is not a setting here, but {others[key]} has it."
    if found[0] not in known:
        return f"{key}: did you mean {found[0]}? {others[found[0]]} has it."
    return f"{key}: did you mean {' or '.join(name for name in found if name in known)}?"
