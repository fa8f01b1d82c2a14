"""Short trainings of the setups that a plan leaves a choice among; the best by validation goes on from its weights."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from segkit.configs.composing import compose, quote
from segkit.configs.places import TRIALS
from segkit.console import say
from segkit.planning import setups
from segkit.planning.setups import Setup

MARGIN = 0.01  # IoU by which a rival has to be better than the rules' own choice
SPARED = ("pictures", "lr", "progress")  # callbacks that a trial does without

TryOut = Callable[[DictConfig], float]  # trains a config; returns its best IoU in validation


class Trial(NamedTuple):
    """A setup and the best IoU that it reached in validation; weights: the folder of the run that has them."""

    setup: Setup
    score: float
    weights: Path


def run_trials(
    compared: Sequence[Setup],
    words_of: Callable[[Setup], list[str]],
    seconds: float,
    run_dir: Path,
    try_out: TryOut,
) -> list[Trial]:
    """Train each setup for its share of the budget, the rules' own choice first, in folders of the run's.

    words_of: all words of a config for a setup. seconds: of the whole budget.
    """
    folder, share = run_dir / TRIALS, setups.TRIAL
    shutil.rmtree(folder, ignore_errors=True)  # of a command that was stopped
    trials = []
    for number, setup in enumerate(compared):
        say(f"Trial {number + 1} of {len(compared)}, {share * seconds:.0f} s: {describe(setup)}", stderr=True)
        words = [*words_of(setup._replace(passes=share * setup.passes)), f"budget={share * seconds:g}s", "check=off"]
        config = compose(*words, "logger=[]", f"run_dir={quote(folder / str(number))}")
        for name in SPARED:
            config.callbacks.pop(name, None)
        try:
            trials.append(Trial(setup, try_out(config), folder / str(number)))
        except SystemExit:
            say("\nInterrupted while setups were tried. Give the command again: it starts anew.", stderr=True)
            raise
    return trials


def keep_weights(trials: Sequence[Trial], best: Trial) -> None:
    """Delete what the trials left but for the weights that go on, and what describes them."""
    for trial in trials:
        if trial is not best:
            shutil.rmtree(trial.weights, ignore_errors=True)
    (best.weights / "checkpoints" / "last.ckpt").unlink(missing_ok=True)


def find_best(trials: Sequence[Trial]) -> Trial:
    """The rules' own choice, or the best of its rivals, if that is better by more than the margin."""
    own, *rivals = trials
    best = max(rivals, key=lambda trial: trial.score)
    return best if best.score > own.score + MARGIN else own


def describe(setup: Setup) -> str:
    height, width = setup.size
    return f"{setup.network.name} on {width}×{height} pixels"


def format_outcome(trials: Sequence[Trial], seconds: float) -> str:
    """What was found, in words."""
    scores = ", ".join(f"{describe(trial.setup)} {trial.score:.3f}" for trial in trials)
    return f"IoU in validation after {setups.TRIAL * seconds:.0f} s each: {scores}; the better one goes on"
