"""A run from config to folder: what it writes, that it can be resumed and repeated, and how it fails."""

import csv
import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import TINY, segkit, write_pair
from filelock import FileLock
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkit.configs import argument, compose
from segkit.tasks import SegmentationTask
from segkit.train import train


def results(run: Path) -> dict:
    return json.loads((run / "results.json").read_text())


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def test_run_folder_is_complete(tiny_run):
    names = {path.name for path in tiny_run.iterdir()}
    assert {"config.yaml", "overrides.yaml", "results.json", "metrics.csv", "per_image.csv", "checkpoints", "train.log",
            "environment.json", "split.json", "model.txt", "curves.png", "pictures"} <= names  # fmt: skip
    assert not [name for name in names if name.endswith((".part", ".lock"))]
    entry = results(tiny_run)
    assert entry["status"] == "finished"
    assert entry["epochs"] == 2
    assert entry["device"] == "cpu"
    assert entry["params"] == sum(w.numel() for name, w in weights(tiny_run).items() if "running" not in name
                                  and "num_batches" not in name)  # fmt: skip
    for name in ("iou", "dice", "precision", "recall", "accuracy", "fbeta", "iou_image", "dice_image", "score",
                 "soft_dice", "soft_iou", "loss", "empty_images"):  # fmt: skip
        assert {f"test/{name}", f"val/{name}", f"train/{name}"} <= entry["metrics"].keys()
    with (tiny_run / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [0, 1]
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


def test_pooled_scores_follow_from_the_rows_per_picture(tiny_run):
    with (tiny_run / "per_image.csv").open() as file:
        rows = [
            {key: float(value) for key, value in row.items() if key in ("tp", "fp", "fn")}
            for row in csv.DictReader(file)
        ]
    tp, fp, fn = (sum(row[key] for row in rows) for key in ("tp", "fp", "fn"))
    assert results(tiny_run)["metrics"]["test/iou"] == pytest.approx(tp / (tp + fp + fn) if tp + fp + fn else 1)


def test_checkpoints_hold_what_their_use_needs(tiny_run):
    best = torch.load(tiny_run / "checkpoints" / "best.ckpt", weights_only=True)
    assert "optimizer_states" not in best
    facts = best["segkit"]
    assert facts["classes"] == ["crack"]
    assert facts["threshold"] == 0.5
    assert facts["normalisation"] == {"mean": [0, 0, 0], "std": [1, 1, 1]}
    assert facts["config"]["dataset"]["size"] == 32
    assert "optimizer_states" in torch.load(tiny_run / "checkpoints" / "last.ckpt", weights_only=True)


def test_tensorboard_has_curves_pictures_graph_and_hyperparameters(tiny_run):
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


@pytest.mark.parametrize("averaging", ["", "ema", "swa"])
def test_resumed_equals_uninterrupted(tmp_path, averaging):
    averaging = f"callbacks=[default{',' * bool(averaging)}{averaging}]"
    options = [*TINY, "scheduler=cosine", "optimizer=sgd", "trainer.max_epochs=4", averaging]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    expected = train(compose(*options, f"run_dir={whole}"))
    # cut short after two of four epochs, as a killed process would leave it
    stop_after(compose(*options, f"run_dir={parts}"), epochs=2)
    assert results(parts)["status"] == "interrupted"
    got = train(compose(f"resume={parts}"))
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], tensor, rtol=0, atol=0)
    assert got == expected
    with (parts / "metrics.csv").open() as file:
        assert [float(row["epoch"]) for row in csv.DictReader(file)] == [0, 1, 2, 3]


def stop_after(cfg, epochs: int) -> None:
    """Train until `epochs` are done, then press Ctrl-C."""
    from lightning import Callback

    class Stop(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == epochs:
                raise KeyboardInterrupt

    from segkit import runs

    build, handler = runs.build_trainer, signal.getsignal(signal.SIGINT)

    def with_stop(config):
        trainer = build(config)
        trainer.callbacks.insert(0, Stop())
        return trainer

    runs.build_trainer = with_stop
    try:
        with pytest.raises(SystemExit) as stopped:
            train(cfg)
    finally:
        runs.build_trainer = build
        signal.signal(signal.SIGINT, handler)  # Lightning ignores further Ctrl-C from here on
    assert stopped.value.code == 130


def test_a_longer_resumed_run_goes_on_where_it_ended(tmp_path):
    run = tmp_path / "run"
    train(compose(*TINY, f"run_dir={run}"))
    train(compose(f"resume={run}", "trainer.max_epochs=3"))
    with pytest.raises(ValueError, match=r"trainer\.max_epochs=1, but .* has trained 3 epochs already"):
        train(compose(f"resume={run}", "trainer.max_epochs=1"))
    assert results(run)["epochs"] == 3
    assert results(run)["status"] == "finished"


def test_resume_refuses_another_config_and_a_folder_without_a_run(tmp_path, tiny_run):
    with pytest.raises(ValueError, match=r"loss=bce cannot change in a resumed run.*trainer\.max_epochs"):
        train(compose(f"resume={tiny_run}", "loss=bce"))
    assert results(tiny_run)["status"] == "finished"
    with pytest.raises(FileNotFoundError, match=r"resume=.*nothing: no run there"):
        train(compose(f"resume={tmp_path}/nothing"))
    assert not (tmp_path / "nothing").exists()


def test_a_resumed_copy_leaves_the_original_alone(tmp_path):
    original, copy = tmp_path / "original", tmp_path / "copy"
    train(compose(*TINY, f"run_dir={original}"))
    shutil.copytree(original, copy)
    before = {path: path.stat().st_mtime_ns for path in original.rglob("*")}
    train(compose(f"resume={copy}", "trainer.max_epochs=3"))
    assert {path: path.stat().st_mtime_ns for path in original.rglob("*")} == before
    assert results(copy)["epochs"] == 3
    assert results(copy)["train_seconds"] > results(original)["train_seconds"] / 2
    with pytest.raises(ValueError, match=r"goes on in that folder: leave hydra\.run\.dir"):
        train(compose(f"resume={copy}", f"run_dir={tmp_path}/third"))


def test_resume_notices_that_the_data_changed(tmp_path, folder):
    words = [*(word for word in TINY if "counts" not in word), "dataset=folder", f"dataset.root={folder}"]
    train(compose(*words, f"run_dir={tmp_path}/run"))
    write_pair(folder / "images", folder / "masks", "new", 99)
    with pytest.raises(ValueError, match="the data changed since this run was started"):
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))


def test_a_longer_one_cycle_is_refused(tmp_path):
    train(compose(*TINY, "scheduler=one_cycle", f"run_dir={tmp_path}/run"))
    with pytest.raises(ValueError, match=r"cannot change in a resumed run with scheduler=one_cycle"):
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))


def test_resume_builds_nothing_that_training_does_not_need(tmp_path):
    train(compose(*TINY, f"run_dir={tmp_path}/run"))
    config = (tmp_path / "run" / "config.yaml").read_text()
    evil = config.replace(
        "_target_: segkit.callbacks.Progress", f"_target_: pathlib.Path.touch\n    self: {tmp_path}/pwned"
    )
    assert evil != config
    (tmp_path / "run" / "config.yaml").write_text(evil)
    with pytest.raises(ValueError, match=r"asks for 'pathlib\.Path\.touch'"):
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))
    assert not (tmp_path / "pwned").exists()


def test_a_finished_run_is_left_alone_and_another_config_refused(tiny_run):
    before = (tiny_run / "results.json").stat().st_mtime_ns
    metrics = train(compose(*TINY, f"run_dir={tiny_run}"))
    assert metrics == results(tiny_run)["metrics"]
    with pytest.raises(ValueError, match="already holds a run of another config"):
        train(compose(*TINY, "seed=1", f"run_dir={tiny_run}"))
    assert (tiny_run / "results.json").stat().st_mtime_ns == before


def test_a_run_folder_in_use_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(RuntimeError, match="another process is training"):
        train(compose(*TINY, f"run_dir={tmp_path}/run"))
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == []


def test_a_nan_loss_stops_the_run_and_says_where(tmp_path):
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
        (["+model.net.nonsense=1"], "nonsense"),
        (["model.net.out_channels=3"],
         r"model=unet_small and dataset=synthetic disagree.*\(2, 3, 32, 32\), expected \(2, 1, 32, 32\)"),
        (["dataset=folder", "dataset.classes=[a,b]"], r"training masks show only a and 255.*name one class"),
        (["dataset.batch_size=0"], "dataset.batch_size=0: expected 1 or more"),
        (["dataset.train=squash"], "dataset.train=squash: expected resize or crop"),
        (["monitor=val/iuo"], r"monitor=val/iuo: validation gives no such metric. Did you mean: val/iou"),
        (["callbacks.best=null"], "callbacks lack the checkpoints best and last"),
        (["model.threshold=1.5"], "threshold=1.5: expected a probability"),
    ],
)  # fmt: skip
def test_combinations_that_cannot_work_fail_before_training(tmp_path, folder, options, message):
    tiny = TINY
    if "dataset=folder" in options:
        tiny = [*(word for word in TINY if "counts" not in word), f"dataset.root={folder}"]
    with pytest.raises((ValueError, TypeError), match=message):
        train(compose(*tiny, *options, f"run_dir={tmp_path}/run"))
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert results(tmp_path / "run")["status"] == "failed"


def test_command_line_ends_with_metrics_and_next_commands(tmp_path):
    done = segkit(*TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "outputs" / "synthetic").iterdir())
    for text in ("iou", "Run folder:", str(run), "tensorboard --logdir", "segkit.predict", "segkit.train -m"):
        assert text in done.stdout
    assert "epoch 2 of 2" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=unett"], "Could not find 'model/unett'"),
        (["trainer.max_epoch=3"], "Key 'max_epoch' is not in struct"),
        (["dataset=ph2"], "dataset.root is not set: add dataset.root="),
        (["dataset=ph2", "dataset.root=nowhere"], "nowhere does not exist"),
    ],
)
def test_a_users_error_ends_without_a_traceback(tmp_path, words, message):
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_tells_which_job_failed_and_repeats_only_that(tmp_path):
    words = ["-m", *TINY, "loss=dice,ce", "trainer.max_epochs=1", "name=grid"]
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 2 jobs did not finish" in done.stderr
    jobs = {
        json.loads(p.read_text())["status"]: p.parent for p in (tmp_path / "outputs" / "grid").glob("*/results.json")
    }
    assert set(jobs) == {"finished", "failed"}
    assert "loss-ce" in jobs["failed"].name
    assert "Traceback" in (jobs["failed"] / "train.log").read_text()
    before = (jobs["finished"] / "results.json").stat().st_mtime_ns
    again = segkit(*words, cwd=tmp_path)
    assert "left alone" in again.stderr
    assert (jobs["finished"] / "results.json").stat().st_mtime_ns == before


def test_a_bare_sweep_and_its_folders_in_later_commands(tmp_path):
    done = segkit("-m", *TINY, "trainer.max_epochs=1", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = sorted((tmp_path / "outputs" / "synthetic").glob("*seed*"))
    assert len(jobs) == 2
    again = segkit(argument("run", jobs[0]), cwd=tmp_path, module="evaluate")
    assert again.returncode == 0, again.stderr
    # other data under the same names: refused, and not reported as finished
    refused = segkit("-m", *TINY, "trainer.max_epochs=1", "seed=0", "dataset.split_seed=1",
                     f"hydra.sweep.subdir={jobs[0].name}", cwd=tmp_path)  # fmt: skip
    assert refused.returncode == 1
    assert "refused" in refused.stderr
    assert results(jobs[0])["status"] == "finished"


def test_an_ablation_file_runs_as_a_sweep_by_itself(tmp_path):
    ablation = tmp_path / "conf" / "ablation"
    ablation.mkdir(parents=True)
    (ablation / "two.yaml").write_text(
        "# @package _global_\nname: two\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )
    done = segkit("--config-dir", "conf", "ablation=two", *TINY, "trainer.max_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    statuses = [json.loads(p.read_text())["status"] for p in (tmp_path / "outputs" / "two").glob("*/results.json")]
    assert statuses == ["finished", "finished"]


def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "segkit.train", *TINY, "trainer.max_epochs=5000", "hydra.run.dir=run"],
        cwd=tmp_path, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for line in process.stderr:
            if line.startswith("epoch 2"):
                break
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130
    finally:
        process.kill()
    assert "python -m segkit.train resume=" in rest
    assert "Traceback" not in rest
    assert results(tmp_path / "run")["status"] == "interrupted"
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] >= 1


def limit_files() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write past the limit then fails as on a full disk
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_full_disk_is_named_and_leaves_no_half_checkpoint(tmp_path):
    done = segkit(*TINY, "model.net.widths=[16,32]", "hydra.run.dir=run", cwd=tmp_path, preexec_fn=limit_files)
    assert done.returncode == 1
    assert "while writing the run folder" in done.stderr
    assert "Free some space" in done.stderr
    assert results(tmp_path / "run")["status"] == "failed"
    for checkpoint in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        torch.load(checkpoint, weights_only=True)


@pytest.mark.parametrize("averaging", ["ema", "swa"])
def test_averaged_weights_are_those_kept_and_tested(tmp_path, monkeypatch, averaging):
    name = "net.head.weight"
    steps = []
    end = SegmentationTask.on_train_batch_end
    monkeypatch.setattr(
        SegmentationTask, "on_train_batch_end",
        lambda self, *args: (end(self, *args), steps.append(self.state_dict()[name].clone())),
    )  # fmt: skip
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


def test_early_stopping_ends_the_run(tmp_path):
    options = ["callbacks=[default,early_stopping]", "callbacks.early_stopping.patience=1", "optimizer.lr=1e-9"]
    train(compose(*TINY, *options, "trainer.max_epochs=50", f"run_dir={tmp_path}/run"))
    assert results(tmp_path / "run")["epochs"] < 10


def test_learning_rate_finder_saves_its_curve_and_uses_what_it_found(tmp_path):
    options = ["lr_find=true", "loss=bce", "scheduler=one_cycle", "scheduler.scheduler.pct_start=0.5"]
    train(compose(*TINY, *options, f"run_dir={tmp_path}/run"))
    assert (tmp_path / "run" / "lr_find.png").stat().st_size > 1000
    found = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["segkit"]["config"]
    assert found["optimizer"]["lr"] != 1e-3
    assert found["scheduler"]["scheduler"]["max_lr"] == found["optimizer"]["lr"]
    train(compose(*TINY, *options, f"run_dir={tmp_path}/run"))  # the same command: the same run, left alone
    assert not list((tmp_path / "run").glob(".lr_find*"))


def test_bfloat16_and_gradient_options_train(tmp_path):
    metrics = train(
        compose(*TINY, "precision=bf16-mixed", "trainer.gradient_clip_val=1", "trainer.accumulate_grad_batches=2",
                f"run_dir={tmp_path}/run")
    )  # fmt: skip
    assert 0 <= metrics["test/iou"] <= 1
    assert results(tmp_path / "run")["precision"] == "bf16-mixed"


def test_pos_weight_auto_is_the_inverse_frequency(tmp_path):
    options = ["loss=bce", "loss.pos_weight=auto", "trainer.max_epochs=1"]
    train(compose(*TINY, *options, f"run_dir={tmp_path}/run"))
    with (tmp_path / "run" / "metrics.csv").open() as file:  # the same weight in training and in the final scores
        row = next(csv.DictReader(file))
    assert results(tmp_path / "run")["metrics"]["val/loss"] == pytest.approx(float(row["val/loss"]), rel=1e-5)
    log = (tmp_path / "run" / "train.log").read_text()
    from segkit.datasets.synthetic import Synthetic

    masks = [sample["mask"] for sample in Synthetic("train", ["crack"], picture_size=32, counts=[12, 5, 5])]
    ones = sum(int((mask == 1).sum()) for mask in masks)
    assert f"'pos_weight': {(12 * 32 * 32 - ones) / ones:.4f}"[:20] in log


def test_two_processes_train_and_score(tmp_path):
    done = segkit(
        *TINY,
        "trainer=ddp",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        "hydra.run.dir=run",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert results(tmp_path / "run")["status"] == "finished"
    assert results(tmp_path / "run")["epochs"] == 2
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]
    for name in ("val/loss", "val/soft_dice", "val/accuracy", "val/iou_image"):  # 5 pictures on 2 processes, and on one
        alone = results(tmp_path / "run")["metrics"][name]
        assert float(rows[best][name]) == pytest.approx(alone, abs=1e-5), name
    assert "epoch 2 of 2" in (tmp_path / "run" / "train.log").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
