"""A run folder over more than one start: resumed, finished already, in use, cut short, on a full disk."""

import csv
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, results, segkit, weights, write_pair
from filelock import FileLock

from segkit.configs.composing import compose
from segkit.runs import build as building
from segkit.train import train


@pytest.mark.parametrize("averaging", ["", "ema", "swa"])
def test_resumed_equals_uninterrupted(tmp_path: Path, averaging: str) -> None:
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
        assert [float(row["epoch"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]


def stop_after(cfg: Any, epochs: int) -> None:
    """Train until `epochs` are done, then press Ctrl-C."""
    from lightning import Callback, Trainer

    class Stop(Callback):
        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            if trainer.current_epoch == epochs:
                raise KeyboardInterrupt

    build, handler = building.build_trainer, signal.getsignal(signal.SIGINT)

    def with_stop(config: Mapping[str, Any], more: Sequence[Callback] = ()) -> Trainer:
        trainer = build(config, more)
        trainer.callbacks.insert(0, Stop())  # type: ignore[attr-defined]
        return trainer

    building.build_trainer = with_stop
    try:
        with pytest.raises(SystemExit) as stopped:
            train(cfg)
    finally:
        building.build_trainer = build
        signal.signal(signal.SIGINT, handler)  # Lightning ignores further Ctrl-C from here on
    assert stopped.value.code == 130


def test_a_longer_resumed_run_goes_on_where_it_ended(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(compose(*TINY, f"run_dir={run}"))
    train(compose(f"resume={run}", "trainer.max_epochs=3"))
    with pytest.raises(ValueError, match=r"trainer\.max_epochs=many: expected a whole number"):
        train(compose(f"resume={run}", "trainer.max_epochs=many"))
    with pytest.raises(ValueError, match=r"trainer\.max_epochs=1, but .* has trained 3 epochs already"):
        train(compose(f"resume={run}", "trainer.max_epochs=1"))
    assert results(run)["epochs"] == 3
    assert results(run)["status"] == "finished"
    assert "dataset.size=32" in (run / "overrides.yaml").read_text()  # the run's own, not the resuming command's


def test_resume_refuses_another_config_and_a_folder_without_a_run(tmp_path: Path, tiny_run: Path) -> None:
    with pytest.raises(ValueError, match=r"loss=bce cannot change in a resumed run.*trainer\.max_epochs"):
        train(compose(f"resume={tiny_run}", "loss=bce"))
    assert results(tiny_run)["status"] == "finished"
    with pytest.raises(FileNotFoundError, match=r"resume=.*nothing: no run there"):
        train(compose(f"resume={tmp_path}/nothing"))
    assert not (tmp_path / "nothing").exists()


def best_state(run: Path, checkpoint: Any = None) -> dict[str, Any]:
    """What last.ckpt knows of the best epoch so far."""
    checkpoint = checkpoint or torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    states = checkpoint["callbacks"].values()
    return next(state for state in states if state.get("best_model_path", "").endswith("best.ckpt"))


def unbeatable(run: Path) -> None:
    """Give the best epoch so far a score that no later one reaches, so that best.ckpt has to stay."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    state = best_state(run, checkpoint)
    two = torch.tensor(2.0)
    state.update(best_model_score=two, kth_value=two, best_k_models=dict.fromkeys(state["best_k_models"], two))
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")


def test_a_resumed_copy_leaves_the_original_alone(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    train(compose(*TINY, f"run_dir={original}"))
    shutil.copytree(original, copy)
    unbeatable(copy)
    before = {path: path.stat().st_mtime_ns for path in original.rglob("*")}
    train(compose(f"resume={copy}", "trainer.max_epochs=3"))
    assert {path: path.stat().st_mtime_ns for path in original.rglob("*")} == before
    assert best_state(copy)["best_model_score"] == 2  # the best so far is known in the copy too
    assert weights(copy, "best").keys() == weights(original, "best").keys()
    for name, tensor in weights(original, "best").items():
        torch.testing.assert_close(weights(copy, "best")[name], tensor, rtol=0, atol=0)
    assert results(copy)["epochs"] == 3
    assert results(copy)["train_seconds"] > results(original)["train_seconds"] / 2
    with pytest.raises(ValueError, match=r"goes on in that folder: leave out hydra\.run\.dir"):
        train(compose(f"resume={copy}", f"run_dir={tmp_path}/third"))


def test_resume_notices_that_the_data_changed(tmp_path: Path, folder: Path) -> None:
    words = [*(word for word in TINY if "counts" not in word), "dataset=folder", f"dataset.root={folder}"]
    train(compose(*words, f"run_dir={tmp_path}/run"))
    write_pair(folder / "images", folder / "masks", "new", 99)
    with pytest.raises(ValueError, match="the data changed since this run was started"):
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))


def test_resume_without_results_goes_on_and_checks_all_the_same(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(compose(*TINY, f"run_dir={run}"))
    (run / "results.json").unlink()  # lost on the way from another machine
    train(compose(f"resume={run}", "trainer.max_epochs=3"))
    assert results(run)["epochs"] == 3
    (run / "results.json").unlink()
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("segkit.training.callbacks.Progress", "pathlib.Path.cwd"))
    with pytest.raises(ValueError, match=r"asks for 'pathlib\.Path\.cwd'"):
        train(compose(f"resume={run}", "trainer.max_epochs=4"))
    (run / "config.yaml").write_text(config.replace("size: 32", "size: ${oc.env:HOME}", 1))
    with pytest.raises(ValueError, match="has values, not"):
        train(compose(f"resume={run}", "trainer.max_epochs=4"))
    (run / "config.yaml").write_text(config)
    (run / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(FileNotFoundError, match="so there is nothing to go on from"):
        train(compose(f"resume={run}", "trainer.max_epochs=4"))


def test_a_resumed_run_builds_no_foreign_best_checkpoint(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(compose(*TINY, f"run_dir={run}"))
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    best["segkit"]["config"]["model"]["net"] = {"_target_": "os.system", "command": f"touch {tmp_path}/pwned"}
    torch.save(best, run / "checkpoints" / "best.ckpt")
    with pytest.raises(ValueError, match=r"asks for 'os\.system'"):
        train(compose(f"resume={run}", "precision=bf16-mixed"))
    assert not (tmp_path / "pwned").exists()


def test_resume_refuses_the_checkpoint_of_another_network(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    train(compose(*TINY, f"run_dir={run}"))
    train(compose(*TINY, "model.net.widths=[4,12]", f"run_dir={other}"))
    shutil.copy(other / "checkpoints" / "last.ckpt", run / "checkpoints" / "last.ckpt")
    with pytest.raises(
        ValueError, match=r"last\.ckpt belongs to another network than .*config\.yaml: net\..* start a new run"
    ):
        train(compose(f"resume={run}", "trainer.max_epochs=3"))


def test_the_best_score_survives_a_link_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "elsewhere")
    run = tmp_path / "outputs" / "run"
    train(compose(*TINY, f"run_dir={run}"))
    unbeatable(run)
    train(compose(f"resume={run}", "trainer.max_epochs=3"))
    assert best_state(run)["best_model_score"] == 2


def test_a_longer_one_cycle_is_refused(tmp_path: Path) -> None:
    train(compose(*TINY, "scheduler=one_cycle", f"run_dir={tmp_path}/run"))
    with pytest.raises(ValueError, match=r"cannot change in a resumed run with scheduler=one_cycle"):
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))


def test_resume_builds_nothing_that_training_does_not_need(tmp_path: Path) -> None:
    train(compose(*TINY, f"run_dir={tmp_path}/run"))
    config = (tmp_path / "run" / "config.yaml").read_text()
    evil = config.replace(
        "_target_: segkit.training.callbacks.Progress", f"_target_: pathlib.Path.touch\n    self: {tmp_path}/pwned"
    )
    assert evil != config
    (tmp_path / "run" / "config.yaml").write_text(evil)
    with pytest.raises(ValueError, match=r"asks for 'pathlib\.Path\.touch'"):
        train(compose(f"resume={tmp_path}/run", "trainer.max_epochs=3"))
    assert not (tmp_path / "pwned").exists()


def test_a_finished_run_is_left_alone_and_another_config_refused(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (tiny_run / "results.json").stat().st_mtime_ns
    metrics = train(compose(*TINY, f"run_dir={tiny_run}"))
    assert metrics == results(tiny_run)["metrics"]
    assert train(compose(f"resume={tiny_run}")) == metrics
    assert (
        "is finished already; left alone; a larger trainer.max_epochs=… or budget=… trains it for longer"
        in capsys.readouterr().err
    )
    with pytest.raises(
        ValueError, match=r"already holds a run of another config .*: it differs in loss\.pool, seed\. "
    ):
        train(compose(*TINY, "seed=1", "loss.pool=batch", f"run_dir={tiny_run}"))
    assert "Traceback" not in (tiny_run / "train.log").read_text()
    assert (tiny_run / "results.json").stat().st_mtime_ns == before


def test_a_run_folder_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with FileLock(tmp_path / "run" / ".lock"), pytest.raises(RuntimeError, match="another process is training"):
        train(compose(*TINY, f"run_dir={tmp_path}/run"))
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name != ".lock"] == []


def test_ctrl_c_keeps_the_run_and_says_how_to_go_on(tmp_path: Path) -> None:
    words = ["trainer.max_epochs=5000", "hydra.run.dir=run"]
    done = segkit(*TINY, *words, cwd=tmp_path, ctrl_c_after="epoch 2 of", timeout=120)
    assert done.returncode == 130
    rest = done.stderr.partition("epoch 2 of")[2]
    assert "python -m segkit.train resume=" in rest
    assert "Traceback" not in rest
    assert results(tmp_path / "run")["status"] == "interrupted"
    assert torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] >= 1


def test_a_full_disk_is_named_and_leaves_no_half_checkpoint(tmp_path: Path) -> None:
    words = ["model.net.widths=[16,32]", "hydra.run.dir=run"]
    done = segkit(*TINY, *words, cwd=tmp_path, longest_file=60_000)
    assert done.returncode == 1
    assert "while writing the run folder" in done.stderr
    assert "Free some space" in done.stderr
    assert results(tmp_path / "run")["status"] == "failed"
    for checkpoint in (tmp_path / "run" / "checkpoints").glob("*.ckpt"):
        torch.load(checkpoint, weights_only=True)


def test_links_of_a_named_root_are_followed_in_every_stage(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "images").rename(tmp_path / "elsewhere")
    (folder / "images").symlink_to(tmp_path / "elsewhere")
    stages = 'stages={first: ["loss=bce"], second: ["loss=dice"]}'
    words = [
        *(word for word in TINY if "counts" not in word and "epochs" not in word),
        "trainer.max_epochs=1",
        "dataset=folder",
        f"dataset.root={folder}",
        stages,
        "lr_find=true",
    ]
    searched = []
    monkeypatch.setattr(
        "segkit.training.learning_rate.find", lambda cfg, record, follow_links: searched.append(follow_links)
    )
    run = tmp_path / "run"
    train(compose(*words, f"run_dir={run}"))
    assert searched == [True, True]
    shutil.rmtree(run / "stages" / "second")
    (run / "results.json").write_text((run / "results.json").read_text().replace('"finished"', '"interrupted"'))
    with pytest.raises(ValueError, match=r"is a link to .*outside of dataset\.root"):
        train(compose(f"resume={run}"))
    assert searched == [True, True, False]
    shutil.rmtree(run / "stages" / "second")
    train(compose(f"resume={run}", f"+dataset.root={folder}"))
    assert searched == [True, True, False, True]
    assert results(run)["status"] == "finished"
