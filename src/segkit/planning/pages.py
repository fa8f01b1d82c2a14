"""A plan as files: an experiment that trains as planned, and a page with the reasons."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from segkit.configs.composing import group_names
from segkit.files.writing import write_text
from segkit.planning.plan import Plan
from segkit.planning.setups import TRIAL, Setup
from segkit.planning.trials import describe

# Words that are said again for each training, and a limit that the plan keeps to
LEFT_OUT = ("dataset.root", "seed", "experiment", "name", "predict_ms")


def write_plan(plan: Plan, words: Sequence[str], folder: Path) -> None:
    """Write plan.yaml and plan.md. words: of the command line, which stay in the experiment."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "plan.yaml", format_experiment(plan, words))
    write_text(folder / "plan.md", format_page(plan))


def format_experiment(plan: Plan, words: Sequence[str]) -> str:
    """The experiment: choices in groups first, then values."""
    groups, settings = group_names(), dict[str, Any]()
    chosen: list[Any] = []
    for override in OverridesParser.create().parse_overrides([*plan.words, *words]):
        key, value = override.key_or_group, override.value()
        if key in LEFT_OUT:
            continue
        if key in groups:
            chosen.append({f"override /{key}": value})
            continue
        place, *above = key.split(".")[::-1]
        node = settings
        for name in above[::-1]:
            node = node.setdefault(name, {})
        node[place] = value
    whole = {"defaults": [*chosen, "_self_"], "name": "plan"} | settings | {"plan": plan.entry(0.0)}
    body = yaml.safe_dump(whole, sort_keys=False, width=120, allow_unicode=True)
    return f"# @package _global_\n# As planned by segkit; plan.md has the reasons.\n{body}"


def format_page(plan: Plan) -> str:
    """The choices with their reasons, and what they were made from, as Markdown."""
    rows = [f"| `{' '.join(choice.words)}` | {choice.why} |" for choice in plan.choices]
    facts = [f"| {name} | {_short(value)} |" for name, value in asdict(plan.data).items()]
    step, passes = f"{plan.setup.seconds * 1000:.0f} ms", f"{plan.setup.passes:.1f}"
    made = (
        f"Made in {plan.seconds:.0f} s on {plan.machine}. With its pictures, a training step takes {step}; the budget"
    )
    parts = ["# Plan", "", f"{made} allows {passes} passes over the training pictures.", ""]
    parts += ["| settings | why |", "| --- | --- |", *rows, ""]
    if plan.rival:
        parts += [describe_rival(plan.rival), ""]
    parts += ["## This machine", "", "Milliseconds of a training step without loading, and of one prediction.", ""]
    parts += [*format_costs(plan), ""]
    parts += ["## The training pictures", "", "| | |", "| --- | --- |", *facts, ""]
    return "\n".join(parts)


def describe_rival(rival: Setup) -> str:
    """What a training would try that a plan alone does not."""
    return (
        f"{describe(rival)} might do better; the rules cannot tell. `python -m segkit.train recipe=auto` tries both "
        f"for {100 * TRIAL:.0f} % of the budget each, and goes on with the better one; one by plan.yaml does not."
    )


def format_costs(plan: Plan) -> list[str]:
    """What each network that was compared takes at the size and the batch that were chosen, as lines of a table."""
    height, width = plan.setup.size
    pixels = height * width
    lines = [f"| network | step of {plan.setup.batch} pictures | picture |", "| --- | --- | --- |"]
    for name, cost in plan.costs.items():
        step, seen = cost.step + cost.pixel * plan.setup.batch * pixels, cost.seen * pixels
        lines.append(f"| {name} | {1000 * step:.0f} | {1000 * (cost.alone + seen):.0f} |")
    return lines


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return (" × " if isinstance(value[0], int) else ", ").join(map(_short, value))
    return f"{value:.3g}" if isinstance(value, float) else str(value)
