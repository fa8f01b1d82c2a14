"""The papers for contributors: links that lead somewhere, and what is said in two places said alike."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAPERS = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", *(ROOT / "docs" / "how-to").glob("add-a-*.md")]


@pytest.mark.parametrize("paper", PAPERS, ids=lambda path: path.stem)
def test_links_and_files_that_a_paper_names_are_there(paper: Path) -> None:
    text = re.sub(r"^```.*?^```", "", paper.read_text(), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (paper.parent / link).exists(), link
    made_up = re.compile(r"<|hinge|squares|my_|…|two_layers")
    for name in re.findall(r"`((?:src|conf|tests|docs)/[\w./-]+\.\w+)`", text):
        assert made_up.search(name) or (ROOT / name).exists(), name


def test_every_package_is_in_the_table_of_the_house() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.parent.name for path in (ROOT / "src" / "segkit").glob("*/__init__.py")}
    table = "\n".join(line for line in text.splitlines() if line.startswith("| `"))
    assert not [room for room in rooms if f"`{room}`" not in table]
    house = text.split("```")[3]
    assert not [room for room in rooms if not re.search(rf"\b{room}\b", house)]


def test_the_house_stands_as_it_is_drawn() -> None:
    from test_house import FLOORS

    lines = (ROOT / "docs" / "architecture.md").read_text().split("```")[3].splitlines()
    drawn = {int(line.split()[0]): line for line in lines if re.match(r" +\d ", line)}
    for number, rooms in enumerate(FLOORS, 1):
        assert not [room for room in rooms if room != "segkit" and room not in drawn[number]], f"floor {number}"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_hooks_fetch_nothing() -> None:
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert all(hook["language"] == "system" for hook in repo["hooks"])


@pytest.mark.parametrize("target", re.findall(r"`make (\w+)`", (ROOT / "CONTRIBUTING.md").read_text()))
def test_every_target_that_a_paper_names_is_in_the_makefile(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
