"""Folders of pictures and masks as people have them: what is found, what is said, and what is asked."""

import re
from pathlib import Path

import numpy as np
import pytest
from conftest import write_pair
from layouts import NUMBERS, names, pairs_of, read, settings_in, touch
from miniatures import draw, save, write_drive

from segkit.datasets.common import Split
from segkit.datasets.findings import DataError
from segkit.datasets.folder import Folder
from segkit.datasets.layouts.choosing import Given
from segkit.datasets.layouts.families import tails_of
from segkit.datasets.layouts.folder_names import mark_split, role_of
from segkit.datasets.layouts.layout import read_layout
from segkit.datasets.layouts.matching import match_keys

SPLITS: tuple[Split, ...] = ("train", "val", "test")
BOTH, THREE = ("train", "test"), ("train", "val", "test")


CLEAR = {
    "{split}/images": (
        names("{s}/img/{n}.jpg", "{s}/label/{n}.png", s=THREE),
        "5 train, 5 val and 5 test pictures in {train,val,test}/img with masks in {train,val,test}/label, paired by "
        "their names",
    ),
    "images/{split}": (
        names("img_dir/{s}/a{n}.jpg", "ann_dir/{s}/a{n}.png", s=("train", "val")),
        "5 train and 5 val pictures in img_dir/{train,val} with masks in ann_dir/{train,val}, paired by their names",
    ),
    "images/{split}, as usual": (
        names("images/{s}/a{n}.jpg", "masks/{s}/a{n}.png", s=("train", "val")),
        "5 train and 5 val pictures in images/{train,val} with masks in masks/{train,val}, paired by their names",
    ),
    "split in the folder's name": (
        names("a/ISIC_{s}_Input/I_{n}.jpg", "a/ISIC_{s}_GroundTruth/I_{n}_segmentation.png", s=("Training", "Test")),
        "5 train and 5 test pictures in a/ISIC_{Training,Test}_Input with masks in a/ISIC_{Training,Test}_GroundTruth, "
        "paired by their number (I_1_segmentation.png for I_1.jpg)",
    ),
    "annotations in one folder": (
        names("images/{s}/{s}{n}.png", "annotations/{s}{n}.png", s=BOTH),
        "5 train and 5 test pictures in images/{train,test} with masks in annotations, paired by their names",
    ),
    "unnamed pictures": (
        names("tiff/{s}/{n}.tiff", "tiff/{s}_labels/{n}.tif", s=THREE),
        "5 train, 5 val and 5 test pictures in tiff/{train,val,test} with masks in tiff/{train,val,test}_labels, "
        "paired by their names",
    ),
    "glued": (
        names("{s}/{n}.png", "{s}annot/{n}.png", s=THREE),
        "5 train, 5 val and 5 test pictures in {train,val,test} with masks in {train,val,test}annot, paired by their "
        "names",
    ),
    "side by side": (
        names("a{n}.jpg", "a{n}_mask.png"),
        "5 pictures in data with masks beside them, paired by their names (a1_mask.png for a1.jpg)",
    ),
    "beginnings": (
        names("img_{n}.png", "mask_{n}.png"),
        "5 pictures in data with masks beside them, paired by their number (mask_1.png for img_1.png)",
    ),
    "a folder for each case": (
        names("case{n}/image.png", "case{n}/mask.png"),
        "5 pictures in data with masks beside them, paired by their names (mask.png for image.png)",
    ),
    "patients, side by side": (
        names("s/T_{p}/T_{p}_{n}.tif", "s/T_{p}/T_{p}_{n}_mask.tif", p=("a", "b", "c")),
        "15 pictures in s with masks beside them, paired by their names (T_a_1_mask.tif for T_a_1.tif)",
    ),
    "folders above": (
        names("{s}/{p}/images_png/{n}.png", "{s}/{p}/masks_png/{n}.png", s=("Train", "Val"), p=("Urban", "Rural")),
        "10 train and 10 val pictures in {split}/*/images_png with masks in {split}/*/masks_png, paired by their names",
    ),
    "numbers": (
        names("photos/IMG_{n:04}.jpg", "labels/label-{n}.png"),
        "5 pictures in photos with masks in labels, paired by their number (label-1.png for IMG_0001.jpg)",
    ),
    "fields of view": (
        names("images/0{n}_dr.JPG", "manual1/0{n}_dr.tif", "mask/0{n}_dr_mask.tif"),
        "5 pictures in images with masks in manual1, paired by their names; mask is not read: if its black is outside "
        "of the field of view, say dataset.ignore_masks=mask",
    ),
    "JPEG copies": (
        names("images/{n}.bmp", "images/{n}.jpg", "labels/{n}.png"),
        "5 pictures in images with masks in labels, paired by their names",
    ),
}
ASKED = {
    "two observers": (names("I_{n}{e}{t}", e="LR", t=(".jpg", "_1stHO.png", "_2ndHO.png")), 2),
    "two observers, one format": (names("I_{n}{e}{t}", e="LR", t=(".png", "_1stHO.png", "_2ndHO.png")), 2),
    "two kinds of masks": (names("images/{n}.jpg", "annotations/{n}.png", "labels/{n}.png"), 2),
    "pictures twice": (names("{f}/Original/{n}.tif", "{f}/Ground Truth/{n}.tif", f=("PNG", "TIF")), 2),
    "names that say nothing": (names("a/{n}.png", "b/{n}.png"), 2),
    "masks of no name": (names("images/{n}.png", "lesion/{n}.png"), 1),
    "two formats": (names("{n}.jpg", "{n}.png"), 1),
    "three kinds beside each other": (
        names("leftImg8bit/{s}/a_{n}_leftImg8bit.png", "gtFine/{s}/a_{n}_gtFine_{k}.png",
              s=("train", "val"), k=("color", "labelIds", "instanceIds")), 3),
    "test without masks": (names("{s}/a_{n}.jpg", "train_masks/a_{n}_mask.gif", s=BOTH), 1),
    "val without masks": (names("{s}/images/{n}.png", "train/gt/{n}.png", "test/gt/{n}.png", s=THREE), 1),
}  # fmt: skip


@pytest.mark.parametrize("case", CLEAR)
def test_what_names_tell_is_read_and_said(case: str, tmp_path: Path) -> None:
    paths, text = CLEAR[case]
    layout = read(touch(tmp_path / "data", paths))
    assert layout.text == text
    found = [path for pairs in pairs_of(layout).values() for pair in pairs for path in pair]
    assert (
        len({*found})
        == len(found)
        == len([path for path in paths if not re.search(r"^mask/|\d\.jpg$.*bmp", path)])
        - (5 if case == "JPEG copies" else 0)
    )
    for pairs in pairs_of(layout).values():
        for image, mask in pairs:
            assert re.findall(r"\d+", image)[-1].lstrip("0") in re.findall(r"\d+", mask)[-1] or "_dr" in image


@pytest.mark.parametrize("case", ASKED)
def test_what_names_leave_open_is_asked_with_lines_to_copy(case: str, tmp_path: Path) -> None:
    paths, count = ASKED[case]
    root = touch(tmp_path / "data", paths)
    with pytest.raises(ValueError) as error:
        read(root)
    lines = list(settings_in(str(error.value)))
    assert len(lines) == count, error.value
    masks = set()
    for settings in lines:
        layout = read(root, **settings)
        pairs = [pair for found in pairs_of(layout).values() for pair in found]
        assert len(pairs) >= len(NUMBERS)
        masks.add(tuple(sorted(mask for _, mask in pairs)))
    assert len(masks) == count


def test_names_of_folders_say_their_split_and_role() -> None:
    marked = {
        name: mark_split(name)
        for name in ("training", "imagesTr", "DUTS-TE", "train_val", "trainer", "Ts", "test_tube")
    }
    assert marked == {
        "training": ("{split}", "train"),
        "imagesTr": ("images{split}", "train"),
        "DUTS-TE": ("DUTS-{split}", "test"),
        "train_val": ("{split}", "train"),
        "trainer": ("trainer", ""),
        "Ts": ("Ts", ""),
        "test_tube": ("{split}_tube", "test"),
    }
    assert mark_split("test_tube", strict=True) == ("test_tube", "")
    roles = {"JPEGImages": "pictures", "1st_manual": "masks", "x_train": "pictures", "mask_images": "masks",
             "fov": "field", "overlays": "other", "lesion": ""}  # fmt: skip
    assert {name: role_of(name) for name in roles} == roles


def test_numbers_in_another_order_pair_nothing() -> None:
    """Patient 1, slice 2 and slice 1, patient 2 would be exchanged without a word."""
    images = [f"p{patient}_s{part}" for patient in (1, 2, 3) for part in (1, 2, 3)]
    assert match_keys(images, [f"{part}-{patient}.x" for patient in (1, 2, 3) for part in (1, 2, 3)]).pairs == {}
    assert len(match_keys(images, [f"{name}_m" for name in images]).pairs) == 9
    assert match_keys(["a1b2", "a3b4"], ["b2_a1", "b4_a3"]).pairs == {}


def test_a_missing_mask_is_a_fault_in_any_layout(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("photos/p{n}.jpg", "gt/p{n}_gt.png"))
    (root / "gt/p3_gt.png").unlink()
    with pytest.raises(DataError, match=r"p3\.jpg has no mask"):
        Folder(root, "train", fractions=[1, 0, 0])
    touch(root, ["gt/p9_gt.png"])
    with pytest.raises(DataError, match=r"p9_gt\.png has no image"):
        Folder(root, "train", fractions=[1, 0, 0])


def test_the_usual_layout_is_read_as_before_whatever_lies_beside_it(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("images/{n}.jpg", "masks/{n}.png", "annotations/{n}.png", "masks2/{n}.png"))
    layout = read(root)
    assert layout.text == "5 pictures in images with masks in masks, paired by their names"
    assert pairs_of(layout)[""][0] == ("images/1.jpg", "masks/1.png")
    nested = touch(tmp_path / "nested", names("images/{s}/{n}.png", "masks/{s}/{n}.png", s=("train", "val")))
    assert [*read(nested).splits] == ["train", "val"]
    whole = read(nested, images="images", masks="masks")
    assert [name for name, _ in pairs_of(whole)[""]][:2] == ["images/train/1.png", "images/train/2.png"]


def test_links_out_of_the_root_are_faults_only_where_they_are_used(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("photos/p{n}.jpg", "gt/p{n}.png", "old/p{n}.jpg"))
    outside = touch(tmp_path / "outside", ["a.png"]) / "a.png"
    (root / "old/p7.jpg").symlink_to(outside)
    assert len(Folder(root, "train", fractions=[1, 0, 0])) == 5
    (root / "gt/p3.png").unlink()
    (root / "gt/p3.png").symlink_to(outside)
    with pytest.raises(DataError, match=r"gt/p3\.png is a link to .*outside of dataset\.root"):
        Folder(root, "train", fractions=[1, 0, 0])
    assert len(Folder(root, "train", fractions=[1, 0, 0], follow_links=True)) == 5


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"images": "nowhere"}, "dataset.images=nowhere: there are no such pictures. Below dataset.root="),
        ({"masks": "../masks"}, "dataset.masks=../masks leads out of dataset.root="),
        ({"images": "/etc"}, "dataset.images=/etc leads out of dataset.root="),
        ({"mask_pattern": "*_no.png"}, "there are no such pictures. Below dataset.root="),
        ({"images": "photos", "masks": "other"}, "do not tell which belong together, such as photos/p1.jpg and other/"),
        ({"ignore_masks": "nowhere"}, "dataset.ignore_masks=nowhere: there are no such pictures."),
        ({"ignore_masks": "other"}, "photos/p1.jpg has no mask in dataset.ignore_masks=other"),
    ],
)
def test_settings_that_lead_to_nothing(given: dict[str, str], text: str, tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("photos/p{n}.jpg", "gt/p{n}.png", "other/q{c}.png", c="abcdef"))
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        Folder(root, "train", fractions=[1, 0, 0], **given)  # type: ignore[arg-type]
    assert text in str(error.value)


def test_patterns_say_what_a_picture_and_its_mask_share(tmp_path: Path) -> None:
    root = touch(tmp_path / "data", names("I_{n}L.png", "I_{n}L_1stHO.png", "I_{n}L_2ndHO.png"))
    layout = read(root, image_pattern="I_??.png", mask_pattern="I_*_2ndHO.png")
    assert pairs_of(layout)[""][0] == ("I_1L.png", "I_1L_2ndHO.png")
    assert len(pairs_of(layout)[""]) == 5
    jpegs = touch(tmp_path / "jpegs", names("I_{n}L.jpg", "I_{n}L_1stHO.png", "I_{n}L_2ndHO.png"))
    for root in (jpegs, tmp_path / "data"):  # the pattern of masks alone
        assert [mask for _, mask in pairs_of(read(root, mask_pattern="*_1stHO.png"))[""]] == names("I_{n}L_1stHO.png")
    suffix = touch(tmp_path / "suffix", names("images/a{n}.JPG", "masks/a{n}_seg.png", "masks/a{n}_edge.png"))
    assert pairs_of(read(suffix, mask_pattern="*_seg.png"))[""][0] == ("images/a1.JPG", "masks/a1_seg.png")


def test_pixels_outside_of_the_field_of_view_are_ignored(tmp_path: Path) -> None:
    write_drive(tmp_path)
    plain = Folder(tmp_path, "test", ["vessel"])
    assert "say \"dataset.ignore_masks='{split}/mask'\"" in plain.reading
    for setting in ("{split}/mask", "{split}/mask/*_mask.gif"):
        seen = Folder(tmp_path, "test", ["vessel"], ignore_masks=setting)
        assert seen.names == plain.names
        mask, whole, field = seen[2]["mask"].numpy(), plain[2]["mask"].numpy(), draw(3)[2]
        assert set(np.unique(whole)) == {0, 1}
        assert (mask[field == 0] == 255).all()
        assert (mask[field > 0] == whole[field > 0]).all()
        assert [path.name for path in seen.ignore_files][:2] == ["01_test_mask.gif", "02_test_mask.gif"]
    save(tmp_path / "test/mask/03_test_mask.gif", np.zeros((36, 40), np.uint8))
    with pytest.raises(DataError, match=r"03_test_mask\.gif is black everywhere"):
        Folder(tmp_path, "test", ["vessel"], ignore_masks="{split}/mask")[2]
    save(tmp_path / "test/mask/03_test_mask.gif", np.ones((36, 41), np.uint8))
    with pytest.raises(DataError, match=r"03_test_mask\.gif is 41×36 but its image .* is 40×36"):
        Folder(tmp_path, "test", ["vessel"], ignore_masks="{split}/mask")[2]
    (tmp_path / "test/mask/03_test_mask.gif").unlink()
    with pytest.raises(DataError, match=r"03_test\.tif has no mask in dataset\.ignore_masks"):
        Folder(tmp_path, "test", ["vessel"], ignore_masks="{split}/mask")


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"mask_pattern": "*" * 30 + "x"}, "expected a pattern of files' names with one *"),
        ({"mask_pattern": "*[z-a].png"}, "not a pattern of files' names"),
        ({"images": "*a" * 30}, "expected a folder's name with at most two *"),
        ({"images": "{split}" * 30}, "expected a folder's name with at most two *"),
        ({"ignore_masks": "*" * 30 + ".png"}, "expected a pattern of files' names with one *"),
    ],
)
def test_patterns_that_could_take_long_are_refused(given: dict[str, str], text: str, tmp_path: Path) -> None:
    """A stored config may come from anyone."""
    root = touch(tmp_path / "data", names(f"images/{'a' * 200}{{n}}.png", f"masks/{'a' * 200}{{n}}.png"))
    with pytest.raises(ValueError, match=re.escape(text)):
        Folder(root, "train", fractions=[1, 0, 0], **given)  # type: ignore[arg-type]


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "given", "count", "text"),
    [
        ("chasedb1", {"mask_pattern": "*_1stHO.png"}, 28, "28 pictures in chasedb1 with masks beside them"),
        ("PH2Dataset", {"masks": "*/*/*_lesion"}, 200, "with masks in */*/*_lesion, paired by their number"),
    ],
)
def test_real_folders_are_read_as_distributed(folder: str, given: dict[str, str], count: int, text: str) -> None:
    root = Path(__file__).parents[2] / "shared" / "data" / folder
    if not root.is_dir():
        pytest.skip(f"no data in ../shared/data/{folder}")
    layout = read(root, **given)
    assert text in layout.text
    assert len(pairs_of(layout)[""]) == count


def test_of_long_names_the_last_endings_count() -> None:
    assert len(tails_of("a_" * 100 + "mask")) == 7
    assert tails_of("a_" * 100 + "1_mask")[0] == "_mask"


def test_stars_in_names_of_files_are_no_pattern(tmp_path: Path) -> None:
    for number in range(8):
        write_pair(tmp_path / "data/x", tmp_path / "data/y", f"p{number}", number)
    for path in (tmp_path / "data/y").iterdir():
        path.rename(tmp_path / "data/x" / f"{path.stem}_m*a*sk.png")
    with pytest.raises(ValueError, match="no name says where the masks are"):
        read_layout(tmp_path / "data", Given(), True)


@pytest.mark.parametrize("lost", [(), ("well2_plate4_seg",)])
def test_words_in_another_order_go_before_numbers(lost: tuple[str, ...]) -> None:
    """By their numbers, the pictures of a plate would get the masks of a well, with a mask missing, too."""
    images = [f"plate{plate}_well{well}" for plate in range(1, 6) for well in range(1, 6)]
    masks = [f"well{well}_plate{plate}_seg" for plate in range(1, 6) for well in range(1, 6)]
    found = match_keys(images, [mask for mask in masks if mask not in lost])
    expected = {image: mask for image, mask in zip(images, masks, strict=True) if mask not in lost}
    assert (found.rule, found.pairs) == ("identifier", expected)
