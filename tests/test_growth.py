"""How far augmentation may enlarge a picture."""

import pickle
from typing import Any

import albumentations as A
import numpy as np
import pytest

from segkit.datasets import augment
from segkit.datasets.augment import Augment
from segkit.datasets.grouping import groups_of

PICTURE, MASK = np.zeros((40, 50, 3), np.uint8), np.zeros((40, 50), np.uint8)
GROWS = A.CropAndPad(px=500, keep_size=False, p=1)


@pytest.mark.parametrize(
    "chain",
    [
        [GROWS] * 9,
        [A.Sequential([GROWS] * 9, p=1)],
        [A.OneOf([A.SomeOf([GROWS] * 9, n=9, p=1)], p=1)],
        [A.RandomScale((0.9, 1), p=1)] * 20,
        [*[GROWS] * 9, A.Resize(40, 50)],
    ],
)
def test_no_chain_makes_a_picture_of_any_size(chain: list[Any]) -> None:
    with pytest.raises(
        ValueError, match=r"augment: \w+ makes a picture of \d+×\d+ pixels; expected at most 16,777,216"
    ):
        Augment(transforms=chain)(PICTURE, MASK, 0)


def test_a_picture_may_grow_somewhat_and_a_large_one_stays() -> None:
    grown, mask = pickle.loads(pickle.dumps(Augment(transforms=[GROWS])))(PICTURE, MASK, 0)
    assert grown.shape[:2] == mask.shape == (1040, 1050)
    made = Augment(transforms=[A.HorizontalFlip(p=1)])
    made.most = 100
    assert made(PICTURE, MASK, 0)[0].shape == PICTURE.shape
    assert made.largest == 40 * 50


def test_a_batch_of_grown_pictures_has_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(augment, "MOST_PIXELS", 1040 * 1050)
    Augment(transforms=[GROWS])(PICTURE, MASK, 0)
    monkeypatch.setattr(augment, "MOST_PIXELS", 1040 * 1049)
    with pytest.raises(ValueError, match=r"a smaller dataset\.batch_size"):
        Augment(transforms=[GROWS])(PICTURE, MASK, 0)


def test_a_pattern_is_not_looked_for_in_a_path_of_any_length() -> None:
    with pytest.raises(ValueError, match=r"more than 512 letters, too many to search for dataset\.groups"):
        groups_of(["a" * 513], "(a)")
    assert groups_of(["ab" * 256], "(b)") == ["b"]
