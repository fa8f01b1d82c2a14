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
from segkit.files.reading import read_yaml
from segkit.planning import setups
from segkit.planning.machine import unet
from segkit.planning.plan import make_plan
from segkit.planning.setups import LITE0, Setup
from segkit.planning.trials import MARGIN, Trial, find_best
from segkit.reporting import collect
from segkit.train import train

DRAWN = ["dataset=synthetic", "dataset.counts=[60,12,12]", "dataset.picture_size=64"]


def test_the_rules_own_choice_stays_unless_a_rival_is_clearly_better() -> None:
    setup = Setup(unet(8), (64, 64), 4, 10.0, 0.1)
    own = Trial(setup, 0.5, Path("0"))
    same, better = Trial(setup, 0.5 + 0.9 * MARGIN, Path("1")), Trial(setup, 0.5 + 1.1 * MARGIN, Path("2"))
    assert find_best([own, same]) is own
    assert find_best([own, same, better]) is better


def test_rivals_are_close_and_their_trials_tell_something() -> None:
    def rivals(machine: MadeUp, seconds: float, **changes: object) -> list[Setup]:
        data = replace(SKIN, **changes)  # type: ignore[arg-type]
        return setups.choose_rivals(data, machine, setups.find_setups(data, machine, seconds, ALL))

    (rival,) = rivals(CORE, 1200)
    assert not rival.network.pretrained
    assert rivals(CORE, 60) == []  # less than two passes a trial
    assert rivals(CORE, 1200, val=20_000) == []  # validation would take most of it
    assert rivals(MadeUp(4e-6, "cuda", devices=8), 1200) == []


@pytest.mark.parametrize("better", [0, 1])
def test_a_plan_tries_its_rivals(tmp_path: Path, better: int) -> None:
    tried = list[DictConfig]()

    def try_out(cfg: DictConfig) -> float:
        tried.append(cfg)
        return 0.7 if len(tried) - 1 == better else 0.6

    machine, started = MadeUp(1e-8), time.perf_counter()
    plan = make_plan([*DRAWN, "budget=100s", "seed=3"], started, machine, try_out, tmp_path)
    assert [(cfg.run_dir, cfg.budget, cfg.seed) for cfg in tried] == [
        (str(tmp_path / "trials" / name), "10s", 3) for name in "01"
    ]
    nets = [cfg.model.net._target_ for cfg in tried]
    assert [net.endswith("DetailUNet") for net in nets] == [True, False]
    assert "pictures" not in tried[0].callbacks
    assert (plan.setup.network == LITE0) == (better == 0)
    last = plan.choices[-1] if plan.choices[-1].words[0].startswith("init_from=") else plan.choices[0]
    assert last.words == (f"init_from='{tmp_path}/trials/{better}'",)
    assert "IoU in validation after 10 s each: U-Net on EfficientNet-Lite0 on 64×64 pixels 0." in last.why
    untried = make_plan([*DRAWN, "budget=100s"], time.perf_counter(), machine)
    assert len(untried.rivals) == 1


def test_a_trial_is_trained_and_its_weights_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setups, "CLOSE", 9.0)
    monkeypatch.setattr(setups, "TRIAL", 0.3)
    words = ["recipe=auto", "budget=20s", "dataset.counts=[24,6,6]", "dataset.picture_size=32", "dataset.size=32"]
    run = tmp_path / "run"
    train(compose(*words, f"run_dir={run}"))
    assert re.search(r"^Trial 2 of 2, 6 s: U-Net .* on 32×32 pixels$", capsys.readouterr().err, re.MULTILINE)
    found, config = results(run), read_yaml(run / "config.yaml")
    assert 18 < found["budget"]["used"] < 22
    assert found["plan"]["seconds"] > 12
    assert Path(config["init_from"]).parent == run / "trials"
    assert sorted(path.name for path in run.glob("trials/*/checkpoints/*")) == ["best.ckpt"]
    assert f"init_from={config['init_from']}: " in (run / "train.log").read_text()
    assert collect.find(str(tmp_path)) == [run]  # the trial is part of it
    resumed = train(compose(f"resume={run}"))
    assert resumed == found["metrics"]
