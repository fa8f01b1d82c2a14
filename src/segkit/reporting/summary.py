"""The top of a report: what was done, what was expected, what came out, and how the approaches differ."""

from collections.abc import Sequence

import numpy as np

from segkit.reporting import conclusions, training
from segkit.reporting.analysis import Analysis
from segkit.reporting.collect import Problem
from segkit.reporting.words import stated_values


def answer_questions(report: Analysis, problems: Sequence[Problem], notes: bool) -> list[tuple[str, list[str]]]:
    """Four questions, each with the sentences that answer it."""
    differ = (
        [conclusions.describe_best(report)] if len(report.paired) > 1 else ["One group: there is nothing to compare."]
    )
    return [
        ("What was done", describe_runs(report, problems)),
        ("What was expected", describe_expectations(report, notes)),
        ("What came out", describe_results(report)),
        ("How the approaches differ", [*differ, *best_of_each(report)]),
    ]


def describe_runs(report: Analysis, problems: Sequence[Problem]) -> list[str]:
    levels = [
        f"{name} ({', '.join(dict.fromkeys(group.settings[name] for group in report.paired))})"
        for name in report.factors
    ]
    seeds = sorted({len(group.runs) for group in report.groups})
    each = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    sets = sorted({str(group.config.get("choices", {}).get("dataset", "")) for group in report.groups} - {""})
    titles = conclusions.abbreviate([group.title for group in report.groups])
    compared = f": {' × '.join(levels) or titles}" if len(report.groups) > 1 else ""
    text = f"{report.headline}{compared}, {each} seed{'s' * (seeds[-1] > 1)} each"
    text += f", on {', '.join(sets)}" if sets else ""
    models = {str(group.config.get("choices", {}).get("model") or "") for group in report.groups} - {""}
    if len(models) == 1 and "model" not in report.factors:
        text += f", with {models.pop()}"
    epochs = sorted(
        {
            int(run.results["epochs"])
            for group in report.groups
            for run in group.runs
            if isinstance(run.results.get("epochs"), int)
        }
    )
    if epochs:
        text += f", {epochs[0]}{f' to {epochs[-1]}' * (len(epochs) > 1)} epoch{'s' * (epochs[-1] > 1)}"
    found = [f"{text}; tested on {report.tested_pictures} pictures."]
    if problems:
        found.append(
            f"Left out: {len(problems)} folder{'s' * (len(problems) > 1)}, listed at the end with the reasons."
        )
    if departing := [group.title for group in report.groups if group.config.get("departs")]:
        found.append(
            f"Differences from the source are listed below, under Training: {conclusions.abbreviate(departing)}."
        )
    return found


def describe_expectations(report: Analysis, notes: bool) -> list[str]:
    found = []
    for kind, word in (("published", "Published"), ("expected", "Expected")):
        values: dict[str, list[float]] = {}
        for group in report.groups:
            for name, value in stated_values(group, kind).items():
                if name.startswith("test/"):
                    values.setdefault(name.removeprefix("test/"), []).append(value)
        stated = [f"{name} {format_range(of_metric)}" for name, of_metric in values.items()]
        if stated:
            found.append(f"{word} test scores: {', '.join(stated)}.")
    if notes:
        found.append("Hypotheses are in the notes below.")
    return found or [
        "Nothing was stated beforehand. An experiment file may have published: and expected: scores, and "
        "notes=notes.md shows your own hypotheses on this page."
    ]


def format_range(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3f}", f"{max(values):.3f}"
    return low if low == high else f"{low} to {high}"


def describe_results(report: Analysis) -> list[str]:
    best, last = report.order[0], report.order[-1]
    found = [f"{report.label} {format_mean(report, best)}."]
    if report.means[best].mean != report.means[last].mean:
        found = [f"{report.label} from {format_mean(report, last)} to {format_mean(report, best)}."]
    name = training.score_name(report)
    gains = {
        group.title: round(float(np.mean(values)), 3) - value  # as printed
        for group in report.groups
        if (value := stated_values(group, "published").get(f"test/{name}")) is not None
        and (values := group.metric(f"test/{name}"))
    }
    if gains:
        below = [title for title, gain in gains.items() if gain < 0]
        span = f"{min(gains.values()):+.3f} to {max(gains.values()):+.3f}"
        of_them = f"{len(gains) - len(below)} of {len(gains)} groups reach"
        found.append(
            f"{of_them} the test {name} published for them ({span})"
            f"{f'; not {conclusions.abbreviate(below)}' if below else ''}."
        )
    moving = [row.title for row in training.describe_trainings(report) if row.verdict.startswith("moves")]
    if moving:
        found.append(
            f"Scores that move by more than {training.STEADY_SD:g} from epoch to epoch or from seed to seed: "
            f"{conclusions.abbreviate(moving)}."
        )
    return found


def format_mean(report: Analysis, at: int) -> str:
    mean = report.means[at]
    return f"{mean.mean:.3f} ({mean.low:.3f} … {mean.high:.3f}; {report.paired[at].title})"


def best_of_each(report: Analysis) -> list[str]:
    """For each level of each factor of a grid, the group with the highest mean; this is not a verdict."""
    found = []
    for factor in report.factors:
        parts = []
        for level in dict.fromkeys(group.settings[factor] for group in report.paired):
            at = next(at for at in report.order if report.paired[at].settings[factor] == level)
            parts.append(f"{level}: {report.paired[at].title} ({report.means[at].mean:.3f})")
        found.append(f"Highest for each {factor}: {'; '.join(parts)}.")
    return found
