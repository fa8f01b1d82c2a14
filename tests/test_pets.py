"""Oxford-IIIT Pet in its real layout, in miniature."""

import json
import re
from pathlib import Path

import pytest
from conftest import segkit
from miniatures import PETS, write_pets

from segkit.datasets.pets import Pets


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pets")
    write_pets(root)
    base = root / "oxford-iiit-pet"
    (base / "images" / "beagle_2.jpg").write_bytes(b"GIF89a no picture")  # the original has such files
    return root


def test_trimaps_mean_pet_background_border(pets: Path) -> None:
    mask = Pets(pets, "train")[0]["mask"].numpy()
    assert mask[20, 20] == 0
    assert mask[0, 0] == 1
    assert mask[11, 11] == 2
    two = Pets(pets, "train", ["pet", "background"])[0]["mask"].numpy()
    assert (two[20, 20], two[0, 0], two[11, 11]) == (0, 1, 255)
    one = Pets(pets, "train", ["pet"])[0]["mask"].numpy()
    assert (one[20, 20], one[0, 0], one[11, 11]) == (1, 0, 255)
    assert Pets(pets, "train", ["pet"], border="pet")[0]["mask"].numpy()[11, 11] == 1


def test_validation_is_a_part_of_trainval(pets: Path) -> None:
    splits = {split: Pets(pets, split, holdout=0.25) for split in ("train", "val", "test")}
    names = {split: set(data.names) for split, data in splits.items()}
    assert {split: len(found) for split, found in names.items()} == {"train": 6, "val": 2, "test": 7}
    assert names["train"] | names["val"] == set(PETS[::2])
    assert splits["test"].shape(0) == splits["test"][0]["mask"].shape


def test_files_that_cannot_be_read_are_left_out_and_named(pets: Path, caplog: pytest.LogCaptureFixture) -> None:
    from segkit.datasets.pets import keep_readable

    keep_readable.cache_clear()
    with caplog.at_level("WARNING", logger="segkit"):
        data = Pets(pets, "test")
    assert "beagle_2" not in data.names
    assert "left out: " in caplog.text
    assert "beagle_2.jpg" in caplog.text


def test_what_is_wrong_is_said(pets: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"no Oxford-IIIT Pet there; expected images and annotations.*Say dataset.download=true"
    ):
        Pets(tmp_path, "train")
    with pytest.raises(ValueError, match=r"dataset.border=class: expected ignore or pet"):
        Pets(pets, "train", border="class")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected \[pet,background,border\], \[pet,background\] or \[pet\]"):
        Pets(pets, "train", ["a", "b", "c", "d"])
    with pytest.raises(ValueError, match=r"dataset.classes=\['background', 'pet'\]: .*in this order"):
        Pets(pets, "train", ["background", "pet"])
    assert Pets(pets, "train", ["animal", "background"]).classes == ("animal", "background")


def test_the_tutorials_run_from_the_command_line(pets: Path, tmp_path: Path) -> None:
    words = [
        f"dataset.root={pets}",
        "weights=none",
        "freeze=none",
        "dataset.size=32",
        "dataset.batch_size=3",
        "trainer.max_epochs=1",
        "trainer.accelerator=cpu",
        "dataset.holdout=0.25",
        "hydra.run.dir=run",
    ]
    done = segkit("experiment=pets_mobilenet", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "confusion.csv").read_text().splitlines()[0] == "truth,pet,background,border"
    assert (tmp_path / "run" / "pictures" / "confusion_test.png").exists()
    assert re.search(r"class .* iou .* dice .* precision .* recall", done.stdout)  # a row per class
    assert "iou/border" not in done.stdout
    metrics = json.loads((tmp_path / "run" / "results.json").read_text())["metrics"]
    assert re.search(rf"border .* {metrics['test/iou/border']:.4f} ", done.stdout)
