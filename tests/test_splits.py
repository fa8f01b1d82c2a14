"""Splits with similar shares of classes, and splits that a file states."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.datasets.common import Split, split_indices, units_of
from segkit.datasets.folder import Folder
from segkit.datasets.masks import MaskValues
from segkit.datasets.splitting import pick_named
from segkit.datasets.strata import Strata, balance, read_strata, strata_of

THIRDS, USUAL = (1 / 3, 1 / 3, 1 / 3), (0.7, 0.15, 0.15)
SPLITS: tuple[Split, ...] = ("train", "val", "test")
SEEDS = range(8)


def draw(count: int, classes: int, seed: int) -> list[Strata]:
    """What `count` pictures show: the later a class, the rarer."""
    rng = np.random.default_rng(seed)
    shares = rng.exponential(20000, (count, classes)) * (rng.random((count, classes)) < 1 / (np.arange(classes) + 1))
    return [tuple(int(value) for share in row for value in (share, share >= 1)) for row in shares]


def distance(parts: Sequence[Sequence[int]], strata: Sequence[Strata]) -> float:
    """How far the means of parts are from the mean of all, in standard errors, on average."""
    rows = np.array(strata, dtype=float)
    rows = rows[:, rows.std(0) > 0]
    return float(np.mean([abs(rows[part].mean(0) - rows.mean(0)) / (rows.std(0) / len(part) ** 0.5) for part in parts]))


def test_shares_by_hand() -> None:
    mask = np.array([[0, 1, 1, 255], [0, 0, 0, 255]], np.uint8)
    assert strata_of(mask, 1) == (333333, 1)  # 2 of the 6 pixels that count
    assert strata_of(mask, 3) == (666666, 1, 333333, 1, 0, 0)
    assert strata_of(mask * 0 + 255, 1) == (0, 0)


def test_two_pictures_change_places() -> None:
    strata: list[Strata] = [(100, 1), (90, 1), (10, 1), (0, 0)]
    found = balance([[0, 1], [2, 3], []], (0.5, 0.5, 0), units_of(4), strata)
    assert sorted(found[0]) in ([0, 3], [1, 2])  # means of 50 and 50
    assert found[2] == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [1, 4])
def test_classes_have_similar_shares(seed: int, classes: int) -> None:
    strata = draw(200, classes, seed)
    parts = split_indices(200, USUAL, seed)
    found = balance(parts, USUAL, units_of(200), strata)
    assert sorted(index for part in found for index in part) == [*range(200)]
    assert [len(part) for part in found] == [140, 30, 30]
    assert distance(found, strata) < 0.25
    assert distance(parts, strata) > 2 * distance(found, strata)
    assert found == balance(parts, USUAL, units_of(200), strata)


@pytest.mark.parametrize("seed", SEEDS)
def test_groups_stay_whole(seed: int) -> None:
    names = [str(number // (1 + number % 5)) for number in range(120)]
    strata, units = draw(120, 2, seed), units_of(120, names)
    parts = split_indices(120, USUAL, seed, names)
    found = balance(parts, USUAL, units, strata)
    members = [{names[index] for index in part} for part in found]
    assert sum(map(len, members)) == len(set.union(*members)) == len(units)
    assert distance(found, strata) < distance(parts, strata)
    assert all(abs(len(part) - 120 * share) < 12 for part, share in zip(found, USUAL, strict=True))


def test_a_rare_class_is_in_each_part_if_there_are_units_enough() -> None:
    strata: list[Strata] = [(1000, 1, 50 * (number < 3), int(number < 3)) for number in range(60)]
    for seed in SEEDS:
        found = balance(split_indices(60, USUAL, seed), USUAL, units_of(60), strata)
        assert [sum(strata[index][3] for index in part) for part in found] == [1, 1, 1]
    strata = [(1000, 1, 50 * (number < 2), int(number < 2)) for number in range(60)]
    balance(split_indices(60, USUAL, 0), USUAL, units_of(60), strata)  # two pictures cannot be in three parts


def test_shares_of_masks_are_read_once_and_damaged_ones_count_as_empty(tmp_path: Path) -> None:
    mask = np.zeros((4, 4), np.uint8)
    mask[:2] = 255
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.fromarray(mask).save(path)
    paths[1].write_bytes(b"")
    values = MaskValues(["crack"])
    assert read_strata(paths, values) == [(500000, 1), (0, 0), (500000, 1)]
    mask[:] = 0
    Image.fromarray(mask).save(paths[2])
    assert read_strata(paths, values)[2] == (0, 0)  # the file has changed
    assert read_strata([paths[0]], MaskValues(["a", "b"], colors=[[0, 0, 0], [255, 255, 255]])) == [(500000, 1) * 2]


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """Forty pictures, of which the first ten show much."""
    for number in range(40):
        mask = np.zeros((20, 20), np.uint8)
        mask[: 15 if number < 10 else 1] = 255
        for kind, pixels in (("images", np.full((20, 20, 3), number, np.uint8)), ("masks", mask)):
            (tmp_path / kind).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / kind / f"p{number:02}.png")
    return tmp_path


def test_a_folder_is_stratified_if_asked_and_only_then(one: Path) -> None:
    plain = [Folder(one, split, split_seed=1) for split in SPLITS]
    assert [part.names for part in plain] == [
        [f"images/p{index:02}.png" for index in part] for part in split_indices(40, USUAL, 1)
    ]
    fair = [Folder(one, split, split_seed=1, stratify=True) for split in SPLITS]
    assert sorted(name for part in fair for name in part.names) == sorted(name for part in plain for name in part.names)
    much = [sum(name < "images/p10" for name in part.names) for part in fair]
    assert sorted(much[1:]) in ([1, 2], [2, 2], [1, 1])
    assert [len(part) for part in fair] == [28, 6, 6]


def test_a_holdout_is_stratified(one: Path) -> None:
    for kind in ("images", "masks"):
        (one / "train").mkdir(exist_ok=True)
        (one / kind).rename(one / "train" / kind)
        (one / "test" / kind).mkdir(parents=True)
        (one / "train" / kind / "p00.png").rename(one / "test" / kind / "p00.png")
    val = Folder(one, "val", holdout=0.2, stratify=True)
    assert len(val) == 8
    assert sum(name < "train/images/p10" for name in val.names) == 2  # 9 of 39 show much


NAMES = [f"images/{folder}/{name}.png" for folder in "ab" for name in ("x", "y", "z")]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_a_file_states_the_split(tmp_path: Path) -> None:
    table = write(
        tmp_path / "s.csv", "name,split\na/x,train\na/y.png,Training\nimages/a/z.png,valid\nb/x,test\nb/y,train\n"
    )
    assert [pick_named(NAMES, split, table) for split in SPLITS] == [[0, 1, 4], [2], [3]]  # b/z is in none
    listed = write(tmp_path / "s.json", '{"train": ["a/x"], "val": ["a/y", "b/y"], "test": ["a/y", "b/y"]}')
    assert pick_named(NAMES, "val", listed) == pick_named(NAMES, "test", listed) == [1, 4]
    other = write(tmp_path / "t.csv", "weight,Image,Split\n1,a/x,train\n2,b/x,val\n3,b/y,test\n")
    assert pick_named(NAMES, "test", other) == [4]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name,split\nx,train\n", r"x may be images/a/x\.png and images/b/x\.png"),
        (
            "name,split\na/q,train\na/w,test\n",
            r"names a/q and 1 more of its 2 pictures, not among the 6 .* images/a/x\.png",
        ),
        ("name,split\na/x,train\na/x,test\n", r"puts images/a/x\.png into train and another split"),
        ("name,split\na/x,train\na/x,train\n", "names a/x twice"),
        ("name,split\na/x,holdout\n", "the split 'holdout'; expected train, val or test"),
        ("name,split\na/x,train\n", "puts no picture into val"),
        ("name;split\na/x;train\n", "the columns name;split; expected a header with name and split"),
        ("name\na/x\n", "the columns name; expected"),
        ("", "the columns of no row; expected"),
        ("name,split\na/x\n", "cut short or damaged"),
    ],
)
def test_a_file_that_says_something_else_is_an_error(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        pick_named(NAMES, "val", write(tmp_path / "s.csv", text))


@pytest.mark.parametrize(
    "text", ["[]", '{"train": "a/x"}', '{"train": [1]}', '{"train": ["a/x"', '{"a": {"b": ["c"]}}']
)
def test_other_json_is_an_error(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"s\.json"):
        pick_named(NAMES, "val", write(tmp_path / "s.json", text))


def test_a_split_is_repeated_from_its_file_whatever_folders_there_are(one: Path) -> None:
    before = [Folder(one, split, split_seed=3).names for split in SPLITS]
    rows = [
        f"{name.removeprefix('images/')},{split}" for split, names in zip(SPLITS, before, strict=True) for name in names
    ]
    table = write(one / "split.csv", "\n".join(["name,split", *rows]) + "\n")
    assert [Folder(one, split, split_file=table).names for split in SPLITS] == before
    for kind in ("images", "masks"):
        (one / "train").mkdir(exist_ok=True)
        (one / kind).rename(one / "train" / kind)
        (one / "test" / kind).mkdir(parents=True)
        (one / "train" / kind / "p05.png").rename(one / "test" / kind / "p05.png")
    again = [{name.rpartition("/")[2] for name in Folder(one, split, split_file=table).names} for split in SPLITS]
    assert again == [{name.rpartition("/")[2] for name in names} for names in before]
    with pytest.raises(FileNotFoundError, match=r"dataset\.split_file=.*nowhere\.csv: there is no such file"):
        Folder(one, "train", split_file=one / "nowhere.csv")
