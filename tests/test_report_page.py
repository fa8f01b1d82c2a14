"""The report's page as a browser shows it, wide and narrow."""

import re
from pathlib import Path
from typing import Any

import pytest
from browser import browse, browse_narrow, needs_chromium
from made_up import report_of, write_grid


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
    seen = browse_narrow(page.replace("</body>", script), tmp_path)
    assert seen["right"] <= 400
    assert seen["body"] <= 400
    assert re.fullmatch(r"\w+ / dice is (better than|not distinguishable with these data from) \w+ / \w+", seen["said"])
