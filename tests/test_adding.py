"""Adding a loss, a data set, a model, a task or a verb: the pages of docs/how-to, done as they say."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import segkit

ROOT = Path(__file__).parents[1]
DRAWN = ["dataset.size=32", "dataset.counts=[12,5,5]", "dataset.batch_size=4", "trainer.max_epochs=1"]
NARROW = "model.net.widths=[4,8]"
QUICK = {"loss": [*DRAWN, NARROW], "dataset": [NARROW], "model": DRAWN, "task": [*DRAWN, NARROW]}


def blocks(thing: str, kind: str) -> list[str]:
    """The fenced blocks of a page; kind: python, yaml, or nothing for commands."""
    text = (ROOT / "docs" / "how-to" / f"add-a-{thing}.md").read_text()
    return [
        body for found, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE) if found == kind
    ]


def write_files(thing: str, folder: Path, *starts: str) -> list[str]:
    """Write the blocks of a page that name a file in their first line, of those files that start so."""
    found = {
        block.split("\n", 1)[0].removeprefix("# "): block
        for kind in ("python", "yaml")
        for block in blocks(thing, kind)
    }
    names = [name for name in found if name.startswith(starts) and " " not in name]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        text = found[name].split("\n", 1)[1] if name.startswith("conf/") else found[name]  # whose first line is read
        (folder / name).write_text(text)
    return names


def commands(thing: str) -> Iterator[list[str]]:
    for block in blocks(thing, ""):
        yield from (shlex.split(line) for line in block.splitlines())


@pytest.mark.parametrize("thing", QUICK)
def test_in_a_folder_of_ones_own(thing: str, tmp_path: Path) -> None:
    assert len(write_files(thing, tmp_path, "my_")) == 2
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((40, 40, 3), np.uint8))
    lines = [*commands(thing)]
    assert any(line[:3] == ["python", "-m", "segkit.train"] for line in lines)
    for line in lines:
        module = line[2].removeprefix("segkit.") if line[0] == "python" else "__main__"
        words = line[3:] if line[0] == "python" else line[1:]
        jobs = [path.name for path in (tmp_path / "outputs").glob("*/*")]
        words = [word.replace("<job>", jobs[-1] if jobs else "") for word in words]
        done = segkit(*words, *(QUICK[thing] if module == "train" else []), cwd=tmp_path, module=module)
        assert done.returncode == 0, f"{shlex.join(line)}\n{done.stderr}"
        assert module != "__main__" or "my_hinge  " in done.stdout
    found = [json.loads(path.read_text()) for path in (tmp_path / "outputs").glob("*/*/results.json")]
    assert {entry["status"] for entry in found} == {"finished"}
    assert (thing == "loss") == any("test/loss/my_hinge" in entry["metrics"] for entry in found)
    assert (thing == "task") == any("test/loss/size" in entry["metrics"] for entry in found)
    assert len([*tmp_path.glob("predicted/masks/*")]) == (thing in ("model", "task"))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of segkit to which a loss, a data set and a verb are added: a file and a YAML file each, and two rows."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "conf", folder / "conf")
    assert write_files("loss", folder, "src/", "conf/") == ["src/segkit/losses/hinge.py", "conf/loss/hinge.yaml"]
    assert write_files("verb", folder, "src/", "conf/") == ["src/segkit/count.py", "conf/count.yaml"]
    write_files("dataset", folder, "my_")
    (folder / "my_data.py").rename(folder / "src" / "segkit" / "datasets" / "squares.py")
    text = (folder / "my_conf" / "dataset" / "my_squares.yaml").read_text().partition("\n")[2]
    (folder / "conf" / "dataset" / "squares.yaml").write_text(text.replace("my_data", "segkit.datasets.squares"))
    allowed = folder / "src" / "segkit" / "security" / "allowed.py"
    for thing in ("loss", "dataset"):
        (row,) = [block for block in blocks(thing, "python") if "allowed.py" in block.split("\n", 1)[0]]
        start, row = row.split("\n", 1)
        named = re.search(r"in (\w+) of", start)
        assert named is not None, start
        table = named[1]
        before, opening, after = allowed.read_text().partition(f"{table}: dict[str, Arguments] = {{\n")
        allowed.write_text(f"{before}{opening}{row}{after}")
    return folder


def say(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(copy / "src")}
    return segkit(*words, cwd=copy, module="__main__", alone=True, env=environment)


def test_what_was_added_is_offered(copy: Path) -> None:
    assert "\n  segkit count run=outputs/…" in say(copy, "--help").stdout
    assert "parameters of its network, part by part\n" in say(copy, "--help").stdout
    assert "\nhinge" in say(copy, "list", "losses").stdout
    assert "\nsquares" in say(copy, "list", "datasets").stdout
    assert say(copy, "complete", "segkit co").stdout.split() == ["completion", "count"]
    assert say(copy, "complete", "segkit count le").stdout.split() == ["least="]


def test_what_was_added_is_checked_before_it_starts(copy: Path) -> None:
    assert "least=many: expected a number, such as 1" in say(copy, "count", "run=outputs", "least=many").stderr
    assert "leest: did you mean least?" in say(copy, "count", "run=outputs", "leest=3").stderr
    assert "run=nothing: no checkpoint there" in say(copy, "count", "run=nothing").stderr


def test_what_was_added_runs_and_needs_no_trust(copy: Path) -> None:
    words = ["loss=combo", "loss.weights={dice: 1, hinge: 0.5}", "dataset=squares", NARROW, "hydra.run.dir=run"]
    done = say(copy, "train", *words)
    assert done.returncode == 0, done.stderr
    assert "test/loss/hinge" in json.loads((copy / "run" / "results.json").read_text())["metrics"]
    done = say(copy, "count", "run=run", "least=100")
    assert done.returncode == 0, done.stderr
    assert re.match(r"\w+: [\d,]+\n", done.stdout)


def test_what_was_added_fits_the_house(copy: Path) -> None:
    (copy / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "test_house.py", copy / "tests")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_house.py"]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_pages_test_of_a_loss_passes() -> None:
    names: dict[str, Any] = {"torch": torch, "pytest": pytest}
    for block in blocks("loss", "python"):
        if block.startswith(("# src/segkit/losses/", "# in tests/test_losses.py")):
            exec(block, names)
    names["test_hinge_by_hand"]()
