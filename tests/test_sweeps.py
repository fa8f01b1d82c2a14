"""How a sweep ended is read from the files that its jobs left, whatever process they ran in."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, segkit

HERE = Path(__file__).parent
Sweep = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Run a grid with the launcher of `plugins`, and its settings."""
    (tmp_path / "conf" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "conf" / "hydra" / "launcher" / "forking.yaml").write_text("_target_: hydra_plugins.forking.Forking\n")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        own = ["--config-dir", str(tmp_path / "conf"), "-m", "hydra/launcher=forking", "name=grid"]
        return segkit(*own, *TINY, "trainer.max_epochs=1", *words, cwd=tmp_path)

    return run


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """Each run's results.json, by the loss in the name of its folder."""
    found = {path: re.search("loss-([a-z]+)", path.parent.name) for path in folder.glob("*/results.json")}
    return {name[1]: json.loads(path.read_text()) for path, name in found.items() if name}


def test_jobs_in_other_processes_are_summed_up(sweep: Sweep, tmp_path: Path) -> None:
    done = sweep("loss=dice,bce")
    assert done.returncode == 0, done.stderr
    found = results(tmp_path / "outputs" / "grid")
    assert {name: entry["status"] for name, entry in found.items()} == {"dice": "finished", "bce": "finished"}
    assert len({entry["sweep"] for entry in found.values()}) == 1  # both carry the id of their sweep
    assert (tmp_path / "outputs" / "grid" / "report" / "report.html").is_file()
    assert not (tmp_path / "outputs" / "grid" / ".sweep").exists()
    again = sweep("loss=dice,bce", "report=false")  # whose runs are left alone, and are finished all the same
    assert again.returncode == 0, again.stderr
    assert results(tmp_path / "outputs" / "grid") == found


def test_jobs_that_did_not_finish_are_told(sweep: Sweep, tmp_path: Path) -> None:
    """One is impossible, because its loss is for several classes; one is killed; one never begins."""
    done = sweep("loss=dice,ce,bce,focal", "report=false", "+hydra.launcher.shot=2", "+hydra.launcher.lost=3")
    assert done.returncode == 1
    assert "3 of 4 jobs did not finish" in done.stderr
    assert re.search(r"loss-ce_.*: failed: ValueError: loss=ce and dataset=synthetic", done.stderr)
    assert re.search(r"loss-bce_.*: killed: ", done.stderr)
    assert "job 3: missing: it never began" in done.stderr
    assert results(tmp_path / "outputs" / "grid")["dice"]["status"] == "finished"
