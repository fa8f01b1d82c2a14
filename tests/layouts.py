"""Empty files in the layouts of data sets."""

import re
import shlex
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from conftest import segkit
from folders import SPLITS

from segkit.datasets.findings import gather_findings
from segkit.datasets.layouts.choosing import Given
from segkit.datasets.layouts.layout import Layout, read_layout

NUMBERS = range(1, 6)


def names(*patterns: str, **words: Any) -> list[str]:
    """Paths from patterns with `{n}` for a number and names with several values."""
    lists = {"n": NUMBERS, **words}
    found = []
    for pattern in patterns:
        used = [key for key in lists if re.search(rf"\{{{key}\b", pattern)]
        found += [
            pattern.format(**dict(zip(used, values, strict=True))) for values in product(*(lists[key] for key in used))
        ]
    return found


def touch(root: Path, paths: list[str]) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    return root


def read(root: Path, **given: Any) -> Layout:
    with gather_findings():
        layout = read_layout(root, Given(**given), follow_links=True)
        for split in SPLITS:
            layout.find_part(split, "honest")
    return layout


def pairs_of(layout: Layout) -> dict[str, list[tuple[str, str]]]:
    return {
        split: [
            (pair.image.relative_to(layout.root).as_posix(), pair.mask.relative_to(layout.root).as_posix())
            for pair in list_pairs()
        ]
        for split, list_pairs in layout.splits.items()
    }


def settings_in(text: str) -> Iterator[dict[str, str]]:
    """The settings of each line that can be copied."""
    for line in text.splitlines():
        if line.startswith("  ") and "<" not in line:
            words = [word.removeprefix("dataset.").partition("=") for word in shlex.split(line)]
            yield {key: value.strip("'") for key, _, value in words}


RUN = ("dataset.size=32", "dataset.batch_size=4", "model.net.widths=[4,8]", "trainer.max_epochs=1",
       "trainer.accelerator=cpu", "callbacks.pictures=null", "loss=dice", "hydra.run.dir=run")  # fmt: skip


def ask(root: Path, number: int = 0) -> list[str]:
    """The settings that the error says to type."""
    done = segkit("dataset=folder", f"dataset.root={root}", *RUN, cwd=root.parent)
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("  ") and "<" not in line]
    return shlex.split(lines[number])


def train(root: Path, *words: str, data: str = "folder") -> str:
    """What one line of `segkit train` says."""
    done = segkit(f"dataset={data}", f"dataset.root={root}", *RUN, *words, cwd=root.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr
