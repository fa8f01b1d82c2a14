"""What a data set may declare, and that a user's own has the same rights as segkit's."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from torch import nn

from segkit.datasets import cache
from segkit.datasets.module import DataModule
from segkit.datasets.source import Extras, extras_of
from segkit.models.presence import UNetClassifier, VGGClassifier, find_gated, gives_masks

MINE = """
import cv2
import torch


class Mine(torch.utils.data.Dataset):
    def __init__(self, folder, count=4):
        self.classes, self.names = ("square",), [str(number) for number in range(count)]
        self.files = [(folder / f"{name}.png", folder / f"{name}_mask.png") for name in self.names]
        self.read = 0

    def __len__(self):
        return len(self.names)

    def shape(self, index):
        return 20, 24

    def __getitem__(self, index):
        self.read += 1
        image, mask = (torch.from_numpy(cv2.imread(str(path), mode))
                       for path, mode in zip(self.files[index], (1, 0)))
        return {"image": image.permute(2, 0, 1), "mask": mask // 255, "name": self.names[index]}
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A user's data set with `files`, and a cache for this test alone."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_data.py").write_text(MINE)
    rng = np.random.default_rng(0)
    for number in range(4):
        cv2.imwrite(str(tmp_path / f"{number}.png"), rng.integers(0, 256, (20, 24, 3), dtype=np.uint8))
        cv2.imwrite(str(tmp_path / f"{number}_mask.png"), rng.integers(0, 2, (20, 24), dtype=np.uint8) * 255)
    yield importlib.import_module("own_data").Mine(tmp_path)
    del sys.modules["own_data"]


def loaded(source: Any, where: cache.Place) -> DataModule:
    return DataModule({"train": source}, size=16, batch_size=2, workers=0, cache=where, settings={"a": 1})


@pytest.mark.parametrize("where", ["disk", "ram"])
def test_own_data_from_files_are_decoded_once(mine: Any, where: cache.Place) -> None:
    expected = [batch["image"] for batch in loaded(mine, "off").eval_dataloader("train")]
    data, mine.read = loaded(mine, where), 0
    for _ in range(3):
        found = [batch["image"] for batch in data.eval_dataloader("train")]
        assert all(bool((one == other).all()) for one, other in zip(found, expected, strict=True))
    assert mine.read == 4


def test_other_code_of_ones_own_makes_another_cache(mine: Any, tmp_path: Path) -> None:
    before = cache.path_of(mine, {})
    assert before == cache.path_of(mine, {})
    file = tmp_path / "own_data.py"
    file.write_text(file.read_text().replace("mask // 255", "1 - mask // 255"))
    assert cache.path_of(mine, {}) != before


def test_what_is_no_pair_of_paths_is_not_taken_for_files(mine: Any) -> None:
    assert [pair.mask.name for pair in extras_of(mine).files][:2] == ["0_mask.png", "1_mask.png"]
    for files in (["a.png", "b.png"], 3, None, [("a.png", "b.png", "c.png")], [(1, 2)], "ab"):
        mine.files = files
        assert not extras_of(mine).files


def test_what_it_does_not_say_has_a_default(mine: Any) -> None:
    del mine.files
    assert extras_of(mine) == Extras()
    assert extras_of(mine).fingerprint() == ""
    mine.groups = ["a", "b"]
    with pytest.raises(ValueError, match=r"Mine\.groups has 2 entries; expected one for each of its 4 names"):
        extras_of(mine)


def test_a_network_says_by_its_gate_that_it_has_one() -> None:
    class Own(nn.Module):
        def __init__(self, gate: Any) -> None:
            super().__init__()
            self.gate = gate

    detector = UNetClassifier(widths=(2, 4), hidden=(4,))
    assert find_gated(detector) is detector
    assert find_gated(Own(0.5)) is not None
    assert find_gated(Own(None)) is not None
    assert find_gated(Own(nn.Conv2d(1, 1, 1))) is None  # an attention gate is another thing
    assert find_gated(nn.Conv2d(1, 1, 1)) is None
    assert not gives_masks(VGGClassifier(widths=(2, 4), hidden=(4,)))
    assert gives_masks(detector)


def test_every_extra_is_explained() -> None:
    named = {line.split(":")[0] for line in (Extras.__doc__ or "").replace(". ", "\n").split("\n") if ":" in line}
    assert {name.strip() for name in named} >= set(Extras.__dataclass_fields__)
