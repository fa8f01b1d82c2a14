"""The data card: what a data set is, for those who use it later."""

import re
from collections.abc import Iterator
from pathlib import Path

from segkit import __version__
from segkit.console import printable
from segkit.datasets.checking.checkup import Checkup
from segkit.datasets.checking.problems import SEVERITIES, percent
from segkit.datasets.checking.summary import describe_groups, describe_sizes
from segkit.files.writing import write_text

KEPT = "## Source and licence"  # from here on the card is the person's own text
TO_FILL_IN = f"""{KEPT}

What stands below this heading is yours: segkit keeps it when it writes the card again.

- **Source** (who took the pictures, where, when, with what): …
- **Licence** of the pictures and of the masks: …
- **Citation**: …
- **Who drew the masks**, with which tool and by which rules: …
- **People in the pictures**, and what they agreed to: …
- **Meant for**, and not meant for: …
"""


def write_card(checkup: Checkup, path: Path, fingerprint: str = "") -> None:
    """Write the card; what a person has filled in below `KEPT` stays."""
    own = TO_FILL_IN
    if path.is_file():
        _, heading, rest = path.read_text(encoding="utf-8", errors="replace").partition(KEPT)
        own = heading + rest if heading else own
    write_text(path, "\n".join([*_lines(checkup, fingerprint), own]))


def _lines(checkup: Checkup, fingerprint: str) -> Iterator[str]:
    survey = checkup.survey
    yield f"# {cell(checkup.name)}\n"
    yield f"Written by `segkit check` (segkit {__version__}); [the check](check.html) has pictures and details.\n"
    if survey.records:
        yield f"- Pictures: {describe_sizes(survey)}"
        yield f"- Groups: {describe_groups(survey)}"
    yield f"- Fingerprint of all files: `{fingerprint or 'none, as there are no files'}`"
    yield f"- Found: {', '.join(f'{len(checkup.of(severity))} {severity}s' for severity in SEVERITIES)}\n"
    yield "| split | pictures | groups |\n| --- | --- | --- |"
    for split, count in survey.counts.items():
        groups = len({record.group for record in survey.of(split)} - {""})
        yield f"| {split} | {count} | {groups or '—'} |"
    yield f"\n| class | value | {' | '.join(f'pixels of {split} | pictures of {split}' for split in survey.counts)} |"
    yield "| --- | --- |" + " --- | --- |" * len(survey.counts)
    for name, value in survey.values.items():
        shares = [survey.shares(name, split) for split in survey.counts]
        cells = [f"{percent(share.pixels)} | {100 * share.pictures:.0f} %" for share in shares]
        yield f"| {cell(name)} | {value} | {' | '.join(cells)} |"
    yield ""


def cell(text: str) -> str:
    """A name that stays in its cell of a table and its line, and is no Markdown: no link, no picture, no HTML."""
    return re.sub(r"([][!\"#&'()*<>\\_`{|}~])", r"\\\1", printable(text).replace("\n", " "))
