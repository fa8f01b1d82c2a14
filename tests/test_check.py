"""The sheet that shows what the network will see."""

from pathlib import Path

import albumentations as A
import pytest
from conftest import read_picture, segkit

from segkit.check import check
from segkit.configs.composing import compose, to_plain
from segkit.datasets.augment import Augment
from segkit.evaluation.augmented import spread_evenly
from segkit.runs.build import build_data, make


def test_positions_are_spread() -> None:
    assert spread_evenly(10, 4) == [0, 3, 6, 9]
    assert spread_evenly(2, 6) == [0, 1]
    assert spread_evenly(1, 3) == [0]


def test_a_sheet_from_the_command_line(tmp_path: Path) -> None:
    words = [
        "dataset=synthetic_shapes",
        "dataset.size=48",
        "dataset.counts=[5,2,2]",
        "augment=light_device",
        "count=3",
        "epochs=2",
    ]
    done = segkit(*words, "output=seen", module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "3 of 5 training pictures as the network will see them: seen/augmented.png" in done.stdout
    sheet = read_picture(tmp_path / "seen" / "augmented.png")
    assert sheet.shape[1] == 4 * 262
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_what_would_be_a_class_outside_of_the_picture_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="segkit"):
        build_data(to_plain(compose("dataset=synthetic_shapes", "augment=light", "run_dir=unused")), ["train"])
        assert caplog.text == ""
        build_data(to_plain(compose("dataset=synthetic_shapes", "augment=slices", "run_dir=unused")), ["train"])
    assert "augment: what Rotate fills in from outside the picture counts as background. To" in caplog.text


def test_what_fills_nothing_is_not_told() -> None:
    safe = [A.RandomCrop(8, 8), A.OneOf([A.MaskDropout(), A.CoarseDropout(fill_mask=0)]), A.Rotate(border_mode=4)]
    assert Augment(transforms=safe).fills == []
    assert Augment(transforms=[A.OneOf([A.Affine(), A.CenterCrop(8, 8, pad_if_needed=True)])]).fills == [
        "Affine",
        "CenterCrop",
    ]


def test_augmentation_of_another_kind_is_refused_with_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = to_plain(compose("run_dir=unused"))
    bare = {"_target_": "albumentations.Compose", "transforms": []}
    with pytest.raises(
        ValueError, match=r"augment\._target_=albumentations\.Compose: expected segkit\.datasets\.augment\.Augment"
    ):
        build_data(settings | {"augment": bare}, ["train"])
    with pytest.raises(
        ValueError, match=r"Error locating target 'albumentations\.Rotat'\.\nfull_key: transforms0\nDid you mean Rotate"
    ):
        make({"_target_": "segkit.datasets.augment.Augment", "transforms": [{"_target_": "albumentations.Rotat"}]})
    (tmp_path / "broken.py").write_text("import missing_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ValueError, match=r"Error locating target 'broken\.Turn'(.|\n)*No module named 'missing_package'"
    ):
        make({"_target_": "broken.Turn"})


def test_crops_are_shown_as_they_are_taken(tmp_path: Path) -> None:
    words = ["dataset.size=32", "dataset.crops=five", "dataset.picture_size=64", "dataset.counts=[4,2,2]", "count=1"]
    check(compose(*words, f"output={tmp_path}", config="check"))
    assert read_picture(tmp_path / "augmented.png").shape[1] == 7 * 262
    with pytest.raises(ValueError, match="count=0: expected a whole number, 1 or more"):
        check(compose("count=0", config="check"))
