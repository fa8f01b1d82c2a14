"""TAB completion: what may come next, and that a real shell at a terminal takes it."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from segkit.choices.completion import SCRIPTS, complete


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("segkit tr", ["train"]),
        ("segkit list mo", ["models"]),
        ("segkit completion ", ["bash", "fish", "zsh"]),
        (
            "segkit train optimizer=ada",
            [f"optimizer=ada{rest}" for rest in ("delta", "factor", "grad", "m", "max", "mw")],
        ),
        ("segkit train -m loss=dice,bce", ["loss=dice,bce", "loss=dice,bce_dice"]),
        ("segkit train trainer.max", ["trainer.max_epochs="]),
        ("segkit train model=unet model.net.w", ["model.net.widths="]),
        ("segkit train model=vit_segmenter model.net.w", ["model.net.width="]),
        ("segkit train loss=focal loss.g", ["loss.gamma="]),
        ("segkit train experiment=crack_recipe dataset.cr", ["dataset.crops="]),
        ("segkit train mod", ["model.", "model="]),
        ("segkit train compile=", ["compile=false", "compile=true"]),
        ("segkit train monitor", ["monitor="]),  # not monitor_mode, which follows from it
        ("segkit train --conf", ["--config-dir"]),
        ("segkit predict ov", ["overlap=", "overlays=", "overwrite="]),
        ("segkit predict color=bl", ["color=black", "color=blue"]),
        ("segkit evaluate dataset=deepc", ["dataset=deepcrack"]),
        ("segkit nothing ", []),
    ],
)
def test_what_may_come_next(line: str, found: list[str]) -> None:
    assert complete(line) == found


def test_files_complete_where_a_setting_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("outputs/ph2/run_a", "outputs/ph2/run b", "my_conf/model"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "my_conf" / "model" / "mine.yaml").write_text("net: {_target_: mine.Net, width: 3}\n")
    assert complete("segkit predict run=out") == ["run=outputs/"]
    assert complete("segkit predict run=outputs/ph2/r") == ["run=outputs/ph2/run_a/"]  # spaces want quotes
    assert complete("segkit train dataset.root=my") == ["dataset.root=my_conf/"]
    assert complete("segkit train --config-dir my_conf model=mi") == ["model=mine"]
    assert complete("segkit train --config-dir my_conf model=mine model.net.wi") == ["model.net.width="]


def test_an_answer_is_light() -> None:
    code = (
        "import sys; from segkit.__main__ import main; sys.argv = ['segkit', 'complete', 'segkit train model.']; main()"
    )
    heavy = "; print([name for name in ('hydra', 'omegaconf', 'torch', 'lightning', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code + heavy], capture_output=True, text=True, check=True)
    assert "model.net." in done.stdout
    assert done.stdout.endswith("[]\n")


def test_another_shell_is_refused() -> None:
    words = [sys.executable, "-m", "segkit", "completion", "tcsh"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "expected the name of a shell, bash, zsh, fish; got tcsh" in done.stderr


START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "-i"],
}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_at_a_terminal_completes(tmp_path: Path, shell: str) -> None:
    """Type half a command and TAB, and have the shell write down what then stands there."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    command = tmp_path / "bin" / "segkit"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m segkit "$@"\n')
    command.chmod(0o755)
    (tmp_path / "outputs" / "ph2").mkdir(parents=True)
    script = subprocess.run([str(command), "completion", shell], capture_output=True, text=True, check=True).stdout
    (tmp_path / "script").write_text(script)
    home = {"HOME": str(tmp_path), "TERM": "dumb", "PATH": f"{command.parent}:{os.environ['PATH']}"}
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(tmp_path)
        os.execvpe(shell, [shell, *START[shell]], os.environ | home)
    try:
        # in the shell `segkit` then only writes down its words, but for what completion asks
        spy = 'segkit() { if [ "$1" = complete ]; then command segkit "$@"; else echo "<$*>"; fi; }'
        if shell == "fish":
            asked = "if test $argv[1] = complete; command segkit $argv"
            spy = f'function segkit; {asked}; else; echo "<$argv>"; end; end'
        for line in (". ./script" if shell != "fish" else "source ./script", spy):
            os.write(terminal, f"{line}; echo do''ne\n".encode())  # what is typed is echoed as well
            answered(terminal, "done")
        for keys in (
            [("segkit tra\t", "in"), ("model=unet_sm\t", "all"), ("\n", "<train model=unet_small>")],
            [("segkit train trainer.max_e\t", "pochs="), ("5\n", "<train trainer.max_epochs=5>")],
            [("segkit predict run=out\t", "puts/"), ("ph\t", "2/"), ("\n", "<predict run=outputs/ph2/>")],
        ):
            for typed, expected in keys:
                os.write(terminal, typed.encode())
                said = answered(terminal, expected)
            assert expected in said
    finally:
        os.close(terminal)
        os.kill(process, 9)
        os.waitpid(process, 0)


def answered(terminal: int, until: str, seconds: float = 60) -> str:
    """What a shell writes until it has written something, however busy the machine."""
    said, end = "", time.monotonic() + seconds
    while until not in said and (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            said += os.read(terminal, 65536).decode(errors="replace")
    return said
