"""Write a report of run folders."""

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from segkit import console
from segkit.console import format_count
from segkit.files.writing import write_text
from segkit.reporting import collect, intervals, page, table, training
from segkit.reporting.analysis import Analysis
from segkit.reporting.groups import Run, group_runs
from segkit.runs.console import log_to_console
from segkit.security import stored_configs

log = logging.getLogger("segkit")


def write_report(folders: Sequence[Path], settings: Mapping[str, Any]) -> Path:
    """Write the report of run folders: report.html, its tables (table, trainings, intervals and comparisons, as .csv,
    .md or .tex), claims.csv and pictures/; returns the page. settings: those of the command, as plain containers."""

    log_to_console()
    notes = page.read_notes(settings["notes"])
    log.info("reading %s", format_count(len(folders), "run folder"))
    named = collect.named_folders(settings["runs"])
    found = [collect.read(folder, named) for folder in folders]
    runs, problems = collect.drop_copies([one for one in found if isinstance(one, Run)])
    problems += [one for one in found if isinstance(one, collect.Problem)]
    for problem in problems:
        log.warning("left out: %s: %s", problem.folder, problem.reason)
    if not runs:
        raise ValueError(f"runs={settings['runs']}: none of the {len(found)} runs there is usable, see above.")
    analysis = Analysis(group_runs(runs), settings)
    folder = Path(settings["output"] or default_folder([one.folder for one in found]))
    if settings["output"] is None:  # the folder beside the runs may not be the user's own
        stored_configs.check_folder(folder)
    titles, cells = table.make_rows(analysis)
    text = page.render(analysis, folder, titles, cells, problems, notes)
    write_text(folder / "table.csv", table.full_csv(analysis.groups))
    write_text(folder / "table.md", table.to_markdown(titles, cells))
    write_text(folder / "table.tex", table.to_latex(titles, cells))
    write_text(folder / "comparisons.csv", table.outcomes_to_csv(analysis))
    found_in = analysis.paired, analysis.intervals
    write_text(folder / "intervals.csv", intervals.to_csv(*found_in, analysis.clusters))
    write_text(folder / "intervals.md", intervals.to_markdown(*found_in))
    write_text(folder / "trainings.md", training.format_trainings(analysis))
    write_text(folder / "claims.csv", intervals.claims_to_csv(analysis.paired, analysis.sample.scores, analysis.names))
    write_text(folder / "report.html", text)
    console.say(f"{analysis.headline}: {folder / 'report.html'}")
    return folder / "report.html"


def default_folder(folders: Sequence[Path]) -> Path:
    """The folder for a report without output=. Raises ValueError if the runs have no folder in common."""
    parents = {str(folder.parent) for folder in folders}
    common = Path(os.path.commonpath(parents))
    if common == Path(common.anchor):
        raise ValueError("the runs have no folder in common to put the report in: set output=….")
    return common / "report"
