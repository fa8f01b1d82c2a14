"""The report as one self-contained HTML file."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt
from markupsafe import Markup  # of jinja2

from segkit import __version__
from segkit.configs.places import check_notes
from segkit.pictures.embedding import to_data_uri
from segkit.pictures.overlays import save as save_picture
from segkit.reporting import conclusions, figures, summary, training
from segkit.reporting.analysis import Analysis
from segkit.reporting.collect import Problem
from segkit.reporting.gallery import Sheet
from segkit.reporting.table import Cell
from segkit.reporting.templates import read_part, read_template

MOST_NOTES = 1_000_000  # characters


def render(
    report: Analysis,
    folder: Path,
    titles: Sequence[str],
    cells: Sequence[Sequence[Cell]],
    problems: Sequence[Problem],
    notes: Markup | None,
) -> str:
    """The page; its pictures are also written into `folder`, replacing those of an earlier report."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for old in [*pictures.glob("sheet_*.png"), *pictures.glob("interaction.*")]:
        old.unlink()
    sheets, why_none = report.sheets()
    trained = training.describe_trainings(report)
    return read_template("page.html.j2").render(
        report=report,
        titles=titles,
        cells=cells,
        problems=problems,
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        notes=notes,
        warnings=conclusions.warnings(report, problems),
        rules=conclusions.RULES,
        conclusions=conclusions.draw_conclusions(report),
        gaps=conclusions.overfitting_gaps(report.groups, report.metric),
        charts=draw_charts(report, pictures),
        answers=summary.answer_questions(report, problems, notes is not None),
        trainings=trained,
        score=training.score_name(report),
        steady=training.STEADY_SD,
        published=any(any(row.published) for row in trained),
        published_losses=any(any(row.published_losses) for row in trained),
        **overlay_values(report, pictures),
        sheets=[(sheet, embed(sheet, pictures, f"sheet_{number}")) for number, sheet in enumerate(sheets, 1)],
        why_none=why_none,
        what=report.headline,
        images=report.sample.pictures,
    )


def overlay_values(report: Analysis, folder: Path) -> dict[str, Any]:
    """Template values for the chart of all groups' curves: data, scripts, and the SVG for print or without scripts."""
    curves = training.collect_curves(report.groups)
    if not curves:
        return {"overlay": None}
    with figures.report_style():
        still = figures.save(figures.draw_overlay(curves), folder, "overlay")
    return {
        "overlay": {"charts": curves, "colors": figures.COLORS},
        "still": Markup(still),
        "groups_left_out": max(len(report.groups) - training.MOST_CURVES, 0),
        "plot_style": Markup(read_part("vendored/uPlot.min.css")),
        "plot_script": Markup(read_part("vendored/uPlot.iife.min.js")),
        "curves_script": Markup(read_part("curves.js")),
    }


def draw_charts(report: Analysis, folder: Path) -> dict[str, tuple[str, Markup]]:
    """For each chart by name, its caption and its SVG."""
    groups, label = report.paired, report.label
    with figures.report_style():
        made = {
            "distributions": (
                f"The {report.column} of each test picture by group, mean over the seeds.",
                figures.draw_distributions(groups, report.column),
            ),
            "costs": (
                f"Mean {label} against cost, with intervals and the range from fastest to slowest run. The line joins "
                "the groups that none beats in both; noise may have put them there.",
                figures.draw_costs(groups, report.means, label),
            ),
            "curves": (
                "Loss and score by epoch; thin lines are single seeds, blue is training, orange and dashed validation.",
                figures.draw_curves(report.groups),
            ),
        }
        if len(report.factors) == 2:
            first, second = report.factors
            means = {
                (group.settings[first], group.settings[second]): mean.mean
                for group, mean in zip(groups, report.means, strict=True)
            }
            text = f"Mean {label} of each pair of {first} and {second}. Colours span these values, even if only noise."
            made["interaction"] = (text, figures.draw_interaction(means, (first, second), label))
        return {name: (text, Markup(figures.save(chart, folder, name))) for name, (text, chart) in made.items()}


def embed(sheet: Sheet, folder: Path, name: str) -> str:
    """A sheet as a data URI; it is also written as a PNG file."""
    save_picture(folder / f"{name}.png", sheet.picture)
    return to_data_uri(sheet.picture)


def read_notes(path: Any) -> Markup | None:
    """The user's notes, from Markdown; HTML in them is escaped."""
    if path is None:
        return None
    text = check_notes(path).read_text(encoding="utf-8")
    if len(text) > MOST_NOTES:
        raise ValueError(f"notes={path} has {len(text)} characters; at most {MOST_NOTES} are allowed.")
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    for token in tokens:
        if token.type.startswith("heading"):  # below the page's own
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    return Markup(parser.renderer.render(tokens, parser.options, {}))
