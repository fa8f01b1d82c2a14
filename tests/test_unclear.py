"""Several masks of a picture, masks of some pictures only, and more that public data sets have: asked, not dropped."""

import re
from pathlib import Path
from typing import Any

import pytest
from layouts import ask, names, pairs_of, read, settings_in, touch, train
from miniatures import draw, save

from segkit.datasets.findings import DataError
from segkit.datasets.folder import Folder
from segkit.datasets.layouts.unclear import group_masks

BUSI = [
    *names("US/{c}/{c} ({n}).png", "US/{c}/{c} ({n})_mask.png", c=("benign", "malignant")),
    "US/benign/benign (4)_mask_1.png",
    "US/benign/benign (5)_mask_1.png",
    "US/benign/benign (5)_mask_2.png",
]


def only_way(root: Path, text: str, **given: Any) -> dict[str, str]:
    """The settings of the one line of an error."""
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(text)) as error:
        read(root, **given)
    (settings,) = settings_in(str(error.value))
    return settings


@pytest.mark.parametrize("given", [{}, {"images": "US", "masks": "US"}])
def test_further_masks_of_a_picture_are_asked_about(given: dict[str, str], tmp_path: Path) -> None:
    root = touch(tmp_path / "data", BUSI)
    settings = only_way(root, "further masks of the same pictures, such as US/benign/benign (4)_mask_1.png", **given)
    found = pairs_of(read(root, **settings))[""]
    assert len(found) == 10
    assert all(mask == image.replace(".png", "_mask.png") for image, mask in found)


def test_several_masks_in_a_folder_of_a_picture_are_told(tmp_path: Path) -> None:
    cells = names("stage1_train/{c}/images/{c}.png", "stage1_train/{c}/masks/{c}{n}f.png", c=("a3", "b7", "c1"))
    root = touch(tmp_path / "data", cells)
    for given in ({}, {"images": "stage1_train/*/images", "masks": "stage1_train/*/masks"}):
        with pytest.raises((ValueError, FileNotFoundError)) as error:
            read(root, **given)
        assert "5 masks, such as a31f.png, belong to stage1_train/a3/images/a3.png" in str(error.value)
        assert "No names tell" not in str(error.value)


def test_masks_belong_to_the_picture_whose_name_they_begin_with() -> None:
    assert group_masks(["a", "a_1"], ["a_1_x", "a_2", "a_1-y"]) == {"a_1": ["a_1_x", "a_1-y"], "a": ["a_2"]}
    assert group_masks(["p/x", "q/x"], ["p/1", "p/2", "q/3"]) == {"p/x": ["p/1", "p/2"], "q/x": ["q/3"]}
    assert group_masks(["a", "b"], ["a_1", "c_1"]) == {}
    assert group_masks(["p/x", "p/y"], ["p/1"]) == {}


def test_several_pictures_of_a_mask_are_asked_about(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("imagesTr/c_{n:03}_000{m}.png", "labelsTr/c_{n:03}.png", m=(0, 1)))
    with pytest.raises(ValueError, match="can be read in 2 ways") as error:
        read(root)
    for number, settings in enumerate(settings_in(str(error.value))):
        found = pairs_of(read(root, **settings))[""]
        assert len(found) == 5
        assert found[0] == (f"imagesTr/c_001_000{number}.png", "labelsTr/c_001.png")


def test_a_folder_of_pictures_with_a_folder_of_masks_in_it(tmp_path: Path) -> None:
    paths = names("{p}/s_{n}.png", "{p}/seg/s_{n}_seg.png", "{p}/thumbs/s_{n}.png", p=("P1", "P2", "P3"))
    layout = read(touch(tmp_path / "data", paths))
    assert layout.text == "15 pictures in * with masks in */seg, paired by their names (s_1_seg.png for s_1.png)"
    assert pairs_of(layout)[""][5] == ("P2/s_1.png", "P2/seg/s_1_seg.png")


def test_splits_in_names_are_told(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("{s}_{n}.bmp", "{s}_{n}_anno.bmp", s=("train", "testA")))
    assert read(root).text.endswith(
        "; names such as testA_1 and train_1 tell splits, and no folder does: dataset.split_file=… can list them"
    )


def test_a_picture_is_not_its_own_mask(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("scans/{n}.png"))
    for given in ({"images": "scans", "masks": "scans"}, {"image_pattern": "*.png", "mask_pattern": "*.png"}):
        with pytest.raises(ValueError, match="do not tell which belong together"):
            read(root, **given)
    with pytest.raises(ValueError, match=r"scans/1\.png would be its own mask"):
        read(root, images="scans", masks="*")
    (root / "pairs.csv").write_text("scans/1.png,scans/1.png\n")
    with pytest.raises(ValueError, match=r"line 1: scans/1\.png is named as its own mask"):
        read(root, pairs="pairs.csv")


def test_a_train_folder_alone_says_why_it_is_not_enough(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("train/a_{n}.jpg", "train/a_{n}_mask.png"))
    (root / "pairs.csv").write_text("image,mask,split\ntrain/a_1.jpg,train/a_1_mask.png,train\n")
    with pytest.raises(FileNotFoundError, match=r"has a train folder and nothing to score on.*\nName such a split\."):
        read(root, pairs="pairs.csv")


def test_masks_of_some_pictures_are_used_alone_if_one_says_so(tmp_path: Path) -> None:
    few = touch(tmp_path / "few", names("JPEGImages/{m}.jpg", "SegmentationClass/{n}.png", m=range(1, 30)))
    settings: dict[str, Any] = only_way(few, "5 of 29 pictures in JPEGImages have a mask in SegmentationClass.")
    assert settings.pop("only_masked") == "true"
    layout = read(few, **settings, only_masked=True)
    assert layout.text.endswith("paired by their names; 24 pictures without a mask left out")
    assert layout.text.startswith("5 pictures in JPEGImages")
    assert len(pairs_of(layout)[""]) == 5


@pytest.mark.parametrize("folders", [("images", "masks"), ("photos", "labels")])
def test_pictures_without_masks_are_a_fault_unless_one_says_so(folders: tuple[str, str], tmp_path: Path) -> None:
    one, other = folders
    root = touch(tmp_path / "data", names(f"{one}/{{m}}.jpg", f"{other}/{{n}}.png", m=range(1, 8)))
    with pytest.raises(DataError, match=r"dataset\.only_masked=true leaves such images out"):
        Folder(root, "train", fractions=[1, 0, 0])
    assert len(Folder(root, "train", fractions=[1, 0, 0], only_masked=True)) == 5
    touch(root, [f"{other}/9.png"])
    with pytest.raises(DataError, match=r"9\.png has no image"):
        Folder(root, "train", fractions=[1, 0, 0], only_masked=True)


def test_voc_trains_with_the_pictures_that_have_masks(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(1, 17):
        image, mask, _ = draw(number)
        save(root / f"VOC2012/JPEGImages/2007_{number:06}.jpg", image)
        for kind in ("Class", "Object") if number <= 10 else ():
            save(root / f"VOC2012/Segmentation{kind}/2007_{number:06}.png", mask)
    text = train(root, *ask(root), "dataset.only_masked=true")
    assert "10 pictures in VOC2012/JPEGImages" in text
    assert "6 pictures without a mask left out" in text
