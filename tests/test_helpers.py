"""The forked command line is the real one: exit codes, streams, environment, and what it is seen to do."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import segkit
from helpers import Done

CODE = {
    "plain": "import os, sys; print(os.environ['WORD'], os.getcwd(), sys.argv[1:]); sys.exit('no')",
    "three": "import sys; sys.exit(3)",
    "killed": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "waits": "import time; print('begun', flush=True); time.sleep(60)",
    "raises": "raise ValueError('what is wrong')",
    "acts": "import os, pathlib, socket, subprocess\n"
    "pathlib.Path('inside.txt').write_text('')\n"
    "pathlib.Path('../outside.txt').write_text('')\n"
    "subprocess.run(['true'])\n"
    "socket.socket(socket.AF_UNIX)\n"
    "try: socket.create_connection(('127.0.0.1', 9))\n"
    "except OSError: pass\n",
}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run one of CODE as `python -m`, in place of a verb."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "work").mkdir()
    for name, code in CODE.items():
        (tmp_path / "work" / f"{name}.py").write_text(code)

    def ask(name: str, *words: str, **more: Any) -> Done:
        more = {"env": os.environ | {"WORD": "a word"}} | more
        return segkit(*words, cwd=tmp_path / "work", package="", module=name, **more)

    return ask


def test_a_forked_command_ends_as_one_of_its_own(run: Callable[..., Done], tmp_path: Path) -> None:
    done = run("plain", "a=1", "b")
    assert done.returncode == 1
    assert done.stdout == f"a word {tmp_path / 'work'} ['a=1', 'b']\n"
    assert done.stderr == "no\n"
    assert run("three").returncode == 3
    assert run("killed").returncode == -9
    raised = run("raises")
    assert raised.returncode == 1
    assert raised.stderr.startswith("Traceback")
    assert raised.stderr.endswith("ValueError: what is wrong\n")
    assert raised.cpu < 5


def test_a_command_that_hangs_is_ended_with_what_it_had_said(run: Callable[..., Done]) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as caught:
        run("waits", timeout=2)
    assert caught.value.output == "begun\n"


def test_sockets_programs_and_writes_outside_are_seen(run: Callable[..., Done], tmp_path: Path) -> None:
    events = run("acts", watch=["."]).events
    assert [event.split()[0] for event in events] == ["write:", "program:", "socket:", "socket:"]
    assert str(tmp_path / "outside.txt") in events[0].replace("../", f"{tmp_path}/")
    assert "'true'" in events[1]
