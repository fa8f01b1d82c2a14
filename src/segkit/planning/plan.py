"""`recipe=auto`: what a command line leaves open is chosen from the data, the machine and the budget, and said."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf, open_dict

from segkit import VIEWS, hardware
from segkit.configs.composing import (
    compose,
    find_classes,
    group_names,
    has_weights,
    key_of,
    parse_budget,
    quote,
    to_plain,
)
from segkit.configs.experiment_files import find_foreign
from segkit.configs.places import TRIALS
from segkit.configs.recipe import WHOLE, own_words
from segkit.datasets.checking.checks import check_masks
from segkit.datasets.checking.checkup import check_files
from segkit.datasets.checking.survey import survey_sample
from segkit.datasets.findings import DataError
from segkit.datasets.module import DataModule
from segkit.files.reading import read_yaml
from segkit.models.weights import last_bias
from segkit.planning import rules, setups
from segkit.planning.fingerprint import Fingerprint, take_fingerprint
from segkit.planning.machine import Cost, Machine, Network, ThisMachine
from segkit.planning.rules import Choice
from segkit.planning.setups import Given, Setup
from segkit.planning.trials import TryOut, describe, run_trials
from segkit.runs.build import build_data, fingerprint_of
from segkit.runs.making import make

NETWORK = ("model", "model.net", "weights", "init_from", "freeze")  # settings that say which network is trained
NATIVE = {"train": "crop", "eval": "native", "crops": "none", "cache": "off"}  # how a plan looks at pictures
PROBE = 0.03  # of the budget, after which no network is timed more than once
NAMED = "the network that was named"


def to_words(choices: Iterable[Choice]) -> list[str]:
    return [word for choice in choices for word in choice.words]


class Plan(NamedTuple):
    """What a plan has chosen. seconds: that planning itself took. digest: of the files of the data set. costs: of the
    networks that were compared, by name. rival: a setup that was not tried, and might be better."""

    data: Fingerprint
    digest: str
    machine: str
    setup: Setup
    costs: dict[str, Cost]
    choices: tuple[Choice, ...]
    seconds: float
    rival: Setup | None = None

    @property
    def words(self) -> list[str]:
        return to_words(self.choices)

    def entry(self, seconds: float) -> dict[str, Any]:
        """What a config says of it. seconds: of planning, which its budget pays for."""
        chosen = [{"words": list(choice.words), "why": choice.why} for choice in self.choices]
        return {"seconds": round(seconds, 2), "machine": self.machine, "data": self.digest, "choices": chosen}


def plan_config(cfg: DictConfig, try_out: TryOut | None = None) -> DictConfig:
    """The config of a command line with what its plan chose: its own words stay as they are. try_out: trains a setup
    for a short time; None if none is to be tried."""
    started = time.perf_counter()
    words = own_words(cfg)
    if (entry := stored_plan(cfg)) is None:
        plan = make_plan(words, started, try_out=try_out, run_dir=Path(cfg.run_dir).absolute())
        entry = plan.entry(plan.seconds)
    chosen = [in_folder(word, cfg.run_dir) for choice in entry["choices"] for word in choice["words"]]
    planned = compose(*chosen, *words, f"run_dir={quote(cfg.run_dir)}")
    with open_dict(planned):
        planned.recipe, planned.overrides, planned.plan = "auto", cfg.overrides, entry
    return planned


def in_folder(word: str, run_dir: str) -> str:
    """A word of a plan; the weights of a trial lie in the run's own folder, wherever that is."""
    number = word.removeprefix(f"init_from={TRIALS}/")
    return f"init_from={quote(Path(run_dir).absolute() / TRIALS / number)}" if number in ("0", "1") else word


def stored_plan(cfg: DictConfig) -> dict[str, Any] | None:
    """The plan of a run folder in which the same command was given before, so that it goes on, or is left alone; None
    without one. Measured anew, costs would differ a little, and so might the plan."""
    path = Path(cfg.run_dir) / "config.yaml"
    try:
        stored = read_yaml(path) if path.is_file() else {}
        entry = stored.get("plan") if stored.get("overrides") == list(cfg.overrides) else None
        words = [word for choice in entry["choices"] for word in choice["words"]] if entry else []
    except (ValueError, OSError, AttributeError, KeyError, TypeError):
        return None  # whoever opens the folder tells what is wrong with it
    plain = all(isinstance(word, str) for word in words) and not find_foreign(words)
    return entry if words and plain else None


def make_plan(
    words: Sequence[str],
    started: float,
    machine: Machine | None = None,
    try_out: TryOut | None = None,
    run_dir: Path = Path(),
) -> Plan:
    """The plan for a command line. started: when planning began, a time.perf_counter value. machine: another than this
    one, for tests. try_out: see `plan_config`; its runs go to folders in run_dir."""
    cfg = compose(*words, "run_dir=x")
    reading = [*read_whole(cfg), *hold_followers(cfg)]
    cfg.dataset.update(NATIVE)
    find_classes(cfg)
    config = to_plain(cfg)
    data = build_data(config, follow_links=True)
    check_masks(data.sources["train"])
    try:
        found = take_fingerprint(data, survey_sample(data, ["train"], strict=True))
    except DataError:
        check_files(data, "fast")  # names all that is wrong
        raise
    budget = None if config["budget"] is None else parse_budget(config["budget"])
    here = machine or ThisMachine(found.classes, words, PROBE * (budget or setups.SHORTEST))
    offered, given = offer_networks(words, config), read_given(words, data, config)
    more = list[Choice]()
    if (seconds := budget) is None:
        seconds, why = setups.propose_budget(found, here, offered, given)
        more.append(Choice((f"budget={seconds / 60:g}m",), why))

    def choose(setup: Setup) -> list[Choice]:
        choices = rules.choose(found, here, setup, given.prediction)
        if setup.network.name == NAMED and not takes_prior(config, len(found.shares)):
            choices = [choice for choice in choices if not choice.words[0].startswith("model.prior=")]
        if "model.threshold" in map(key_of, words):
            choices = [choice for choice in choices if choice.words != ("calibrate=true",)]
        return list(leave_given(leave_last([*more, *reading, *choices]), words))

    planning = time.perf_counter() - started
    left = max(seconds - planning, 1e-3)
    possible = setups.find_setups(found, here, left, offered, given)
    setup, rival = possible[0], setups.find_rival(found, here, possible)
    check_enough(setup, found.train, seconds, planning, left)
    hardware.empty_cache()  # of a GPU, which other processes may train on
    if rival is not None and try_out is not None and here.devices == 1 and can_try(config, words, run_dir):
        outcome = run_trials(setup, rival, lambda one: [*to_words(choose(one)), *words], seconds, run_dir, try_out)
        rest = max(seconds - (time.perf_counter() - started), 0) / left
        setup, rival = outcome.setup._replace(passes=rest * outcome.setup.passes), None
        more += [Choice(outcome.words, outcome.why)] if outcome.words else []
    costs = {network.name: here.cost(network) for network in offered}
    spent = time.perf_counter() - started
    return Plan(found, fingerprint_of(data), here.describe(), setup, costs, tuple(choose(setup)), spent, rival)


def can_try(config: dict[str, Any], words: Sequence[str], run_dir: Path) -> bool:
    """Whether setups can be tried: in one process, with callbacks that keep weights and scores, in a folder that has no
    run yet."""
    alone = config["trainer"].get("devices", 1) == 1 and config["trainer"].get("num_nodes", 1) == 1
    own_callbacks = any(key_of(word).partition(".")[0] == "callbacks" for word in words)
    return alone and not own_callbacks and not (run_dir / "config.yaml").exists()


def check_enough(setup: Setup, pictures: int, seconds: float, planning: float, left: float) -> None:
    """ValueError if the budget does not let the network see enough of the training pictures. planning, left: seconds
    that planning took, and that the passes of the setup are reckoned with."""
    if setups.is_enough(setup):
        return
    least = math.ceil(planning + 2 / setup.passes * left)
    raise ValueError(
        f"budget={seconds:g}s is too short for a plan, which took {planning:.0f} s itself: {describe(setup)}, the "
        f"least that would do, sees {pictures} training pictures {setup.passes:.2g} times. In budget={least}s it sees "
        "each twice; or say recipe=none."
    )


def read_whole(cfg: DictConfig) -> list[Choice]:
    """The words that make a data set give whole pictures, where its own settings cut it into windows."""
    words = [
        f"dataset.{key}={'null' if value is None else value}"
        for key, value in WHOLE.items()
        if cfg.dataset.get(key, value) != value
    ]
    return [Choice(tuple(words), "as plans see pictures, not as the data set's own settings do")] if words else []


def hold_followers(cfg: DictConfig) -> list[Choice]:
    """The words that hold settings of a data set that follow from others, as drawn pictures' size from that of the
    network's: the pictures are to stay those that were looked at."""
    followers = [str(key) for key in cfg.dataset if OmegaConf.is_interpolation(cfg.dataset, key)]
    words = [f"dataset.{key}={cfg.dataset[key]}" for key in followers]
    return [Choice(tuple(words), "the pictures that were looked at")] if words else []


def leave_last(choices: Iterable[Choice]) -> Iterator[Choice]:
    """The choices without settings that a later one sets, too."""
    known = set[str]()
    kept = list[Choice]()
    for choice in reversed(list(choices)):
        kept.append(choice._replace(words=tuple(word for word in choice.words if key_of(word) not in known)))
        known |= {key_of(word) for word in choice.words}
    return (choice for choice in reversed(kept) if choice.words)


def read_given(words: Sequence[str], data: DataModule, config: dict[str, Any]) -> Given:
    """The size and the batch that the command line sets, whether it says how pictures are seen, and the time of a
    prediction."""
    keys = {key_of(word) for word in words}
    size = data.size if "dataset.size" in keys else None
    whole = any(f"dataset.{key}" in keys for key in (*WHOLE, "scale"))
    views = VIEWS[config["tta"]]  # that the command line asks for, all within the time
    seconds = math.inf if config["predict_ms"] is None else config["predict_ms"] / 1000 / views
    return Given(size, data.batch_size if "dataset.batch_size" in keys else None, whole, seconds)


def offer_networks(words: Sequence[str], config: dict[str, Any]) -> list[Network]:
    """The networks to choose among; the command's own if it names one; those from scratch for weights=none alone."""
    given = [word for word in words if names_network(key_of(word))]
    if given == ["weights=none"]:
        return [network for network in setups.NETWORKS if not network.pretrained]
    if given:
        return [Network(NAMED, tuple(given), has_weights(config.get("weights")))]
    return list(setups.NETWORKS)


def names_network(key: str) -> bool:
    """Whether a setting says which network is trained; model.threshold, for one, does not."""
    return key in NETWORK or key.startswith("model.net.")


def takes_prior(config: dict[str, Any], channels: int) -> bool:
    """Whether the last convolution of a config's network has a bias for each channel."""
    bias = last_bias(make(config["model"]["net"]))
    return bias is not None and len(bias) == channels


def leave_given(choices: Iterable[Choice], words: Sequence[str]) -> Iterable[Choice]:
    """The choices without what the command line sets itself: a setting, or a whole group."""
    given, groups = {key_of(word) for word in words}, group_names()
    touched = {key.partition(".")[0] for key in given if not key.startswith("model.") or names_network(key)}
    for choice in choices:
        first = key_of(choice.words[0])
        if first in groups and first in touched:
            continue
        if kept := tuple(word for word in choice.words if key_of(word) not in given):
            yield choice._replace(words=kept)
