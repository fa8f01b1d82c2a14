"""The check of a whole data set, as a library: its numbers, each kind of problem, the summary and what is written."""

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from browser import browse_narrow, needs_chromium
from conftest import read_picture
from test_duplicates import brighten, draw

from segkit.datasets.checking.checkup import Checkup, check_dataset, check_sample
from segkit.datasets.checking.hints import Hint
from segkit.datasets.findings import Findings, collect_findings
from segkit.datasets.folder import Folder
from segkit.datasets.module import DataModule
from segkit.datasets.synthetic import Synthetic
from segkit.reporting.data_card import cell
from segkit.reporting.data_page import render, write_checkup

Change = Callable[[Path], object]
COUNTS = {"train": 6, "val": 2, "test": 3}


def strip(seed: int, height: int = 160, width: int = 200) -> np.ndarray:
    """A mask with a strip of 10 by 100 pixels."""
    mask = np.zeros((height, width), np.uint8)
    top = 20 + 10 * (seed % 10)
    mask[top : top + 10, 50:150] = 255
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Eleven different pictures of 200×160, in three splits."""
    seed = 0
    for split, count in COUNTS.items():
        for kind in ("images", "masks"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for number in range(count):
            save(tmp_path / f"data/{split}/images/{split}{number}.png", draw(seed))
            save(tmp_path / f"data/{split}/masks/{split}{number}.png", strip(seed))
            seed += 1
    return tmp_path / "data"


def save(path: Path, pixels: Any) -> None:
    assert cv2.imwrite(str(path), np.ascontiguousarray(pixels))


def checkup(root: Path, **settings: Any) -> Checkup:
    with collect_findings() as found:
        loading = {key: settings.pop(key) for key in ("size", "crops", "train") if key in settings}
        sources = {split: Folder(root, split, **{"classes": ["strip"], **settings}) for split in COUNTS}  # type: ignore[arg-type]
        data = DataModule(sources, **{"size": 64, **loading}, workers=0)
    return check_dataset(data, found, "data")


def kinds(found: Checkup) -> dict[str, str]:
    return {problem.kind: problem.severity for problem in found.problems}


def test_nothing_is_found_where_nothing_is_wrong_and_the_numbers_are_right(root: Path) -> None:
    found = checkup(root)
    assert found.problems == ()
    assert found.error() is None
    survey = found.survey
    assert survey.complete
    assert dict(survey.counts) == COUNTS
    assert survey.sizes() == {(160, 200): 11}
    assert survey.shares("strip", "train").pixels == pytest.approx(1000 / 32000)
    assert survey.shares("strip").pictures == 1
    assert survey.thickness("strip") == pytest.approx([10, 10, 10], rel=0.08)
    scale = (64 * 64 / 32000) ** 0.5
    assert survey.thickness(at_network=True)[1] == pytest.approx(10 * scale, rel=0.08)
    places = survey.places("strip")
    assert places is not None
    assert places.shape == (16, 16)
    assert places[:, :3].max() == 0
    assert places.mean() == pytest.approx(1000 / 32000, rel=0.1)
    assert survey.records[0].kinds == ("8-bit RGB PNG", "8-bit grey PNG")


def test_the_summary_has_six_lines_at_most(root: Path) -> None:
    lines = checkup(root).summary()
    assert lines[0] == "data: 6 / 2 / 3 train / val / test pictures, 200×160 pixels"
    assert lines[1] == "no groups are known: every picture counts as independent"
    assert lines[2] == "strip: 3.1 / 3.1 / 3.1 % of the train / val / test pixels, in 100 / 100 / 100 % of the pictures"
    assert re.fullmatch(r"objects about 1[01] pixels thick .*; 3\.\d once resized to 64×64", lines[3])
    assert lines[4] == "nothing unusual"
    assert lines[5].startswith("try: model=encoder_unet weights=imagenet (6 training pictures")
    assert len(checkup(root).summary(pretrained=True)) == 5


def copied(root: Path, change: Callable[[Any], Any], to: str = "train/images/copy.png") -> None:
    """The first test picture with its mask, changed, elsewhere."""
    save(root / to, change(read_picture(root / "test/images/test0.png")))
    save(root / to.replace("images", "masks"), change(strip(8)))


WRONG: dict[str, tuple[str, str, Change]] = {
    "the same pixels": ("picture in two splits", "error", lambda root: copied(root, lambda pixels: pixels)),
    "mirrored": ("near-duplicate across splits", "warning", lambda root: copied(root, lambda pixels: pixels[:, ::-1])),
    "darker": (
        "near-duplicate across splits",
        "warning",
        lambda root: save(root / "train/images/train0.png", brighten(draw(8), 0.7)),
    ),
    "twice in the test": (
        "picture that is there twice",
        "warning",
        lambda root: copied(root, lambda pixels: pixels, "test/images/z.png"),
    ),
    "turned in one split": (
        "near-duplicate within a split",
        "note",
        lambda root: copied(root, lambda pixels: np.rot90(pixels), "test/images/z.png"),
    ),
    "unreadable": ("file that cannot be read", "error", lambda root: (root / "val/images/val0.png").write_bytes(b"no")),
    "no mask": ("image without a mask", "error", lambda root: (root / "train/masks/train1.png").unlink()),
    "scale": (
        "mask whose size differs from its image's",
        "error",
        lambda root: save(root / "test/masks/test1.png", strip(0)[::2, ::2]),
    ),
    "empty": ("empty mask", "note", lambda root: save(root / "train/masks/train1.png", strip(0) * 0)),
    "full": ("full mask", "warning", lambda root: save(root / "train/masks/train1.png", strip(0) * 0 + 255)),
    "specks": ("mask with specks", "note", lambda root: speck(root / "train/masks/train1.png")),
}


def speck(path: Path) -> None:
    mask = read_picture(path, cv2.IMREAD_GRAYSCALE)
    mask[5, 5] = 255
    save(path, mask)


@pytest.mark.parametrize("what", WRONG)
def test_each_kind_of_problem_is_found_alone(root: Path, what: str) -> None:
    kind, severity, change = WRONG[what]
    change(root)
    found = checkup(root)
    assert kinds(found) == {kind: severity}
    (problem,) = found.problems
    assert problem.remedy
    assert Path(problem.file).is_relative_to(root)
    assert (found.error() is not None) == (severity == "error")
    assert "unusual: 1 " in found.summary()[4]


def test_files_none_of_which_can_be_read(root: Path, tmp_path: Path) -> None:
    for path in root.rglob("images/*.png"):
        path.write_bytes(b"no picture")
    found = checkup(root)
    assert len(found.of("error")) == len(found.problems) == 11
    assert found.summary()[0] == "data: no picture could be read"
    assert "11 files that cannot be read" in write_checkup(found, tmp_path / "seen").read_text()


def test_two_masks_of_one_picture(root: Path) -> None:
    save(root / "train/images/copy.png", draw(0))
    save(root / "train/masks/copy.png", strip(5))
    assert kinds(checkup(root)) == {"picture with two masks": "warning", "picture that is there twice": "note"}


def test_specks_that_most_masks_have_are_told_once(root: Path) -> None:
    for path in root.rglob("masks/*.png"):
        speck(path)
    (problem,) = checkup(root).problems
    assert problem.fact == "11 of 11 masks have specks."


def test_several_classes(root: Path) -> None:
    for path in root.rglob("masks/*.png"):
        save(path, (read_picture(path, cv2.IMREAD_GRAYSCALE) > 0).astype(np.uint8))
    save(root / "train/masks/train0.png", np.full((160, 200), 255, np.uint8))
    save(root / "train/masks/train1.png", np.zeros((160, 200), np.uint8))
    found = checkup(root, classes=["background", "strip", "disc"])
    assert kinds(found) == {
        "mask that is ignored as a whole": "warning",
        "mask of a single class": "note",
    }
    assert "share of the pixels (of the pictures): background 97.2 % (in 91 %)" in found.summary()[2]
    save(root / "val/masks/val0.png", strip(0) // 255 * 2)
    assert Counter(problem.fact for problem in checkup(root, classes=["background", "strip", "disc"]).problems)[
        "train does not show disc."
    ]


def test_shares_that_differ_between_splits(root: Path) -> None:
    for number in range(6, 20):
        save(root / f"train/images/train{number}.png", draw(100 + number))
        save(root / f"train/masks/train{number}.png", strip(number))
    for path in (root / "test/masks").iterdir():
        thick = np.zeros((160, 200), np.uint8)
        thick[20 : 50 + int(path.stem[-1]), 50:150] = 255
        save(path, thick)
    (problem,) = checkup(root).problems
    assert (problem.severity, problem.kind) == ("note", "class whose share differs by split")
    assert problem.fact == "strip has 3.1 % of the pixels of train, and 9.7 % of test."


def test_masks_of_nothing_and_windows_that_do_not_fit(root: Path) -> None:
    for path in (root / "train/masks").iterdir():
        save(path, strip(0) * 0)
    found = checkup(root, crops="five", size=180)
    assert [problem.kind for problem in found.of("error")].count("picture that does not fit dataset.crops") == 11
    assert "training masks are all empty, so strip cannot be learnt" in str(found.error())


def test_the_same_pictures_as_val_and_test_are_read_once_and_are_no_twins(root: Path) -> None:
    for path in sorted((root / "val").rglob("*.png")):
        path.rename(str(path).replace("/val/", "/train/"))
    (root / "val/images").rmdir()
    (root / "val/masks").rmdir()
    (root / "val").rmdir()
    found = checkup(root, protocol="published")
    assert found.problems == ()
    assert len(found.survey.records) == 8 + 3 + 3
    assert len(found.survey.unique()) == 11


def test_a_data_set_without_files() -> None:
    sources = {split: Synthetic(split, ["crack"], "cracks", 64, (8, 3, 3)) for split in COUNTS}  # type: ignore[arg-type]
    found = check_dataset(DataModule(sources, size=32, workers=0))
    assert found.survey.complete
    assert not found.of("error")


def test_a_sample_knows_the_numbers_but_compares_no_pictures(root: Path) -> None:
    copied(root, lambda pixels: pixels)
    sources = {split: Folder(root, split, ["strip"]) for split in COUNTS}  # type: ignore[arg-type]
    found = check_sample(DataModule(sources, size=64, workers=0))
    assert found.problems == ()
    assert found.survey.shares("strip", "test").pixels == pytest.approx(1000 / 32000)


def test_hints_stand_in_the_summary_on_the_page_and_in_the_table(root: Path, tmp_path: Path) -> None:
    hints = (
        Hint("layout", "pictures in a, masks in b", brief=True),
        Hint("groups", "5 groups of 2 pictures", "dataset.groups='(.*)_'"),
    )
    found = replace(checkup(root), hints=hints)
    assert found.summary()[1].endswith("; pictures in a, masks in b")
    assert found.summary()[-1] == "try: dataset.groups='(.*)_' (5 groups of 2 pictures)"
    assert "<code>dataset.groups=&#39;(.*)_&#39;</code>" in render(found)
    write_checkup(found, tmp_path / "seen")
    assert "5 groups of 2 pictures,dataset.groups='(.*)_'" in (tmp_path / "seen/findings.csv").read_text()


def test_what_is_written(root: Path, tmp_path: Path) -> None:
    for _, _, change in WRONG.values():
        change(root)
    found = checkup(root)
    page = write_checkup(found, tmp_path / "seen", "0123")
    with (tmp_path / "seen/findings.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found.problems)
    assert [*rows[0]] == ["severity", "kind", "split", "file", "other", "fact", "remedy"]
    order = [("error", "warning", "note").index(row["severity"]) for row in rows]
    assert order == sorted(order)
    text = page.read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", text)
    assert "<script" not in text
    assert text.count("data:image/jpeg") >= 8
    card = (tmp_path / "seen/dataset_card.md").read_text()
    assert "`0123`" in card
    assert "| strip | 1 |" in card


def test_names_on_the_card_are_no_markdown() -> None:
    assert cell("![x](https:&sol;&sol;a.b) |<b>\n## c") == r"\!\[x\]\(https:\&sol;\&sol;a.b\) \|\<b\> \#\# c"


def test_the_card_keeps_what_a_person_has_filled_in(root: Path, tmp_path: Path) -> None:
    found, card = checkup(root), tmp_path / "seen/dataset_card.md"
    write_checkup(found, tmp_path / "seen")
    card.write_text(card.read_text().replace("**Citation**: …", "**Citation**: mine, 2024"))
    write_checkup(found, tmp_path / "seen", "4567")
    assert "**Citation**: mine, 2024" in card.read_text()
    assert "`4567`" in card.read_text()


def test_names_are_text_on_the_page(root: Path) -> None:
    for kind in ("images", "masks"):
        (root / f"train/{kind}/train0.png").rename(root / f"train/{kind}/<b>x&y.png")
    save(root / "train/masks/<b>x&y.png", strip(0) * 0)
    text = render(checkup(root))
    assert "<b>x" not in text
    assert "&lt;b&gt;x&amp;y.png" in text


@needs_chromium
def test_the_page_fits_a_narrow_window(root: Path, tmp_path: Path) -> None:
    for _, _, change in WRONG.values():
        change(root)
    script = """<script>window.addEventListener("load", () => {
      const drawn = [...document.images].filter(one => one.naturalWidth > 0).length;
      const all = document.images.length;
      document.title = JSON.stringify({body: document.documentElement.scrollWidth, drawn, all});
    });</script></body>"""
    text = render(checkup(root)).replace("default-src 'none';", "script-src 'unsafe-inline';")
    text = text.replace(' loading="lazy"', "")
    seen = browse_narrow(text.replace("</body>", script), tmp_path)
    assert seen["body"] <= 400
    assert seen["drawn"] == seen["all"] >= 8


def test_findings_of_the_layout_have_their_file(root: Path) -> None:
    (root / "train/masks/train1.png").rename(root / "train/masks/my mask.png")
    found = checkup(root)
    assert {problem.file for problem in found.problems} == {
        str(root / "train/images/train1.png"),
        str(root / "train/masks/my mask.png"),
    }
    assert Findings().repairs is None


@pytest.mark.parametrize(("bits", "told"), [(12, True), (14, True), (16, False)])
def test_pictures_of_few_bits_are_told(bits: int, told: bool, root: Path) -> None:
    for path in [*root.rglob("images/*.png")]:
        grey = read_picture(path, cv2.IMREAD_GRAYSCALE).astype(np.uint16)
        cv2.imwrite(str(path), (grey * 257) >> (16 - bits))
    assert ("set of 16-bit pictures that use few bits" in kinds(checkup(root))) == told
