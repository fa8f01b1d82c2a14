"""Scoring a finished run: the numbers that training printed, on its own pictures and on others."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import pytest
from conftest import TINY, segkit, write_pair

from segkit.configs import compose
from segkit.evaluate import evaluate
from segkit.train import train


def scored(run: Path, folder: Path, *overrides: str) -> dict[str, float]:
    return evaluate(compose(f"run={run}", f"output_dir={folder}", *overrides, config="evaluate"))


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(run, data): a run on a folder of pictures of two shapes, scored at their own sizes."""
    base = tmp_path_factory.mktemp("folder")
    for number in range(14):
        size = (40, 48) if number % 2 else (36, 30)
        write_pair(base / "data" / "images", base / "data" / "masks", f"p{number:02}", number, size)
    options = [*(word for word in TINY if "counts" not in word), "dataset=folder", f"dataset.root={base / 'data'}",
               "dataset.train=crop", "dataset.eval=native", "dataset.fractions=[0.4,0.2,0.4]", "loss=dice",
               "optimizer.lr=0.03", "trainer.max_epochs=24", f"run_dir={base / 'run'}"]  # fmt: skip
    train(compose(*options))
    return base / "run", base / "data"


def test_evaluate_gives_the_metrics_that_training_printed(tmp_path, folder_run):
    run, _ = folder_run
    printed = json.loads((run / "results.json").read_text())["metrics"]
    assert printed["test/iou"] > 0.2  # it has learnt something, or the comparison says nothing
    for split in ("train", "val", "test"):
        got = scored(run, tmp_path / split, f"split={split}")
        assert got == {
            name: pytest.approx(value, abs=1e-6) for name, value in printed.items() if name.startswith(split)
        }
    assert (tmp_path / "test" / "per_image.csv").read_text() == (run / "per_image.csv").read_text()
    assert (tmp_path / "test" / "pictures" / "test.png").exists()
    entry = json.loads((tmp_path / "test" / "results.json").read_text())
    assert entry["status"] == "finished"
    assert entry["run"] == str(run)
    assert entry["protocol"] == "honest"
    assert entry["dataset"]["root"] == str(folder_run[1])
    assert entry["metrics"]["test/iou"] == got["test/iou"]


@pytest.fixture(scope="module")
def camera_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a loss that pools the batch, on several classes of which some pixels are ignored."""
    base = tmp_path_factory.mktemp("camera")
    for number in range(10):
        write_pair(base / "data" / "images", base / "data" / "masks", f"p{number}", number, scale=1)
        mask = cv2.imread(str(base / "data" / "masks" / f"p{number}.png"), cv2.IMREAD_UNCHANGED)
        mask[: number * 3] = 255
        cv2.imwrite(str(base / "data" / "masks" / f"p{number}.png"), mask)
    options = [*(word for word in TINY if "counts" not in word), "dataset=folder", f"dataset.root={base / 'data'}",
               "dataset.classes=[ground,disc]", "dataset.fractions=[0.4,0.2,0.4]", "loss=dice", "loss.pool=batch",
               f"run_dir={base / 'run'}"]  # fmt: skip
    train(compose(*options))
    return base / "run"


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("kind", ["one class", "several"])
def test_scores_do_not_depend_on_the_batch_size(tmp_path, folder_run, camera_run, kind, batch_size):
    run = folder_run[0] if kind == "one class" else camera_run
    printed = json.loads((run / "results.json").read_text())["metrics"]
    got = scored(run, tmp_path, f"dataset.batch_size={batch_size}")
    assert "test/loss" in got
    for name, value in got.items():
        assert value == pytest.approx(printed[name], abs=1e-6), name


def test_on_other_pictures_size_and_classes_stay_the_runs(tmp_path, tiny_run):
    for number in range(3):
        write_pair(
            tmp_path / "other" / "test" / "images", tmp_path / "other" / "test" / "masks", str(number), number, scale=1
        )
    got = scored(tiny_run, tmp_path / "out", "dataset=folder", f"dataset.root={tmp_path}/other", "dataset.threshold=0")
    assert 0 <= got["test/iou"] <= 1
    with (tmp_path / "out" / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    assert all(sum(int(row[key]) for key in ("tp", "fp", "fn", "tn")) == 32 * 32 for row in rows)
    with pytest.raises(ValueError, match=r"the run knows the classes \['crack'\], the data set \['a', 'b'\]"):
        scored(tiny_run, tmp_path / "no", "dataset=folder", f"dataset.root={tmp_path}/other", "dataset.classes=[a,b]")


def test_other_classes_or_no_root_are_errors(tmp_path, camera_run, tiny_run):
    words = ["dataset=folder", f"dataset.root={tmp_path}", "dataset.classes=[disc,ground]"]
    with pytest.raises(ValueError, match=r"knows the classes \['ground', 'disc'\], the data set \['disc', 'ground'\]"):
        scored(camera_run, tmp_path / "no", *words)
    with pytest.raises(ValueError, match=r"dataset\.root is not set: add dataset\.root="):
        scored(tiny_run, tmp_path / "no", "dataset=folder")


def test_pictures_that_moved_are_found_by_root(tmp_path, folder_run, capsys):
    run, data = folder_run
    shutil.copytree(data, tmp_path / "moved")
    got = scored(run, tmp_path / "out", f"dataset.root={tmp_path}/moved")
    assert got["test/iou"] == json.loads((run / "results.json").read_text())["metrics"]["test/iou"]
    hint = "scoring 6 of 14 pictures, the test split; 'dataset.fractions=[0,0,1]' scores all"
    assert hint in capsys.readouterr().err


def test_command_line(tmp_path, tiny_run):
    done = segkit(f"run={tiny_run}", "hydra.run.dir=scores", cwd=tmp_path, module="evaluate")
    assert done.returncode == 0, done.stderr
    assert "test/iou" in done.stdout
    assert json.loads((tmp_path / "scores" / "results.json").read_text())["metrics"]
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
    done = segkit("run=nowhere", cwd=tmp_path, module="evaluate")
    assert done.returncode == 1
    assert "run=nowhere: no checkpoint there. Give a run folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "outputs" / "evaluate").iterdir())  # nothing of it is left
