"""Scoring a finished run: the numbers that training printed, on its own pictures and on others."""

import csv
import json
import shutil
from pathlib import Path

import cv2
import pytest
import torch
from conftest import TINY, read_picture, segkit, write_pair

from segkit.configs.composing import compose
from segkit.evaluate import evaluate
from segkit.predict import predict
from segkit.runs.loading import load
from segkit.tasks.deciding import set_threshold
from segkit.train import train


def scored(run: Path, folder: Path, *overrides: str) -> dict[str, float]:
    return evaluate(compose(f"run={run}", f"output_dir={folder}", *overrides, config="evaluate"))


def predicted(run: Path, pictures: Path, folder: Path) -> None:
    predict(compose(f"run={run}", f"input={pictures}", f"output={folder}", config="predict"))


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(run, data): a run on a folder of pictures of two shapes, scored at their own sizes."""
    base = tmp_path_factory.mktemp("folder")
    for number in range(14):
        size = (40, 48) if number % 2 else (36, 30)
        write_pair(base / "data" / "images", base / "data" / "masks", f"p{number:02}", number, size)
    options = [
        *(word for word in TINY if "counts" not in word),
        "dataset=folder",
        f"dataset.root={base / 'data'}",
        "dataset.train=crop",
        "dataset.eval=native",
        "dataset.fractions=[0.4,0.2,0.4]",
        "loss=dice",
        "dataset.groups='p(\\d+)'",
        "optimizer.lr=0.03",
        "trainer.max_epochs=24",
        f"run_dir={base / 'run'}",
    ]
    train(compose(*options))
    return base / "run", base / "data"


def test_evaluate_gives_the_metrics_that_training_printed(tmp_path: Path, folder_run: tuple[Path, Path]) -> None:
    run, _ = folder_run
    printed = json.loads((run / "results.json").read_text())["metrics"]
    assert printed["test/iou"] > 0.2  # it has learnt something, or the comparison says nothing
    for split in ("train", "val", "test"):
        got = scored(run, tmp_path / split, f"split={split}")
        assert got == {
            name: pytest.approx(value, abs=1e-6) for name, value in printed.items() if name.startswith(split)
        }
    assert (tmp_path / "test" / "per_image.csv").read_text() == (run / "per_image.csv").read_text()
    rows = list(csv.DictReader((run / "per_image.csv").open()))
    assert [row["name"] for row in rows] == [f"images/p{row['group']}.png" for row in rows]
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
        mask = read_picture(base / "data" / "masks" / f"p{number}.png", cv2.IMREAD_UNCHANGED)
        mask[: number * 3] = 255
        cv2.imwrite(str(base / "data" / "masks" / f"p{number}.png"), mask)
    options = [
        *(word for word in TINY if "counts" not in word),
        "dataset=folder",
        f"dataset.root={base / 'data'}",
        "dataset.classes=[ground,disc]",
        "dataset.fractions=[0.4,0.2,0.4]",
        "loss=dice",
        "loss.pool=batch",
        f"run_dir={base / 'run'}",
    ]
    train(compose(*options))
    return base / "run"


@pytest.mark.parametrize("batch_size", [1, 3, 16])
@pytest.mark.parametrize("kind", ["one class", "several"])
def test_scores_do_not_depend_on_the_batch_size(
    tmp_path: Path, folder_run: tuple[Path, Path], camera_run: Path, kind: str, batch_size: int
) -> None:
    run = folder_run[0] if kind == "one class" else camera_run
    printed = json.loads((run / "results.json").read_text())["metrics"]
    got = scored(run, tmp_path, f"dataset.batch_size={batch_size}")
    assert "test/loss" in got
    if kind == "several":  # its loss is of a batch as a whole
        assert (got.pop("test/loss") == pytest.approx(printed["test/loss"], abs=1e-6)) == (batch_size > 4)  # of 4
    for name, value in got.items():
        assert value == pytest.approx(printed[name], abs=1e-6), name


def test_on_other_pictures_size_and_classes_stay_the_runs(tmp_path: Path, tiny_run: Path) -> None:
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


def test_other_classes_or_no_root_are_errors(tmp_path: Path, camera_run: Path, tiny_run: Path) -> None:
    words = ["dataset=folder", f"dataset.root={tmp_path}", "dataset.classes=[disc,ground]"]
    with pytest.raises(ValueError, match=r"knows the classes \['ground', 'disc'\], the data set \['disc', 'ground'\]"):
        scored(camera_run, tmp_path / "no", *words)
    with pytest.raises(ValueError, match=r"dataset\.root is not set: add dataset\.root="):
        scored(tiny_run, tmp_path / "no", "dataset=folder")


def test_pictures_that_moved_are_found_by_root(
    tmp_path: Path, folder_run: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = folder_run
    shutil.copytree(data, tmp_path / "moved")
    got = scored(run, tmp_path / "out", f"dataset.root={tmp_path}/moved")
    assert got["test/iou"] == json.loads((run / "results.json").read_text())["metrics"]["test/iou"]
    hint = "scoring 6 of 14 pictures, the test split; '+dataset.fractions=[0,0,1]' scores all"
    assert hint in capsys.readouterr().err


def test_command_line(tmp_path: Path, tiny_run: Path) -> None:
    done = segkit(f"run={tiny_run}", "hydra.run.dir=scores", cwd=tmp_path, module="evaluate")
    assert done.returncode == 0, done.stderr
    assert "test/iou" in done.stdout
    assert json.loads((tmp_path / "scores" / "results.json").read_text())["metrics"]
    assert [path.name for path in tmp_path.iterdir()] == ["scores"]
    done = segkit("run=nowhere", cwd=tmp_path, module="evaluate")
    assert done.returncode == 1
    assert "run=nowhere: no checkpoint there. Give a run folder" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()  # nothing of it is left


def test_weights_that_are_not_finite_are_no_network(tmp_path: Path, tiny_run: Path) -> None:
    checkpoint = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["state_dict"]["net.head.weight"][0] = float("nan")
    torch.save(checkpoint, tmp_path / "nan.ckpt")
    expected = r"nan\.ckpt: 1 of \d+ tensors hold NaN or infinite values \(net\.head\.weight\).*smaller optimizer\.lr"
    with pytest.raises(ValueError, match=expected):
        scored(tmp_path / "nan.ckpt", tmp_path / "scored")
    with pytest.raises(ValueError, match=expected):
        predict(
            compose(
                f"run={tmp_path}/nan.ckpt",
                f"input={tiny_run}/pictures/test.png",
                f"output={tmp_path}/p",
                config="predict",
            )
        )
    assert not (tmp_path / "p").exists()
    with pytest.raises(ValueError, match=expected):
        train(compose(*TINY, f"init_from={tmp_path}/nan.ckpt", f"run_dir={tmp_path}/run"))


def test_outputs_that_are_not_finite_are_no_masks(
    tmp_path: Path, tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    for name, tensor in checkpoint["state_dict"].items():
        if name.endswith("weight"):
            tensor.fill_(1e30)  # finite, but their products are not
    torch.save(checkpoint, tmp_path / "large.ckpt")
    with pytest.raises(ValueError, match=r"NaN or infinite outputs.*precision=32-true"):
        scored(tmp_path / "large.ckpt", tmp_path / "scored")
    assert not (tmp_path / "scored" / "results.json").exists()
    with pytest.raises(ValueError, match="1 picture could not be"):
        predict(
            compose(
                f"run={tmp_path}/large.ckpt",
                f"input={tiny_run}/pictures/test.png",
                f"output={tmp_path}/p",
                config="predict",
            )
        )
    assert "NaN or infinite outputs" in capsys.readouterr().err
    assert not (tmp_path / "p" / "masks").exists()


def test_another_threshold_of_one_class(tmp_path: Path, tiny_run: Path) -> None:
    recall = {}
    for threshold in (0.1, 0.9):
        words = [f"run={tiny_run}", f"threshold={threshold}", "pictures=0", f"output_dir={tmp_path}/{threshold}"]
        recall[threshold] = evaluate(compose(*words, config="evaluate"))["test/recall"]
        assert json.loads((tmp_path / str(threshold) / "results.json").read_text())["threshold"] == threshold
    assert recall[0.1] > recall[0.9]
    task = load(str(tiny_run))
    picture = torch.randint(0, 255, (1, 3, 32, 32), dtype=torch.uint8)
    shares = []
    for threshold in (0.1, 0.9):
        set_threshold(task, threshold)
        shares.append(task.label(task.probabilities(picture)).float().mean())
    assert shares[0] >= shares[1]
    task.classes = ("a", "b")
    with pytest.raises(ValueError, match=r"threshold=0\.3: this run tells 2 classes apart"):
        set_threshold(task, 0.3)
