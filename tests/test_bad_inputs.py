"""Every row of bad input ends as it must: with a clear message, and nothing else done.

What holds for all rows: the exit code; a message that names the file or key and the remedy; no traceback; no socket
and no other program; nothing written outside of the row's folder and nothing half-written in it; processor time.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bad_inputs import all_cases
from bad_inputs.cases import Case
from conftest import segkit

ROWS = all_cases()
PLACES = {"HOME": "home", "XDG_CACHE_HOME": "aside/cache", "XDG_CONFIG_HOME": "aside/config", "TMPDIR": "aside/tmp"}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in ROWS.items()])
def test_bad_input(case: Case, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in PLACES.values():
        (tmp_path / name).mkdir(parents=True)
    if case.make is not None:
        case.make(folder)
    before = set(outside(tmp_path))
    places = {name: str(tmp_path / place) for name, place in PLACES.items()}
    done = segkit(
        *case.words,
        module=case.verb,
        cwd=folder,
        timeout=4 * case.seconds + 20,
        env=os.environ | places,
        watch=(".", "../aside"),
    )
    said = done.stdout + done.stderr
    assert done.returncode == case.ends, said[-3000:]
    for text in ("Traceback (most recent call last)", "HYDRA_FULL_ERROR", "not in struct", "Available options"):
        assert text not in said
    missing = [text for text in case.says if text not in said]
    assert not missing, said[-3000:]
    assert done.events == []
    assert sorted(set(outside(tmp_path)) - before) == []
    assert [str(path) for path in folder.rglob("*.part")] == []
    assert done.cpu <= case.seconds


def outside(place: Path) -> Iterator[str]:
    """Every path below a row's place that is outside of its folder."""
    for path in place.iterdir():
        if path.name not in ("here", "aside"):
            yield from (str(one) for one in [path, *path.rglob("*")])


def test_every_row_says_something() -> None:
    assert all(any(text.strip() for text in case.says) for case in ROWS.values())
