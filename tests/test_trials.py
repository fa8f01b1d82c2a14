"""Setups that a plan leaves a choice among are tried; the better one goes on."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import results
from machines import ALL, CORE, SKIN, MadeUp
from omegaconf import DictConfig

from segkit.configs.composing import compose
from segkit.configs.places import TRIALS
from segkit.files.reading import read_yaml
from segkit.planning import setups
from segkit.planning.machine import unet
from segkit.planning.pages import format_page
from segkit.planning.plan import Plan, in_folder, make_plan
from segkit.planning.setups import LITE0, Setup
from segkit.planning.trials import MARGIN, Trial, find_best
from segkit.reporting import collect
from segkit.train import train


def test_the_rules_own_choice_stays_unless_the_rival_is_clearly_better() -> None:
    setup = Setup(unet(8), (64, 64), 4, 10.0, 0.1)
    own, rival = Trial(setup, 0.5, 0), Trial(setup, 0.5 + 0.9 * MARGIN, 1)
    assert find_best([own, rival]) is own
    assert find_best([own, rival._replace(score=0.5 + 1.1 * MARGIN)]) is not own
    assert find_best([rival]) is rival  # the other one failed
    assert find_best([]) is None


def test_a_rival_is_close_and_its_trial_tells_something() -> None:
    def rival(machine: MadeUp, seconds: float, **changes: object) -> Setup | None:
        data = replace(SKIN, **changes)  # type: ignore[arg-type]
        return setups.find_rival(data, machine, setups.find_setups(data, machine, seconds, ALL))

    found = rival(CORE, 3600)
    assert found is not None
    assert not found.network.pretrained
    assert rival(CORE, 1200) is None  # fewer than five passes a trial
    assert rival(CORE, 3600, val=20_000) is None  # validation would take most of it
    assert rival(CORE, 3600, val=19) is None


class Tried:
    """Stands in for short trainings: keeps their configs, and gives scores or raises them."""

    def __init__(self, *scores: float | BaseException) -> None:
        self.scores, self.configs = list(scores), list[DictConfig]()

    def __call__(self, cfg: DictConfig) -> float:
        self.configs.append(cfg)
        Path(cfg.run_dir).mkdir(parents=True)
        score = self.scores.pop(0)
        if isinstance(score, BaseException):
            raise score
        return score


def plan(folder: Path, tried: Tried, *words: str) -> Plan:
    drawn = ["dataset=synthetic", "dataset.counts=[60,24,12]", "dataset.picture_size=64", "budget=100s", *words]
    return make_plan(drawn, time.perf_counter(), MadeUp(1e-8), tried, folder)


@pytest.mark.parametrize("better", [0, 1])
def test_the_better_one_goes_on(tmp_path: Path, better: int) -> None:
    tried = Tried(0.7 - 0.1 * better, 0.6 + 0.1 * better)
    found = plan(tmp_path, tried, "seed=3", "logger=csv", "logger.csv.name=x")
    assert [(cfg.run_dir, cfg.budget, cfg.seed, cfg.check) for cfg in tried.configs] == [
        (str(tmp_path / TRIALS / "0"), "10s", 3, "fast"), (str(tmp_path / TRIALS / "1"), "10s", 3, "off"),
    ]  # fmt: skip
    nets = [cfg.model.net._target_ for cfg in tried.configs]
    assert [net.endswith("DetailUNet") for net in nets] == [True, False]
    assert "pictures" not in tried.configs[0].callbacks
    assert (found.setup.network == LITE0) == (better == 0)
    (start,) = (choice for choice in found.choices if choice.words[0].startswith("init_from="))
    assert start.words == (f"init_from={TRIALS}/{better}",)
    assert "IoU in validation after 10 s: U-Net on EfficientNet-Lite0 on 64×64 pixels 0." in start.why
    assert start.why.endswith(f"{found.setup.network.name} goes on")
    assert [path.name for path in (tmp_path / TRIALS).iterdir()] == [str(better)]
    assert in_folder(start.words[0], str(tmp_path)) == f"init_from='{tmp_path}/{TRIALS}/{better}'"


def test_a_trial_that_fails_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = plan(tmp_path, Tried(ValueError("too short\nby far"), 0.1))
    assert found.setup.network != LITE0
    assert "the trial of U-Net on EfficientNet-Lite0 on 64×64 pixels failed: too short" in caplog.text
    neither = plan(tmp_path / "b", Tried(ValueError("a"), RuntimeError("b")))
    assert neither.setup.network == LITE0
    assert not any(word.startswith("init_from=") for word in neither.words)


def test_nothing_stays_of_a_command_that_is_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan(tmp_path, Tried(0.5, SystemExit(130)))
    assert not (tmp_path / TRIALS).exists()
    assert "Stopped while setups were tried" in capsys.readouterr().err


def test_where_setups_are_not_tried(tmp_path: Path) -> None:
    tried = Tried()
    assert plan(tmp_path, tried, "trainer.devices=2").rival is not None
    assert plan(tmp_path, tried, "callbacks=[default,swa]").rival is not None
    page = format_page(plan(tmp_path, tried, "trainer.devices=2"))
    assert re.search(r"^U-Net of width \d+ on 64×64 pixels might do better; the rules cannot tell", page, re.MULTILINE)
    (tmp_path / "config.yaml").touch()  # a run that the same command would go on with
    assert plan(tmp_path, tried).rival is not None
    assert tried.configs == []


def test_a_trial_is_trained_and_its_weights_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setups, "find_rival", lambda data, machine, possible: possible[1])
    monkeypatch.setattr("segkit.planning.plan.ThisMachine", lambda *_: CORE)  # which takes no time to measure
    words = ["recipe=auto", "budget=24s", "dataset.counts=[24,20,6]", "dataset.picture_size=32", "dataset.size=32"]
    run = tmp_path / "run"
    train(compose(*words, f"run_dir={run}"))
    assert re.search(r"^Trial 2 of 2, 2 s: U-Net .* on 32×32 pixels$", capsys.readouterr().err, re.MULTILINE)
    found, config = results(run), read_yaml(run / "config.yaml")
    assert found["status"] == "finished"
    assert found["plan"]["seconds"] > 4.8
    assert Path(config["init_from"]).parent == run / TRIALS
    assert sorted(path.name for path in run.glob(f"{TRIALS}/*/checkpoints/*")) == ["best.ckpt"]
    assert f"init_from={config['init_from']}: " in (run / "train.log").read_text()
    assert collect.find(str(tmp_path)) == [run]  # the trial is part of it
    resumed = train(compose(f"resume={run}"))
    assert resumed == found["metrics"]
