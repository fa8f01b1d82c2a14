"""README and docs: every command is composed or run, every snippet runs, every link leads somewhere, and the generated
reference has every setting and choice."""

import importlib.util
import json
import re
import shlex
import shutil
import sys
import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from conftest import TINY_NET, segkit
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image
from test_configs import ROOT, root_of
from test_configs import roots as roots

from segkit.configs.composing import compose, expand_home, key_of
from segkit.configs.errors import explain
from segkit.configs.settings import check_settings
from segkit.predict import predict

DOCS = ROOT / "docs"
ADDING = {f"how-to/add-a-{name}.md" for name in ("loss", "dataset", "model", "verb", "task")}
FOR_CONTRIBUTORS = {"architecture.md", "contributing.md", *ADDING}  # pages that have tests of their own
ALL = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [path for path in ALL if str(path.relative_to(ROOT)).removeprefix("docs/") not in FOR_CONTRIBUTORS]
PAPERS = [*ROOT.glob("C*.md"), ROOT / "benchmarks" / "RESULTS.md"]
OWN_CODE = [ROOT / "README.md", DOCS / "how-to" / "use-your-own-code.md"]
NO_SETTINGS = {"fit_output", "hydra.run.dir", "key", "only", "run_dir"}  # of Hydra, of make, of albumentations
LANGUAGES = {"bash", "python", "yaml", "text"}
LONGEST_README = 900  # words
LARGEST_PICTURE = 300_000  # bytes


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def load_script(name: str) -> Any:
    """A script in docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


write_pages = load_script("write_pages")


def blocks(path: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page, each with its language."""
    return re.findall(r"^ *```(\w*)\n(.*?)^ *```$", path.read_text(), re.DOTALL | re.MULTILINE)


def outside_blocks(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.DOTALL | re.MULTILINE)


def commands(path: Path) -> Iterator[list[str]]:
    """Every command of a page, in blocks and in running text, as words."""
    for language, text in blocks(path):
        if language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                while "&&" in words:
                    yield words[: words.index("&&")]
                    words = words[words.index("&&") + 1 :]
                if words:
                    yield words
    start = r"python -m segkit\.|segkit |make |pip install "
    for text in re.findall(rf"`((?:{start})[^`]+)`", outside_blocks(path.read_text())):
        yield shlex.split(" ".join(text.split()).replace(r"\|", "|"))


def verb_and_words(words: list[str]) -> tuple[str, list[str]] | None:
    """The verb of segkit that a command calls and the words after it; None for another program."""
    if words[:2] == ["python", "-m"] and words[2].startswith("segkit."):
        return words[2].removeprefix("segkit."), words[3:]
    if words[0] == "segkit":
        return (words[1], words[2:]) if words[1] in write_pages.verbs() else ("", words[1:])
    return None


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, roots: dict[str, Path], tiny_run: Path) -> dict[str, str]:
    """What stands for the paths in the commands."""
    folder = tmp_path_factory.mktemp("places")
    (folder / "photos").mkdir()
    cv2.imwrite(str(folder / "photos" / "a.png"), np.zeros((9, 9, 3), np.uint8))
    for name in ("notes.md", "mobilenet_v2.pth"):
        (folder / name).touch()
    (folder / "split.json").write_text(json.dumps({"train": ["a"], "val": ["b"], "test": ["c"]}))
    made = {"input": "photos", "images": "photos", "output": "out", "notes": "notes.md", "weights": "mobilenet_v2.pth"}
    made["dataset.split_file"] = "split.json"
    (folder / "planned.yaml").write_text("defaults: [override /dataset: folder, _self_]\n")
    made["experiment"] = "planned.yaml"
    runs = dict.fromkeys(("run", "resume", "init_from"), str(tiny_run)) | {"runs": str(tiny_run.parent)}
    return runs | {key: str(folder / name) for key, name in made.items()}


def filled(words: list[str], places: dict[str, str], roots: dict[str, Path]) -> list[str]:
    """The words of a command with paths that exist, and without what a reader fills in or Hydra takes itself."""
    found: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        if key in places and (key not in FILES or value.endswith(FILES[key])):
            found.append(f"{key}={places[key]}")
        elif not (value == "…" or word in ("…", "-m", "--help", "--cfg", "job") or key.lstrip("+") == "dataset.root"):
            found.append(word)
    if any(key_of(word) == "dataset.root" for word in words):
        plain = [word for word in found if key_of(word) in ("dataset", "experiment", "ablation")]
        given = next((word.partition("=")[2] for word in plain if word.startswith("dataset=")), "")
        dataset = given or (compose(*plain).choices.dataset if plain else "folder")
        known = str(roots.get(str(dataset), roots["folder"]))
        found.append(f"{'+' if any(word.startswith('resume=') for word in words) else ''}dataset.root={known}")
        found += [word for word in root_of(str(dataset), roots)[1:] if "+" not in found[-1]]
    return found


FILES = {"weights": ".pth", "experiment": ".yaml"}  # settings that take a file, or the name of something else


@cache
def check_command(verb: str, words: tuple[str, ...]) -> None:
    """Compose a command, or each job of a grid, and look at its settings as the verb does before it begins."""
    parsed = OverridesParser.create().parse_overrides([expand_home(word) for word in words])
    jobs = [
        [f"{one.get_key_element()}={value}" for value in one.sweep_string_iterator()]
        if one.is_sweep_override()
        else [str(one.input_line)]
        for one in parsed
    ]
    for job in product(*jobs):
        check_settings(compose(*job, config=verb), verb)


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_command_is_one(
    path: Path, places: dict[str, str], roots: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = []
    for words in commands(path):
        called = verb_and_words(words)
        try:
            if called is None:
                check_other(words)
            elif called[0] == "":
                assert called[1][0] in ("list", "completion", "--version")
                done = segkit(*called[1][: called[1].index(">") if ">" in called[1] else None], module="__main__")
                assert done.returncode == 0, done.stderr
            # those with --config-dir are run, see below
            elif "--config-dir" not in called[1] and not {"…", "dataset=…", "experiment=…"} & set(called[1]):
                check_command(called[0], tuple(filled(called[1], places, roots)))
        except Exception as error:
            if "is not installed: pip install" in str(error):  # an extra
                continue
            wrong.append(f"{shlex.join(words)}: {explain(error)}")
    assert not wrong, "\n".join(wrong)


def check_other(words: list[str]) -> None:
    """A command of another program: a target of the Makefile, an extra of the package, a script that is there."""
    program = words[0]
    if program == "make":
        targets = [word for word in words[1:] if "=" not in word]
        known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(targets) <= set(known), f"expected targets of the Makefile, {known}"
    elif program == "pip":
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert words[1] == "install"
        extra = re.fullmatch(r"segkit\[([\w-]+)\]", words[2])
        assert extra is not None, words[2]
        assert extra[1] in extras
    elif program == "python":
        assert (ROOT / words[1]).is_file()
    elif program == "echo":
        assert "segkit completion" in words[1]
    else:
        assert program in ("git", "cd", "source", "tensorboard"), f"a program that no test knows: {program}"


def known_settings() -> set[str]:
    """The dotted names of all settings in conf/, and those of the groups."""
    found = {*write_pages.groups()}
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        text = path.read_text()
        group = path.parent.name if path.parent != ROOT / "conf" else ""
        above = f"{group}." if group and "@package _global_" not in text else ""
        keys = [f"{above}{one.key}" for one in write_pages.settings(text)]
        found |= {".".join(key.split(".")[: length + 1]) for key in keys for length in range(key.count(".") + 1)}
    return found


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_setting_that_is_named_is_one(path: Path) -> None:
    known = known_settings()
    code = re.findall(r"`([^`\n]+)`", outside_blocks(path.read_text()))
    words = [word for text in code for word in text.split() if re.match(r"['\"]?\+?[a-z_.]+=", word)]
    named = {key_of(word.strip("'\"")) for word in words} - known - NO_SETTINGS
    assert not {key for key in named if not key.startswith(("model.net.", "stages.", "trainer."))}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_blocks_have_a_language(path: Path) -> None:
    assert {language for language, _ in blocks(path)} <= LANGUAGES


@pytest.mark.parametrize("path", OWN_CODE, ids=name_of)
def test_ones_own_code_runs_without_forking(path: Path, tmp_path: Path) -> None:
    for language, text in blocks(path):
        name = text.split("\n", 1)[0].removeprefix("# ")
        if language in ("python", "yaml") and name.endswith((".py", ".yaml")):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    found = [called for words in commands(path) if (called := verb_and_words(words)) and "--config-dir" in called[1]]
    assert found
    for verb, words in found:
        tiny = ["hydra.run.dir=run"] if verb == "train" else []
        if not any("squares" in word for word in words):
            tiny += [*TINY_NET, "dataset.size=32", "dataset.counts=[8,4,4]"]
        done = segkit(*words, *tiny, cwd=tmp_path, module=verb)
        assert done.returncode == 0, done.stderr
    assert "test/iou" in json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert f"'trust=[{next(tmp_path.glob('*.py')).stem}]'" in done.stdout
    # whoever has the checkpoint says that the code is theirs
    (tmp_path / "photos").mkdir()
    cv2.imwrite(str(tmp_path / "photos" / "a.png"), np.zeros((9, 9, 3), np.uint8))
    module = next(tmp_path.glob("*.py")).stem
    if any("two_layers" in word for word in found[-1][1]):  # of a network; a loss is not needed to predict
        words = [f"run={tmp_path}/run", f"input={tmp_path}/photos", f"output={tmp_path}/no"]
        with pytest.raises(ValueError, match=rf"trust=\[{module}\]"):
            predict(compose(*words, config="predict"))
    words = ["run=run", "input=photos", "output=masks", f"trust=[{module}]"]
    assert segkit(*words, cwd=tmp_path, module="predict").returncode == 0


def test_the_lines_for_a_notebook_run(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder / "images", tmp_path / "photos")
    lines, _ = [text for kind, text in blocks(DOCS / "how-to" / "use-segkit-from-python.md") if kind == "python"]
    tiny = '"dataset.root=my_data", "dataset.size=32", "trainer.max_epochs=1"'
    names: dict[str, Any] = {}
    exec(lines.replace('"dataset.root=my_data"', tiny), names)
    assert 0 <= names["metrics"]["test/iou"] <= 1
    assert len(list((tmp_path / "predicted" / "masks").iterdir())) == 10
    assert names["task"].probabilities(torch.zeros(1, 3, 20, 20, dtype=torch.uint8)).shape == (1, 1, 20, 20)


def test_the_lines_for_a_predictor_run(tmp_path: Path, tiny_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(tiny_run / "checkpoints" / "best.ckpt", tmp_path)
    Path("photos").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(f"photos/{name}.png", np.zeros((9, 14, 3), np.uint8))
    _, lines = [text for kind, text in blocks(DOCS / "how-to" / "use-segkit-from-python.md") if kind == "python"]
    names: dict[str, Any] = {}
    exec(lines, names)
    assert [one.label.shape for one in (names["prediction"], *names["several"])] == [(9, 14)] * 3


def test_the_readmes_way_from_pictures_to_masks_runs(tmp_path: Path, folder: Path) -> None:
    """Its commands for one's own pictures, each as it stands there, but for a tiny network and little time."""
    shutil.copytree(folder / "images", tmp_path / "photos")
    text = (ROOT / "README.md").read_text()
    block = next(text for language, text in blocks(ROOT / "README.md") if "segkit.check dataset=folder" in text)
    for line in [line for line in block.splitlines() if line.startswith("python")]:
        verb, words = verb_and_words(shlex.split(line, comments=True)) or ("", [])
        words = [word.replace("outputs/folder/<job>", "run") for word in words]
        tiny = (
            ["model.net.widths=[4,8]", "dataset.size=32", "budget=4s", "hydra.run.dir=run"] if verb == "train" else []
        )
        done = segkit(*words, *tiny, cwd=tmp_path, module=verb)
        assert done.returncode == 0, done.stderr
        assert ("plan: loss=bce_dice" in done.stderr) == (verb == "train")
    assert {"masks", "overlays", "predictions.csv"} <= {path.name for path in (tmp_path / "predicted").iterdir()}
    assert (tmp_path / "check" / "augmented.png").is_file()
    assert "predicted/predictions.csv" in (DOCS / "how-to" / "predict-masks.md").read_text()
    assert "[the run folder]" in text


def test_the_readme_is_short_and_has_its_pictures() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= LONGEST_README
    pictures = re.findall(r"!\[[^\]]+\]\((docs/img/\w+\.png)\)", text[: text.index("## Your own pictures")])
    assert len(pictures) == 2
    for picture in pictures:
        assert (ROOT / picture).stat().st_size <= LARGEST_PICTURE
        assert Image.open(ROOT / picture).width >= 600
    assert "segkit train" in text
    assert len(re.findall(r"\bsegkit (?:train|evaluate|predict|report|check)\b", text)) == 1


def github_slug(title: str) -> str:
    plain = re.sub(r"[^\w\- ]", "", title.replace("`", "").lower())
    return plain.replace(" ", "-")


def site_slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title.replace("`", "")).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def dead_links(path: Path, slug: Any) -> list[str]:
    """The links of a page that lead nowhere: to a file that is not there, or a heading that it does not have."""
    found = []
    text = re.sub(r"`[^`\n]*`", "", outside_blocks(path.read_text()).replace("](", "]\0(")).replace("]\0(", "](")
    for address in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", address):
            continue
        name, _, anchor = address.partition("#")
        target = (path.parent / name).resolve() if name else path
        if not target.exists():
            found.append(address)
        elif anchor:
            headings = re.findall(r"^#+ (.+)$", outside_blocks(target.read_text()), re.MULTILINE)
            found += [address] * (anchor not in map(slug, headings))
    return found


@pytest.mark.parametrize("path", [*ALL, *PAPERS], ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    assert not dead_links(path, github_slug)


def test_every_link_of_the_site_leads_somewhere(tmp_path: Path) -> None:
    write_pages.write(tmp_path / "pages")
    pages = sorted((tmp_path / "pages").rglob("*.md"))
    assert not {str(path): dead for path in pages if (dead := dead_links(path, site_slug))}


def in_navigation(entries: Any) -> Iterator[str]:
    for entry in entries:
        for target in entry.values():
            yield from [target] if isinstance(target, str) else in_navigation(target)


def test_every_page_of_the_site_is_in_its_navigation(tmp_path: Path) -> None:
    write_pages.write(tmp_path)
    project = tomllib.loads((DOCS / "zensical.toml").read_text())["project"]
    listed = set(in_navigation(project["nav"]))
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.md")}
    assert written == listed
    assert project["theme"]["font"] is False
    assert (tmp_path / project["extra_css"][0]).is_file()


def test_the_reference_has_every_choice_and_setting(tmp_path: Path) -> None:
    write_pages.write(tmp_path)
    choices, settings = ((tmp_path / "reference" / f"{name}.md").read_text() for name in ("choices", "settings"))
    seen = 0
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        group = path.parent.name
        text = path.read_text()
        if path.parent == ROOT / "conf":
            page, start = settings, f"\n## {path.stem}\n"
        else:
            page, start = (tmp_path / "reference" / "choices" / f"{group}.md").read_text(), f"\n## {path.stem}\n"
            assert f"choices/{group}.md" in choices
        assert start in page
        section = page.split(start)[1].split("\n## ")[0]
        for one in write_pages.settings(text):
            assert f"| `{one.key}` |" in section
            seen += 1
        first = re.match(r"[\w²]+", write_pages.header(text)[0])
        assert first is None or first[0] in section
    assert seen > 300


def test_a_comment_goes_with_its_setting() -> None:
    text = "# It is.\na: 1    # one,\n        # and more\nb:\n  c: [1, 2]  # two\n  d:\n    - x\n    - y\ne: 'a # b'\n"
    assert list(write_pages.settings(text)) == [
        ("a", "1", "one, and more"),
        ("b.c", "[1, 2]", "two"),
        ("b.d", "[x, y]", ""),
        ("e", "'a # b'", ""),
    ]
    assert write_pages.prose("model=unet or 'loss.weights={dice: 1}': *this* [x]") == (
        "`model=unet` or `'loss.weights={dice: 1}'`: \\*this\\* \\[x]"
    )


def test_tables_of_kept_runs_are_what_a_report_writes() -> None:
    page = DOCS / "reference" / "results.md"
    assert load_script("write_results").fill_tables(page.read_text()) == page.read_text()
