"""The crack detector from end to end: both stages, evaluation at a gate and its sweep, prediction, what goes wrong."""

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import read_picture, results, segkit, weights
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from segkit.calibrate import calibrate
from segkit.configs.composing import compose, quote, to_plain
from segkit.evaluate import evaluate
from segkit.inference.predictor import Predictor
from segkit.predict import predict
from segkit.runs.build import build_data, build_task
from segkit.runs.fits import check_presence_monitor
from segkit.train import train

SMALL = [
    "dataset=synthetic",
    "dataset.counts=[12,6,6]",
    "dataset.picture_size=48",
    "dataset.size=32",
    "dataset.crops=five",
    "dataset.batch_size=2",
    "dataset.epochs=1",
    "model.net.widths=[4,8]",
]
HEAD = "model.net.hidden=[8]"
LABELS = "dataset.presence_threshold=0.001"


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of both stages."""
    run = tmp_path_factory.mktemp("detector") / "run"
    train(compose("experiment=crack_detector_small", *SMALL, HEAD, f"run_dir={run}"))
    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=unet", "loss=presence"], r"model=unet and loss=presence disagree: .*model=unet_classifier"),
        (["model=vgg_classifier", HEAD, "loss=dice"], "model=vgg_classifier and loss=dice disagree: .*loss=presence"),
        (["model=unet_classifier", HEAD, "loss=dice"], "this loss does not train the part that says whether"),
        (["model=vgg_classifier", HEAD, "loss=presence"], r"dataset=synthetic and loss=presence .*presence_threshold"),
        (
            ["model=vgg_classifier", HEAD, "loss=presence", "monitor=val/loss", "dataset.size=64", LABELS],
            "windows of 64×64, but picture",
        ),
        (
            ["model=vgg_classifier", HEAD, "loss=presence", LABELS],
            r"monitor=val/iou_image scores masks, which loss=presence does not train\. Say monitor=val/presence_f1",
        ),
        (["model=unet_classifier", HEAD, "loss=joint", LABELS], "freeze=unet and loss=joint disagree: .*freeze=none"),
    ],
)
def test_what_cannot_work_fails_before_training(tmp_path: Path, words: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(compose(*SMALL, *words, f"run_dir={tmp_path}/run"))


def test_a_checkpoint_that_is_none(tmp_path: Path, detector: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"init_from=.*nowhere: no checkpoint there"):
        train(compose(*SMALL, "model=unet", "init_from=nowhere", f"run_dir={tmp_path}/run"))
    (tmp_path / "bad.ckpt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"init_from=.*bad\.ckpt is not a segkit checkpoint, or is damaged"):
        train(compose(*SMALL, "model=unet", f"init_from={tmp_path}/bad.ckpt", f"run_dir={tmp_path}/other"))
    (tmp_path / "half" / "stages" / "segmentation").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"this run is not finished\. Resume it with .*=.*half, or give the"):
        predict(compose(f"run={tmp_path}/half", f"input={detector}/pictures", "output=out", config="predict"))


def test_a_stages_own_words_win_and_a_mistake_is_found_before_the_first(tmp_path: Path) -> None:
    words = [*SMALL, HEAD, f"run_dir={tmp_path}/run"]
    stage = '\'stages.segmentation=["experiment=crack_segmentation_small","dataset.epochs=2"]\''
    train(compose("experiment=crack_detector_small", *words, stage.strip("'")))
    assert results(tmp_path / "run" / "stages" / "segmentation")["epochs"] == 2
    assert results(tmp_path / "run")["epochs"] == 1
    with pytest.raises(ValueError, match=r"gate=1\.5: expected a probability"):
        train(compose("experiment=crack_detector_small", *words, "model.net.gate=1.5", f"run_dir={tmp_path}/other"))
    assert not (tmp_path / "other" / "stages").exists()


def test_other_widths_and_an_untrained_encoder(
    tmp_path: Path, detector: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*SMALL[:-1], "experiment=crack_presence_small", HEAD]
    with pytest.raises(ValueError, match=r"encoder\.blocks\.0\.0\.weight: \(4, 3, 3, 3\), here \(6, 3, 3, 3\)"):
        train(compose(*words, "model.net.widths=[6,12]", f"init_from={detector}", f"run_dir={tmp_path}/other"))
    capsys.readouterr()
    train(compose(*words, "model.net.widths=[4,8]", f"run_dir={tmp_path}/run"))
    assert "freeze=['unet']: 40 tensors keep the random values they start with" in capsys.readouterr().err


def test_both_stages_leave_one_run(detector: Path) -> None:
    entry = results(detector)
    assert entry["status"] == "finished"
    for name in ("presence_f1", "presence_f1/0", "presence_ap", "iou", "iou_ungated", "iou_crops", "soft_dice_crops"):
        assert f"test/{name}" in entry["metrics"]
    stages = {path.name: results(path) for path in (detector / "stages").iterdir()}
    assert set(stages) == {"segmentation", "presence"}
    assert all(stage["status"] == "finished" for stage in stages.values())
    assert entry["train_seconds"] == pytest.approx(sum(stage["train_seconds"] for stage in stages.values()), abs=0.02)
    assert stages["presence"]["metrics"] == entry["metrics"]
    first, last = weights(detector / "stages" / "segmentation", "best"), weights(detector, "best")
    for name, tensor in first.items():
        torch.testing.assert_close(last[name.replace("net.", "net.unet.")], tensor, rtol=0, atol=0)
    assert "tensors taken over (encoder, decoder, head)" in (detector / "stages/presence/train.log").read_text()
    with (detector / "presence.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 6 * 5
    with (detector / "per_image.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {"label", "probability", "iou"} <= rows[0].keys()
    assert (detector / "pictures" / "presence_test.png").exists()
    events = EventAccumulator(str(detector / "stages" / "presence"))
    events.Reload()
    assert sorted(events.Tags()["images"]) == ["presence", "validation"]


def test_a_detector_that_was_cut_short_goes_on_with_its_stages(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment=crack_detector_small", *SMALL, HEAD, f"run_dir={detector}"]
    assert train(compose(*words)) == results(detector)["metrics"]
    before = (detector / "stages/segmentation/results.json").stat().st_mtime_ns
    entry = results(detector)
    (detector / "results.json").write_text(json.dumps(entry | {"status": "interrupted"}))
    assert train(compose(f"resume={detector}")) == entry["metrics"]
    assert (detector / "stages/segmentation/results.json").stat().st_mtime_ns == before
    assert "is finished already; left alone" in capsys.readouterr().err
    with pytest.raises(ValueError, match="every stage has its own loss"):
        train(compose("experiment=crack_detector_small", *SMALL, "loss=dice", f"run_dir={tmp_path}/run"))


def test_a_moved_detector_from_a_stranger_builds_nothing_foreign(detector: Path, tmp_path: Path) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(detector, folder)
    for path in (folder, folder / "stages" / "presence"):
        (path / "results.json").write_text(json.dumps(results(path) | {"status": "interrupted"}))
    best = folder / "stages" / "presence" / "checkpoints" / "best.ckpt"
    stored = torch.load(best, weights_only=True)
    target = {"_target_": "os.system", "command": f"touch {tmp_path}/pwned"}
    torch.save(stored | {"segkit": stored["segkit"] | {"config": stored["segkit"]["config"] | {"model": target}}}, best)
    with pytest.raises(ValueError, match=r"asks for 'os\.system'"):
        train(compose(f"resume={folder}"))
    config = (folder / "config.yaml").read_text()
    word = "+callbacks.evil={_target_: os.system, command: 'touch pwned'}"
    (folder / "config.yaml").write_text(config.replace("overrides:\n", f'overrides:\n- "{word}"\n'))
    shutil.rmtree(folder / "stages")
    with pytest.raises(ValueError, match=r"asks for 'os\.system'"):
        train(compose(f"resume={folder}"))
    logging_is_trusted = "- trust=[logging]\n- '+callbacks.evil={_target_: logging.FileHandler, filename: pwned}'\n"
    (folder / "config.yaml").write_text(config.replace("overrides:\n", f"overrides:\n{logging_is_trusted}"))
    shutil.rmtree(folder / "stages")
    with pytest.raises(ValueError, match=r"asks for 'logging\.FileHandler'"):
        train(compose(f"resume={folder}"))
    (folder / "config.yaml").write_text(config.replace("  presence:\n", "  ../presence:\n"))
    with pytest.raises(ValueError, match="must be a folder's name"):
        train(compose(f"resume={folder}"))
    assert not list(tmp_path.glob("**/pwned"))


def test_evaluation_at_a_gate_and_the_sweep(detector: Path, tmp_path: Path) -> None:
    def scored(gate: str) -> dict[str, float]:
        return evaluate(compose(f"run={detector}", f"gate={gate}", f"output_dir={tmp_path}/{gate}", config="evaluate"))

    closed, wide = scored("1"), scored("0")
    assert closed["test/recall"] == 0
    assert wide["test/iou"] == wide["test/iou_ungated"] == closed["test/iou_ungated"]
    assert closed["test/presence_recall/1"] == 0
    assert json.loads((tmp_path / "1" / "results.json").read_text())["gate"] == 1
    scored("sweep")
    with (tmp_path / "sweep" / "gate.csv").open() as file:
        rows = [{key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(file)]
    assert [rows[0][key] for key in ("gate", "presence_recall/1", "share_decoded")] == [0, 1, 1]
    assert rows[0]["iou_crops"] == pytest.approx(wide["test/iou_crops"])
    assert [rows[-1][key] for key in ("gate", "presence_recall/1", "share_decoded", "iou_crops")] == [1, 0, 0, 0]
    assert np.isnan(rows[-1]["presence_precision/1"])  # nothing is called positive
    assert all(row["seconds_per_crop"] > 0 for row in rows)
    for name in ("presence_recall/1", "share_decoded", "false_positive_area"):
        values = [row[name] for row in rows]
        assert values == sorted(values, reverse=True)
    assert (tmp_path / "sweep" / "gate.png").exists()
    scored("recall:1.0")
    found = json.loads((tmp_path / "recall:1.0" / "results.json").read_text())
    words = [f"run={detector}", "split=val", f"gate={found['gate']}", f"output_dir={tmp_path}/v"]
    validation = evaluate(compose(*words, config="evaluate"))
    assert validation["val/presence_recall/1"] == 1
    assert found["metrics"] == scored(str(found["gate"]))  # all of it at that gate, presence too
    share = "or recall:0.99"
    for gate, message in (("2", "expected a probability from 0 to 1"), ("recall:x", share), ("recall:2", share)):
        with pytest.raises(ValueError, match=message):
            scored(gate)
    with pytest.raises(ValueError, match="UNet has no decoder behind an answer"):
        evaluate(
            compose(f"run={detector}/stages/segmentation", "gate=0.5", f"output_dir={tmp_path}/n", config="evaluate")
        )


def test_prediction_says_whether_it_is_there(detector: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for name, size in (("large", (80, 70)), ("small", (20, 30))):
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), rng.integers(0, 255, (*size, 3), dtype=np.uint8))
    predict(compose(f"run={detector}", f"input={tmp_path}/photos", f"output={tmp_path}/out", config="predict"))
    with (tmp_path / "out" / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["mask"] for row in rows] == ["masks/large.png", "masks/small.png"]
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)
    assert read_picture(tmp_path / "out" / "masks" / "large.png", 0).shape == (80, 70)
    for row in rows:
        assert row["present"] == str(int(float(row["probability"]) > 0.5))
        assert row["present"] == "1" or row["area/crack"] == "0"


def middle_gate(detector: Any) -> float:
    """A gate that lets some of the test crops through."""
    with (detector / "presence.csv").open() as file:
        values = sorted(float(row["probability"]) for row in csv.DictReader(file))
    number = next(n for n in range(len(values) // 2, len(values) - 1) if values[n] < values[n + 1])
    return (values[number] + values[number + 1]) / 2


def test_the_gated_network_gives_what_was_scored_and_predict_the_same(detector: Path, tmp_path: Path) -> None:
    gate = middle_gate(detector)
    stored = torch.load(detector / "checkpoints" / "best.ckpt", weights_only=True)
    stored["segkit"]["threshold"] = 0.2  # one at which the hardly trained network finds something
    torch.save(stored, tmp_path / "eager.ckpt")
    metrics = evaluate(
        compose(f"run={tmp_path}/eager.ckpt", f"gate={gate}", f"output_dir={tmp_path}/e", config="evaluate")
    )
    with (tmp_path / "e" / "per_image.csv").open() as file:
        scored = list(csv.DictReader(file))
    stored = OmegaConf.load(detector / "config.yaml")
    assert isinstance(stored, DictConfig)
    data = build_data(to_plain(stored))
    (tmp_path / "photos").mkdir()
    for index, name in enumerate(data.sources["test"].names):
        image = data.sources["test"][index]["image"].permute(1, 2, 0).numpy()
        cv2.imwrite(str(tmp_path / "photos" / f"{name}.png"), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    words = [f"run={tmp_path}/eager.ckpt", f"gate={gate}", f"input={tmp_path}/photos", f"output={tmp_path}/out"]
    predict(compose(*words, config="predict"))
    with (tmp_path / "out" / "predictions.csv").open() as file:
        predicted = list(csv.DictReader(file))
    assert metrics["test/iou"] != metrics["test/iou_ungated"]
    for one, other in zip(scored, predicted, strict=True):
        assert int(one["tp"]) + int(one["fp"]) == int(other["area/crack"])
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=1e-4)
    with pytest.raises(ValueError, match="gate=sweep: expected a probability from 0 to 1; segkit evaluate"):
        predict(compose(*words, "gate=sweep", config="predict"))


def test_a_resumed_detector_keeps_what_is_finished(
    detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's moved"
    shutil.copytree(detector, folder)
    before = results(folder)["metrics"]
    monkeypatch.chdir(tmp_path)
    assert train(compose(f"resume={quote(folder)}", "precision=bf16-mixed")) == before
    assert results(folder)["status"] == "finished"
    shutil.rmtree(folder / "stages" / "presence")
    (folder / "results.json").write_text(json.dumps(results(folder) | {"status": "interrupted"}))
    again = train(compose(f"resume={quote(folder)}"))  # the second stage anew, with the run's own words
    assert again.keys() == before.keys()
    assert again["test/presence_ap"] == pytest.approx(before["test/presence_ap"], abs=1e-6)


def test_a_classifier_alone_from_the_command_line(tmp_path: Path, detector: Path) -> None:
    words = [*SMALL, "model=vgg_classifier", HEAD, "loss=presence", "monitor=val/presence_f1", LABELS]
    done = segkit(*words, f"init_from={detector}/stages/segmentation", "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "presence_f1" in done.stdout
    assert "test/iou" not in results(tmp_path / "run")["metrics"]
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((50, 50, 3), np.uint8))
    done = segkit("run=run", "input=photos", "output=out", cwd=tmp_path, module="predict")
    assert done.returncode == 0, done.stderr
    assert "1 of 1 picture predicted; in out: predictions.csv\ncrack in " in done.stdout
    with pytest.raises(ValueError, match="VGGClassifier has no decoder"):
        evaluate(compose(f"run={tmp_path}/run", "gate=0.5", f"output_dir={tmp_path}/scored", config="evaluate"))


def test_joint_training_trains_both(tmp_path: Path) -> None:
    cfg = compose("experiment=crack_joint", *SMALL, HEAD, "precision=32-true", f"run_dir={tmp_path}/run")
    metrics = train(cfg)
    assert metrics["test/loss"] == pytest.approx(metrics["test/loss/mask"] + metrics["test/loss/presence"])
    with (tmp_path / "run" / "metrics.csv").open() as file:
        row = min(csv.DictReader(file), key=lambda row: float(row["val/loss"]))  # the epoch that was tested
    for name in ("loss", "loss/mask", "iou", "iou_ungated", "presence_f1"):  # scored alike in training and after
        assert float(row[f"val/{name}"]) == pytest.approx(metrics[f"val/{name}"], abs=1e-6), name
    task = build_task(to_plain(cfg))
    assert all(parameter.requires_grad for parameter in task.net.parameters())


def test_a_monitor_of_masks_is_doubted_where_presence_alone_is_trained(caplog: pytest.LogCaptureFixture) -> None:
    config = {"monitor": "val/iou_image", "choices": {"loss": "presence"}}
    check_presence_monitor(config, {"iou_image": 0.0, "presence_f1": 0.0})
    assert "monitor=val/iou_image scores masks, which loss=presence does not train" in caplog.text
    with pytest.raises(ValueError, match=r"Say monitor=val/presence_f1, or val/loss\."):
        check_presence_monitor(config, {"presence_f1": 0.0})
    caplog.clear()
    for monitor in ("epoch", "val/loss", "val/presence_recall/1"):
        check_presence_monitor(config | {"monitor": monitor}, {"presence_f1": 0.0})
    assert not caplog.text


def test_a_monitor_of_presence(tmp_path: Path) -> None:
    words = [*SMALL, "model=vgg_classifier", HEAD, "loss=presence", LABELS, f"run_dir={tmp_path}/run"]
    assert results_of(words, "monitor=val/presence_recall/1")["status"] == "finished"
    with pytest.raises(ValueError, match="expected a metric that validation gives"):
        train(compose(*words, "monitor=val/presence_recall/crack", f"run_dir={tmp_path}/other"))


def results_of(words: list[str], *more: str) -> dict[str, Any]:
    cfg = compose(*words, *more)
    train(cfg)
    return results(Path(cfg.run_dir))


def test_two_processes_train_and_score_masks_and_presence(tmp_path: Path) -> None:
    words = ["experiment=crack_joint", *SMALL, HEAD, "dataset.counts=[12,5,5]", "dataset.epochs=2"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "precision=32-true", "hydra.run.dir=run"]
    done = segkit(*words, *ddp, cwd=tmp_path, alone=True)
    assert done.returncode == 0, done.stderr
    found = results(tmp_path / "run")
    assert (found["status"], found["epochs"]) == ("finished", 2)
    with (tmp_path / "run" / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    tested = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)["epoch"]
    masks = ("loss", "soft_dice", "accuracy", "iou_image")  # 5 pictures on 2 processes, and on one
    for name in (*masks, "presence_f1", "presence_recall/0", "presence_ap"):
        assert float(rows[tested][f"val/{name}"]) == pytest.approx(found["metrics"][f"val/{name}"], abs=1e-5), name
    assert "epoch 2 of 2" in (tmp_path / "run" / "train.log").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_predict_takes_the_gate_that_calibrate_has_measured(
    detector: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(detector, tmp_path / "run")
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 48, 3), np.uint8))
    words = [f"run={run}", f"input={tmp_path}/a.png", f"output={tmp_path}/out", "gate=recall:0.99"]
    with pytest.raises(ValueError, match=r"gate=recall:0\.99: this run does not know which gate .* segkit calibrate"):
        predict(compose(*words, config="predict"))
    calibrate(compose(f"run={run}", config="calibrate"))
    gates = dict(json.loads((run / "checkpoints" / "best.calibration.json").read_text())["gates"])
    scored = evaluate(
        compose(f"run={run}", "split=val", f"gate={gates[0.9]!r}", f"output_dir={tmp_path}/v", config="evaluate")
    )
    assert scored["val/presence_recall/1"] >= 0.9
    predictor = Predictor.load(run, gate="recall:0.85")  # the next higher one that was measured
    assert predictor.present_above == gates[0.9]
    capsys.readouterr()
    predict(compose(*words, config="predict"))
    assert re.search(r"gate \S+: \d of 5 windows were not decoded", capsys.readouterr().out)
