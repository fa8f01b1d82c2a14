"""A training that takes so long and no longer."""

import csv
import itertools
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import TINY, results

from segkit.configs.composing import compose, parse_budget
from segkit.train import train
from segkit.training.budget import Budget, Clock, batches

LEAN = [*TINY, "callbacks.pictures=null", "callbacks.lr=null"]


TICK = 0.02  # seconds that pass each time the clock is read


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that passes by being read: how busy the machine is does not count."""
    readings = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: TICK * next(readings))


@pytest.mark.parametrize(
    ("text", "expected"), [("90s", 90), ("90", 90), (90, 90), ("10m", 600), ("1h30m", 5400), ("0.5m", 30), ("1m5s", 65)]
)
def test_times(text: str | int, expected: int) -> None:
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "ten minutes", "0", "m", "-5s", "1.2.3s", "10 min"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=f"budget={text}: expected a time such as 90s, 10m or 1h30m"):
        parse_budget(text)


def test_how_many_steps_fit() -> None:
    clock = Budget(100, 0)
    clock.step, clock.check, clock.batches = 1.0, 2.0, 10
    assert clock.steps_within(left=5, rest=10) == 3  # 3 steps and a validation
    assert clock.steps_within(left=12, rest=10) == 10  # a whole epoch
    assert clock.steps_within(left=1.5, rest=10) == 0
    assert clock.steps_within(left=2, rest=0) == 0  # the validation that is due
    assert clock.steps_within(left=2 + 12 + 12, rest=0) == 20
    assert clock.steps_within(left=2 + 12 + 7.5, rest=0) == 15  # an epoch and half of one
    assert clock.steps_within(left=4 + 2 + 12 + 3, rest=4) == 15  # one step more, too


def test_the_first_batches_of_the_probe_are_a_warm_up() -> None:
    clock = Clock(100)
    clock.steps = [0, 30, 40, 42, 44]
    clock.checks = [0, 9, 10, 11]
    assert (clock.step, clock.validation) == (2, 1)
    clock.steps, clock.checks = [0, 30, 40], [0, 9]  # nothing else was timed
    assert (clock.step, clock.validation) == (20, 9)


def test_limits_of_the_trainer_count() -> None:
    assert [batches(10, limit) for limit in (1.0, 0.35, 2, 40)] == [10, 3, 2, 10]


def rates(run: Path) -> list[float]:
    with (run / "metrics.csv").open() as file:
        return [float(row["lr"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle"])
def test_time_and_schedule_end_together(tmp_path: Path, scheduler: str, clock: Any) -> None:
    train(compose(*LEAN, f"scheduler={scheduler}", "budget=8s", f"run_dir={tmp_path}/run"))
    found = results(tmp_path / "run")
    assert found["budget"]["seconds"] == 8
    assert 6 < found["budget"]["used"] < 10
    assert found["epochs"] > 4  # trainer.max_epochs does not end it
    last, middle = rates(tmp_path / "run")[-1], rates(tmp_path / "run")[found["epochs"] // 2]
    assert last < 5e-5
    assert 1e-4 < middle < 2.9e-3  # on the way from 3e-3, neither ended early nor jumped
    assert rates(tmp_path / "run")[-2] < 0.3 * middle


@pytest.mark.parametrize("scheduler", ["cosine", "one_cycle"])
def test_a_resumed_run_keeps_what_is_left(tmp_path: Path, scheduler: str, clock: Any) -> None:
    run = tmp_path / "run"
    train(compose(*LEAN, f"scheduler={scheduler}", "budget=6s", f"run_dir={run}"))
    first = results(run)
    before = {path: path.read_bytes() for path in (run / "results.json", run / "config.yaml", run / "metrics.csv")}
    for words, message in (
        (["budget=3"], r"budget=3: .*run has used \d s already"),
        (["budget=ten minutes"], "budget=ten minutes: expected a time such as"),
    ):
        with pytest.raises(ValueError, match=message):
            train(compose(f"resume={run}", *words))
        assert before == {path: path.read_bytes() for path in before}
    train(compose(f"resume={run}", "budget=10s"))
    second = results(run)
    assert second["epochs"] > first["epochs"]
    assert 8 < second["budget"]["used"] < 12
    assert max(rates(run)[first["epochs"] :]) > 1e-5  # up again, and down
    assert rates(run)[-1] < 5e-5


def test_too_little_time_is_told_before_training(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"budget=0.001s is too short: a step takes .* Give at least \d+ s, or take a smaller"
    ):
        train(compose(*LEAN, "budget=0.001", f"run_dir={tmp_path}/run"))
    assert json.loads((tmp_path / "run" / "results.json").read_text())["status"] == "failed"


def test_a_run_killed_in_its_test_is_only_tested(tmp_path: Path, clock: Any) -> None:
    """Its budget is used up, and the training over."""
    run = tmp_path / "run"
    train(compose(*LEAN, "budget=4s", f"run_dir={run}"))
    whole = results(run)
    (run / "results.json").write_text(json.dumps(whole | {"status": "running", "metrics": {}}))
    train(compose(*LEAN, "budget=4s", f"run_dir={run}"))
    again = results(run)
    assert (again["status"], again["epochs"]) == ("finished", whole["epochs"])
    assert again["metrics"] == whole["metrics"]
    assert again["budget"] == whole["budget"]


def test_a_run_without_a_budget_gets_none(tiny_run: Path) -> None:
    before = (tiny_run / "results.json").read_bytes()
    with pytest.raises(ValueError, match=r"budget=10m: .*tiny was trained without a budget. Go on with trainer.max_ep"):
        train(compose(f"resume={tiny_run}", "budget=10m"))
    assert (tiny_run / "results.json").read_bytes() == before


def test_validation_is_once_an_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"budget=… plans one validation an epoch"):
        train(compose(*LEAN, "budget=10m", "+trainer.check_val_every_n_epoch=2", f"run_dir={tmp_path}/run"))


def test_compiling_is_not_foretold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"budget=… and compile=true do not go together: compiling takes minutes"):
        train(compose(*LEAN, "budget=10s", "compile=true", f"run_dir={tmp_path}/run"))


def test_processes_share_a_budget(tmp_path: Path) -> None:
    words = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "budget=9s", f"run_dir={tmp_path}/run"]
    train(compose(*LEAN, *words))
    found = results(tmp_path / "run")
    assert found["status"] == "finished"
    assert found["budget"]["used"] > 3  # on a busy machine the second process takes most of it to start
    assert found["epochs"] >= 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (8.4, "8 s"), (89, "89 s"), (125, "2 min"), (3599, "1 h 0 min"), (4200, "1 h 10 min")],
)
def test_times_as_one_says_them(seconds: float, said: str) -> None:
    from segkit.training.budget import format_duration

    assert format_duration(seconds) == said


@pytest.mark.filterwarnings("error:.*Disabling autocast")  # or the probe would time another precision
def test_the_final_test_is_announced(tmp_path: Path, clock: Any) -> None:
    train(compose(*LEAN, "budget=4s", "precision=bf16-mixed", f"run_dir={tmp_path}/run"))
    log = (tmp_path / "run" / "train.log").read_text()
    assert re.search(r"budget: about [\d.]+ epochs in 4 s, then testing \d+ pictures, about \d+ s;", log), log
    assert re.search(r"testing \d+ pictures, about \d+ s\n", log), log
