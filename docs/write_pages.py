"""Writes the pages of the docs site: `python docs/write_pages.py build`; `make docs` then builds the site of them.

They are the files of `docs/`, README.md as the first page, the changelog and the benchmarks, and a reference of all
settings and choices, generated from `conf/` and its comments. Links to files outside of `docs/` become links to these
pages, or plain text where there is no page.
"""

import os
import re
import shutil
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
SKIPPED = ("__pycache__", "*.py", "*.toml")
# Where a file outside of docs/ is found on the site.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/RESULTS.md": "reference/benchmarks.md",
    "conf": "reference/choices.md",
}
HELD = "# What follows from the rest"  # in conf/train.yaml: what stands below is not to be set
GIVEN = ("overrides", "choices", "output_dir")  # filled in by segkit
SETTINGS = """# Settings

Every setting of every command, with its default. Set one as `key=value` on the command line. A setting of a group is
set with a dot, such as `optimizer.lr=0.01` or `dataset.size=256`; [Choices](choices.md) has the groups.
"""
CHOICES = """# Choices

A group is exchanged as a whole: `model=segnet`, `'callbacks=[default,ema]'`. `segkit list` prints the same choices.
Each is a file in the folder of its group below `conf/`.

| group | choices |
| --- | --- |"""
COMMENT = re.compile(r"\s*#\s?(.*)")


class Setting(NamedTuple):
    """A line of a file in conf/: its dotted key, its value as it is written, and its comment."""

    key: str
    value: str
    comment: str


def groups() -> list[str]:
    return sorted(path.name for path in CONF.iterdir() if any(path.glob("*.yaml")))


def verbs() -> list[str]:
    return sorted(path.stem for path in CONF.glob("*.yaml"))


def choices(group: str) -> list[Path]:
    """The files of a group; those that others begin with stand last."""
    return sorted((CONF / group).glob("*.yaml"), key=lambda path: (is_shared(path), path.stem))


def is_shared(path: Path) -> bool:
    """Whether other files begin with this one, which is no choice of its own."""
    return header(path.read_text())[0].startswith("Shared:")


def header(text: str) -> list[str]:
    """The comment that a file begins with, line by line."""
    lines = takewhile(lambda line: line.startswith("#"), text.removeprefix("# @package _global_\n").splitlines())
    return [line.removeprefix("#").strip() for line in lines]


def settings(text: str) -> Iterator[Setting]:
    """What a file sets, in its order; neither `defaults` nor `hydra`."""
    lines = text.splitlines()
    node = yaml.compose(text.split(HELD)[0])
    if isinstance(node, yaml.MappingNode):
        yield from below(node, "", lines)


def below(node: yaml.MappingNode, above: str, lines: list[str]) -> Iterator[Setting]:
    for key, value in node.value:
        if not above and key.value in ("defaults", "hydra", *GIVEN):
            continue
        name = f"{above}{key.value}"
        if isinstance(value, yaml.MappingNode) and not value.flow_style and value.value:
            yield from below(value, f"{name}.", lines)
            continue
        block = value.end_mark.line > value.start_mark.line
        start, end = value.start_mark, value.end_mark
        if block:  # a list or text of several lines: as one line, its comment behind the key
            written = " ".join(yaml.safe_dump(to_plain(value), default_flow_style=True, width=10**6).split())
            at, rest = key.end_mark.line, lines[key.end_mark.line][key.end_mark.column + 1 :]
        else:
            at, written, rest = start.line, lines[start.line][start.column : end.column], lines[end.line][end.column :]
        found = [match[1]] if (match := COMMENT.fullmatch(rest)) else []
        if found:
            further = re.compile(rf"\s{{{key.start_mark.column + 1},}}#\s?(.*)")
            found += [match[1] for match in takewhile(bool, map(further.fullmatch, lines[at + 1 :])) if match]
        yield Setting(name, written, " ".join(found))


def to_plain(node: yaml.Node) -> object:
    return yaml.safe_load(yaml.serialize(node))


def prose(text: str) -> str:
    """A comment as Markdown: settings such as model=unet as code, nothing else as markup."""
    parts = re.split(r"(`[^`]*`)", text)
    for at in range(0, len(parts), 2):
        plain = parts[at].replace("*", r"\*").replace("<", "&lt;").replace("|", r"\|").replace("[", r"\[")
        word = r"(?<![\w=.{\\])('?[a-z_]+(?:[.@/]\w+)*=(?:\S*\{[^}]*\}'?|[^\s;]*[^\s;.,:)]))"
        plain = re.sub(r"(python -m segkit\.\w+)", r"`\1`", plain)
        parts[at] = re.sub(word, lambda found: f"`{found[1]}`".replace("\\", ""), plain)
    return "".join(parts)


def code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|") if text else ""


def table(rows: list[Setting]) -> list[str]:
    if not rows:
        return []
    lines = [f"| {code(row.key)} | {code(row.value)} | {prose(row.comment)} |" for row in rows]
    return ["| setting | value | meaning |", "| --- | --- | --- |", *lines, ""]


def described(lines: list[str]) -> list[str]:
    """A file's comment: its sentences, and its command lines as blocks."""
    found: list[str] = []
    for line in lines:
        if re.match(r"python -m segkit\.\w+ ", line):
            command, _, why = line.partition("    ")
            found += ["", "```bash", f"{command}  # {why.strip()}" if why else command, "```", ""]
        else:
            found.append(prose(line))
    return [*found, ""]


def settings_page() -> str:
    lines = [SETTINGS]
    for verb in ["train", *(name for name in verbs() if name != "train")]:
        text = (CONF / f"{verb}.yaml").read_text()
        lines += [f"## {verb}", "", *described(header(text))]
        if chosen := [link for entry in yaml.safe_load(text).get("defaults", []) if (link := choice_link(entry))]:
            lines += [f"Groups, with their default: {', '.join(chosen)}.", ""]
        lines += table(list(settings(text)))
    return "\n".join(lines)


def choice_link(entry: object) -> str:
    """A group in a verb's `defaults` with what is chosen there, as a link; "" for anything else."""
    if not isinstance(entry, dict):
        return ""
    [(group, value)] = entry.items()
    return "" if group.startswith("override") else f"[`{group}={shown_choice(value)}`](choices/{group}.md)"


def shown_choice(value: object) -> str:
    return "null" if value is None else f"[{','.join(value)}]" if isinstance(value, list) else str(value)


def choices_page() -> str:
    lines = [CHOICES]
    for group in groups():
        names = [path.stem for path in choices(group) if not is_shared(path)]
        links = [f"[{name}](choices/{group}.md#{name})" for name in names]
        lines.append(f"| [`{group}`](choices/{group}.md) | {', '.join(links)} |")
    return "\n".join([*lines, ""])


def group_page(group: str) -> str:
    lines = [f"# {group}", "", f"What `{group}=…` can be, and what each choice sets.", ""]
    for path in choices(group):
        text = path.read_text()
        entries = yaml.safe_load(text).get("defaults", [])
        begins = [name for entry in entries if (name := begun_with(group, entry))]
        lines += [f"## {path.stem}", "", *described(header(text))]
        if is_shared(path):
            lines += ["Other files begin with this one.", ""]
        if begins:
            lines += [f"Begins with {', '.join(begins)}.", ""]
        grid = yaml.safe_load(text).get("hydra", {}).get("sweeper", {}).get("params", {})
        lines += table([*settings(text), *(Setting(key, str(value), "of the grid") for key, value in grid.items())])
    return "\n".join(lines)


def begun_with(group: str, entry: object) -> str:
    """A line of a file's `defaults` as a link; "" for the file itself."""
    if isinstance(entry, dict):
        [(other, name)] = entry.items()
        other = other.removeprefix("override ").strip("/").split("@")[0]
        shown = f"`{other}={shown_choice(name)}`"
        return f"[{shown}]({other}.md#{name})" if (CONF / other / f"{name}.yaml").is_file() else shown
    name = str(entry).split("@")[0]
    return f"[`{name}`](#{name})" if (CONF / group / f"{name}.yaml").is_file() else ""


def moved(text: str, source: str, target: str) -> str:
    """The text of a page with its links as they are on the site. source: its file below the root; target: its page."""

    def link(found: re.Match[str]) -> str:
        words, address = found[1], found[2]
        path, _, anchor = address.partition("#")
        if not path or re.match(r"\w+:", address):
            return found[0]
        full = os.path.normpath(Path(source).parent / path)
        page = full.removeprefix("docs/") if full.startswith("docs/") else PAGES.get(full)
        if page is None or not (full.startswith("docs/") or (ROOT / full).exists()):
            return found[0][: found.start(1) - found.start()].rstrip("[!") + words
        return found[0].replace(
            f"]({address})", f"]({os.path.relpath(page, Path(target).parent)}{f'#{anchor}' if anchor else ''})"
        )

    return re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", link, text)


def write(folder: Path) -> None:
    docs = ROOT / "docs"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(docs, folder, ignore=shutil.ignore_patterns(*SKIPPED))
    pages = {str(path.relative_to(ROOT)): str(path.relative_to(docs)) for path in docs.rglob("*.md")}
    pages |= {name: page for name, page in PAGES.items() if (ROOT / name).is_file()}
    texts = {target: moved((ROOT / source).read_text(), source, target) for source, target in pages.items()}
    texts |= {"reference/settings.md": settings_page(), "reference/choices.md": choices_page()}
    texts |= {f"reference/choices/{group}.md": group_page(group) for group in groups()}
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) / "pages")
    shutil.copy(ROOT / "docs" / "zensical.toml", sys.argv[1])
