"""`python -m segkit.report runs='outputs/…/**'`: many runs on one page, and whether they differ beyond noise."""

from pathlib import Path

from omegaconf import DictConfig

from segkit.configs.command import command
from segkit.configs.settings import check_settings


def report(cfg: DictConfig) -> Path:
    """Write report.html, its tables (table, intervals and comparisons, as .csv, .md or .tex), claims.csv and pictures/
    of the runs that `cfg.runs` matches; returns the page."""
    settings = check_settings(cfg, "report")
    from segkit.reporting import collect

    folders = collect.find(settings["runs"])
    from segkit.reporting.write import (
        write_report,
    )  # late, because it imports torch: a pattern without a match fails at once

    return write_report(folders, settings)


main = command("report", report)
if __name__ == "__main__":
    main()
