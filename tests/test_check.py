"""The command `check`: what it writes, the sheet that shows what the network will see, and repaired copies."""

import csv
import shlex
import shutil
from pathlib import Path

import albumentations as A
import numpy as np
import pytest
from bad_inputs.files import turned
from conftest import TINY_NET, read_picture, segkit, write_pair
from PIL import Image
from test_duplicates import draw

from segkit.check import check
from segkit.configs.composing import compose, to_plain
from segkit.datasets.augment import Augment
from segkit.datasets.findings import DataError
from segkit.datasets.folder import Folder
from segkit.datasets.module import spread_evenly
from segkit.runs.build import Run, build, build_data
from segkit.runs.making import make


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


def test_a_repaired_copy_trains_with_the_line_that_is_printed(tmp_path: Path) -> None:
    root = tmp_path / "my data"
    for split, start in (("train", 0), ("val", 6), ("test", 9)):
        for number in range(start, start + (6 if split == "train" else 3)):
            write_pair(root / split / "images", root / split / "masks", f"p{number:02}", number)
    photo, mask = draw(0, 40, 48), np.zeros((48, 40), np.uint8)
    mask[:12] = 255
    Image.fromarray(photo).save(root / "train/images/p00.jpg", exif=turned(6))  # shown as 40×48
    (root / "train/images/p00.png").unlink()
    Image.fromarray(np.rot90(mask)).save(root / "train/masks/p00.png")  # drawn on the unturned pixels
    Image.fromarray(mask[::2, ::2].T).save(root / "train/masks/p01.png")
    shutil.copy(root / "test/images/p09.png", root / "train/images/p02.png")
    (root / "train/masks/p03.png").write_bytes(b"no picture")
    (root / "val/masks/p06.png").unlink()
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    words = ["dataset=folder", "dataset.root='my data'", "dataset.classes=[disc]", "dataset.size=32", "output=clean"]
    done = segkit(*words, "fix=true", module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before
    with (tmp_path / "clean/repairs.csv").open() as file:
        repairs = {Path(row["file"]).name: row["done"] for row in csv.DictReader(file)}
    assert repairs["p00.jpg"] in ("mask turned as the EXIF orientation of its picture says",)
    assert repairs["p01.png"] == "mask resized from 24×20 to 48×40"
    assert repairs["p02.png"] == "left out with its mask: my data/test/images/p09.png is the same picture"
    assert repairs["p03.png"].startswith("left out: my data/train/masks/p03.png cannot be read")
    assert repairs["p06.png"] == "left out: my data/val/images/p06.png has no mask."
    assert sorted(path.name for path in (tmp_path / "clean/train/masks").iterdir()) == [
        "p00.png",
        "p01.png",
        "p04.png",
        "p05.png",
    ]
    assert read_picture(tmp_path / "clean/train/images/p00.png").shape == (48, 40, 3)
    assert read_picture(tmp_path / "clean/train/masks/p00.png")[:12, :, 0].min() == 255
    line = done.stdout.rsplit("python -m segkit.train ", 1)[1]
    trained = segkit(*shlex.split(line), *TINY_NET, "hydra.run.dir=run", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    assert "clean: 4 / 2 / 3 train / val / test pictures" in trained.stderr
    again = segkit(*words, "fix=true", module="check", cwd=tmp_path)
    assert "the folder is not empty" in again.stderr


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("data/images", "output=data/images lies among pictures of dataset.root=data. Choose another folder."),
        ("data/images/out", "lies among pictures of dataset.root=data"),
        ("mine", "output=mine holds dataset_card.md, which is not from a check. Choose a new folder."),
    ],
)
def test_a_check_overwrites_nothing_but_a_check(output: str, said: str, folder: Path, tmp_path: Path) -> None:
    folder.rename(tmp_path / "data")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "dataset_card.md").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    done = segkit("dataset=folder", "dataset.root=data", f"output={output}", module="check", cwd=tmp_path)
    assert done.returncode == 1
    assert said in done.stderr
    assert sorted(tmp_path.rglob("*")) == before
    for again in range(2):
        done = segkit("dataset=folder", "dataset.root=.", module="check", cwd=tmp_path / "data")
        assert done.returncode == 0, (again, done.stderr)


def test_one_copy_at_a_time(folder: Path, tmp_path: Path) -> None:
    words = ["dataset=folder", f"dataset.root={folder}", "fix=true", "output=clean"]
    (tmp_path / "clean" / ".copy.part").mkdir(parents=True)
    done = segkit(*words, module="check", cwd=tmp_path)
    assert done.returncode == 1
    assert "clean/.copy.part is there: another command is writing into clean, or one was killed" in done.stderr
    assert [path.name for path in (tmp_path / "clean").iterdir()] == [".copy.part"]


def test_ignored_pixels_of_one_class_keep_their_meaning_in_a_copy(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(8):
        write_pair(root / "images", root / "masks", f"p{number}", number)
        mask = read_picture(root / f"masks/p{number}.png", 0)
        mask[:5] = 7
        Image.fromarray(mask).save(root / f"masks/p{number}.png")
    words = ["dataset=folder", f"dataset.root={root}", "dataset.ignore_values=[7]", f"output={tmp_path}/clean"]
    check(compose(*words, "fix=true", config="check"))
    (path,) = (tmp_path / "clean/val/masks").iterdir()
    assert set(np.unique(read_picture(path))) == {0, 128, 255}
    copy = Folder(tmp_path / "clean", "val", ignore_values=[128])
    assert (copy[0]["mask"][:5] == 255).all()


def test_a_copy_that_failed_is_tried_again_in_the_same_folder(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split in ("train", "val", "test"):
        shutil.copytree(folder, root / split)  # the same pictures everywhere, so nothing is left of train
    words = ["dataset=folder", f"dataset.root={root}", "dataset.classes=[disc]", f"output={tmp_path}/clean", "fix=true"]
    with pytest.raises(ValueError, match="nothing of train can be copied"):
        check(compose(*words, config="check"))
    for number in range(10):
        write_pair(root / "train/images", root / "train/masks", f"n{number}", 100 + number)
        write_pair(root / "val/images", root / "val/masks", f"n{number}", 200 + number)
    check(compose(*words, config="check"))
    assert len(list((tmp_path / "clean/train/images").iterdir())) == 10


def test_a_copy_keeps_groups(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(12):
        write_pair(root / "images", root / "masks", f"s{number // 2}_{number % 2}", number)
    words = ["dataset=folder", "dataset.root=data", "dataset.size=32", r"dataset.groups='(s\d+)_'"]
    done = segkit(*words, "fix=true", "output=clean", module="check", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = done.stdout.rsplit("python -m segkit.train ", 1)[1]
    assert "dataset.pairs=pairs.csv" in line
    again = segkit(*shlex.split(line), "output=again", module="check", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    with (tmp_path / "clean/pairs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["group"] for row in rows} == {f"s{number}" for number in range(6)}
    assert all(Path(row["image"]).stem.startswith(f"{row['group']}_") for row in rows)
    assert "6 groups" in again.stdout


def test_what_is_checked_before_a_training(folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    copy = read_picture(folder / "images/p0.png")
    words = ["dataset=folder", f"dataset.root={folder}", "dataset.size=32", f"run_dir={tmp_path}/run", *TINY_NET]

    def built(how: str) -> Run:
        caplog.clear()
        with caplog.at_level("WARNING", logger="segkit"):
            return build(to_plain(compose(*words, f"check={how}")))

    test = built("fast").data.sources["test"].names[0]
    Image.fromarray(copy[..., ::-1]).save(folder / "images/p0.bmp")  # the same pixels in other bytes
    (folder / "images/p0.png").unlink()
    Image.fromarray(copy[..., ::-1]).save(folder / test)
    assert built("fast").summary[0] == "my_data: 7 / 2 / 1 train / val / test pictures, 48×40 pixels"
    with pytest.raises(DataError, match="train and test share a picture"):
        built("full")
    (folder / test).write_bytes(b"no picture")
    assert built("off").summary == ()
    with pytest.raises(DataError, match="cannot be read"):
        built("fast")
