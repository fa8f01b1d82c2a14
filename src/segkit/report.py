"""`python -m segkit.report runs='outputs/…/**'`: many runs on one page, and whether they differ by more than noise."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from segkit.configs import command, to_plain

log = logging.getLogger("segkit")


def report(cfg: DictConfig) -> Path:
    """Write report.html, table.csv, table.md, table.tex, comparisons.csv and pictures/ of the runs that `cfg.runs`
    matches; returns the page."""
    from segkit import records
    from segkit.reporting import collect, page, table
    from segkit.reporting.analysis import Analysis

    records.log_to_console()
    settings = to_plain(cfg)
    notes = page.notes_of(settings["notes"])
    folders = collect.find(settings["runs"])
    log.info("reading %d run folder%s", len(folders), "s" * (len(folders) > 1))
    found = [collect.read(folder) for folder in folders]
    runs, problems = collect.without_copies([one for one in found if isinstance(one, collect.Run)])
    problems += [one for one in found if isinstance(one, collect.Problem)]
    for problem in problems:
        log.warning("left out: %s: %s", problem.folder, problem.reason)
    if not runs:
        raise ValueError(f"runs={settings['runs']}: none of the {len(found)} runs there can be reported on, see above.")
    analysis = Analysis(collect.grouped(runs), settings)
    folder = Path(settings["output"] or beside([one.folder for one in found])).expanduser()
    titles, cells = table.rows(analysis)
    text = page.render(analysis, folder, titles, cells, problems, notes)
    records.write_text(folder / "table.csv", table.full(analysis.groups))
    records.write_text(folder / "table.md", table.markdown(titles, cells))
    records.write_text(folder / "table.tex", table.latex(titles, cells))
    records.write_text(folder / "comparisons.csv", table.outcomes(analysis))
    records.write_text(folder / "report.html", text)
    print(f"{analysis.what}: {folder / 'report.html'}")
    return folder / "report.html"


def beside(folders: Sequence[Path]) -> Path:
    """Where a report of runs goes that says nothing else. Raises ValueError where they have no folder in common."""
    parents = {str(folder.parent) for folder in folders}
    common = Path(os.path.commonpath(parents))
    if common == Path(common.anchor):
        raise ValueError("the runs have no folder in common to write beside: say output=….")
    return common / "report"


main = command("report", report)

if __name__ == "__main__":
    main()
