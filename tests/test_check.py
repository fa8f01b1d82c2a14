"""The sheet of what the network will see."""

import albumentations as A
import cv2
from conftest import segkit

from segkit.augment import Augment
from segkit.check import spread


def test_positions_are_spread():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(2, 6) == [0, 1]
    assert spread(1, 3) == [0]


def test_a_sheet_from_the_command_line(tmp_path):
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
    sheet = cv2.imread(str(tmp_path / "seen" / "augmented.png"))
    assert sheet.shape[1] == 4 * 262
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_what_would_be_a_class_outside_of_the_picture_is_told(tmp_path):
    words = ["dataset=synthetic_shapes", "dataset.counts=[2,1,1]", "dataset.size=32", "count=1", "epochs=1"]
    done = segkit(*words, "augment=slices", module="check", cwd=tmp_path)
    assert "augment: what Rotate brings from outside of a picture counts as " in done.stderr
    done = segkit(*words, "augment=light", module="check", cwd=tmp_path)
    assert done.stderr == ""


def test_what_fills_nothing_is_not_told():
    safe = [A.RandomCrop(8, 8), A.OneOf([A.MaskDropout(), A.CoarseDropout(fill_mask=0)]), A.Rotate(border_mode=4)]
    assert Augment(transforms=safe).fills == []
    assert Augment(transforms=[A.OneOf([A.Affine(), A.CenterCrop(8, 8, pad_if_needed=True)])]).fills == [
        "Affine", "CenterCrop"
    ]  # fmt: skip


def test_augmentation_of_another_kind_is_refused_with_a_hint(tmp_path):
    (tmp_path / "mine" / "augment").mkdir(parents=True)
    kinds = {
        "bare": "_target_: albumentations.Compose\ntransforms: []\n",
        "misspelt": "_target_: segkit.augment.Augment\ntransforms: [{_target_: albumentations.Rotat}]\n",
    }
    for name, text in kinds.items():
        (tmp_path / "mine" / "augment" / f"{name}.yaml").write_text(text)
    done = segkit("--config-dir", "mine", "augment=bare", module="check", cwd=tmp_path)
    assert "augment._target_=albumentations.Compose: expected segkit.augment.Augment, with" in done.stderr
    done = segkit("--config-dir", "mine", "augment=misspelt", module="check", cwd=tmp_path)
    assert "Error locating target 'albumentations.Rotat'" in done.stderr
    assert "Did you mean Rotate" in done.stderr


def test_crops_are_shown_as_they_are_taken(tmp_path):
    words = ["dataset.size=32", "dataset.crops=five", "dataset.picture_size=64", "dataset.counts=[4,2,2]", "count=1"]
    done = segkit(*words, module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert cv2.imread(str(tmp_path / "check" / "augmented.png")).shape[1] == 7 * 262
    done = segkit("count=0", module="check", cwd=tmp_path)
    assert done.returncode == 1
    assert "count=0: expected a whole number, 1 or more" in done.stderr
