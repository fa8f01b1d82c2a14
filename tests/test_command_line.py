"""`python -m segkit.train` as a person types it: one run, a sweep, an ablation."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY, results, segkit, write_pair

from segkit import config_dir
from segkit.configs.composing import format_argument

GRID = ["-m", *(word for word in TINY if "counts" not in word), "trainer.max_epochs=1", "dataset=folder", "name=grid"]


def test_command_line_ends_with_metrics_and_next_commands(tmp_path: Path) -> None:
    done = segkit(*TINY, cwd=tmp_path, alone=True)
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "outputs" / "synthetic").iterdir())
    for text in ("iou", "Run folder:", str(run), "tensorboard --logdir", "segkit.predict", "segkit.train -m"):
        assert text in done.stdout
    sweep = shlex.split(next(line for line in done.stdout.splitlines() if "segkit.train -m" in line))
    assert sweep[-2:] == ["loss=dice,bce,focal", "seed=0,1,2"]
    shown = segkit(*(word for word in sweep[3:-2] if word != "-m"), "loss=dice", "seed=0", "--cfg", "job", cwd=tmp_path)
    assert "counts:\n  - 12\n" in shown.stdout
    assert "epoch 2 of 2" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model=unett"], "model=unett: did you mean unet"),
        (["trainer.max_epoch=3"], "trainer.max_epoch: did you mean trainer.max_epochs?"),
        (["loss=focal", "loss.gama=3"], "loss.gama: did you mean loss.gamma"),
        (["-m", "optimiser=sgd,adam"], "optimiser: did you mean optimizer"),
        (["lr=0.1"], "lr: did you mean optimizer.lr?"),
        (["epochs=3"], "epochs: did you mean dataset.epochs or trainer.max_epochs?"),
        (["+lr=0.1"], "+lr=0.1: no setting is called lr, so it would change nothing. Did you mean optimizer.lr?"),
        (["resume=run", "dataset.root=moved"], "With resume, say +dataset.root="),
        (["dataset=ph2"], "dataset.root is not set: add dataset.root="),
        (["dataset=ph2", "dataset.root=nowhere"], "nowhere does not exist"),
    ],
)
def test_a_users_error_ends_without_a_traceback(tmp_path: Path, words: list[str], message: str) -> None:
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("outputs/*/*/"))[1:]


def test_a_sweep_tells_which_job_failed_and_repeats_only_that(tmp_path: Path) -> None:
    words = ["-m", *TINY, "loss=dice,presence", "trainer.max_epochs=1", "name=grid"]
    done = segkit(*words, cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 2 jobs did not finish" in done.stderr
    jobs = {
        json.loads(p.read_text())["status"]: p.parent for p in (tmp_path / "outputs" / "grid").glob("*/results.json")
    }
    assert set(jobs) == {"finished", "failed"}
    assert "loss-presence" in jobs["failed"].name
    assert "Traceback" in (jobs["failed"] / "train.log").read_text()
    before = (jobs["finished"] / "results.json").stat().st_mtime_ns
    again = segkit(*words, cwd=tmp_path)
    assert "left alone" in again.stderr
    assert (jobs["finished"] / "results.json").stat().st_mtime_ns == before


def test_a_sweep_lists_jobs_whose_values_were_refused(tmp_path: Path) -> None:
    done = segkit("-m", *TINY, "seed=1,x", "trainer.max_epochs=1", "name=grid", cwd=tmp_path)
    assert done.returncode == 1
    assert "1 of 2 jobs did not finish" in done.stderr
    assert "seed-x: failed: ValueError: seed=x: expected a whole number" in done.stderr
    assert "train.log" not in done.stderr
    assert len(list((tmp_path / "outputs" / "grid").glob("*/results.json"))) == 1


def test_a_bare_sweep_and_its_folders_in_later_commands(tmp_path: Path) -> None:
    done = segkit("-m", *TINY, "trainer.max_epochs=1", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = sorted((tmp_path / "outputs" / "synthetic").glob("*seed*"))
    assert len(jobs) == 2
    again = segkit(format_argument("run", jobs[0]), cwd=tmp_path, module="evaluate")
    assert again.returncode == 0, again.stderr
    # other data under the same names: refused, and not reported as finished
    refused = segkit(
        "-m",
        *TINY,
        "trainer.max_epochs=1",
        "seed=0",
        "dataset.split_seed=1",
        f"hydra.sweep.subdir={jobs[0].name}",
        cwd=tmp_path,
    )
    assert refused.returncode == 1
    assert "refused" in refused.stderr
    assert results(jobs[0])["status"] == "finished"


def test_an_ablation_file_runs_as_a_sweep_by_itself(tmp_path: Path) -> None:
    ablation = tmp_path / "conf" / "ablation"
    ablation.mkdir(parents=True)
    (ablation / "two.yaml").write_text(
        "# @package _global_\nname: two\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1'}}}\n"
    )
    done = segkit("--config-dir", "conf", "ablation=two", *TINY, "trainer.max_epochs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    statuses = [json.loads(p.read_text())["status"] for p in (tmp_path / "outputs" / "two").glob("*/results.json")]
    assert statuses == ["finished", "finished"]


def test_list_says_what_can_be_chosen(tmp_path: Path) -> None:
    overview = segkit("list", cwd=tmp_path, module="__main__").stdout
    assert (
        "loss=bce, bce_dice, ce, cldice, combo, dice, focal, focal_tversky, jaccard, joint, l1, lovasz, mcc, mse, "
        "presence" in overview
    )
    assert "callbacks=default, early_stopping, ema, swa" in overview
    experiments = segkit("list", "experiments", cwd=tmp_path, module="__main__").stdout.splitlines()
    files = {path.stem for path in (config_dir() / "experiment").glob("*.yaml")}
    assert {line.split()[0] for line in experiments} == files - {name for name in files if "_recipe" in name}
    assert all(len(line.split(maxsplit=1)) == 2 and "python -m" not in line for line in experiments)
    wrong = segkit("list", "nets", cwd=tmp_path, module="__main__")
    assert wrong.returncode == 2
    assert "expected one of models, losses" in wrong.stderr


def test_a_grid_over_two_roots_has_folders_of_their_own_and_columns(tmp_path: Path) -> None:
    for root in ("one/data", "two/data"):
        for number in range(10):
            write_pair(tmp_path / root / "images", tmp_path / root / "masks", f"p{number}", number)
    both = [*GRID, "dataset.root=one/data,two/data", "seed=0"]
    done = segkit(*both, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    jobs = {path.parent.name for path in (tmp_path / "outputs" / "grid").glob("*/results.json")}
    assert len(jobs) == 2
    assert all(re.search(r"_root-data-[0-9a-f]{4}_.*_seed-0$", job) for job in jobs), jobs
    heads = next(line for line in done.stderr.splitlines() if "status" in line)
    assert "root" in heads
    assert "job" not in heads
    for shown in ("one/data", "two/data"):
        assert any(shown in line and "finished" in line for line in done.stderr.splitlines())
    more = segkit(*both[:-1], "seed=0,1", cwd=tmp_path)  # one more seed: the other folders keep their names
    assert more.returncode == 0, more.stderr
    assert more.stderr.count("left alone") == 2
    assert jobs < {path.parent.name for path in (tmp_path / "outputs" / "grid").glob("*/results.json")}


def test_what_changes_no_run_is_not_in_its_folder_and_other_data_are_refused(tmp_path: Path) -> None:
    for root in ("one", "two"):
        for number in range(10):
            write_pair(tmp_path / root / "images", tmp_path / root / "masks", f"p{number}", number)
    words = [*GRID, "dataset.root=one", "seed=0"]
    done = segkit(*words, "report=false", "expected={test/iou: 0.5}", "trainer.accelerator=cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (job,) = (path.parent.name for path in (tmp_path / "outputs" / "grid").glob("*/results.json"))
    assert not any(word in job for word in ("report", "expected", "accelerator", "root")), job
    assert f"outputs/grid/{job}" in done.stderr.splitlines()  # whole, above the table
    again = segkit(*words, cwd=tmp_path)
    assert "left alone" in again.stderr
    refused = segkit(*(word.replace("=one", "=two") for word in words), cwd=tmp_path)
    assert refused.returncode == 1
    assert "name=" in refused.stderr
    (line,) = (line for line in refused.stderr.splitlines() if "refused" in line and "│" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")] == ["refused", "", ""]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("loss=dice,seed=1,trainer.max_epochs=3", "loss-dice_max_epochs-3_seed-1"),
        ("model.net.widths=[4,8],seed=0", "widths-4_8_seed-0"),
        ("seed=0", "seed-0"),
        ("dataset.root=../data/one,seed=0", "root-one_seed-0"),
        ("dataset.root='../my data/one',dataset.split_seed=2", "root-one_split_seed-2"),
        ("", "job"),
    ],
)
def test_folders_of_jobs_are_named_by_what_was_set_the_seed_last(words: str, name: str) -> None:
    from omegaconf import OmegaConf

    cfg = OmegaConf.create({"words": words, "name": "${segkit.job_name:${words}}"})
    assert cfg.name == name


def test_a_command_that_is_stopped_says_so_in_a_line(tmp_path: Path) -> None:
    code = (
        "from segkit.configs.command import command\ndef stop(cfg): raise KeyboardInterrupt\ncommand('check', stop)()"
    )
    done = subprocess.run([sys.executable, "-c", code, "output=seen"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr.strip()) == (130, "Stopped by Ctrl-C.")
    assert [*tmp_path.iterdir()] == []
