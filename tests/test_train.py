"""A run from config to folder: what it writes, what training options do, and what cannot work."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY, TINY_WITH_ANY_LOGGER, results, weights, write_pair
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkit.configs.composing import compose, to_plain
from segkit.datasets.module import DataModule
from segkit.runs.build import build_data, build_task
from segkit.runs.loading import load
from segkit.runs.making import make
from segkit.tasks.segmentation import SegmentationTask
from segkit.train import train


def test_run_folder_is_complete(tiny_run: Path) -> None:
    names = {path.name for path in tiny_run.iterdir()}
    assert {
        "config.yaml",
        "overrides.yaml",
        "results.json",
        "metrics.csv",
        "per_image.csv",
        "checkpoints",
        "train.log",
        "environment.json",
        "split.json",
        "model.txt",
        "curves.png",
        "pictures",
    } <= names
    assert not [name for name in names if name.endswith((".part", ".lock"))]
    entry = results(tiny_run)
    assert entry["status"] == "finished"
    assert entry["epochs"] == 2
    assert entry["device"] == "cpu"
    assert entry["params"] == sum(
        w.numel() for name, w in weights(tiny_run).items() if "running" not in name and "num_batches" not in name
    )
    for name in (
        "iou",
        "dice",
        "precision",
        "recall",
        "accuracy",
        "fbeta",
        "iou_image",
        "accuracy_image",
        "score",
        "soft_dice",
        "soft_iou",
        "loss",
        "empty_images",
    ):
        assert {f"test/{name}", f"val/{name}", f"train/{name}"} <= entry["metrics"].keys()
    with (tiny_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert {"train/loss", "val/loss", "train/iou", "val/iou", "lr", "seconds"} <= rows[0].keys()
    with (tiny_run / "per_image.csv").open() as file:
        images = list(csv.DictReader(file))
    assert [row["name"] for row in images] == json.loads((tiny_run / "split.json").read_text())["test"]
    assert sorted(path.name for path in (tiny_run / "pictures").iterdir()) == [
        "epoch_0001.png",
        "epoch_0002.png",
        "test.png",
    ]
    environment = json.loads((tiny_run / "environment.json").read_text())
    assert environment["packages"]["torch"] == torch.__version__.split("+")[0]


def test_pooled_scores_follow_from_the_rows_per_picture(tiny_run: Path) -> None:
    with (tiny_run / "per_image.csv").open() as file:
        rows = [
            {key: float(value) for key, value in row.items() if key in ("tp", "fp", "fn")}
            for row in csv.DictReader(file)
        ]
    tp, fp, fn = (sum(row[key] for row in rows) for key in ("tp", "fp", "fn"))
    assert results(tiny_run)["metrics"]["test/iou"] == pytest.approx(tp / (tp + fp + fn) if tp + fp + fn else 1)


def test_checkpoints_hold_what_their_use_needs(tiny_run: Path) -> None:
    best = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    assert "optimizer_states" not in best
    facts = best["segkit"]
    assert facts["classes"] == ["crack"]
    assert facts["threshold"] == 0.5
    assert facts["normalisation"] == {"mean": [0, 0, 0], "std": [1, 1, 1]}
    assert facts["config"]["dataset"]["size"] == 32
    assert "optimizer_states" in torch.load(tiny_run / "checkpoints" / "last.ckpt", weights_only=True)


def test_tensorboard_has_curves_pictures_graph_and_hyperparameters(tiny_run: Path) -> None:
    events = EventAccumulator(str(tiny_run)).Reload()
    tags = events.Tags()
    assert {"train/loss", "val/loss", "train/iou", "val/iou", "test/iou"} <= set(tags["scalars"])
    assert any(tag.startswith("lr-") for tag in tags["scalars"])
    assert tags["images"] == ["validation"]
    assert tags["graph"]
    session = b"".join(events.SummaryMetadata(tag).plugin_data.content for tag in events.PluginTagToContent("hparams"))
    assert b"batch_size" in session
    assert b"loss" in session
    assert not [path for path in tiny_run.rglob("events*") if path.parent != tiny_run]  # no second run beside it


def test_a_nan_loss_stops_the_run_and_says_where(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"NaN or infinite at step \d+ \(epoch \d+\).*smaller optimizer\.lr"):
        train(compose(*TINY, "loss=bce", "optimizer=sgd", "optimizer.lr=1e30", f"run_dir={tmp_path}/run"))
    entry = results(tmp_path / "run")
    assert entry["status"] == "failed"
    assert "NaN" in entry["error"]
    assert "Traceback" in (tmp_path / "run" / "train.log").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["loss=ce"], r"loss=ce and dataset=synthetic \(1 class\) disagree.*two or more classes"),
        (["dataset=synthetic_shapes", "loss=bce"], r"loss=bce and dataset=synthetic_shapes \(5 classes\) disagree"),
        (
            ["dataset=synthetic_shapes", "loss=combo", "loss.weights={bce: 1, dice: 1}"],
            r"loss=combo and dataset=synthetic_shapes \(5 classes\) disagree: this loss is for one class",
        ),
        (["+model.net.nonsense=1"], "nonsense"),
        (
            ["model.net.out_channels=3"],
            r"model=unet_small and dataset=synthetic disagree.*\(2, 3, 32, 32\), expected \(2, 1, 32, 32\)",
        ),
        (["dataset=folder", "dataset.classes=[a,b]"], r"training masks show only a and 255.*name one class"),
        (["dataset=folder", "dataset.classes=[a,b]", "loss=bce"], r"training masks show only a and 255"),
        (["dataset.batch_size=0"], "dataset.batch_size=0: expected a whole number, 1 or more"),
        (["dataset.train=squash"], "dataset.train=squash: expected resize or crop"),
        (["monitor=val/iuo"], r"monitor=val/iuo: expected a metric that validation gives; did you mean val/iou"),
        (["callbacks.best=null"], "callbacks lack the checkpoints best and last"),
        (
            ["trainer.devices=2", "trainer.accelerator=cpu"],
            "trainer.devices=2, but no strategy.*Add trainer=ddp",
        ),
        (["optimizer.lr=fast"], "optimizer.lr=fast: expected a number"),
        (["compile=maybe"], "compile=maybe: expected true or false"),
        (["model.threshold=1.5"], "threshold=1.5: expected a probability"),
    ],
)
def test_combinations_that_cannot_work_fail_before_training(
    tmp_path: Path, folder: Path, options: list[str], message: str
) -> None:
    tiny = TINY
    if "dataset=folder" in options:
        tiny = [*(word for word in TINY if "counts" not in word), f"dataset.root={folder}"]
    with pytest.raises((ValueError, TypeError), match=message):
        train(compose(*tiny, *options, f"run_dir={tmp_path}/run"))
    assert not (tmp_path / "run" / "checkpoints").exists()
    if (tmp_path / "run").exists():  # a wrong value is told before there is one
        assert results(tmp_path / "run")["status"] == "failed"


def test_a_loss_that_does_not_fit_is_told_before_files_are_decoded(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DataModule, "decode", lambda *_: pytest.fail("pictures were decoded"))
    tiny = [*(word for word in TINY if "counts" not in word), f"dataset.root={folder}"]
    with pytest.raises(ValueError, match="two or more classes"):
        train(compose(*tiny, "dataset=folder", "loss=ce", f"run_dir={tmp_path}/run"))


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_averaged_weights_are_those_kept_and_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, averaging: str
) -> None:
    name = "net.head.weight"
    steps = []
    end = SegmentationTask.on_train_batch_end

    def noted(self: SegmentationTask, *args: Any) -> None:
        end(self, *args)
        steps.append(self.state_dict()[name].clone())

    monkeypatch.setattr(SegmentationTask, "on_train_batch_end", noted)
    train(compose(*TINY, f"callbacks=[default,{averaging}]", "trainer.max_epochs=4", f"run_dir={tmp_path}/run"))
    assert len(steps) == 12
    if averaging == "swa":  # 12 steps, of which the last quarter counts
        expected = torch.stack(steps[9:]).mean(0)
    else:
        expected = steps[0]
        for step in steps[1:]:
            expected = 0.99 * expected + 0.01 * step
    torch.testing.assert_close(weights(tmp_path / "run")[name], expected)
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    kept = weights(tmp_path / "run", "best")[name]
    assert not any(torch.equal(kept, step) for step in steps[10 if averaging == "swa" else 1 :]), best["epoch"]


def test_the_loss_is_logged_by_step(tmp_path: Path) -> None:
    words = ["trainer.log_every_n_steps=2", "callbacks.pictures=null", "logger.tensorboard.log_graph=false"]
    train(compose(*TINY, *words, f"run_dir={tmp_path}/run"))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.step for event in events.Scalars("loss")] == [1, 3, 5]  # of 3 batches in each of 2 epochs


def test_without_loggers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(compose(*TINY_WITH_ANY_LOGGER, "logger=[]", "trainer.max_epochs=1", f"run_dir={tmp_path}/run"))
    assert "tensorboard" not in capsys.readouterr().out
    assert (tmp_path / "run" / "metrics.csv").exists()
    assert not list((tmp_path / "run").glob("events*"))


def test_each_run_is_one_of_its_own_at_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    for run in ("a", "b"):
        train(compose(*TINY_WITH_ANY_LOGGER, "logger=[wandb]", "trainer.max_epochs=1", f"run_dir={tmp_path}/{run}"))
        assert len(list((tmp_path / run / "wandb").glob("offline-run*"))) == 1


def test_weights_that_find_nothing_are_told(tmp_path: Path) -> None:
    train(compose(*TINY, "optimizer.lr=1e-9", "model.threshold=0.999", f"run_dir={tmp_path}/run"))
    assert results(tmp_path / "run")["metrics"]["val/recall"] == 0
    assert "the best weights find nothing" in (tmp_path / "run" / "train.log").read_text()


def test_the_last_epoch_is_kept_where_it_is_what_is_wanted(tmp_path: Path) -> None:
    train(compose(*TINY, "monitor=epoch", "trainer.max_epochs=3", "optimizer.lr=0.3", f"run_dir={tmp_path}/run"))
    log = (tmp_path / "run" / "train.log").read_text()
    assert "tested the weights of epoch 3, the last" in log
    assert torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] == 2
    assert not any("epoch was the best" in finding for finding in results(tmp_path / "run")["advice"])


def test_early_stopping_ends_the_run(tmp_path: Path) -> None:
    options = ["callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-9"]
    train(compose(*TINY, *options, "trainer.max_epochs=50", f"run_dir={tmp_path}/run"))
    assert results(tmp_path / "run")["epochs"] < 10


def test_learning_rate_finder_saves_its_curve_and_uses_what_it_found(tmp_path: Path) -> None:
    options = ["lr_find=true", "loss=bce", "scheduler=one_cycle", "scheduler.scheduler.pct_start=0.5"]
    train(compose(*TINY, *options, f"run_dir={tmp_path}/run"))
    assert (tmp_path / "run" / "lr_find.png").stat().st_size > 1000
    found = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["segkit"]["config"]
    assert found["optimizer"]["lr"] != 3e-3
    assert found["scheduler"]["scheduler"]["max_lr"] == found["optimizer"]["lr"]
    train(compose(*TINY, *options, f"run_dir={tmp_path}/run"))  # the same command: the same run, left alone
    assert not list((tmp_path / "run").glob(".lr_find*"))


def test_bfloat16_and_gradient_options_train(tmp_path: Path) -> None:
    metrics = train(
        compose(
            *TINY,
            "precision=bf16-mixed",
            "trainer.gradient_clip_val=1",
            "trainer.accumulate_grad_batches=2",
            f"run_dir={tmp_path}/run",
        )
    )
    assert 0 <= metrics["test/iou"] <= 1
    assert results(tmp_path / "run")["precision"] == "bf16-mixed"


def test_pos_weight_auto_is_the_inverse_frequency(tmp_path: Path) -> None:
    options = ["loss=bce", "loss.pos_weight=auto", "trainer.max_epochs=1"]
    train(compose(*TINY, *options, f"run_dir={tmp_path}/run"))
    with (tmp_path / "run" / "metrics.csv").open() as file:  # the same weight in training and in the final scores
        row = next(csv.DictReader(file))
    assert results(tmp_path / "run")["metrics"]["val/loss"] == pytest.approx(float(row["val/loss"]), rel=1e-5)
    log = (tmp_path / "run" / "train.log").read_text()
    from segkit.datasets.synthetic import Synthetic

    data = Synthetic("train", ["crack"], picture_size=32, counts=[12, 5, 5])
    masks = [data[index]["mask"] for index in range(len(data))]
    ones = sum(int((mask == 1).sum()) for mask in masks)
    measured = float(log.split("'pos_weight': ")[1].split("}")[0])
    assert measured == pytest.approx((12 * 32 * 32 - ones) / ones)


@pytest.mark.parametrize(("value", "kind"), [(0, "empty"), (255, "full")])
def test_masks_that_teach_nothing_are_refused(tmp_path: Path, folder: Path, value: int, kind: str) -> None:
    for path in (folder / "masks").iterdir():
        cv2.imwrite(str(path), np.full_like(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), value))
    tiny = [*(word for word in TINY if "counts" not in word), "dataset=folder", f"dataset.root={folder}"]
    expected = (
        rf"(?s)training masks are all {kind}, so foreground cannot be learnt.*p0.png.*threshold.*dataset\.classes"
    )
    with pytest.raises(ValueError, match=expected):
        train(compose(*tiny, f"run_dir={tmp_path}/run"))


def test_validation_masks_that_are_all_empty_are_told(tmp_path: Path) -> None:
    for first, split in ((0, "train"), (100, "val"), (200, "test")):
        for number in range(3):
            folder = tmp_path / "data" / split
            write_pair(
                folder / "images",
                folder / "masks",
                f"{split}{number}",
                first + number,
                scale=0 if split == "val" else 255,
            )
    tiny = [*(word for word in TINY if "counts" not in word), "dataset=folder", f"dataset.root={tmp_path / 'data'}"]
    train(compose(*tiny, "trainer.max_epochs=1", f"run_dir={tmp_path}/run"))
    log = (tmp_path / "run" / "train.log").read_text()
    assert "the val masks are all empty: their scores say nothing about how well foreground is found" in log
    assert "the test masks" not in log
    assert any("the validation masks are all empty" in text for text in results(tmp_path / "run")["advice"])


@pytest.mark.parametrize("words", [["loss=dice", "loss.pool=batch"], ["loss=bce", "loss.reduction=sum"]])
def test_a_loss_of_a_batch_as_a_whole_is_so_in_validation_as_in_training(tmp_path: Path, words: list[str]) -> None:
    train(compose(*TINY, *words, "dataset.batch_size=3", "trainer.max_epochs=1", f"run_dir={tmp_path}/run"))
    config = to_plain(compose(*TINY, *words, "dataset.batch_size=3", f"run_dir={tmp_path}/run"))
    task, loss = load(str(tmp_path / "run")).eval(), make(config["loss"])
    values, sizes = [], []
    for batch in build_data(config).val_dataloader():
        with torch.no_grad():
            values.append(float(loss(task.detect(batch["image"]).masks, batch["mask"].long())))
        sizes.append(len(batch["mask"]))
    assert sizes == [3, 2]
    expected = (3 * values[0] + 2 * values[1]) / 5
    assert results(tmp_path / "run")["metrics"]["val/loss"] == pytest.approx(expected, rel=2e-2)  # which is in bfloat16


def test_an_epoch_with_outputs_that_are_not_finite_is_never_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validate = SegmentationTask.validation_step

    def broken(self: SegmentationTask, batch: Any, batch_idx: int) -> None:
        with torch.no_grad():
            self.net.get_parameter("head.bias").fill_(float("nan") if self.current_epoch > 0 else 0)
        validate(self, batch, batch_idx)
        with torch.no_grad():
            self.net.get_parameter("head.bias").fill_(0)

    monkeypatch.setattr(SegmentationTask, "validation_step", broken)
    train(compose(*TINY, "callbacks.pictures=null", "monitor=val/iou_image", f"run_dir={tmp_path}/run"))
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    assert best["epoch"] == 0
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert [row["val/iou_image"] == "nan" for row in csv.DictReader(file)] == [False, True]


def test_running_statistics_that_are_not_finite_stop_the_run_at_the_end_of_the_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: SegmentationTask, batch: Any, batch_idx: int) -> Any:
        next(value for name, value in self.net.named_buffers() if name.endswith("running_var")).fill_(torch.inf)
        return step(self, batch, batch_idx)

    step = SegmentationTask.training_step
    monkeypatch.setattr(SegmentationTask, "training_step", broken)
    with pytest.raises(
        ValueError, match=r"running statistics became NaN or infinite in epoch 0\..*smaller optimizer\.lr"
    ):
        train(compose(*TINY, "callbacks.pictures=null", f"run_dir={tmp_path}/run"))


def test_a_pass_without_a_batch_is_finite() -> None:
    task = build_task(to_plain(compose(*TINY, "run_dir=x")))
    assert isinstance(task, SegmentationTask)
    task._trainer = cast(Any, SimpleNamespace(strategy=SimpleNamespace(reduce_boolean_decision=bool)))
    assert task._had_finite_outputs()
    task.finite.append(torch.tensor(False))
    assert not task._had_finite_outputs()
