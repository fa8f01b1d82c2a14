"""Pictures and masks in folders: layouts, pairing, splits, and the messages when they do not fit."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from folders import MASK, SPLITS, error_of, fill, write

from segkit.configs.composing import compose
from segkit.datasets.common import check_disjoint, describe_shared_groups, split_indices
from segkit.datasets.folder import Folder
from segkit.datasets.grouping import groups_of

DATA = Path(__file__).parents[2] / "shared" / "data"
MASK[1:4, 2:5] = 255


def test_splits_that_are_there_are_taken(three: Path) -> None:
    data = {split: Folder(three, split, ["crack"]) for split in SPLITS}
    assert [len(data[split]) for split in SPLITS] == [5, 2, 3]
    assert data["val"].names == ["valid/images/p05.png", "valid/images/p06.png"]
    assert data["val"].files[0].mask == three / "valid/masks/p05.png"
    published = Folder(three, "test", ["crack"], protocol="published")
    assert published.names == data["test"].names


def test_a_sample(three: Path) -> None:
    data = Folder(three, "test", ["crack"])
    sample = data[1]
    assert sample["name"] == "test/images/p08.png"
    assert sample["image"].shape == (3, 6, 8)
    assert sample["image"].dtype == sample["mask"].dtype == torch.uint8
    assert sample["image"].unique().tolist() == [8]
    assert np.array_equal(sample["mask"].numpy(), MASK // 255)
    assert data.shape(1) == (6, 8)
    assert data.classes == ("crack",)


def test_one_pair_of_folders_is_split_by_fractions_and_seed(one: Path) -> None:
    names = [Folder(one, split, ["crack"]).names for split in SPLITS]
    assert [len(part) for part in names] == [14, 3, 3]
    assert sorted(name for part in names for name in part) == [f"images/p{number:02}.png" for number in range(20)]
    assert names == [Folder(str(one), split, ["crack"]).names for split in SPLITS]
    assert names[0] != Folder(one, "train", ["crack"], split_seed=1).names
    halves = [len(Folder(one, split, ["crack"], fractions=[0.5, 0.25, 0.25])) for split in SPLITS]
    assert halves == [10, 5, 5]


def test_the_split_is_that_of_every_machine() -> None:
    """Pinned: if these numbers change, everybody's test pictures change."""
    assert split_indices(10, [0.5, 0.3, 0.2], seed=0) == ([0, 1, 2, 8, 9], [4, 6, 7], [3, 5])
    train, val, test = split_indices(200, [0.5, 0.25, 0.25], seed=3)
    assert [len(train), len(val), len(test)] == [100, 50, 50]
    assert sorted(train + val + test) == list(range(200))


@pytest.mark.parametrize("held_out", ["val", "valid", "test"])
def test_with_two_folders_the_second_is_scored_once(tmp_path: Path, held_out: str) -> None:
    fill(tmp_path / "train", 20)
    fill(tmp_path / held_out, 4, start=20)
    train, val, test = (Folder(tmp_path, split, ["crack"]) for split in SPLITS)
    assert [len(train), len(val), len(test)] == [18, 2, 4]
    assert sorted(train.names + val.names) == [f"train/images/p{number:02}.png" for number in range(20)]
    assert all(name.startswith(held_out + "/") for name in test.names)
    assert len(Folder(tmp_path, "val", ["crack"], holdout=0.25)) == 5
    other = Folder(tmp_path, "val", ["crack"], split_seed=1)
    assert other.names != val.names
    check_disjoint(train.files, val.files, test.files)


def test_the_published_protocol_chooses_on_what_it_scores(tmp_path: Path) -> None:
    fill(tmp_path / "train", 20)
    fill(tmp_path / "valid", 4, start=20)
    train, val, test = (Folder(tmp_path, split, ["crack"], protocol="published") for split in SPLITS)
    assert len(train) == 20
    assert val.names == test.names == [f"valid/images/p{number}.png" for number in range(20, 24)]
    check_disjoint(train.files, val.files, test.files)  # which is allowed here


def test_a_test_folder_alone_can_be_scored(tmp_path: Path) -> None:
    fill(tmp_path / "test", 2)
    assert len(Folder(tmp_path, "test", ["crack"])) == 2
    text = error_of(FileNotFoundError, tmp_path, "train")
    assert text.endswith("has no train folder, only test.\nAdd it, or choose a split that exists.")


def test_pairing_is_by_name_in_subfolders_and_free_of_extensions(tmp_path: Path) -> None:
    for name in ("b", "sub/a", "sub/c.d"):
        write(tmp_path / f"images/{name}.JPG", np.zeros((6, 8, 3)))
        write(tmp_path / f"masks/{name}_mask.bmp", MASK)
    for rubbish in ("images/.DS_Store", "images/Thumbs.db", "images/notes.txt", "masks/._b_mask.bmp"):
        (tmp_path / rubbish).write_text("no picture")
    data = Folder(tmp_path, "train", ["crack"], mask_suffix="_mask", fractions=[1, 0, 0])
    assert data.names == ["images/b.JPG", "images/sub/a.JPG", "images/sub/c.d.JPG"]
    assert data.files[2].mask == tmp_path / "masks/sub/c.d_mask.bmp"
    assert data[2]["mask"].sum() == 9


def test_a_missing_root_says_how_to_get_the_data(tmp_path: Path) -> None:
    text = error_of(FileNotFoundError, tmp_path / "nowhere", download="Get it from its makers.")
    assert text.startswith(f"dataset.root={tmp_path / 'nowhere'} does not exist; expected the folder")
    assert text.endswith("Get it from its makers.")


def test_another_layout_says_what_was_found_and_expected(tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    text = error_of(FileNotFoundError, tmp_path, download="Get it.")
    assert "holds pics; expected train, val (or valid) and test, each with images and masks in it" in text
    fill(tmp_path / "train", 2)
    assert "has a train folder and nothing to score on" in error_of(FileNotFoundError, tmp_path)
    fill(tmp_path / "val", 2)
    (tmp_path / "test" / "images").mkdir(parents=True)
    assert f"{tmp_path / 'test'} has no masks folder" in error_of(FileNotFoundError, tmp_path, "test")
    (tmp_path / "valid").mkdir()
    assert "has both a val and a valid folder" in error_of(ValueError, tmp_path)
    (tmp_path / "valid").rmdir()
    (tmp_path / "images").mkdir()
    assert "has an images folder and split folders (test, train, val)" in error_of(ValueError, tmp_path)


def test_folders_without_pictures_say_which_endings_are_read(tmp_path: Path) -> None:
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.heic").touch()
    text = error_of(ValueError, tmp_path)
    assert "hold no pictures but a.heic, a.heic; expected files ending in " in text
    assert " .png " in text


def test_partners_that_are_missing_are_listed_and_counted(one: Path) -> None:
    for number in (3, 5, 7, 9):
        (one / f"masks/p{number:02}.png").unlink()
    (one / "images/p11.png").unlink()
    text = error_of(ValueError, one)
    assert text.startswith("5 findings in the data set:\n4 images without a mask:\n")
    assert all(f"{one / 'images' / name}.png has no mask.\n" in text for name in ("p03", "p05", "p07", "p09"))
    assert f"1 mask without an image:\n  {one / 'masks/p11.png'} has no image.\n" in text
    assert "same name up to the extension" in text


def test_a_suffix_of_the_masks_is_recognised_and_named(tmp_path: Path) -> None:
    fill(tmp_path, 4, suffix="_mask")
    text = error_of(ValueError, tmp_path, mask_suffix="_gt")
    assert "The masks' names end in _mask: set dataset.mask_suffix=_mask." in text
    assert len(Folder(tmp_path, "train", ["crack"], fractions=[1, 0, 0])) == 4


def test_two_pictures_of_one_name(one: Path) -> None:
    write(one / "images/p03.jpg", np.zeros((6, 8, 3)))
    text = error_of(ValueError, one)
    assert re.search(r"p03\.jpg and .*p03\.png have the same name", text)
    assert "Remove or rename" in text


def test_sizes_that_differ(tmp_path: Path) -> None:
    write(tmp_path / "test/images/a.png", np.zeros((6, 8, 3)))
    mask = write(tmp_path / "test/masks/a.png", MASK.repeat(2, 0).repeat(2, 1))
    text = error_of(ValueError, tmp_path, "test")
    assert text == (
        f"mask {mask} is 16×12 but its image {tmp_path / 'test/images/a.png'} is 8×6.\n"
        "Masks must match their images; if they only differ in scale, set dataset.resize_masks=true."
    )
    resized = Folder(tmp_path, "test", ["crack"], resize_masks=True)[0]["mask"]
    assert np.array_equal(resized.numpy(), MASK // 255)
    write(mask, np.zeros((6, 9)))
    assert Folder(tmp_path, "test", ["crack"], resize_masks=True)[0]["mask"].shape == (6, 8)  # rounding
    write(mask, np.zeros((8, 6)))
    text = error_of(ValueError, tmp_path, "test", resize_masks=True)
    assert "differ in shape, not only in scale" in text
    assert "lies on its side" in text
    assert "EXIF" in text


def test_masks_that_do_not_fit_the_classes_name_file_values_and_classes(tmp_path: Path) -> None:
    fill(tmp_path / "test", 1, mask=MASK // 255 * 2)
    text = error_of(ValueError, tmp_path, "test")
    assert re.search(r"masks.p00\.png has no value above dataset\.threshold=127: its values are 0, 2\.", text)
    assert "If that is meant, type dataset.threshold=0." in text
    text = error_of(ValueError, tmp_path, "test", classes=["road", "car"])
    assert re.search(r"p00\.png has the values 2 \(of 0, 2\), but dataset\.classes names 2 classes", text)
    assert "road, car" in text
    assert "'dataset.ignore_values=[2]' (these pixels are ignored) or 'dataset.classes=[background,road,car]'" in text
    assert Folder(tmp_path, "test", ["a", "b", "c"])[0]["mask"].unique().tolist() == [0, 2]
    ignored = Folder(tmp_path, "test", ["a", "b"], ignore_values=[2])
    assert ignored[0]["mask"].unique().tolist() == [0, 255]


def test_damaged_files_are_named(three: Path) -> None:
    image = three / "test/images/p07.png"
    whole = image.read_bytes()
    image.write_bytes(whole[:48])
    assert str(image) + " cannot be read" in error_of(ValueError, three, "test")
    image.write_bytes(whole)
    (three / "test/masks/p08.png").write_bytes(b"")
    assert "p08.png is empty (0 bytes)" in error_of(ValueError, three, "test")


@pytest.mark.parametrize("fractions", [[0.7, 0.15, 0.2], [0.5, 0.5], [1.2, -0.1, -0.1]])
def test_fractions_must_sum_to_one(one: Path, fractions: list[float]) -> None:
    text = error_of(ValueError, one, fractions=fractions)
    assert text.startswith(f"dataset.fractions={fractions} sum to ")
    assert "sum to 1, such as [0.7, 0.15, 0.15]" in text


def test_an_empty_split_says_what_the_fractions_give(one: Path) -> None:
    text = error_of(ValueError, one, "val", fractions=[0.98, 0.01, 0.01])
    assert "the val split is empty: 20 pictures split by [0.98, 0.01, 0.01] give 20 train, 0 val, 0 test" in text
    assert len(Folder(one, "test", ["crack"], fractions=[0, 0, 1])) == 20  # all of them for scoring


def test_an_empty_holdout_names_its_setting(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "valid", 1, start=3)
    text = error_of(ValueError, tmp_path, "val")
    assert "3 pictures split by [0.9, 0.1, 0.0] give 3 train, 0 val, 0 test" in text
    assert "dataset.holdout" in text


def test_settings_that_cannot_be(three: Path) -> None:
    assert "split='valid'; expected one of train, val, test" in error_of(ValueError, three, "valid")
    assert "dataset.protocol=x; expected honest" in error_of(ValueError, three, protocol="x")
    assert "dataset.holdout=1; expected the share" in error_of(ValueError, three, holdout=1.0)
    text = error_of(ValueError, three, palette=[[1, 2, 3]] * 2)
    assert "dataset.palette has 2 colours; expected an [r, g, b] for each of the 1 classes" in text


def test_colours_to_show(three: Path) -> None:
    red = (255, 0, 0)
    assert Folder(three, "test", ["crack"]).colors is None
    assert Folder(three, "test", ["crack"], palette=[red]).colors == (red,)
    assert Folder(three, "test", ["crack"], colors=[[0, 0, 0], red]).colors == (red,)
    table = {"b": [1, 1, 1], "a": red}
    assert Folder(three, "test", ["a", "b"], colors=table).colors == (red, (1, 1, 1))


def needs(folder: str) -> Path:
    if not (DATA / folder).is_dir():
        pytest.skip(f"no data in ../shared/data/{folder}")
    return DATA / folder


def shares(data: Folder) -> np.ndarray:
    counts = np.zeros(256)
    for index in range(len(data)):
        sample = data[index]
        assert tuple(sample["image"].shape[1:]) == tuple(sample["mask"].shape) == data.shape(index)
        counts += np.bincount(sample["mask"].numpy().ravel(), minlength=256)
    share: np.ndarray = counts / counts.sum()
    return share


@pytest.mark.real_data
def test_real_crack() -> None:
    root = needs("crack")
    train, val, test = (Folder(root, split, ["crack"]) for split in SPLITS)
    assert [len(train), len(val), len(test)] == [65, 7, 46]
    whole = Folder(root, "train", ["crack"], protocol="published")
    assert len(whole) == 72
    assert shares(whole)[1] == pytest.approx(0.016, abs=5e-4)
    assert shares(test)[1] == pytest.approx(0.033, abs=5e-4)
    check_disjoint(train.files, val.files, test.files)
    with pytest.raises(ValueError, match="compressed with loss"):
        Folder(root, "train", ["background", "crack"])[0]


@pytest.mark.real_data
def test_real_deepcrack() -> None:
    data = [Folder(needs("deepcrack"), split, ["crack"]) for split in SPLITS]
    assert [len(part) for part in data] == [808, 200, 254]
    assert {data[2].shape(index) for index in range(254)} == {(128, 181), (181, 128)}
    assert shares(data[1])[1] == pytest.approx(0.0635, abs=5e-4)
    check_disjoint(*(source.files for source in data))


@pytest.mark.real_data
def test_real_camvid() -> None:
    classes = [str(index) for index in range(11)]
    data = [Folder(needs("camvid"), split, classes, ignore_values=[11]) for split in SPLITS]
    assert [len(part) for part in data] == [367, 101, 233]
    share = shares(data[1])
    assert np.flatnonzero(share).tolist() == [*range(11), 255]
    assert share[3] == share.max()  # the road
    with pytest.raises(ValueError, match=r"has the values 11 .* names 11 classes"):
        Folder(DATA / "camvid", "train", classes)[0]


def test_groups_are_what_a_pattern_finds_and_stay_together(tmp_path: Path) -> None:
    for patient in range(8):
        for eye in "LR":
            write(tmp_path / "images" / f"child{patient}-{eye}.png", np.full((6, 8, 3), patient))
            write(tmp_path / "masks" / f"child{patient}-{eye}.png", MASK)
    parts = [Folder(tmp_path, split, ["crack"], groups=r"(child\d+)-") for split in SPLITS]
    assert parts[0].groups[:2] == [parts[0].names[0].removeprefix("images/").partition("-")[0]] * 2
    members = [set(part.groups) for part in parts]
    assert sum(map(len, members)) == len(set.union(*members)) == 8
    assert [len(part) for part in parts] == [12, 2, 2]
    together: dict[str, Folder] = dict(zip(SPLITS, parts, strict=True))
    assert describe_shared_groups(together) == ""
    apart: dict[str, Folder] = {split: Folder(tmp_path, split, ["crack"]) for split in SPLITS}
    assert apart["train"].groups == []
    for part in apart.values():
        part.groups = groups_of(part.names, r"child\d+")  # without a capture group it is the whole match
    shared = describe_shared_groups(apart)
    assert re.search(r"groups of pictures are spread over several splits: \d in train and", shared)
    with pytest.raises(
        ValueError, match=r"dataset\.groups=\(eye\) finds no group in images/child\d-L\.png and 15 more"
    ):
        Folder(tmp_path, "train", ["crack"], groups="(eye)")
    with pytest.raises(ValueError, match=r"dataset\.groups=\(: not a regular expression"):
        Folder(tmp_path, "train", ["crack"], groups="(")


def test_groups_of_one_picture_are_split_as_pictures_are() -> None:
    names = [str(number) for number in range(57)]
    for seed in range(20):
        assert split_indices(57, (0.7, 0.15, 0.15), seed, names) == split_indices(57, (0.7, 0.15, 0.15), seed)


@pytest.mark.parametrize(
    ("name", "path", "group"),
    [
        ("deepcrack", "test/images/11142-2-0.jpg", "11142"),
        ("deepcrack", "val/images/IMG_6469-10-1.jpg", "IMG_6469"),
        ("camvid", "test/images/0016E5_07959.jpg", "0016E5"),
        ("crack", "valid/images/CFD_073.jpg", "CFD_073.jpg"),
    ],
)
def test_the_data_sets_know_their_photographs_and_videos(name: str, path: str, group: str) -> None:
    pattern = compose(f"dataset={name}", "dataset.root=x").dataset.groups
    assert groups_of([path], pattern) == [group]
