"""Groups of pictures: what a setting finds in names, what names suggest, and whether that explains twins."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from conftest import segkit, write_pair

from segkit.datasets.folder import Folder
from segkit.datasets.grouping import describe_useless_groups, groups_of
from segkit.datasets.numbering import count_twins, find_groups, folders_of, propose_groups
from segkit.security.kinds import is_plain_pattern

DATA = Path(__file__).parents[2] / "shared" / "data"


def numbered(pattern: str, *ranges: Sequence[object]) -> list[str]:
    """Names from a pattern with {0}, {1}, … for all combinations."""
    found: list[tuple[object, ...]] = [()]
    for values in ranges:
        found = [(*before, value) for before in found for value in values]
    return [pattern.format(*values) for values in found]


EXPOSURES = numbered("exp{1}_num_{0}.jpg", [100000 + 977 * number for number in range(57)], range(1, 7))
PROPOSED = {
    "slices": (numbered("images/scan_{:03}_slice_{:03}.png", range(7), range(10)), r"(scan_\d+)_", 7),
    "three scans": (numbered("images/scan_{:03}_slice_{:03}.png", range(3), range(10)), r"(scan_\d+)_", 3),
    "letters": (numbered("IMG_{}_{}.png", range(3, 29), "abc"), r"(IMG_\d+)_", 26),
    "eyes": (numbered("Image_{:02}{}.jpg", range(1, 15), "LR"), r"(Image_\d+)", 14),
    "folders": (numbered("train/images/patient_{}/{:03}.png", range(9), range(5)), "folder:1", 9),
    "visits": (numbered("p{}/v{}/{:03}.png", range(9), range(3), range(5)), "folder:1", 9),
    "sites of folders": (numbered("site{}/p{}/{}.png", range(2), range(9), range(5)), "folder:2", 18),
    "exposures": (EXPOSURES, r"exp\d+_(num_\d+)", 57),
    "sites": (numbered("site{}_p{:03}_s{}.png", "AB", range(20), range(4)), r"([^\d/_-]+_p\d+)_", None),
    "dates": (numbered("CRACK500_20160222_0810{}_{}_361.jpg", range(10, 20), range(8)), None, 10),
    "videos": (numbered("video{}_frame{:05}.png", range(12), range(0, 300, 30)), r"(video\d+)_", 12),
    "mixed": (
        numbered("IMG_64{}-{}-{}.jpg", range(20, 24), range(3), "01") + numbered("111{}-{}-0.jpg", "23", range(4)),
        r"([^/-]+)-[^/]*\.",
        6,
    ),
    "exported copies": (
        [f"IMG_{at}_jpg.rf.{hash_}.jpg" for at in range(9) for hash_ in ("0a1", "b2", "33c9")],
        r"([^/.]+)\.[^/]*\.",
        9,
    ),
}


@pytest.mark.parametrize("name", PROPOSED)
def test_numbering_and_folders_suggest_groups(name: str) -> None:
    names, setting, groups = PROPOSED[name]
    found = propose_groups(names)
    assert found is not None
    assert found.setting == (setting or found.setting)
    assert found.groups == (groups or found.groups)
    assert is_plain_pattern(found.setting)
    assert len({*groups_of(names, found.setting)}) == found.groups
    assert found == propose_groups(names[::-1])._replace(example=found.example)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "names",
    [
        numbered("images/{:03}.png", range(60)),
        numbered("images/IMG_{:04}.jpg", range(60)),
        numbered("frame{}.png", range(60)),
        numbered("training/images/{}_training.tif", range(21, 41)),
        numbered("IMG_201602{}_08{}11.jpg", range(10, 20), range(10, 40)),  # days
        numbered("2016-02-{} 08.{}.15.jpg", range(10, 20), range(10, 40)),
        numbered("images/{}_{}.jpg", ("pug", "great_pyrenees", "beagle", "Bombay"), range(50)),  # kinds
        numbered("images/{}/{}.jpg", ("pug", "great_pyrenees", "beagle", "Bombay"), range(50)),
        numbered("scan_{:03}_slice_{:03}.png", range(2), range(30)),  # too few to be split
        numbered("{}{:02}.png", "ABCDEFGH", range(1, 13)),
        [f"{number * 7919 % 65536:04x}-{number * 104729 % 65536:04x}.jpg" for number in range(60)],
        ["a.png"],
        [],
    ],
)
def test_nothing_else_is_suggested(names: list[str]) -> None:
    assert propose_groups(names) is None


def test_a_proposal_says_what_it_does_and_what_to_type() -> None:
    names = [*numbered("scan_{:03}_slice_{}.png", range(6), range(4)), "scan_000_slice_9.png"]
    found = propose_groups(names)
    assert found is not None
    assert found.counts == "6 groups of 4 to 5 pictures (one is scan_000)"
    assert found.argument == r'''"dataset.groups='(scan_\d+)_'"'''


def test_twins_decide_between_divisions() -> None:
    names = numbered("p{}/scan_{}_{}.png", range(6), range(5), "ab")
    assert propose_groups(names).setting == "folder:1"  # type: ignore[union-attr]
    across = [(f"p0/scan_{scan}_a.png", f"p1/scan_{scan}_b.png") for scan in range(5)]
    found = propose_groups(names, across)
    assert found is not None
    assert found.setting == r"(scan_\d+)_"
    groups = groups_of(names, "folder:1")
    apart = count_twins(names, groups, across)
    assert (apart.within, apart.across, apart.explained) == (0, 5, False)
    assert apart.example == ("p0/scan_0_a.png", "p1/scan_0_b.png")
    within = count_twins(names, groups, [("p0/scan_0_a.png", "p0/scan_3_b.png"), ("p0/scan_0_a.png", "elsewhere.png")])
    assert (within.within, within.across, within.explained) == (1, 0, True)
    assert not count_twins(names, groups, []).explained


def test_exposures_are_twins_within_their_groups() -> None:
    """The same piece at several exposures, as a factory has it."""
    twins = [(EXPOSURES[at], EXPOSURES[at + 1]) for at in range(0, 342, 6)]
    found = propose_groups(EXPOSURES, twins)
    assert found is not None
    assert count_twins(EXPOSURES, groups_of(EXPOSURES, found.setting), twins).explained
    assert not count_twins(EXPOSURES, groups_of(EXPOSURES, r"(exp\d)"), twins).explained


def test_twins_decide_which_of_two_numbers_names_the_piece() -> None:
    names = numbered("exp{}_part{:02}.tif", range(1, 4), range(1, 21))
    assert propose_groups(names).setting == r"(exp\d+)_"  # type: ignore[union-attr]
    twins = [(f"exp1_part{part:02}.tif", f"exp2_part{part:02}.tif") for part in range(1, 21)]
    assert propose_groups(names, twins).setting == r"exp\d+_(part\d+)"  # type: ignore[union-attr]
    assert propose_groups(names, [("exp1_part01.tif", "exp2_part05.tif")]) is None  # which no division explains


def test_levels_of_folders() -> None:
    assert folders_of("train/images/p1/left/a.png") == ["p1", "left"]
    assert folders_of("Images/Test/a.png") == []
    assert folders_of("p1/images/a.png") == ["p1", "images"]
    names = ["train/images/p1/left/a.png", "test/images/p1/right/a.png", "images/p2/left/a.png"]
    assert find_groups(names, "folder:1") == ["p1", "p1", "p2"]
    assert find_groups(names, "folder:2") == ["p1/left", "p1/right", "p2/left"]
    with pytest.raises(
        ValueError, match=r"groups=folder:3 finds no group in train/images/p1/left/a\.png and 2 more of 3"
    ):
        groups_of(names, "folder:3", "groups")


def fill(folder: Path, names: Sequence[str]) -> None:
    for number, name in enumerate(names):
        write_pair(folder / "images", folder / "masks", name, number)


def test_a_setting_that_does_not_fit_names_examples_and_what_to_type(tmp_path: Path) -> None:
    fill(tmp_path, [name.removesuffix(".png") for name in numbered("scan_{:03}_slice_{}.png", range(6), range(3))])
    remedy = r'The names suggest 6 groups of 3 pictures (one is scan_000): type "dataset.groups=\'(scan_\d+)_\'".'
    for setting, words in (
        ("(patient)", "finds no group in images/scan_000_slice_0.png and 17 more of 18 pictures"),
        ("(scan)", "finds one group, scan, in all 18 pictures, such as images/scan_000_slice_0.png"),
    ):
        with pytest.raises(ValueError, match=r"dataset\.groups=null treats every picture as independent") as error:
            Folder(tmp_path, "train", groups=setting)
        assert words in str(error.value)
        assert remedy.replace("\\'", "'") in str(error.value)
    names = Folder(tmp_path, "train").names
    text = describe_useless_groups(names, groups_of(names, r"(scan_\d+_slice_\d)"), r"(scan_\d+_slice_\d)")
    assert f"finds a group of its own in each of {len(names)} pictures, such as scan_" in text
    assert describe_useless_groups(names, groups_of(names, "[^/]+$"), "[^/]+$") == ""  # as `crack` says on purpose
    assert describe_useless_groups(names, groups_of(names, r"(scan_\d+)"), r"(scan_\d+)") == ""
    assert "finds one group, scan, in all" in describe_useless_groups(names, ["scan"] * len(names), "scan")
    assert describe_useless_groups(names, [], None) == ""


def test_split_scores_and_report_go_by_groups(tmp_path: Path) -> None:
    """From the command line to the column of per_image.csv."""
    fill(tmp_path / "data", [name.removesuffix(".png") for name in numbered("p{:02}_{}.png", range(12), "abc")])
    words = ["dataset=folder", f"dataset.root={tmp_path}/data", r"dataset.groups='(p\d+)_'", "dataset.stratify=true"]
    tiny = ["dataset.size=32", "dataset.batch_size=4", "model.net.widths=[4,8]", "trainer.max_epochs=1", "logger=[]"]
    done = segkit(*words, *tiny, f"hydra.run.dir={tmp_path}/runs/one", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    split = json.loads((tmp_path / "runs/one/split.json").read_text())
    members = [{name[7:10] for name in names} for names in split.values()]
    assert sum(map(len, members)) == len(set.union(*members)) == 12
    head, *rows = (tmp_path / "runs/one/per_image.csv").read_text().splitlines()
    assert head.startswith("name,group,")
    assert {row.split(",")[1] for row in rows} == members[2]
    assert "groups of pictures are spread" not in done.stderr
    # the same split from its file, without groups and with another seed
    again = ["dataset=folder", f"dataset.root={tmp_path}/data", f"dataset.split_file={tmp_path}/runs/one/split.json"]
    done = segkit(*again, *tiny, "dataset.split_seed=7", f"hydra.run.dir={tmp_path}/runs/two", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "runs/two/split.json").read_text()) == split
    done = segkit(f"run={tmp_path}/runs/two", "accelerator=cpu", module="evaluate", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = segkit(
        f"runs={tmp_path}/runs/*", r"groups='(p\d+)_'", f"output={tmp_path}/page", module="report", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    done = segkit(*words[:2], r"dataset.groups='(p\d+_.)'", module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "finds a group of its own in each of 36 pictures" in " ".join(done.stderr.split())


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "pattern", "groups"),
    [
        ("deepcrack", "*/images/*", 50),
        ("crack", "*/images/*", None),
        ("camvid", "*/images/*", 4),
        ("chasedb1", "*.jpg", 14),
    ],
)
def test_real_names(folder: str, pattern: str, groups: int | None) -> None:
    names = sorted(path.relative_to(DATA / folder).as_posix() for path in (DATA / folder).glob(pattern))
    if not names:
        pytest.skip(f"{DATA / folder} is missing")
    found = propose_groups(names)
    assert (found.groups if found else None) == groups
