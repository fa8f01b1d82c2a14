"""Everything that a check leaves in a folder: check.html, findings.csv and dataset_card.md."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from segkit import __version__
from segkit.console import format_count, printable
from segkit.datasets.checking.checkup import Checkup, root_of
from segkit.datasets.checking.hints import Hint
from segkit.datasets.checking.problems import SEVERITIES, by_kind, percent
from segkit.datasets.checking.summary import short
from segkit.datasets.module import DataModule
from segkit.datasets.scan import capture_complaints
from segkit.datasets.source import extras_of
from segkit.files.tables import csv_text
from segkit.files.writing import write_text
from segkit.pictures.overlays import class_colors
from segkit.reporting.data_card import write_card
from segkit.reporting.data_examples import MOST, Examples, draw_places
from segkit.reporting.resolution import describe_resolution, summarise_resolution
from segkit.reporting.templates import read_template

COLUMNS = ("severity", "kind", "split", "file", "other", "fact", "remedy")
MOST_FACTS = 10  # of each kind on the page
MOST_SIZES = 12


def write_checkup(checkup: Checkup, folder: Path, fingerprint: str = "") -> Path:
    """Write a check's page, its table of findings and the data set's card; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "findings.csv", findings_csv(checkup))
    write_card(checkup, folder / "dataset_card.md", fingerprint)
    with capture_complaints():  # of decoders: what they are about has been found
        write_text(folder / "check.html", render(checkup))
    return folder / "check.html"


def judge_sizes(data: DataModule, dataset: Mapping[str, Any], runs: Path) -> list[Hint]:
    """Whether validation and test can show small differences, briefly and in full, by earlier `runs` if there are."""
    sources = {split: source for split, source in data.sources.items() if split != "train"}
    groups = {split: extras_of(source).groups or source.names for split, source in sources.items()}
    found = describe_resolution(groups, dataset, runs)
    brief = [Hint("enough pictures", summarise_resolution(found), brief=True)] if found else []
    return brief + [Hint("enough pictures", one.sentence) for one in found]


def findings_csv(checkup: Checkup) -> str:
    """A row for each problem, the worst first, then one for each proposal that has something to type."""
    rows: list[Sequence[str]] = [COLUMNS]
    for one in checkup.problems:
        rows.append((one.severity, one.kind, one.split, one.file, one.other, one.fact, one.remedy))
    rows += [("note", hint.topic, "", "", "", hint.text, hint.setting) for hint in checkup.hints if hint.setting]
    return csv_text(rows)


def render(checkup: Checkup) -> str:
    """The page, whole in itself."""
    survey = checkup.survey
    colors = extras_of(next(iter(checkup.data.sources.values()))).colors
    examples = Examples(checkup, class_colors(len(survey.classes), colors, survey.classes))
    return read_template("data_page.html.j2").render(
        name=checkup.name,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        summary=[printable(line) for line in checkup.summary()],
        kinds=[describe_kind(checkup, problems, examples) for problems in by_kind(checkup.problems).values()],
        counts=[(severity, len(checkup.of(severity))) for severity in SEVERITIES],
        hints=checkup.hints,
        splits=list(survey.counts),
        classes=[describe_class(checkup, name) for name in survey.classes] if survey.records else [],
        sizes=[f"{wide}×{tall}: {count}" for (tall, wide), count in list(survey.sizes().items())[:MOST_SIZES]],
        more_sizes=max(len(survey.sizes()) - MOST_SIZES, 0),
        kinds_of_files=describe_files(checkup),
        percent=percent,
        most=MOST,
    )


def describe_kind(checkup: Checkup, problems: Sequence[Any], examples: Examples) -> Mapping[str, Any]:
    """What the page says of the problems of one kind."""
    kind, root = problems[0].finding.kind, root_of(checkup.data)
    facts = [printable(problem.fact) for problem in problems[:MOST_FACTS]]
    if root is not None:
        facts = [fact.replace(f"{root}/", "") for fact in facts]
    return {
        "severity": problems[0].severity,
        "title": format_count(len(problems), kind.one, kind.many),
        "facts": facts,
        "more": len(problems) - len(facts),
        "remedy": printable(problems[0].remedy),
        "examples": examples.of(problems),
    }


def describe_class(checkup: Checkup, name: str) -> Mapping[str, Any]:
    """A row of the table of classes."""
    survey = checkup.survey
    places, thick = survey.places(name), survey.thickness(name) if name in survey.objects else ()
    value = survey.values[name]
    objects = [int((record.objects.classes == value).sum()) for record in survey.unique()]
    return {
        "name": printable(name),
        "shares": [survey.shares(name, split) for split in survey.counts],
        "objects": f"{sum(objects) / len(objects):.1f}" if name in survey.objects else "",
        "thickness": " / ".join(short(value) for value in thick),
        "map": draw_places(places) if places is not None and places.max() > 0 else None,
        "highest": percent(float(places.max())) if places is not None else "",
    }


def describe_files(checkup: Checkup) -> list[str]:
    """What the files are, and how many of each kind."""
    found: dict[str, int] = {}
    for record in checkup.survey.unique():
        for what, kind in zip(("pictures", "masks"), record.kinds, strict=False):
            found[f"{what}: {kind}"] = found.get(f"{what}: {kind}", 0) + 1
    return [f"{kind} ({count:,})" for kind, count in sorted(found.items(), key=lambda entry: -entry[1])]
