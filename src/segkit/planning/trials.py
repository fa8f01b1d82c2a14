"""Short trainings of two setups that the rules cannot tell apart; the better one by validation goes on."""

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from segkit.configs.composing import compose, quote
from segkit.configs.places import TRIALS
from segkit.console import say
from segkit.files.reading import first_line
from segkit.planning.setups import TRIAL, Setup
from segkit.runs.folder import lock_folder

MARGIN = 0.01  # IoU by which the rival has to be better than the rules' own choice

log = logging.getLogger("segkit")
TryOut = Callable[[DictConfig], float]  # trains a config; returns its best IoU in validation


class Trial(NamedTuple):
    """A setup and the best IoU that it reached in validation; number: of its folder."""

    setup: Setup
    score: float
    number: int


class Outcome(NamedTuple):
    """The setup that goes on, the word that gives its weights (none if no trial succeeded), and what was found."""

    setup: Setup
    words: tuple[str, ...]
    why: str


def run_trials(
    own: Setup, rival: Setup, words_of: Callable[[Setup], list[str]], seconds: float, run_dir: Path, try_out: TryOut
) -> Outcome:
    """Train both setups for their share of the budget, in folders of the run's; keep the better one's weights.

    words_of: all words of a config for a setup. seconds: of the whole budget. A trial that fails is left out.
    """
    folder, trials = run_dir / TRIALS, list[Trial]()
    with lock_folder(run_dir):
        try:
            for number, setup in enumerate((own, rival)):
                shutil.rmtree(folder / str(number), ignore_errors=True)  # of a command that was killed
                say(f"Trial {number + 1} of 2, {TRIAL * seconds:.0f} s: {describe(setup)}", stderr=True)
                words = [*words_of(setup._replace(passes=TRIAL * setup.passes)), f"budget={TRIAL * seconds:g}s"]
                try:
                    score = try_out(trial_config(words, folder / str(number), checked=number > 0))
                except (ValueError, RuntimeError, MemoryError) as error:
                    log.warning("the trial of %s failed: %s", describe(setup), first_line(error))
                else:
                    trials.append(Trial(setup, score, number))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            say("Stopped while setups were tried: the command starts anew when it is given again.", stderr=True)
            raise
        if (best := find_best(trials)) is None:
            shutil.rmtree(folder, ignore_errors=True)
            return Outcome(own, (), "")
        shutil.rmtree(folder / str(1 - best.number), ignore_errors=True)
    (folder / str(best.number) / "checkpoints" / "last.ckpt").unlink(missing_ok=True)
    return Outcome(best.setup, (f"init_from={TRIALS}/{best.number}",), format_outcome(trials, best, seconds))


def trial_config(words: Sequence[str], folder: Path, checked: bool) -> DictConfig:
    """The config of a trial, which logs nothing but its table. checked: whether its data have been checked before."""
    config = compose(*words, *(["check=off"] if checked else []), f"run_dir={quote(folder)}")
    config.logger = {}
    config.callbacks.pop("pictures", None)
    return config


def find_best(trials: Sequence[Trial]) -> Trial | None:
    """The rules' own choice, which comes first, unless the other is better by more than the margin."""
    return max(trials, key=lambda trial: trial.score - MARGIN * trial.number, default=None)


def describe(setup: Setup) -> str:
    """A setup in words."""
    size = f"{setup.size[1]}×{setup.size[0]} pixels"
    return f"{setup.network.name} on " + (f"windows of {size} at scale {setup.scale:.2g}" if setup.scale else size)


def format_outcome(trials: Sequence[Trial], best: Trial, seconds: float) -> str:
    """What the trials found, in words."""
    scores = ", ".join(f"{describe(trial.setup)} {trial.score:.3f}" for trial in trials)
    return f"IoU in validation after {TRIAL * seconds:.0f} s: {scores}; {best.setup.network.name} goes on"
