"""`python -m segkit.annotations`: from each tool to a data set that trains, and from masks to files for the tools."""

import shlex
from pathlib import Path
from typing import Any

import annotation_files as files
import cv2
import numpy as np
import pytest
from annotation_files import HEIGHT, NAMES, WIDTH, scene, write
from conftest import TINY_NET, read_picture, results, segkit
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from segkit.configs.composing import list_argument
from segkit.configs.kinds import kinds_of
from segkit.datasets.findings import DataError
from segkit.datasets.from_annotations import make_data_set
from segkit.formats import recognise
from segkit.formats.model import FormatError


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with `photos`."""
    files.write_photos(tmp_path / "photos")
    return tmp_path


def convert(place: Path, source: str, **settings: Any) -> list[str]:
    return make_data_set(place / source, place / "photos", place / "out", **settings)


def mask_of(place: Path, name: str = "p0") -> np.ndarray:
    return read_picture(place / "out" / "masks" / f"{name}.png", cv2.IMREAD_UNCHANGED)


def painted(place: Path, source: str, **settings: Any) -> np.ndarray:
    """The mask of p0 after a conversion."""
    convert(place, source, **settings)
    return mask_of(place)


@pytest.mark.parametrize("tool", files.TOOLS)
def test_every_tool_gives_the_same_masks(place: Path, tool: str) -> None:
    source, make = files.TOOLS[tool]
    make(place)
    said = "\n".join(convert(place, source))
    assert (mask_of(place) == scene()).all()
    assert sorted(path.name for path in (place / "out" / "masks").iterdir()) == sorted(NAMES)
    for name in NAMES:
        assert (place / "out" / "images" / name).read_bytes() == (place / "photos" / name).read_bytes()
    title = recognise.TITLES[tool.removesuffix("3")]
    assert f"{place / source} is {title} and lists 7 pictures; drawn: 14 objects (crack 7, road 7)" in said
    assert "(numbers: 0 background, 1 crack, 2 road)" in said
    assert "'dataset.classes=[background,crack,road]'" in said
    assert [path.name for path in (place / "out").iterdir() if path.name.startswith(".")] == []


TINY_RUN = ("budget=null", "dataset.size=32", "dataset.batch_size=2", "callbacks.pictures=null", *TINY_NET)


def printed(said: str, title: str) -> list[str]:
    """The words after `python -m segkit.<verb>` in the line that begins with a title."""
    (line,) = (line for line in said.splitlines() if line.startswith(f"{title}: python -m segkit."))
    return shlex.split(line)[4:]


def test_from_a_via_project_to_a_tested_model_in_three_commands(place: Path) -> None:
    files.write_via(place)
    words = ("from=via", "input=via.json", "images=photos/", "output=my data", "classes=[crack]")
    done = segkit(*words, cwd=place, module="annotations")
    assert done.returncode == 0, done.stderr
    assert "7 objects of other classes left out: road 7" in done.stdout
    checked = segkit(*printed(done.stdout, "Check"), cwd=place, module="check")
    assert checked.returncode == 0, checked.stderr
    trained = segkit(*printed(done.stdout, "Train"), *TINY_RUN, "hydra.run.dir=run", cwd=place)
    assert trained.returncode == 0, trained.stderr
    assert "test/iou" in results(place / "run")["metrics"]


def test_several_classes_train(place: Path) -> None:
    files.write_coco(place)
    done = segkit("input=coco.json", "images=photos", "output=out", cwd=place, module="annotations")
    assert done.returncode == 0, done.stderr
    trained = segkit(*printed(done.stdout, "Train"), *TINY_RUN, "hydra.run.dir=run", cwd=place)
    assert trained.returncode == 0, trained.stderr
    assert "test/iou/road" in results(place / "run")["metrics"]


def test_names_of_classes_are_typed_as_they_are() -> None:
    names = ["crack", "two words", "a,b", 'inch "', "Riß", "7", "null", "it's", "a:b"]
    (word,) = shlex.split(list_argument("dataset.classes", names))
    (parsed,) = OverridesParser.create().parse_overrides([word])
    value = parsed.value()
    assert isinstance(value, list)
    assert [getattr(one, "text", one) for one in value] == names
    assert list_argument("dataset.classes", ["crack"]) == "'dataset.classes=[crack]'"


def test_one_class_has_black_and_white(place: Path) -> None:
    files.write_via3(place)
    assert np.unique(painted(place, "via3.json", classes=["road"])).tolist() == [0, 255]
    assert mask_of(place).sum() == 200 * 255


def test_fewer_than_six_pictures_are_said(place: Path) -> None:
    write(place / "via.json", files.via(NAMES[:2]))
    said = convert(place, "via.json")
    assert "Training needs at least 6 pictures: annotate 4 more." in said
    assert f"5 pictures of {place / 'photos'} left out, not in via.json" in said


# Settings.


def test_pictures_without_objects(place: Path) -> None:
    document = files.coco()
    document["annotations"] = [one for one in document["annotations"] if one["image_id"] != 3]
    write(place / "a.json", document)
    said = "\n".join(convert(place, "a.json"))
    assert "1 picture (p2.png) without objects: an empty mask (unlabelled=skip leaves such pictures out)" in said
    assert not mask_of(place, "p2").any()
    said = "\n".join(make_data_set(place / "a.json", place / "photos", place / "less", unlabelled="skip"))
    assert "1 picture (p2.png) without objects: left out" in said
    assert len(list((place / "less" / "images").iterdir())) == 6


def test_missing_pictures(place: Path) -> None:
    write(place / "a.json", files.coco([*NAMES, "gone.png", "lost.png"]))
    with pytest.raises(DataError, match=r"(?s)2 missing pictures:.*no gone\.png.*no lost\.png.*missing=skip"):
        convert(place, "a.json")
    assert not (place / "out").exists()
    said = "\n".join(convert(place, "a.json", missing="skip"))
    assert f"2 pictures (gone.png, lost.png) left out, not in {place / 'photos'}" in said


@pytest.mark.parametrize(
    "name",
    [
        "https://host/x/p0.png?X-Amz-Date=1",
        "s3://bucket/p0.png",
        "/home/somebody/p0.png",
        "C:\\Users\\somebody\\p0.png",
        "\\\\host\\share\\p0.png",
        "../../p0.png",
        "sub/../../p0.png",
    ],
)
def test_names_that_lead_elsewhere_are_looked_up_if_asked_for(place: Path, name: str) -> None:
    write(place / "a.json", files.coco([name]))
    with pytest.raises(DataError, match=r"image 1: .* is an? (address|path).*\n.*by_name=true"):
        convert(place, "a.json")
    convert(place, "a.json", by_name=True)
    assert (mask_of(place) == scene()).all()


def test_folders_of_pictures(place: Path) -> None:
    files.write_photos(place / "deep" / "train", ["a.png"])
    files.write_photos(place / "deep" / "val", ["a.png", "b.png"])
    write(place / "a.json", files.coco(["train/a.png", "val/a.png", "b.png"]))
    make_data_set(place / "a.json", place / "deep", place / "out")
    assert (place / "out" / "masks" / "train" / "a.png").is_file()
    # from deeper inside, of a longer name the end counts
    write(place / "b.json", files.coco(["train/a.png"]))
    make_data_set(place / "b.json", place / "deep" / "train", place / "inner")
    # of a shorter one there may be several
    write(place / "c.json", files.coco(["a.png"]))
    with pytest.raises(DataError, match=r"a\.png may be train/a\.png or val/a\.png"):
        make_data_set(place / "c.json", place / "deep", place / "other")
    # and a picture of another folder is another picture
    write(place / "d.json", files.coco(["test/b.png"]))
    with pytest.raises(DataError, match=r"there is no test/b\.png"):
        make_data_set(place / "d.json", place / "deep", place / "other")


def test_turned_photos_are_named(place: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(place / "photos" / "p0.jpg", exif=exif)
    write(place / "a.json", files.coco(["p0.jpg"]))
    with pytest.raises(
        DataError, match=r"is 40×60 when turned by its EXIF orientation \(6\), but .* says 60×40\.\n.*Remove the tag"
    ):
        convert(place, "a.json")


def test_the_formats_of_the_settings_are_those_there_are() -> None:
    kinds = kinds_of("annotations")
    assert all(kinds["from"].fits(name) for name in ("auto", *recognise.READ))
    assert all(kinds["to"].fits(name) for name in recognise.WRITTEN)
    assert kinds["from"].words.count(",") == len(recognise.READ) - 1


# What must not happen.


def test_nothing_is_left_of_a_conversion_that_stops(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_coco(place)
    written: list[Path] = []

    def stop(path: Path, content: bytes) -> None:
        written.append(path)
        assert not (place / "new" / "out" / "images").exists()
        if len(written) == 5:
            raise KeyboardInterrupt
        path.write_bytes(content)

    monkeypatch.setattr("segkit.datasets.from_annotations.write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        make_data_set(place / "coco.json", place / "photos", place / "new" / "out")
    assert len(written) == 5
    assert not (place / "new").exists()


def test_files_that_are_too_large_are_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_coco(place)
    monkeypatch.setattr("segkit.formats.reading.LARGEST", 2**10)
    with pytest.raises(FormatError, match=r"coco\.json has \d+ MB; at most .* MB are read\. Export it in parts"):
        convert(place, "coco.json")


def test_json_of_too_many_values_is_not_read(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_coco(place)
    monkeypatch.setattr("segkit.formats.reading.MOST_CONTAINERS", 20)
    with pytest.raises(FormatError, match=r"coco\.json cannot be read .* more than 20 lists and mappings"):
        convert(place, "coco.json")


def test_a_link_to_annotations_elsewhere_is_refused(place: Path) -> None:
    files.write_labelme(place)
    (place / "labelme" / "x.json").symlink_to(place / "other.json")
    write(place / "other.json", files.labelme("p0.png"))
    with pytest.raises(FormatError, match=r"x\.json is a link to .*other\.json, outside .*labelme"):
        convert(place, "labelme")
