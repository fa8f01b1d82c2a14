"""What a check proposes: groups, what mask values mean, and whether there are pictures enough."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segkit.datasets.checking.checkup import Checkup, check_dataset
from segkit.datasets.checking.hints import Hint
from segkit.datasets.common import SPLITS
from segkit.datasets.folder import Folder
from segkit.datasets.module import DataModule
from segkit.datasets.source import Source
from segkit.reporting.data_page import judge_sizes


def fill(folder: Path, value: int = 255, copies: bool = False) -> None:
    """Eight scans of three slices. copies: the slices of a scan are brighter copies of its first."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for scan in range(8):
        for at in range(3):
            if at == 0 or not copies:
                picture = cv2.resize(rng.integers(0, 180, (12, 12, 3), dtype=np.uint8), (64, 64))
            cv2.imwrite(str(folder / "images" / f"scan{scan}_{at}.png"), picture + at * 20)
            mask = np.zeros((64, 64), np.uint8)
            mask[8 : 20 + scan, 8 : 30 + at] = value
            cv2.imwrite(str(folder / "masks" / f"scan{scan}_{at}.png"), mask)


def check(folder: Path, groups: str | None = None, fractions: tuple[float, ...] = (0.7, 0.15, 0.15)) -> Checkup:
    sources: dict[str, Source] = {split: Folder(folder, split, groups=groups, fractions=fractions) for split in SPLITS}
    return check_dataset(DataModule(sources, size=64, workers=0, cache="off"))


def hints(checkup: Checkup, topic: str) -> list[Hint]:
    return [hint for hint in checkup.hints if hint.topic == topic]


def test_groups_are_proposed_where_none_are_known(tmp_path: Path) -> None:
    fill(tmp_path)
    (found,) = hints(check(tmp_path), "groups")
    assert found.text == "names suggest 8 groups of 3 pictures (one is scan0)"
    assert found.setting == r'''"dataset.groups='(scan\d+)_'"'''
    assert not hints(check(tmp_path, groups=r"(scan\d+)"), "groups")


def test_groups_explain_which_pictures_look_alike(tmp_path: Path) -> None:
    fill(tmp_path, copies=True)
    (found,) = hints(check(tmp_path), "groups")
    assert "pairs that look alike are within one" in found.text
    assert check(tmp_path).summary()[-1].startswith('try: "dataset.groups=')
    (found,) = hints(check(tmp_path, groups=r"(_\d)", fractions=(0.4, 0.3, 0.3)), "groups")
    assert "alike, such as images/scan" in found.text
    assert found.text.endswith("not in one group")
    assert found.setting == ""


def test_what_mask_values_mean_is_proposed(tmp_path: Path) -> None:
    fill(tmp_path, value=1)
    found = check(tmp_path)
    (hint,) = hints(found, "mask values")
    assert hint.setting == "dataset.threshold=0"
    assert hint.text.endswith("hold 0 and 1")
    assert found.error() is not None


@pytest.mark.parametrize("groups", [None, r"(scan\d+)"])
def test_sizes_are_judged(tmp_path: Path, groups: str | None) -> None:
    fill(tmp_path)
    found = check(tmp_path, groups)
    brief, *each = judge_sizes(found.data, {"root": str(tmp_path)}, tmp_path / "outputs")
    assert brief.brief
    told = "val / test are too few pictures" if groups else "val / test show differences of "
    assert brief.text.startswith(told)
    assert [hint.text.partition(":")[0] for hint in each] == ["val", "test"]
    assert ("groups of" in each[1].text or "1 group of" in each[1].text) == (groups is not None)
