"""Places that cannot be written: a full disk, a read-only one, names that are too long."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from bad_inputs.makers import TINY, run
from conftest import results, segkit


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts a file system `disk` of so many KB below tmp_path, if this process may."""
    place = tmp_path / "disk"

    def mount(size: int) -> Path:
        place.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(place)]
        if shutil.which("mount") is None or subprocess.run(words, capture_output=True, check=False).returncode:
            pytest.skip("a small file system cannot be mounted here")
        return place

    yield mount
    subprocess.run(["umount", str(place)], capture_output=True, check=False)


def make_read_only(place: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)


@pytest.mark.parametrize(("size", "then"), [(20, "start it again"), (60, "start it again"), (300, "start it again")])
def test_a_disk_that_is_full_before_the_first_epoch_ends(
    tmp_path: Path, disk: Callable[..., Path], size: int, then: str
) -> None:
    run(tmp_path)
    place = disk(size)
    words = [word for word in TINY if not word.startswith(("hydra", "model."))]
    done = segkit(*words, "model.net.widths=[16,32]", "hydra.run.dir=disk/r", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert f"No space left on device while writing the run folder {place}/r. Free some space, then {then}" in last
    assert not list(place.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(place)], check=True)
    again = segkit(*words, "model.net.widths=[16,32]", "hydra.run.dir=disk/r", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert results(place / "r")["status"] == "finished"


def test_a_disk_that_fills_during_a_prediction(tmp_path: Path, disk: Callable[..., Path]) -> None:
    run(tmp_path)
    place = disk(20)
    words = ["run=run", "input=data/images", "output=disk/p"]
    done = segkit(*words, cwd=tmp_path, module="predict")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr
    assert "Free some space, then start the command again" in done.stderr.strip().splitlines()[-1]
    assert not list(place.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=20m", str(place)], check=True)
    again = segkit(*words, cwd=tmp_path, module="predict")
    assert again.returncode == 0, again.stderr
    assert "12 of 12 pictures predicted" in again.stdout


@pytest.mark.parametrize(
    ("verb", "words", "key"),
    [
        ("train", ["hydra.run.dir=disk/r"], "hydra.run.dir=… or name=…"),
        ("train", ["-m", "seed=0,1", "hydra.sweep.dir=disk/s"], "hydra.run.dir=… or name=…"),
        ("predict", ["run=run", "input=data/images", "output=disk/p"], "output=…"),
        ("evaluate", ["run=run", "hydra.run.dir=disk/e"], "hydra.run.dir=…"),
    ],
)
def test_a_read_only_place_is_told_in_one_line(
    tmp_path: Path, disk: Callable[..., Path], verb: str, words: list[str], key: str
) -> None:
    run(tmp_path)
    make_read_only(disk(100))
    done = segkit(*words, cwd=tmp_path, module=verb)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert "Read-only file system: 'disk/" in line
    assert f"choose another with {key}." in line


def test_a_run_on_a_read_only_place_is_not_resumed(tmp_path: Path, disk: Callable[..., Path]) -> None:
    run(tmp_path)
    shutil.move(tmp_path / "run", disk(5000) / "run")
    make_read_only(tmp_path / "disk")
    done = segkit("resume=disk/run", "trainer.max_epochs=2", "+dataset.root=data", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Read-only file system" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("words", [[f"name={'x' * 300}"], ["-m", "seed=0,1", f"name={'x' * 300}"]])
def test_a_name_that_no_file_system_takes_is_told_in_one_line(tmp_path: Path, words: list[Any]) -> None:
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "File name too long" in line
    assert line.endswith("choose another with hydra.run.dir=… or name=….")
