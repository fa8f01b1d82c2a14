"""A file that names each picture and its mask: `dataset.pairs`."""

from pathlib import Path

import numpy as np
import pytest
from folders import SPLITS
from layouts import names, pairs_of, read, touch
from miniatures import save

from segkit.datasets.folder import Folder


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Pictures and masks whose names do not tell that they belong together."""
    return touch(tmp_path / "data", names("p/a{n}.jpg", "m/{c}.png", c="vwxyz"))


PAIRS = {
    "p/a1.jpg": "m/v.png",
    "p/a2.jpg": "m/w.png",
    "p/a3.jpg": "m/x.png",
    "p/a4.jpg": "m/y.png",
    "p/a5.jpg": "m/z.png",
}


@pytest.mark.parametrize(
    ("head", "separator"),
    [
        ("image,mask", ","),
        ("", ","),
        ("# a list", " "),
        ("mask file\tPicture\tnote", "\t"),
        ("\ufeffImages;labels", ";"),
        ("", "\t"),
    ],
)
def test_a_file_of_pairs_is_read_with_any_separator_and_header(listed: Path, head: str, separator: str) -> None:
    turned = head.startswith("mask")
    rows = [[mask, image, "n"] if turned else [image, mask] for image, mask in PAIRS.items()]
    text = "\n".join([head, *(separator.join(row) for row in reversed(rows)), ""])
    (listed / "pairs.txt").write_text(text)
    layout = read(listed, pairs="pairs.txt")
    assert pairs_of(layout) == {"": [*PAIRS.items()]}
    assert layout.reading == f"5 pictures and their masks as {listed / 'pairs.txt'} pairs them"


def test_a_file_of_pairs_names_splits_and_groups(listed: Path) -> None:
    splits, groups = ("train", "Training", "train", "valid", "test"), ("one", "one", "two", "", "three")
    rows = [
        f"{image},{mask},{split},{group}"
        for (image, mask), split, group in zip(PAIRS.items(), splits, groups, strict=True)
    ]
    (listed / "pairs.csv").write_text("\n".join(["image,mask,split,group", *rows]))
    data = {split: Folder(listed, split, pairs="pairs.csv") for split in SPLITS}
    assert {split: source.names for split, source in data.items()} == {
        "train": ["p/a1.jpg", "p/a2.jpg", "p/a3.jpg"],
        "val": ["p/a4.jpg"],
        "test": ["p/a5.jpg"],
    }
    assert {split: source.groups for split, source in data.items()} == {
        "train": ["one", "one", "two"],
        "val": ["p/a4.jpg"],
        "test": ["three"],
    }
    halves = [f"{image},{mask},{'ab'[at // 3]}" for at, (image, mask) in enumerate(PAIRS.items())]
    (listed / "pairs.csv").write_text("\n".join(["image,mask,group", *halves]))
    train, val = (Folder(listed, split, pairs="pairs.csv", fractions=[0.5, 0.5, 0]) for split in ("train", "val"))
    assert {*train.groups}.isdisjoint(val.groups)
    assert len(train) + len(val) == 5
    assert Folder(listed, "train", pairs="pairs.csv", fractions=[1, 0, 0], groups=r"a\d").groups[0] == "a1"


def test_names_in_a_file_of_pairs_are_looked_up_in_the_folders_that_are_named(listed: Path) -> None:
    (listed / "lists").mkdir()
    (listed / "lists/some.txt").write_text("a1.jpg v.png\na2.jpg w.png\n")
    layout = read(listed, pairs="lists/some.txt", images="p", masks="m")
    assert pairs_of(layout)[""] == [("p/a1.jpg", "m/v.png"), ("p/a2.jpg", "m/w.png")]
    (listed / "p/pairs.txt").write_text(f"a1.jpg {listed / 'm/v.png'}\n")
    assert pairs_of(read(listed, pairs="p/pairs.txt"))[""] == [("p/a1.jpg", "m/v.png")]


WRONG = {
    "image,masque\np/a1.jpg,m/v.png": "without a column mask; expected the columns image and mask",
    "image,mask\np/a1.jpg,m/v.png\np/a1.jpg,m/w.png": "lines 2 and 3 name the same picture",
    "image,mask\np/a1.jpg,m/v.png\n./p/a1.jpg,m/w.png": "lines 2 and 3 name the same picture",
    "p/a1.jpg,../secret.png": "line 1: the mask ../secret.png is outside of",
    "/etc/passwd,m/v.png": "line 1: the image /etc/passwd is outside of",
    "p/../../secret.png,m/v.png": "line 1: the image p/../../secret.png is outside of",
    "image,mask\np/a1.jpg,m/none.png\np/a9.jpg,m/w.png": "2 files of dataset.pairs that are not there",
    "image,mask,split\np/a1.jpg,m/v.png,holdout": "line 2: its split is 'holdout'; expected train, val or test",
    "image,mask\np/a1.jpg,": "line 2 names no mask",
    "image,mask\np/a1.jpg": "line 2 has 1 cells and the first has 2",
    "p/a1.jpg\np/a2.jpg": "its first line has one cell, 'p/a1.jpg'",
    "image,photo,mask\na,b,c": "its columns 'image' and 'photo' may both be the image",
    "image,mask": "has a header and no line below it",
    "": "is empty; expected the columns image and mask",
    'p/a1.jpg,"m/v.png': "line 1: unexpected end of data",
    "image,mask,split\np/a1.jpg,m/v.png,test": "has no train folder, only test",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_file_of_pairs_that_is_wrong_is_named_with_its_line(text: str, listed: Path) -> None:
    (listed / "pairs.csv").write_text(text)
    save(listed.parent / "secret.png", np.zeros((8, 8), np.uint8))
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        Folder(listed, "train", pairs="pairs.csv", fractions=[1, 0, 0])
    assert WRONG[text] in str(error.value)


def test_a_file_of_pairs_elsewhere_is_the_users_own(listed: Path, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.txt"
    path.write_text("p/a1.jpg m/v.png\n")
    assert len(Folder(listed, "train", pairs=str(path), fractions=[1, 0, 0], follow_links=True)) == 1
    with pytest.raises(FileNotFoundError, match=r"is read only if your own command line names the root"):
        Folder(listed, "train", pairs=str(path), fractions=[1, 0, 0])
    with pytest.raises(FileNotFoundError, match=r"there is no such file, neither below dataset\.root="):
        Folder(listed, "train", pairs="none.txt", fractions=[1, 0, 0], follow_links=True)
    (listed / "inside.txt").symlink_to(path)
    with pytest.raises(FileNotFoundError, match=r"no such file below dataset\.root"):
        Folder(listed, "train", pairs="inside.txt", fractions=[1, 0, 0])
