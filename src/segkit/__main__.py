"""The console command: `segkit train|evaluate|predict …`, the same as `python -m segkit.<command> …`, `segkit list`
and `segkit completion`."""

import difflib
import importlib
import signal
import sys
from itertools import pairwise
from pathlib import Path

import segkit
from segkit import config_dir
from segkit.choices import listing

OTHERS = {  # commands without settings
    "list": "segkit list    what can be chosen; segkit list losses says what each is",
    "completion": "segkit completion bash    TAB completion, a script for bash, zsh or fish",
}


def main() -> None:
    words = sys.argv[1:]
    if words[:1] == ["--version"]:
        print(segkit.__version__)
    elif words[:1] == ["list"]:
        if hasattr(signal, "SIGPIPE"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `segkit list models | head` ends quietly
        list_choices(words[1:])
    elif words[:1] == ["completion"]:
        print_completion(words[1:])
    elif words[:1] == ["complete"]:  # called by the completion scripts
        from segkit.choices import completion

        print("\n".join(completion.complete(" ".join(words[1:]))))
    elif words and words[0] in listing.verbs():
        sys.path.insert(0, "")  # as with `python -m`: a user's own module in the working directory is found
        sys.argv = [f"segkit {words[0]}", *words[1:]]
        importlib.import_module(f"segkit.{words[0]}").main()
    else:
        asked = words[:1] in ([], ["--help"], ["-h"])
        print(usage() if asked else describe_unknown(words[0]), file=sys.stdout if asked else sys.stderr)
        sys.exit(0 if asked else 2)


def usage() -> str:
    """The text of `segkit --help`: a line about each command."""
    lines = "\n".join(listing.usage(name, line) for name, line in (listing.verbs() | OTHERS).items())
    return f"""segkit {segkit.__version__}: train, evaluate and compare image-segmentation models

{lines}
  segkit --version

`segkit train --help` shows every setting."""


def describe_unknown(word: str) -> str:
    """The message for an unknown command, with the most similar one."""
    commands = [*listing.verbs(), *OTHERS]
    found = difflib.get_close_matches(word, commands, 1)
    hint = f"did you mean segkit {found[0]}?" if found else f"expected one of {', '.join(commands)}."
    return f"segkit {word}: there is no such command; {hint} segkit --help shows what each does."


def print_completion(words: list[str]) -> None:
    """Print the script that a shell reads to complete segkit's commands and settings."""
    from segkit.choices.completion import SCRIPTS

    if len(words) != 1 or words[0] not in SCRIPTS:
        got = " ".join(words) or "nothing"
        print(f"segkit completion: expected the name of a shell, {', '.join(SCRIPTS)}; got {got}", file=sys.stderr)
        sys.exit(2)
    print(SCRIPTS[words[0]], end="")


def list_choices(words: list[str]) -> None:
    """Print the choices of a group, each with the description in its file; without a group, the names in all groups.
    --config-dir: a user's folder, whose files are listed, too."""
    own = [Path(after) for word, after in pairwise(words) if word == "--config-dir"]
    folders = [config_dir(), *own]
    words = [word for before, word in pairwise(["", *words]) if "--config-dir" not in (before, word)]
    if not words:
        for title, group in listing.GROUPS.items():
            print(f"{title:16}{group}={', '.join(listing.find_choices(folders, group))}")
        print("\nsegkit list models (or another of these) says what each is.")
    elif len(words) == 1 and words[0] in listing.GROUPS:
        found = listing.find_choices(folders, listing.GROUPS[words[0]])
        width = max(map(len, found)) + 2
        for name, path in found.items():
            print(f"{name:{width}}{listing.describe(path)}")
    else:
        print(f"segkit list: expected one of {', '.join(listing.GROUPS)}; got {' '.join(words)}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
