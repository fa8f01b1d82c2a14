"""Writes the tables of docs/reference/results.md that reports of kept runs give: `python docs/write_results.py`.

A table stands between `<!-- runs: benchmarks/runs/ph2/*_dice-*; trainings.md -->` (a pattern, and a file of the report)
and `<!-- end -->`. `python benchmarks/keep_runs.py` keeps runs.
"""

import contextlib
import io
import re
import tempfile
from pathlib import Path

from segkit.configs.composing import compose
from segkit.report import report

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "results.md"
TABLE = re.compile(r"(<!-- runs: (\S+); (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def fill_tables(text: str) -> str:
    """The page with every table as the report of its runs has it."""
    return TABLE.sub(lambda found: f"{found[1]}\n{table(found[2], found[3])}\n{found[4]}", text)


def table(runs: str, file: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        words = [f"runs={ROOT / runs}", f"output={folder}/report", "gallery=false"]
        with contextlib.redirect_stdout(io.StringIO()):
            report(compose(*words, config="report"))
        return (Path(folder) / "report" / file).read_text()


if __name__ == "__main__":
    PAGE.write_text(fill_tables(PAGE.read_text()))
