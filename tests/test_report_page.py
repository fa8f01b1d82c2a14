"""The report's page as a browser shows it, wide and narrow."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from made_up import report_of, write_grid

needs_chromium = pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium: make chromium")


def browse(page: Path) -> dict[str, Any]:
    """The JSON that a page writes into its title, in a browser without network; nothing may be logged as an error."""
    quiet = ("background-networking", "component-update", "sync", "quic", "gpu")
    with tempfile.TemporaryDirectory(dir="/tmp") as profile:  # a short name, for the sockets in it
        words = ["--headless", "--no-sandbox", "--no-first-run", "--enable-logging=stderr", "--v=0", "--dump-dom"]
        words += ["--allow-file-access-from-files", "--virtual-time-budget=4000", f"--user-data-dir={profile}"]
        words += [f"--disable-{name}" for name in quiet]
        done = subprocess.run(
            ["chromium", *words, f"file://{page}"],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=os.environ | {"TMPDIR": profile},
        )
    assert ":CONSOLE" not in done.stderr
    title = re.search(r"<title>(.*?)</title>", done.stdout)
    assert title is not None, done.stderr
    seen: dict[str, Any] = json.loads(title[1].replace("&quot;", '"'))
    return seen


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("grid")
    write_grid(root)
    return report_of(root).read_text()


@needs_chromium
def test_the_page_in_a_browser(page: Any, tmp_path: Path) -> None:
    # sorts the table by its fourth column, then writes what a reader sees
    script = """<script>
      window.addEventListener("load", () => {
        const table = document.querySelector("#table table");
        const button = table.querySelectorAll("thead button")[3];
        const read = () => [...table.tBodies[0].rows].map(row => row.cells[3].textContent.slice(0, 5)).join(" ");
        button.click(); const down = read(); button.click(); const up = read();
        const charts = [...document.querySelectorAll("figure svg")];
        const drawn = charts.filter(one => one.getBoundingClientRect().height > 50).length;
        const sorted = table.querySelector("[aria-sort]").getAttribute("aria-sort");
        document.title = JSON.stringify({down, up, drawn, sorted});
      });</script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", script))
    seen = browse(tmp_path / "page.html")
    down = [float(text) for text in seen["down"].split()]
    assert down == sorted(down, reverse=True)
    assert [float(text) for text in seen["up"].split()] == sorted(down)
    assert seen["sorted"] == "ascending"
    assert seen["drawn"] == 4


@needs_chromium
def test_a_narrow_page_keeps_both_names_of_a_comparison_in_sight(page: Any, tmp_path: Path) -> None:
    script = """<script>window.addEventListener("load", () => {
      const cells = [...document.querySelectorAll("#comparisons th.said")];
      const sides = cells.map(cell => cell.getBoundingClientRect().right);
      document.title = JSON.stringify({right: Math.max(...sides), body: document.documentElement.scrollWidth,
        said: document.querySelector("#comparisons th.said").textContent});
    });</script></body>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", script))
    told = "setTimeout(() => { document.title = this.contentDocument.title }, 200)"
    frame = f'<iframe src="page.html" width="400" height="800" onload="{told}"></iframe>'
    (tmp_path / "frame.html").write_text(frame)
    seen = browse(tmp_path / "frame.html")
    assert seen["right"] <= 400
    assert seen["body"] <= 400
    assert re.fullmatch(r"\w+ / dice is (better than|not distinguishable with these data from) \w+ / \w+", seen["said"])
